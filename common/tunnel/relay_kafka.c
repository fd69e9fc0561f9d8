#include "tunnel/relay_kafka.h"

#include <stdlib.h>

#include "base/chunk.h"
#include "base/memory.h"
#include "kafka/login.h"
#include "tunnel/relay_filter.h"

struct relay_kafka {
    struct relay_filter base;
    struct worker_later later;     /* goes on filtering */
    struct worker_later when_held; /* tells the owner that it is paused */
    struct worker *worker;
    const struct relay_kafka_owner *owner;
    void *context;
    struct kafka_filter *filter;
    struct byte_queue unfiltered; /* from the socket, while the filter is blocked or tired */
    struct byte_queue filtered;   /* from the filter, more than the stream has credit for */
    struct byte_queue requests;   /* from the stream, while it is paused */
    size_t accounted;    /* bytes of these two and of the filter that the stream answers for */
    bool pausing;        /* holds what comes behind the request that is under way */
    bool paused;         /* that is through */
    bool blocked;        /* the filter waits for listeners */
    bool tired;          /* the filter has done enough for this turn of the loop */
    bool draining;       /* asks nothing more */
    const char *refusal; /* the client has tried to log in, and is told so in the end; NULL: not */
    bool refused;        /* it has been told */
    bool guarded;        /* the filter has a guard */
};

static struct relay_kafka *kafka_of(struct relay_filter *base)
{
    return list_entry(base, struct relay_kafka, base);
}

static void kafka_failed(struct relay_kafka *kafka, int error)
{
    struct relay *relay = kafka->base.relay;

    if (error == KAFKA_FILTER_ELOGIN && relay_is_connected(relay))
        kafka->owner->logged_in(kafka->context);
    else
        relay_break(relay, MUX_CODE_KAFKA_PROTOCOL, kafka_filter_reason(kafka->filter));
}

/* Held responses and requests in flight are memory like any other. false: there is none for them,
 * and the relay has ended. */
static bool account_kafka(struct relay_kafka *kafka)
{
    struct relay *relay = kafka->base.relay;
    size_t held = kafka_filter_memory(kafka->filter) +
                  (size_t)byte_queue_unread(&kafka->unfiltered) +
                  (size_t)byte_queue_unread(&kafka->filtered);

    if (held <= RELAY_UNCHARGED)
        held = 0;
    if (!relay_hold(relay, held)) {
        relay_fail(relay, MUX_CODE_LIMIT,
                   "the server's memory for held responses and requests is used up (--memory)");
        return false;
    }
    kafka->accounted = held;
    return true;
}

static void look_for_events(struct relay_kafka *kafka)
{
    if (kafka_filter_has_event(kafka->filter))
        kafka->owner->noticed(kafka->context);
}

/* ---- requests */

/* Nothing of it reaches the broker but, perhaps, the beginning of its first request. */
static void begin_refusal(struct relay_kafka *kafka)
{
    kafka->refusal = kafka->owner->refused_login(kafka->context);
    relay_drain(kafka->base.relay);
}

static size_t pump_filter(struct relay_kafka *kafka, const uint8_t *bytes, size_t size);

/* Answers that the broker does not give. Behind what waits for credit, they wait as well. */
static void give_denied_answers(struct relay_kafka *kafka)
{
    static const uint8_t nothing[1];

    if (!kafka_filter_has_answer(kafka->filter) || kafka->blocked || kafka->tired ||
        byte_queue_unread(&kafka->filtered) > 0)
        return;
    pump_filter(kafka, nothing, 0);
}

/* What became of bytes from the stream under a guard. */
struct guarded_bytes {
    bool all;    /* the socket may have them as they are; it has got nothing yet */
    size_t used; /* the filter has taken so many, and has given the socket what it gets */
    size_t sent; /* of them, unchanged */
};

/* Mostly all bytes pass as they are. false: the relay has ended. */
static bool guard_requests(struct relay_kafka *kafka, const uint8_t *bytes, size_t size,
                           struct guarded_bytes *guarded)
{
    struct relay *relay = kafka->base.relay;
    bool one_more = kafka->draining || kafka->pausing;

    *guarded = (struct guarded_bytes){.all = false};
    for (;;) {
        struct kafka_span out;
        size_t used;
        int error = kafka_filter_guarded_requests(kafka->filter, bytes + guarded->used,
                                                  size - guarded->used, one_more, &used, &out);
        look_for_events(kafka);
        if (error < 0) {
            kafka_failed(kafka, error);
            return false;
        }
        guarded->all = out.bytes == bytes && out.size == size;
        guarded->used += used;
        if (guarded->all)
            return account_kafka(kafka);
        if (error == KAFKA_FILTER_REFUSED) {
            begin_refusal(kafka);
            return account_kafka(kafka);
        }
        bool ours = out.bytes >= bytes && out.bytes < bytes + size;
        guarded->sent += ours ? out.size : 0;
        if (out.size > 0)
            relay_send_later(relay, out.bytes, out.size, ours);
        if (relay_has_ended(relay))
            return false;
        if (out.size == 0 && (guarded->used == size || used == 0))
            break;
    }
    give_denied_answers(kafka);
    return !relay_has_ended(relay) && account_kafka(kafka);
}

/* Shows the filter what is to go to the broker; how much of it may. Negative: the relay has ended.
 */
static long filter_requests(struct relay_kafka *kafka, const uint8_t *bytes, size_t size)
{
    size_t taken = size;
    bool one_more = kafka->draining || kafka->pausing;
    int error = one_more ? kafka_filter_last_request(kafka->filter, bytes, size, &taken)
                         : kafka_filter_requests(kafka->filter, bytes, size);

    look_for_events(kafka);
    if (error < 0) {
        kafka_failed(kafka, error);
        return -1;
    }
    if (error == KAFKA_FILTER_REFUSED) {
        taken = one_more ? taken : kafka_filter_passed(kafka->filter);
        begin_refusal(kafka);
    }
    return account_kafka(kafka) ? (long)taken : -1;
}

/* ---- the owner's own requests */

static void tell_paused(struct worker_later *later)
{
    struct relay_kafka *kafka = list_entry(later, struct relay_kafka, when_held);

    kafka->owner->paused(kafka->context);
}

/* Later: what has just been filtered is not with the socket yet. */
static void pause_if_between(struct relay_kafka *kafka)
{
    if (!kafka->pausing || !kafka_filter_between_requests(kafka->filter))
        return;
    kafka->pausing = false;
    kafka->paused = true;
    worker_later(kafka->worker, &kafka->when_held, tell_paused);
}

void relay_kafka_pause(struct relay *relay)
{
    struct relay_kafka *kafka = kafka_of(relay_filter(relay));

    if (kafka->paused)
        return;
    kafka->pausing = true;
    pause_if_between(kafka);
}

bool relay_kafka_ask(struct relay *relay, const uint8_t *request, size_t size,
                     int32_t correlation_id)
{
    struct relay_kafka *kafka = kafka_of(relay_filter(relay));
    int error = kafka_filter_ask(kafka->filter, correlation_id);

    if (error < 0) {
        kafka_failed(kafka, error);
        return false;
    }
    relay_send(relay, request, size, false);
    if (!relay_has_ended(relay))
        relay_go_on(relay);
    return !relay_has_ended(relay);
}

/* What has waited, as if it came now. false: the relay has ended. */
static bool release_requests(struct relay_kafka *kafka)
{
    struct relay *relay = kafka->base.relay;
    struct iovec span;

    while (!kafka->paused && byte_queue_peek(&kafka->requests, &span, 1) > 0) {
        struct guarded_bytes guarded = {.all = true};
        long taken = 0;
        if (!kafka->refusal && kafka->guarded) {
            if (!guard_requests(kafka, span.iov_base, span.iov_len, &guarded))
                return false;
            taken = guarded.all ? (long)span.iov_len : 0;
        } else if (!kafka->refusal) {
            taken = filter_requests(kafka, span.iov_base, span.iov_len);
        }
        if (taken < 0)
            return false;
        /* The stream's end waits for what is not skipped yet. */
        byte_queue_skip(&kafka->requests, span.iov_len);
        if (taken > 0)
            relay_send(relay, span.iov_base, (size_t)taken, true);
        if (relay_has_ended(relay))
            return false;
        relay_drop(relay, span.iov_len - (size_t)taken - guarded.sent);
        byte_queue_drop(&kafka->requests, kafka->requests.read);
    }
    return true;
}

void relay_kafka_resume(struct relay *relay)
{
    struct relay_kafka *kafka = kafka_of(relay_filter(relay));

    kafka->pausing = kafka->paused = false;
    if (!release_requests(kafka))
        return;
    /* The stream may have ended meanwhile. */
    relay_send(relay, NULL, 0, true);
    if (!relay_has_ended(relay))
        relay_go_on(relay);
}

static void keep_requests(struct relay_kafka *kafka, const uint8_t *bytes, size_t size)
{
    byte_queue_append(&kafka->requests, bytes, size);
    relay_keep(kafka->base.relay, size);
}

static bool keeps_requests(struct relay_filter *base)
{
    const struct relay_kafka *kafka = kafka_of(base);

    return kafka->paused || byte_queue_unread(&kafka->requests) > 0;
}

static long watch_guarded(struct relay_kafka *kafka, const uint8_t *bytes, size_t size)
{
    bool was_pausing = kafka->pausing;
    struct guarded_bytes guarded;

    if (!guard_requests(kafka, bytes, size, &guarded))
        return -1;
    size_t kept = guarded.all ? 0 : guarded.sent;
    if (was_pausing && !kafka->refusal) {
        pause_if_between(kafka);
        if (kafka->paused && guarded.used < size) {
            byte_queue_append(&kafka->requests, bytes + guarded.used, size - guarded.used);
            kept += size - guarded.used;
        }
    }
    if (kept > 0)
        relay_keep(kafka->base.relay, kept);
    return guarded.all ? (long)size : 0;
}

static long watch_requests(struct relay_filter *base, const uint8_t *bytes, size_t size)
{
    struct relay_kafka *kafka = kafka_of(base);

    if (kafka->refusal)
        return 0;
    if (kafka->paused) {
        keep_requests(kafka, bytes, size);
        return 0;
    }
    if (kafka->guarded)
        return watch_guarded(kafka, bytes, size);
    bool was_pausing = kafka->pausing;
    long taken = filter_requests(kafka, bytes, size);
    if (taken < 0 || !was_pausing || kafka->refusal)
        return taken;
    pause_if_between(kafka);
    if (kafka->paused)
        keep_requests(kafka, bytes + taken, size - (size_t)taken);
    return taken;
}

/* ---- responses */

/* What the filter yields goes to the stream as far as there is credit, else it waits. A stream that
 * the peer has reset meanwhile takes nothing at all. */
static void put_filtered(struct relay_kafka *kafka, const struct kafka_span *span)
{
    size_t put = 0;

    if (span->size == 0)
        return;
    if (byte_queue_unread(&kafka->filtered) == 0)
        put = relay_put(kafka->base.relay, span->bytes, span->size);
    byte_queue_append(&kafka->filtered, span->bytes + put, span->size - put);
}

/* Moves what waited for credit. */
static void drain_filtered(struct relay_kafka *kafka)
{
    struct iovec span;

    while (byte_queue_peek(&kafka->filtered, &span, 1) > 0) {
        size_t put = relay_put(kafka->base.relay, span.iov_base, span.iov_len);
        if (put == 0)
            return;
        byte_queue_skip(&kafka->filtered, put);
        byte_queue_drop(&kafka->filtered, kafka->filtered.read);
    }
}

static void filter_on(struct worker_later *later);

/* Feeds bytes through the filter. Returns how many it took: all, unless it is blocked or tired, or
 * the relay has ended. */
static size_t pump_filter(struct relay_kafka *kafka, const uint8_t *bytes, size_t size)
{
    size_t taken = 0;

    for (;;) {
        struct kafka_span out = {NULL, 0};
        size_t some = 0;
        int result =
            kafka_filter_responses(kafka->filter, bytes + taken, size - taken, &some, &out);
        look_for_events(kafka);
        if (result < 0) {
            kafka_failed(kafka, result);
            return taken;
        }
        taken += some;
        if (result == KAFKA_FILTER_OWN) {
            kafka->owner->answered(kafka->context, out.bytes, out.size);
            if (relay_has_ended(kafka->base.relay))
                return taken;
            continue;
        }
        if (result == KAFKA_FILTER_TIRED) {
            kafka->tired = true;
            worker_later(kafka->worker, &kafka->later, filter_on);
            return taken;
        }
        if (result == KAFKA_FILTER_BLOCKED) {
            const struct kafka_wanted *nodes;
            size_t count = kafka_filter_wanted(kafka->filter, &nodes);
            kafka->blocked = true;
            kafka->owner->wanted(kafka->context, nodes, count);
            return taken;
        }
        put_filtered(kafka, &out);
        if (taken == size && out.size == 0)
            return taken;
    }
}

static void take_responses(struct relay_filter *base, const uint8_t *bytes, size_t size)
{
    struct relay_kafka *kafka = kafka_of(base);

    kafka_filter_turn(kafka->filter);
    size_t taken = pump_filter(kafka, bytes, size);
    if (relay_has_ended(base->relay))
        return;
    byte_queue_append(&kafka->unfiltered, bytes + taken, size - taken);
    account_kafka(kafka);
}

/* After a block or a pause: the filter's held response first, then what came behind it. */
static void drain_unfiltered(struct relay_kafka *kafka)
{
    static const uint8_t nothing[1];
    struct relay *relay = kafka->base.relay;
    struct iovec span;

    kafka->blocked = kafka->tired = false;
    kafka_filter_turn(kafka->filter);
    pump_filter(kafka, nothing, 0);
    while (!relay_has_ended(relay) && !kafka->blocked && !kafka->tired &&
           byte_queue_peek(&kafka->unfiltered, &span, 1) > 0) {
        size_t taken = pump_filter(kafka, span.iov_base, span.iov_len);
        if (relay_has_ended(relay))
            return;
        byte_queue_skip(&kafka->unfiltered, taken);
        byte_queue_drop(&kafka->unfiltered, kafka->unfiltered.read);
    }
    if (!relay_has_ended(relay) && account_kafka(kafka))
        relay_go_on(relay);
}

static void filter_on(struct worker_later *later)
{
    drain_unfiltered(list_entry(later, struct relay_kafka, later));
}

void relay_kafka_listeners_ready(struct relay *relay)
{
    struct relay_kafka *kafka = kafka_of(relay_filter(relay));

    if (relay_has_ended(relay) || !kafka->blocked)
        return;
    kafka_filter_retry(kafka->filter);
    drain_unfiltered(kafka);
}

static bool can_take_responses(struct relay_filter *base)
{
    const struct relay_kafka *kafka = kafka_of(base);

    return !kafka->blocked && !kafka->tired && byte_queue_unread(&kafka->filtered) == 0;
}

static bool holds_responses(struct relay_filter *base)
{
    const struct relay_kafka *kafka = kafka_of(base);

    return kafka->blocked || byte_queue_unread(&kafka->unfiltered) > 0 ||
           byte_queue_unread(&kafka->filtered) > 0;
}

static void put_on(struct relay_filter *base)
{
    struct relay_kafka *kafka = kafka_of(base);

    drain_filtered(kafka);
    give_denied_answers(kafka);
    if (!relay_has_ended(kafka->base.relay) && kafka->accounted > 0)
        account_kafka(kafka);
}

/* ---- ends */

static const char *broker_ended(struct relay_filter *base, bool stream_ended)
{
    struct relay_kafka *kafka = kafka_of(base);

    if (!kafka_filter_between_responses(kafka->filter))
        return "the broker closed the connection within a response";
    if (!stream_ended && (kafka_filter_in_flight(kafka->filter) > 0 ||
                          !kafka_filter_between_requests(kafka->filter)))
        kafka->owner->unanswered(kafka->context);
    return NULL;
}

static void drain_requests(struct relay_filter *base)
{
    kafka_of(base)->draining = true;
}

/* Brokers answer in order, and so does who speaks for one: last. */
static bool tell_refusal(struct relay_kafka *kafka)
{
    uint8_t answer[KAFKA_LOGIN_REFUSAL_MAX];

    if (kafka->refused)
        return !holds_responses(&kafka->base);
    kafka->refused = true;
    const struct kafka_span span = {answer,
                                    kafka_filter_refusal(kafka->filter, kafka->refusal, answer)};
    put_filtered(kafka, &span);
    return !holds_responses(&kafka->base);
}

/* All that was asked has been answered. */
static bool all_is_answered(struct relay_filter *base)
{
    const struct kafka_filter *filter = kafka_of(base)->filter;

    if (kafka_of(base)->refusal)
        return !holds_responses(base) && kafka_filter_in_flight(filter) == 0 &&
               kafka_filter_between_responses(filter) && tell_refusal(kafka_of(base));
    return !holds_responses(base) && kafka_filter_between_requests(filter) &&
           kafka_filter_in_flight(filter) == 0 && kafka_filter_between_responses(filter);
}

static void stop_filtering(struct relay_filter *base)
{
    list_remove(&kafka_of(base)->later.node);
    list_remove(&kafka_of(base)->when_held.node);
}

static void free_kafka(struct relay_filter *base)
{
    struct relay_kafka *kafka = kafka_of(base);

    byte_queue_clear(&kafka->unfiltered);
    byte_queue_clear(&kafka->filtered);
    byte_queue_clear(&kafka->requests);
    kafka_filter_free(kafka->filter);
    free(kafka);
}

static const struct relay_filter_operations operations = {
    .from_stream = watch_requests,
    .from_socket = take_responses,
    .can_take = can_take_responses,
    .holds = holds_responses,
    .keeps = keeps_requests,
    .stream_writable = put_on,
    .socket_ended = broker_ended,
    .drain = drain_requests,
    .is_drained = all_is_answered,
    .stop = stop_filtering,
    .destroy = free_kafka,
};

struct relay *relay_kafka_new(struct worker *worker, const struct relay_owner *owner,
                              const struct relay_kafka_owner *kafka_owner, void *context,
                              struct kafka_filter *filter)
{
    struct relay_kafka *kafka = memory_new(sizeof *kafka);

    *kafka = (struct relay_kafka){.base = {.operations = &operations},
                                  .worker = worker,
                                  .owner = kafka_owner,
                                  .context = context,
                                  .filter = filter,
                                  .guarded = kafka_filter_is_guarded(filter)};
    list_init(&kafka->later.node);
    list_init(&kafka->when_held.node);
    byte_queue_init(&kafka->unfiltered, &worker->pool);
    byte_queue_init(&kafka->filtered, &worker->pool);
    byte_queue_init(&kafka->requests, &worker->pool);
    return relay_new_filtered(worker, owner, context, &kafka->base);
}

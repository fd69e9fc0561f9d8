#include "kafka/filter.h"

#include "kafka/api.h"
#include "kafka/guard_flow.h"
#include "kafka/guard_metadata.h"
#include "kafka/login.h"
#include "kafka/request_reader.h"
#include "kafka/requests.h"
#include "kafka/rewrite.h"
#include "kafka/sasl.h"
#include "kafka/sniff.h"
#include "kafka/walk.h"
#include "kafka/wire.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the response direction is. */
enum state {
    HEAD,        /* before or in a response's length and correlation id */
    PASS,        /* left bytes of the frame pass */
    WALK,        /* bytes pass up to the tail (KAFKA_HOLD_TAIL) */
    TAIL_BEGIN,  /* the tail's first byte is next */
    HOLD_PREFIX, /* bytes are held up to the end of the layout */
    HOLD,        /* left bytes are held: a whole frame, or a tail */
    SETTLE,      /* the held part waits for the map */
    OWN,         /* what is held is the answer to a request that is not the client's */
};

struct event {
    enum kafka_filter_event type;
    int16_t api_key;
    int16_t version;
};

enum { EVENTS = 4 };

struct kafka_filter {
    struct kafka_filter_callbacks callbacks;
    void *context;
    struct kafka_filter_limits limits;

    struct kafka_guard_flow *guard; /* NULL: everything is allowed */
    struct kafka_request_reader reader;
    struct kafka_sasl sasl;
    struct kafka_requests requests;

    enum state state;
    uint8_t head[KAFKA_HEAD_SIZE];
    unsigned head_size;
    uint64_t left;                /* bytes of the response that were not taken yet */
    struct kafka_request request; /* that the response at hand answers */
    const struct kafka_api *api;  /* of it; NULL: unknown, or a token */
    enum kafka_method method;
    struct kafka_walk walk;
    struct kafka_buffer held; /* the part of the response that is held */
    struct kafka_buffer out;  /* what replaces it */
    struct kafka_buffer wanted;
    bool retry;
    bool any; /* a response has begun before */
    bool only_login;
    bool beyond_login; /* a request that is no part of one has come */
    bool refuses_login;
    bool refused; /* one has come all the same: */
    struct kafka_request refusal;
    size_t passed; /* bytes of that call */

    /* Output in the filter's memory that the caller has not been given yet. */
    struct kafka_span owed;
    struct kafka_span owed_up; /* the same for the broker */

    uint32_t work; /* responses, addresses and judged topics in this turn */
    int failure;
    struct kafka_request failed; /* the request or response that it is about; api_key -1: none */
    char reason[400];
    struct event events[EVENTS]; /* by type; type is NONE once taken */
    unsigned reported;           /* bits, by type */
    unsigned untaken;            /* of these, how many events nobody has taken */
};

/*
 * One call's input. What passes is the run from start to end; what the filter keeps for itself is
 * used as well but not in the run, and then the run cannot grow any more: it has to be yielded.
 */
struct turn {
    const uint8_t *bytes;
    size_t size;
    size_t start;
    size_t end;
    size_t used;
};

static size_t available(const struct turn *t)
{
    return t->size - t->used;
}

static const uint8_t *next(const struct turn *t)
{
    return t->bytes + t->used;
}

static void pass(struct turn *t, size_t size)
{
    assert(t->used == t->end);
    t->used += size;
    t->end = t->used;
}

static void use_up(struct turn *t, size_t size)
{
    t->used += size;
    if (t->start == t->end)
        t->start = t->end = t->used;
}

static const struct hash_key no_secret;

struct kafka_filter *kafka_filter_new(const struct kafka_filter_callbacks *callbacks, void *context,
                                      const struct kafka_filter_limits *limits)
{
    struct kafka_filter *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    f->callbacks = *callbacks;
    f->context = context;
    if (limits)
        f->limits = *limits;
    if (f->limits.prefix == 0)
        f->limits.prefix = 4 << 20;
    if (f->limits.frame == 0)
        f->limits.frame = 16 << 20;
    if (f->limits.tail == 0)
        f->limits.tail = 1 << 20;
    if (f->limits.in_flight == 0)
        f->limits.in_flight = 65536;
    f->failed.api_key = -1;
    kafka_request_reader_init(&f->reader);
    if (!f->limits.hash_key)
        f->limits.hash_key = &no_secret;
    kafka_requests_init(&f->requests, f->limits.in_flight, f->limits.hash_key);
    return f;
}

void kafka_filter_free(struct kafka_filter *f)
{
    if (!f)
        return;
    kafka_requests_free(&f->requests);
    free(f->request.note);
    if (f->guard) {
        kafka_guard_free(&f->guard->judge);
        kafka_buffer_free(&f->guard->held);
        kafka_buffer_free(&f->guard->out);
        free(f->guard);
    }
    kafka_buffer_free(&f->held);
    kafka_buffer_free(&f->out);
    kafka_buffer_free(&f->wanted);
    free(f);
}

/* "<API> v<version> <direction> (correlation id <id>, client id "<id>") <what>" */
static int fail_filter(struct kafka_filter *f, int error, const struct kafka_request *request,
                       const char *direction, const char *what)
{
    const char *client_id = f->reader.client_id;
    char name[64] = "the", where[48] = "", who[96] = "";

    if (f->failure != 0)
        return f->failure;
    if (request && request->api_key >= 0 && kafka_api_find(request->api_key))
        snprintf(name, sizeof name, "%s v%d", kafka_api_name(request->api_key), request->version);
    else if (request && request->type != KAFKA_REQUEST_TOKEN)
        snprintf(name, sizeof name, "API %d v%d", request->api_key, request->version);
    if (request && request->type != KAFKA_REQUEST_TOKEN)
        snprintf(where, sizeof where, "correlation id %d", (int)request->correlation_id);
    if (client_id[0] != '\0')
        snprintf(who, sizeof who, "client id \"%s\"", client_id);
    bool both = where[0] != '\0' && who[0] != '\0';
    bool none = where[0] == '\0' && who[0] == '\0';
    snprintf(f->reason, sizeof f->reason, "%s %s%s%s%s%s%s %s", name, direction, none ? "" : " (",
             where, both ? ", " : "", who, none ? "" : ")", what);
    f->failure = error;
    if (request)
        f->failed = *request;
    return error;
}

static int fail_filter_protocol(struct kafka_filter *f, const char *sentence)
{
    snprintf(f->reason, sizeof f->reason, "%s", sentence);
    f->failure = KAFKA_FILTER_EPROTOCOL;
    return f->failure;
}

static int fail_response(struct kafka_filter *f, int error, const char *what)
{
    return fail_filter(f, error, &f->request, "response", what);
}

static void report(struct kafka_filter *f, enum kafka_filter_event type,
                   const struct kafka_request *request)
{
    if (f->reported & 1u << type)
        return;
    f->reported |= 1u << type;
    f->untaken++;
    f->events[type] = (struct event){type, request->api_key, request->version};
}

/* The request direction. */

static int check_version(struct kafka_filter *f, const struct kafka_request *request)
{
    const struct kafka_api *api = kafka_api_find(request->api_key);
    char what[160];

    if (!api || api->known_max == KAFKA_API_NONE)
        return 0;
    if (request->version >= 0 && request->version <= api->known_max)
        return 0;
    if (request->version > 0 && api->key == KAFKA_KEY_METADATA) {
        report(f, KAFKA_FILTER_EVENT_NEWER_METADATA, request);
        return 0;
    }
    snprintf(what, sizeof what,
             "has a version unknown to the tunnel (it knows 0 to %d), so the broker addresses in "
             "its response could not be replaced",
             api->known_max);
    return fail_filter(f, KAFKA_FILTER_EVERSION, request, "request", what);
}

static bool is_login(const struct kafka_request *request)
{
    return request->type == KAFKA_REQUEST_TOKEN || request->api_key == KAFKA_KEY_API_VERSIONS ||
           request->api_key == KAFKA_KEY_SASL_HANDSHAKE ||
           request->api_key == KAFKA_KEY_SASL_AUTHENTICATE;
}

static int check_login(struct kafka_filter *f, const struct kafka_request *request)
{
    if (f->refuses_login && is_login(request) && request->api_key != KAFKA_KEY_API_VERSIONS) {
        f->refused = true;
        f->refusal = *request;
        return KAFKA_FILTER_REFUSED;
    }
    f->beyond_login |= !is_login(request);
    if (f->only_login && f->beyond_login)
        return fail_filter(f, KAFKA_FILTER_ELOGIN, request, "request",
                           "comes after the end of the login");
    return 0;
}

static int queue_request(struct kafka_filter *f, const struct kafka_request *request)
{
    if (f->reader.drops_tokens) {
        f->reader.drops_tokens = false;
        kafka_requests_drop_tokens(&f->requests);
    }
    switch (kafka_requests_push(&f->requests, request)) {
    case 0:
        return 0;
    case KAFKA_REQUESTS_EFULL:
        return fail_filter(f, KAFKA_FILTER_ELIMIT, request, "request",
                           "exceeds the limit of requests without a response");
    default:
        return fail_filter(f, KAFKA_FILTER_EMEMORY, request, "request",
                           "could not be handled: out of memory");
    }
}

static int enter_request(struct kafka_filter *f)
{
    struct kafka_request *request = &f->reader.request;

    int login = check_login(f, request);
    if (login != 0)
        return login;
    if (request->type == KAFKA_REQUEST_TOKEN)
        report(f, KAFKA_FILTER_EVENT_RAW_SASL, request);
    else if (check_version(f, request) < 0)
        return f->failure;
    if (f->guard)
        kafka_guard_enter(&f->guard->judge, request);
    if (f->callbacks.asked)
        request->mark = f->callbacks.asked(f->context, request->api_key, request->version);
    return queue_request(f, request);
}

static int fail_reader(struct kafka_filter *f, int result)
{
    if (result == KAFKA_REQUEST_EPROTOCOL)
        return fail_filter_protocol(f, f->reader.reason);
    return fail_filter(f, KAFKA_FILTER_EFRAME,
                       f->reader.request.api_key >= 0 ? &f->reader.request : NULL, "request",
                       f->reader.reason);
}

/* One step through the requests: up to where one is known, or ends, or all bytes are used. */
static int read_requests(struct kafka_filter *f, const uint8_t *bytes, size_t size, size_t *used)
{
    int result = kafka_request_reader_run(&f->reader, &f->sasl, bytes, size, used);

    if (result < 0)
        return fail_reader(f, result);
    return result == KAFKA_REQUEST_READY ? enter_request(f) : 0;
}

static int after_requests(const struct kafka_filter *f)
{
    if (f->failure != 0)
        return f->failure;
    return f->refused ? KAFKA_FILTER_REFUSED : 0;
}

int kafka_filter_requests(struct kafka_filter *f, const uint8_t *bytes, size_t size)
{
    size_t used;

    f->passed = 0;
    while (f->passed < size && f->failure == 0 && !f->refused) {
        read_requests(f, bytes + f->passed, size - f->passed, &used);
        /* A step begins with a request, or with this call. */
        f->passed += f->refused ? 0 : used;
    }
    return after_requests(f);
}

int kafka_filter_last_request(struct kafka_filter *f, const uint8_t *bytes, size_t size,
                              size_t *taken)
{
    size_t used;

    *taken = 0;
    while (*taken < size && f->failure == 0 && !f->refused && !kafka_filter_between_requests(f)) {
        read_requests(f, bytes + *taken, size - *taken, &used);
        *taken += f->refused ? 0 : used;
    }
    return after_requests(f);
}

void kafka_filter_refuse_login(struct kafka_filter *f)
{
    f->refuses_login = true;
}

size_t kafka_filter_passed(const struct kafka_filter *f)
{
    return f->passed;
}

size_t kafka_filter_refusal(const struct kafka_filter *f, const char *words, uint8_t *buffer)
{
    if (f->refusal.type == KAFKA_REQUEST_TOKEN)
        return 0;
    return kafka_login_refusal(buffer, f->refusal.api_key == KAFKA_KEY_SASL_HANDSHAKE,
                               f->refusal.version, f->refusal.correlation_id, words);
}

int kafka_filter_ask(struct kafka_filter *f, int32_t correlation_id)
{
    const struct kafka_request request = {.correlation_id = correlation_id,
                                          .run = 1,
                                          .api_key = KAFKA_KEY_SASL_AUTHENTICATE,
                                          .type = KAFKA_REQUEST_OWN};

    assert(kafka_filter_between_requests(f));
    if (f->failure != 0)
        return f->failure;
    switch (kafka_requests_push(&f->requests, &request)) {
    case 0:
        return 0;
    case KAFKA_REQUESTS_EFULL:
        return fail_filter(f, KAFKA_FILTER_ELIMIT, NULL, "connection",
                           "has too many requests without a response");
    default:
        return fail_filter(f, KAFKA_FILTER_EMEMORY, NULL, "connection", "is out of memory");
    }
}

bool kafka_filter_only_login(struct kafka_filter *f)
{
    f->only_login = true;
    return !f->beyond_login;
}

/* Requests under a guard. */

bool kafka_filter_use_guard(struct kafka_filter *f, const struct kafka_guard *guard, void *context)
{
    f->guard = calloc(1, sizeof *f->guard);
    if (!f->guard)
        return false;
    f->guard->judge.guard = guard;
    f->guard->judge.context = context;
    f->guard->judge.hash_key = f->limits.hash_key;
    return true;
}

static void report_denied(const struct kafka_filter *f)
{
    if (f->guard->judge.denied)
        kafka_guard_report(&f->guard->judge, f->reader.client_id);
}

static int fail_guarded(struct kafka_filter *f, int error)
{
    report_denied(f);
    return fail_filter(f, error, &f->reader.request, "request", f->guard->judge.reason);
}

/* The next bytes are kept, with what is held before them. */
static int hold_request(struct kafka_filter *f, struct turn *t, size_t size)
{
    if (!kafka_buffer_append(&f->guard->held, next(t), size, 2 * KAFKA_GUARD_HOLD_MAX))
        return fail_filter(f, KAFKA_FILTER_ELIMIT, &f->reader.request, "request",
                           "is too large to be looked at");
    use_up(t, size);
    return 0;
}

static bool has_whole_request(const struct kafka_filter *f)
{
    return kafka_request_reader_idle(&f->reader);
}

/* The broker may have what is held. */
static int release_request(struct kafka_filter *f)
{
    int entered = enter_request(f);

    if (entered != 0)
        return entered;
    f->owed_up = (struct kafka_span){f->guard->held.bytes, f->guard->held.size};
    f->guard->spent = true;
    return 0;
}

static struct kafka_note *note_of(const struct kafka_buffer *answer)
{
    struct kafka_note *note = malloc(sizeof *note + answer->size);

    if (!note)
        return NULL;
    note->size = answer->size;
    memcpy(note->bytes, answer->bytes, answer->size);
    return note;
}

/* What answers are made of is bounded; a client that asks on without reading them goes. */
static bool has_room_for_note(const struct kafka_filter *f, const struct kafka_note *note)
{
    size_t waiting = kafka_requests_note_bytes(&f->requests);

    return waiting <= KAFKA_GUARD_NOTES_MAX && note->size <= KAFKA_GUARD_NOTES_MAX - waiting;
}

/* A denied request is over. */
static int answer_denied_request(struct kafka_filter *f)
{
    struct kafka_guard_flow *guard = f->guard;
    struct kafka_request denied = f->reader.request;
    int result = kafka_guard_answer(&guard->judge, &guard->out);

    guard->phase = KAFKA_GUARD_HEAD;
    if (result < 0)
        return fail_guarded(f, result);
    report_denied(f);
    /* Brokers close as well: a producer that wants no answer learns it no other way. */
    if (denied.type == KAFKA_REQUEST_OPTIONAL)
        return fail_filter(f, KAFKA_FILTER_EDENIED, &denied, "request",
                           "is denied by --access, and wants no answer (acks=0)");
    denied.type = KAFKA_REQUEST_DENIED;
    denied.note = note_of(&guard->out);
    kafka_buffer_trim(&guard->out);
    kafka_buffer_trim(&guard->judge.collected);
    if (!denied.note)
        return fail_filter(f, KAFKA_FILTER_EMEMORY, &denied, "request",
                           "is denied, and could not be answered: out of memory");
    if (has_room_for_note(f, denied.note) && queue_request(f, &denied) == 0)
        return 0;
    free(denied.note);
    return fail_filter(f, KAFKA_FILTER_ELIMIT, &denied, "request",
                       "is denied, and too many answers wait to be read");
}

/* A request for Metadata is whole: the broker gets what may be asked of it. */
static int rewrite_request(struct kafka_filter *f)
{
    struct kafka_guard_flow *guard = f->guard;
    int result = kafka_guard_metadata_request(&guard->judge, guard->held.bytes, guard->held.size,
                                              guard->body, &guard->out, &f->reader.request.note);

    guard->phase = KAFKA_GUARD_HEAD;
    if (result < 0)
        return fail_guarded(f, result);
    report_denied(f);
    if (!has_room_for_note(f, f->reader.request.note))
        fail_filter(f, KAFKA_FILTER_ELIMIT, &f->reader.request, "request",
                    "names topics that are denied, and too many answers wait to be read");
    if (f->failure != 0 || enter_request(f) < 0) {
        free(f->reader.request.note);
        f->reader.request.note = NULL;
        return f->failure;
    }
    guard->spent = true;
    f->owed_up = (struct kafka_span){guard->out.bytes, guard->out.size};
    return 0;
}

static int begin_drop(struct kafka_filter *f, const uint8_t *frame, size_t size)
{
    struct kafka_guard_flow *guard = f->guard;
    uint64_t left = (uint64_t)f->reader.length + 4 - guard->body;

    guard->phase = KAFKA_GUARD_DROP;
    kafka_guard_collect_start(&guard->judge, left);
    int result = kafka_guard_collect(&guard->judge, frame + guard->body, size - guard->body);
    if (result < 0)
        return fail_guarded(f, result);
    guard->spent = true;
    return has_whole_request(f) ? answer_denied_request(f) : 0;
}

/* A request for Metadata is held whole: one that is too large is not even waited for. */
static int begin_whole(struct kafka_filter *f)
{
    if ((uint64_t)f->reader.length + 4 > KAFKA_GUARD_METADATA_MAX)
        return fail_filter(f, KAFKA_FILTER_ELIMIT, &f->reader.request, "request",
                           "is larger than 4 MiB, too large to be judged by --access");
    f->guard->phase = KAFKA_GUARD_WHOLE;
    return has_whole_request(f) ? rewrite_request(f) : 0;
}

/* All that has come of the request is held. */
static int follow_verdict(struct kafka_filter *f, int verdict)
{
    struct kafka_guard_flow *guard = f->guard;

    if (verdict < 0)
        return fail_guarded(f, verdict);
    if (verdict == KAFKA_GUARD_DENIED)
        return begin_drop(f, guard->held.bytes, guard->held.size);
    if (verdict == KAFKA_GUARD_REWRITE)
        return begin_whole(f);
    if (verdict == KAFKA_GUARD_MORE && has_whole_request(f))
        return fail_filter(f, KAFKA_FILTER_EFRAME, &f->reader.request, "request",
                           "ends before its last field");
    guard->phase = KAFKA_GUARD_LOOK;
    if (verdict == KAFKA_GUARD_MORE && guard->held.size <= KAFKA_GUARD_HOLD_MAX)
        return 0;
    guard->phase = verdict == KAFKA_GUARD_MORE ? KAFKA_GUARD_LATE
                   : has_whole_request(f)      ? KAFKA_GUARD_HEAD
                                               : KAFKA_GUARD_BODY;
    return release_request(f);
}

/* A verdict, or an error. */
static int judge_head(struct kafka_filter *f, const uint8_t *frame, size_t size)
{
    struct kafka_guard_flow *guard = f->guard;
    const struct kafka_request *request = &f->reader.request;
    int16_t client_id =
        f->reader.length >= KAFKA_SASL_LOOK ? (int16_t)byte_load_u16(f->reader.head + 12) : -1;
    size_t head = f->reader.length >= KAFKA_SASL_LOOK ? 4 + KAFKA_SASL_LOOK : 4 + 8;

    guard->body = head + (client_id > 0 ? (size_t)client_id : 0);
    if (request->type == KAFKA_REQUEST_TOKEN || guard->body > size)
        guard->body = size;
    int verdict =
        kafka_guard_begin(&guard->judge, request, (uint64_t)f->reader.length + 4 - guard->body);
    if (verdict == KAFKA_GUARD_MORE && size > guard->body)
        verdict = kafka_guard_walk(&guard->judge, frame + guard->body, size - guard->body);
    return verdict;
}

static int run_guarded_head(struct kafka_filter *f, struct turn *t, size_t used, bool ready)
{
    struct kafka_guard_flow *guard = f->guard;
    bool in_place = guard->held.size == 0;

    if (!ready)
        return hold_request(f, t, used);
    int login = check_login(f, &f->reader.request);
    if (login != 0)
        return login;
    if (!in_place && hold_request(f, t, used) < 0)
        return f->failure;
    int verdict = in_place ? judge_head(f, next(t), used)
                           : judge_head(f, guard->held.bytes, guard->held.size);
    if (verdict == KAFKA_GUARD_PASS && in_place) {
        if (enter_request(f) < 0)
            return f->failure;
        pass(t, used);
        guard->phase = has_whole_request(f) ? KAFKA_GUARD_HEAD : KAFKA_GUARD_BODY;
        return 0;
    }
    if (in_place && hold_request(f, t, used) < 0)
        return f->failure;
    return follow_verdict(f, verdict);
}

/* What was allowed of it may be so no more. */
static int judge_again(struct kafka_filter *f)
{
    return follow_verdict(f, judge_head(f, f->guard->held.bytes, f->guard->held.size));
}

static int run_guarded_look(struct kafka_filter *f, struct turn *t, size_t used)
{
    if (kafka_guard_is_stale(&f->guard->judge))
        return hold_request(f, t, used) < 0 ? f->failure : judge_again(f);
    int verdict = kafka_guard_walk(&f->guard->judge, next(t), used);

    return hold_request(f, t, used) < 0 ? f->failure : follow_verdict(f, verdict);
}

/* The broker has a part of it, and forgets that when the connection closes. */
static int run_guarded_late(struct kafka_filter *f, struct turn *t, size_t used)
{
    struct kafka_guard_flow *guard = f->guard;

    if (kafka_guard_is_stale(&guard->judge)) {
        guard->judge.reason = "is under way while the rules of --access change, and is too large "
                              "to be judged again";
        return fail_guarded(f, KAFKA_FILTER_EDENIED);
    }
    int verdict = kafka_guard_walk(&guard->judge, next(t), used);
    if (verdict < 0)
        return fail_guarded(f, verdict);
    if (verdict == KAFKA_GUARD_DENIED) {
        guard->judge.reason = "is denied by --access for what it names behind its first 4 MiB";
        return fail_guarded(f, KAFKA_FILTER_EDENIED);
    }
    if (has_whole_request(f) && verdict == KAFKA_GUARD_MORE)
        return fail_filter(f, KAFKA_FILTER_EFRAME, &f->reader.request, "request",
                           "ends before its last field");
    pass(t, used);
    if (verdict == KAFKA_GUARD_PASS)
        guard->phase = has_whole_request(f) ? KAFKA_GUARD_HEAD : KAFKA_GUARD_BODY;
    return 0;
}

static int run_guarded_drop(struct kafka_filter *f, struct turn *t, size_t used)
{
    int result = kafka_guard_collect(&f->guard->judge, next(t), used);

    if (result < 0)
        return fail_guarded(f, result);
    use_up(t, used);
    return has_whole_request(f) ? answer_denied_request(f) : 0;
}

static int run_guarded(struct kafka_filter *f, struct turn *t)
{
    struct kafka_guard_flow *guard = f->guard;
    size_t used;
    int result = kafka_request_reader_run(&f->reader, &f->sasl, next(t), available(t), &used);

    if (result < 0)
        return fail_reader(f, result);
    switch (guard->phase) {
    case KAFKA_GUARD_HEAD:
        return run_guarded_head(f, t, used, result == KAFKA_REQUEST_READY);
    case KAFKA_GUARD_LOOK:
        return run_guarded_look(f, t, used);
    case KAFKA_GUARD_LATE:
        return run_guarded_late(f, t, used);
    case KAFKA_GUARD_DROP:
        return run_guarded_drop(f, t, used);
    case KAFKA_GUARD_WHOLE:
        if (hold_request(f, t, used) < 0)
            return f->failure;
        if (!has_whole_request(f))
            return 0;
        return kafka_guard_is_stale(&guard->judge) ? judge_again(f) : rewrite_request(f);
    default:
        pass(t, used);
        if (has_whole_request(f))
            guard->phase = KAFKA_GUARD_HEAD;
        return 0;
    }
}

int kafka_filter_guarded_requests(struct kafka_filter *f, const uint8_t *bytes, size_t size,
                                  bool last, size_t *consumed, struct kafka_span *out)
{
    struct turn t = {.bytes = bytes, .size = size};
    struct kafka_guard_flow *guard = f->guard;

    *consumed = 0;
    *out = (struct kafka_span){0};
    if (f->failure != 0)
        return f->failure;
    if (f->owed_up.size > 0) {
        *out = f->owed_up;
        f->owed_up = (struct kafka_span){0};
        return 0;
    }
    if (guard->spent) {
        guard->spent = false;
        kafka_buffer_trim(&guard->held);
        kafka_buffer_trim(&guard->out);
    }
    /* As with responses, a run that cannot grow is yielded before anything else comes. */
    while (f->failure == 0 && !f->refused && f->owed_up.size == 0 && !guard->spent &&
           t.used < t.size && (t.start == t.end || t.used == t.end) &&
           !(last && has_whole_request(f)))
        run_guarded(f, &t);
    *consumed = t.used;
    if (f->failure != 0)
        return f->failure;
    if (t.end > t.start) {
        *out = (struct kafka_span){t.bytes + t.start, t.end - t.start};
    } else {
        *out = f->owed_up;
        f->owed_up = (struct kafka_span){0};
    }
    return f->refused && out->size == 0 ? KAFKA_FILTER_REFUSED : 0;
}

bool kafka_filter_is_guarded(const struct kafka_filter *f)
{
    return f->guard != NULL;
}

bool kafka_filter_has_answer(const struct kafka_filter *f)
{
    return f->state == HEAD && f->head_size == 0 && kafka_requests_front_is_denied(&f->requests);
}

/* The response direction. */

static size_t max_held(const struct kafka_filter *f)
{
    if (f->request.type == KAFKA_REQUEST_OWN)
        return KAFKA_FILTER_OWN_MAX;
    switch (f->method) {
    case KAFKA_HOLD_PREFIX:
        return f->limits.prefix;
    case KAFKA_HOLD_TAIL:
        return f->limits.tail;
    default:
        return f->limits.frame;
    }
}

/* What was done to a response: for figures, and as work of this turn. */
static void account(struct kafka_filter *f, const struct kafka_rewrite *r)
{
    uint32_t erased = r->neutralised + r->blanked;

    if (f->callbacks.rewrote && r->rewritten + erased > 0)
        f->callbacks.rewrote(f->context, f->request.api_key, r->rewritten, erased, r->blanked);
    f->work += r->rewritten + erased + r->judged;
}

/* A frame whose part has another size now has another length. A tail never has. */
static int fix_length(struct kafka_filter *f, size_t before)
{
    int64_t delta = (int64_t)f->out.size - (int64_t)before;

    if (f->method == KAFKA_HOLD_TAIL) {
        assert(delta == 0);
        return 0;
    }
    int64_t length = (int64_t)byte_load_u32(f->out.bytes) + delta;
    if (length > INT32_MAX)
        return fail_response(f, KAFKA_FILTER_ELIMIT, "is too large to be rewritten");
    byte_store_u32(f->out.bytes, (uint32_t)length);
    return 0;
}

/* After a part: the rest of a frame whose prefix it was, or the next frame. */
static void after_part(struct kafka_filter *f)
{
    f->left = f->method == KAFKA_HOLD_PREFIX ? f->walk.taker.left : 0;
    f->state = f->left > 0 ? PASS : HEAD;
}

/* NULL: nothing is to be kept from the client. */
static struct kafka_guard_requests *guard_of_response(const struct kafka_filter *f)
{
    struct kafka_guard_requests *judge = f->guard ? &f->guard->judge : NULL;

    return judge && (f->request.note || !judge->guard->open(judge->context)) ? judge : NULL;
}

/* Rewrites a complete part: an enum kafka_rewrite_result, with the result in out, or an error. */
static int settle_held_part(struct kafka_filter *f, const uint8_t *bytes, size_t size)
{
    struct kafka_rewrite r = {
        .version = f->request.version,
        .flexible = kafka_api_flexible(f->api, f->request.version),
        .out = &f->out,
        .wanted = &f->wanted,
        .max = 4 * max_held(f) + 4096,
        .callbacks = &f->callbacks,
        .context = f->context,
        .sasl = &f->sasl,
        .guard = guard_of_response(f),
        .note = f->request.note,
    };

    kafka_rewrite_start(&r, bytes, size, f->method == KAFKA_HOLD_TAIL ? 0 : KAFKA_HEAD_SIZE);
    int result = f->api->handler->rewrite(&r);
    if (result < 0)
        return fail_response(f, result, r.reason);
    if (result == KAFKA_REWRITE_BLOCKED)
        return result;
    account(f, &r);
    if (result == KAFKA_REWRITE_CHANGED && fix_length(f, size) < 0)
        return f->failure;
    after_part(f);
    return result;
}

/* The same for the part in held. */
static int settle_held(struct kafka_filter *f)
{
    if (f->request.type == KAFKA_REQUEST_OWN) {
        f->state = OWN;
        return 0;
    }
    int result = settle_held_part(f, f->held.bytes, f->held.size);

    f->retry = false;
    if (result == KAFKA_REWRITE_BLOCKED)
        f->state = SETTLE;
    else if (result == KAFKA_REWRITE_CHANGED)
        f->owed = (struct kafka_span){f->out.bytes, f->out.size};
    else if (result == KAFKA_REWRITE_SAME)
        f->owed = (struct kafka_span){f->held.bytes, f->held.size};
    return result < 0 ? result : 0;
}

static int hold(struct kafka_filter *f, struct turn *t, size_t size)
{
    if (!kafka_buffer_append(&f->held, next(t), size, max_held(f)))
        return fail_response(f, KAFKA_FILTER_ELIMIT, "is too large to be held for rewriting");
    use_up(t, size);
    return 0;
}

/* The next size bytes are a whole part: no need to copy it, unless the map does not know a node. */
static int settle_in_place(struct kafka_filter *f, struct turn *t, size_t size)
{
    int result = settle_held_part(f, next(t), size);

    if (result == KAFKA_REWRITE_SAME) {
        pass(t, size);
    } else if (result == KAFKA_REWRITE_CHANGED) {
        use_up(t, size);
        f->owed = (struct kafka_span){f->out.bytes, f->out.size};
    } else if (result == KAFKA_REWRITE_BLOCKED) {
        f->held.size = 0;
        f->state = SETTLE;
        return hold(f, t, size);
    }
    return result < 0 ? result : 0;
}

static enum kafka_method choose(const struct kafka_filter *f)
{
    if (f->request.type == KAFKA_REQUEST_OWN)
        return KAFKA_HOLD_FRAME;
    if (!f->api || !f->api->handler)
        return KAFKA_PASS;
    if (f->request.note)
        return KAFKA_HOLD_FRAME;
    return f->api->handler->method(f->request.version);
}

/* Finds out what a response with this head is, and what becomes of it. */
static int begin_response(struct kafka_filter *f, const uint8_t *head)
{
    int32_t length = (int32_t)byte_load_u32(head);
    int32_t correlation_id = (int32_t)byte_load_u32(head + 4);
    char what[80];

    free(f->request.note);
    f->request = (struct kafka_request){.correlation_id = correlation_id, .api_key = -1};
    switch (kafka_requests_match(&f->requests, correlation_id, &f->request)) {
    case KAFKA_REQUESTS_UNKNOWN:
        snprintf(what, sizeof what, "with correlation id %d does not answer any request",
                 (int)correlation_id);
        return fail_filter(f, KAFKA_FILTER_ECORRELATION, NULL, "response", what);
    case KAFKA_REQUESTS_OUT_OF_ORDER:
        report(f, KAFKA_FILTER_EVENT_OUT_OF_ORDER, &f->request);
        break;
    default:
        break;
    }
    f->api = kafka_api_find(f->request.api_key);
    f->method = choose(f);
    f->left = (uint64_t)length - 4;
    f->work++;
    if (f->guard) {
        f->guard->heads = kafka_guard_tells_session(&f->request);
        f->guard->head_size = 0;
    }
    if (f->callbacks.answered && f->request.type == KAFKA_REQUEST_ANSWERED)
        f->callbacks.answered(f->context, f->request.api_key, f->request.mark);
    if (f->method == KAFKA_HOLD_FRAME && f->left + KAFKA_HEAD_SIZE > max_held(f))
        return fail_response(f, KAFKA_FILTER_ELIMIT, "is too large to be held for rewriting");
    if (f->method == KAFKA_HOLD_PREFIX || f->method == KAFKA_HOLD_TAIL) {
        /* No byte will come that the walk could fail at. */
        if (f->left == 0)
            return fail_response(f, KAFKA_FILTER_EFRAME, "ends before its first field");
        kafka_walk_start(&f->walk, f->api->handler->layout(f->request.version), f->left);
    }
    return 0;
}

static void begin_pass(struct kafka_filter *f)
{
    if (f->method == KAFKA_HOLD_TAIL)
        f->state = WALK;
    else
        f->state = f->left > 0 ? PASS : HEAD;
}

/* The head is next in the input (in_place), or has been gathered in f->head. */
static int dispatch(struct kafka_filter *f, struct turn *t, bool in_place)
{
    const uint8_t *head = in_place ? next(t) : f->head;

    f->head_size = 0;
    if (begin_response(f, head) < 0)
        return f->failure;
    if (f->method == KAFKA_PASS || f->method == KAFKA_HOLD_TAIL) {
        begin_pass(f);
        if (in_place)
            pass(t, KAFKA_HEAD_SIZE);
        else
            f->owed = (struct kafka_span){f->head, KAFKA_HEAD_SIZE};
        return 0;
    }
    if (in_place && f->method == KAFKA_HOLD_FRAME && f->request.type != KAFKA_REQUEST_OWN &&
        f->left <= available(t) - KAFKA_HEAD_SIZE)
        return settle_in_place(f, t, KAFKA_HEAD_SIZE + (size_t)f->left);

    f->held.size = 0;
    f->state = f->method == KAFKA_HOLD_PREFIX ? HOLD_PREFIX : HOLD;
    if (in_place)
        return hold(f, t, KAFKA_HEAD_SIZE);
    if (!kafka_buffer_append(&f->held, head, KAFKA_HEAD_SIZE, max_held(f)))
        return fail_response(f, KAFKA_FILTER_EMEMORY, "could not be handled: out of memory");
    return f->left == 0 && f->state == HOLD ? settle_held(f) : 0;
}

/* A raw SASL token has a length and no more. */
static int dispatch_token(struct kafka_filter *f, struct turn *t, bool in_place)
{
    kafka_requests_pop_token(&f->requests);
    f->sasl.server_tokens++;
    f->work++;
    f->left = byte_load_u32(in_place ? next(t) : f->head);
    f->state = f->left > 0 ? PASS : HEAD;
    f->head_size = 0;
    if (in_place)
        pass(t, 4);
    else
        f->owed = (struct kafka_span){f->head, 4};
    return 0;
}

/* What the first four bytes alone can tell; they may be all that ever comes. */
static int check_length(struct kafka_filter *f, const uint8_t *head, bool token)
{
    int32_t length = (int32_t)byte_load_u32(head);
    enum kafka_sniff sniffed = f->any ? KAFKA_SNIFF_KAFKA : kafka_sniff(head, 4);
    char what[64];

    f->any = true;
    if (sniffed != KAFKA_SNIFF_KAFKA)
        return fail_filter_protocol(f, kafka_sniff_broker_advice(sniffed));
    if (length >= (token ? 0 : 4))
        return 0;
    snprintf(what, sizeof what, "has the invalid length %d", (int)length);
    return fail_filter(f, KAFKA_FILTER_EFRAME, NULL, "response", what);
}

static int run_response_head(struct kafka_filter *f, struct turn *t)
{
    bool token = kafka_requests_front_is_token(&f->requests) && f->head_size <= 4;
    unsigned need = token ? 4 : KAFKA_HEAD_SIZE;
    bool in_place = f->head_size == 0 && available(t) >= need;

    if (!in_place) {
        size_t some = bytes_at_most(need - f->head_size, available(t));
        memcpy(f->head + f->head_size, next(t), some);
        f->head_size += (unsigned)some;
        use_up(t, some);
    }
    if ((in_place || f->head_size >= 4) && check_length(f, in_place ? next(t) : f->head, token) < 0)
        return f->failure;
    if (!in_place && f->head_size < need)
        return 0;
    return token ? dispatch_token(f, t, in_place) : dispatch(f, t, in_place);
}

/* The session that a broker gives to the client stands at the beginning of the response. */
static void see_session(struct kafka_filter *f, const uint8_t *bytes, size_t size)
{
    struct kafka_guard_flow *guard = f->guard;

    if (!guard || !guard->heads)
        return;
    size_t some = bytes_at_most(sizeof guard->head - guard->head_size, size);
    memcpy(guard->head + guard->head_size, bytes, some);
    guard->head_size += some;
    guard->heads = guard->head_size < sizeof guard->head;
    if (!guard->heads)
        kafka_guard_see_session(&guard->judge, &f->request, guard->head, sizeof guard->head);
}

static int run_pass(struct kafka_filter *f, struct turn *t)
{
    size_t some = bytes_at_most(f->left, available(t));

    see_session(f, next(t), some);

    pass(t, some);
    f->left -= some;
    if (f->left == 0)
        f->state = HEAD;
    return 0;
}

static int run_walk(struct kafka_filter *f, struct turn *t)
{
    size_t used;
    enum kafka_walk_result result = kafka_walk_run(&f->walk, next(t), available(t), &used);

    see_session(f, next(t), used);
    pass(t, used);
    if (result == KAFKA_WALK_FAILED)
        return fail_response(f, KAFKA_FILTER_EFRAME, f->walk.taker.reason);
    if (result == KAFKA_WALK_DONE) {
        f->left = f->walk.taker.left;
        f->state = TAIL_BEGIN;
        if (f->left > f->limits.tail)
            return fail_response(f, KAFKA_FILTER_ELIMIT,
                                 "has too many bytes after its last partition");
        if (f->left == 0)
            return fail_response(f, KAFKA_FILTER_EFRAME, "ends before its last field");
    }
    return 0;
}

static int run_tail_begin(struct kafka_filter *f, struct turn *t)
{
    if (f->left <= available(t))
        return settle_in_place(f, t, (size_t)f->left);
    f->held.size = 0;
    f->state = HOLD;
    return 0;
}

static int run_hold_prefix(struct kafka_filter *f, struct turn *t)
{
    size_t used;
    const uint8_t *bytes = next(t);
    enum kafka_walk_result result = kafka_walk_run(&f->walk, bytes, available(t), &used);

    if (result == KAFKA_WALK_FAILED)
        return fail_response(f, KAFKA_FILTER_EFRAME, f->walk.taker.reason);
    if (hold(f, t, used) < 0)
        return f->failure;
    return result == KAFKA_WALK_DONE ? settle_held(f) : 0;
}

static int run_hold(struct kafka_filter *f, struct turn *t)
{
    size_t some = bytes_at_most(f->left, available(t));

    if (hold(f, t, some) < 0)
        return f->failure;
    f->left -= some;
    return f->left == 0 ? settle_held(f) : 0;
}

static int run_responses(struct kafka_filter *f, struct turn *t)
{
    switch (f->state) {
    case HEAD:
        return run_response_head(f, t);
    case PASS:
        return run_pass(f, t);
    case WALK:
        return run_walk(f, t);
    case TAIL_BEGIN:
        return run_tail_begin(f, t);
    case HOLD_PREFIX:
        return run_hold_prefix(f, t);
    default:
        return run_hold(f, t);
    }
}

/* Memory for a large response is not kept for the small ones. */
static void trim(struct kafka_filter *f)
{
    if (f->state == HOLD || f->state == HOLD_PREFIX || f->state == SETTLE || f->state == OWN)
        return;
    kafka_buffer_trim(&f->held);
    kafka_buffer_trim(&f->out);
    kafka_buffer_trim(&f->wanted);
    free(f->request.note);
    f->request.note = NULL;
}

static int yield(struct kafka_filter *f, const struct turn *t, size_t *consumed,
                 struct kafka_span *out)
{
    *consumed = t->used;
    if (t->end > t->start) {
        *out = (struct kafka_span){t->bytes + t->start, t->end - t->start};
    } else if (f->owed.size > 0) {
        *out = f->owed;
        f->owed = (struct kafka_span){0};
    } else if (f->failure != 0) {
        *consumed = 0;
        return f->failure;
    } else if (f->state == SETTLE) {
        return KAFKA_FILTER_BLOCKED;
    } else if (f->state == OWN) {
        *out = (struct kafka_span){f->held.bytes, f->held.size};
        f->state = HEAD;
        return KAFKA_FILTER_OWN;
    }
    return 0;
}

/* What the client is owed next may be an answer that the broker does not have to give. */
static bool take_denied_answer(struct kafka_filter *f)
{
    if (f->owed.size > 0 || !kafka_filter_has_answer(f))
        return false;
    free(f->request.note);
    kafka_requests_pop_denied(&f->requests, &f->request);
    f->owed = (struct kafka_span){f->request.note->bytes, f->request.note->size};
    return true;
}

/* Between two responses only: what has begun goes through, and is bounded by its limits. */
static bool is_tired(const struct kafka_filter *f)
{
    return f->limits.turn > 0 && f->work >= f->limits.turn && f->owed.size == 0 &&
           f->state == HEAD && f->head_size == 0;
}

void kafka_filter_turn(struct kafka_filter *f)
{
    f->work = 0;
}

int kafka_filter_responses(struct kafka_filter *f, const uint8_t *bytes, size_t size,
                           size_t *consumed, struct kafka_span *out)
{
    struct turn t = {.bytes = bytes, .size = size};

    *consumed = 0;
    *out = (struct kafka_span){0};
    if (f->failure != 0)
        return f->failure;
    if (f->owed.size == 0 && f->state == SETTLE) {
        if (!f->retry)
            return KAFKA_FILTER_BLOCKED;
        if (settle_held(f) < 0)
            return f->failure;
        if (f->state == SETTLE)
            return KAFKA_FILTER_BLOCKED;
    }
    if (f->owed.size == 0)
        trim(f);
    if (size > 0 && is_tired(f))
        return KAFKA_FILTER_TIRED;

    /* A run that cannot grow is yielded before anything else comes. */
    while (!take_denied_answer(f) && f->failure == 0 && f->owed.size == 0 && f->state != SETTLE &&
           f->state != OWN && t.used < t.size && (t.start == t.end || t.used == t.end) &&
           !is_tired(f))
        run_responses(f, &t);
    return yield(f, &t, consumed, out);
}

size_t kafka_filter_wanted(const struct kafka_filter *f, const struct kafka_wanted **nodes)
{
    *nodes = NULL;
    if (f->state != SETTLE)
        return 0;
    *nodes = (const void *)f->wanted.bytes;
    return f->wanted.size / sizeof **nodes;
}

void kafka_filter_retry(struct kafka_filter *f)
{
    f->retry = true;
}

const char *kafka_filter_reason(const struct kafka_filter *f)
{
    return f->reason;
}

const char *kafka_filter_failed_api(const struct kafka_filter *f, int16_t *version)
{
    *version = f->failed.version;
    return kafka_api_find(f->failed.api_key) ? kafka_api_name(f->failed.api_key) : NULL;
}

const char *kafka_filter_client_id(const struct kafka_filter *f)
{
    return f->reader.client_id;
}

const char *kafka_filter_user(const struct kafka_filter *f)
{
    return f->reader.user.name;
}

size_t kafka_filter_memory(const struct kafka_filter *f)
{
    size_t guarded = f->guard ? f->guard->held.capacity + f->guard->out.capacity +
                                    f->guard->judge.collected.capacity
                              : 0;
    size_t note = f->request.note ? f->request.note->size : 0;

    return f->held.capacity + f->out.capacity + f->wanted.capacity + guarded + note +
           kafka_requests_memory(&f->requests);
}

size_t kafka_filter_in_flight(const struct kafka_filter *f)
{
    return kafka_requests_owed(&f->requests);
}

bool kafka_filter_between_requests(const struct kafka_filter *f)
{
    return kafka_request_reader_idle(&f->reader);
}

bool kafka_filter_between_responses(const struct kafka_filter *f)
{
    return f->state == HEAD && f->head_size == 0 && f->owed.size == 0;
}

bool kafka_filter_has_event(const struct kafka_filter *f)
{
    return f->untaken > 0;
}

enum kafka_filter_event kafka_filter_event(struct kafka_filter *f, const char **api,
                                           int16_t *version)
{
    for (unsigned i = 0; i < EVENTS; i++) {
        struct event event = f->events[i];
        if (event.type == KAFKA_FILTER_EVENT_NONE)
            continue;
        f->events[i].type = KAFKA_FILTER_EVENT_NONE;
        f->untaken--;
        *api = event.api_key >= 0 ? kafka_api_name(event.api_key) : "SASL";
        *version = event.version;
        return event.type;
    }
    return KAFKA_FILTER_EVENT_NONE;
}

#include "listeners/greeter.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "http/handshake_slots.h"
#include "io/clock.h"
#include "io/socket.h"
#include "io/timer.h"
#include "io/watch.h"
#include "kafka/sniff.h"

enum {
    TLS_HANDSHAKE = 0x16,
    SNIFFED = 4,
    LINGER_US = 1000 * 1000,
    LINGER_BYTES = 1 << 20,
};

enum greeting_phase {
    GREETING_SILENT,   /* not a byte has come */
    GREETING_SECURING, /* in the TLS handshake */
    GREETING_PARTING,  /* the alert that says why is on its way: what still comes is dropped, since
                          closing with unread bytes would reset the connection under it */
};

struct greeter {
    struct worker *worker;
    const struct greeter_owner *owner;
    void *context;
    struct greeter_settings settings;
    struct slots slots;
    struct list open;    /* greetings, by their deadline; all have the same time */
    struct list parting; /* the same */
    struct timer *timer;
};

struct greeting {
    struct list node; /* in open or parting */
    struct slot slot;
    struct greeter *greeter;
    struct socket_address address;
    uint64_t deadline_us;
    enum greeting_phase phase;
    enum greeter_end end; /* while parting */
    enum listener_security security;
    SSL_CTX *tls;
    struct transport *transport;
    struct watch *readable;
    struct watch *writable; /* NULL until it is needed */
    const char *label;
    void *connection;
    size_t dropped; /* bytes while parting */
};

enum greeting_step {
    GREETING_ON,   /* the next phase can begin */
    GREETING_WAIT, /* for the socket */
    GREETING_OVER, /* the greeting is freed */
};

/* ---- the end */

/* All but the transport. */
static void release_greeting(struct greeting *greeting)
{
    slots_give_back(&greeting->greeter->slots, &greeting->slot);
    list_remove(&greeting->node);
    watch_free(greeting->readable);
    watch_free(greeting->writable);
    SSL_CTX_free(greeting->tls);
    free(greeting);
}

static enum greeting_step hand_guest_on(struct greeting *greeting)
{
    struct greeter *greeter = greeting->greeter;
    struct transport *transport = greeting->transport;
    void *connection = greeting->connection;

    release_greeting(greeting);
    transport_stop_wiping(transport);
    greeter->owner->greeted(greeter->context, connection, transport);
    return GREETING_OVER;
}

static enum greeting_step dismiss_guest(struct greeting *greeting, enum greeter_end end, bool reset)
{
    struct greeter *greeter = greeting->greeter;
    struct transport *transport = greeting->transport;
    void *connection = greeting->connection;

    release_greeting(greeting);
    if (reset)
        transport_reset(transport);
    else
        transport_free(transport);
    greeter->owner->dismissed(greeter->context, connection, end);
    return GREETING_OVER;
}

static void watch_greeter_clock(struct greeter *greeter)
{
    const struct list *lists[] = {&greeter->open, &greeter->parting};
    uint64_t next = UINT64_MAX;
    uint64_t now = clock_now_us();

    for (size_t i = 0; i < 2; i++) {
        if (list_empty(lists[i]))
            continue;
        uint64_t deadline = list_entry(lists[i]->next, struct greeting, node)->deadline_us;
        next = deadline < next ? deadline : next;
    }
    if (next != UINT64_MAX)
        timer_start_us(greeter->timer, next > now ? next - now : 0);
}

/* ---- TLS */

static void say_failed(const struct greeting *greeting, const char *message, const char *reason)
{
    char peer[SOCKET_TEXT_MAX];

    socket_format(&greeting->address, peer);
    const struct log_field fields[] = {log_str("listener", greeting->label), log_str("peer", peer),
                                       log_str("reason", reason)};
    log_event(greeting->greeter->worker->log, LOG_LEVEL_WARNING, "listener_tls_failed", message,
              fields, 3);
}

static enum greeter_end explain_handshake(const struct greeting *greeting)
{
    const char *reason = transport_error(greeting->transport);

    switch (transport_failure(greeting->transport)) {
    case TLS_FAILURE_ALERT:
        say_failed(greeting,
                   "A local program refused the listener's TLS: if it does not trust the "
                   "certificate, `tunnel-client listener-ca` says how it can",
                   reason);
        return GREETER_CLIENT_REFUSED;
    case TLS_FAILURE_TRUST:
    case TLS_FAILURE_DATES:
        say_failed(greeting, "A local program's certificate is refused (--listener-client-ca)",
                   reason);
        return GREETER_CERTIFICATE;
    default:
        say_failed(greeting, "A TLS handshake with a local program failed", reason);
        return GREETER_HANDSHAKE;
    }
}

static enum greeting_step begin_parting(struct greeting *greeting, enum greeter_end end)
{
    struct greeter *greeter = greeting->greeter;

    transport_shutdown(greeting->transport);
    greeting->end = end;
    greeting->phase = GREETING_PARTING;
    greeting->deadline_us = clock_now_us() + LINGER_US;
    slots_set(&greeter->slots, &greeting->slot, SLOT_SPENT);
    list_remove(&greeting->node);
    list_append(&greeter->parting, &greeting->node);
    return GREETING_ON;
}

static enum greeting_step part(struct greeting *greeting)
{
    long got;

    if (transport_flush(greeting->transport) == TRANSPORT_ERROR)
        return dismiss_guest(greeting, greeting->end, false);
    do {
        got = transport_discard(greeting->transport);
        greeting->dropped += got > 0 ? (size_t)got : 0;
    } while (got > 0 && greeting->dropped < LINGER_BYTES);
    return got == TRANSPORT_BLOCKED ? GREETING_WAIT : dismiss_guest(greeting, greeting->end, false);
}

/* Gone in the middle of the handshake. */
static enum greeting_step miss_guest(struct greeting *greeting)
{
    say_failed(greeting, "A TLS handshake with a local program failed",
               "the program closed the connection");
    return dismiss_guest(greeting, GREETER_HANDSHAKE, false);
}

static enum greeting_step secure_guest(struct greeting *greeting)
{
    enum greeter_end end;

    switch (transport_handshake(greeting->transport)) {
    case 1:
        return hand_guest_on(greeting);
    case TRANSPORT_BLOCKED:
        if (transport_has_answered(greeting->transport))
            slots_spare(&greeting->slot, clock_now_us());
        return GREETING_WAIT;
    case TRANSPORT_EOF:
        return miss_guest(greeting);
    default:
        end = explain_handshake(greeting);
        return transport_busy(greeting->transport) ? dismiss_guest(greeting, end, false)
                                                   : begin_parting(greeting, end);
    }
}

/* ---- the first byte */

static enum greeting_step refuse_plaintext(struct greeting *greeting, const uint8_t *bytes,
                                           size_t size)
{
    enum kafka_sniff sniffed = kafka_sniff(bytes, size);
    const char *advice = sniffed == KAFKA_SNIFF_TLS_ALERT ? "" : kafka_sniff_client_advice(sniffed);
    char peer[SOCKET_TEXT_MAX];

    socket_format(&greeting->address, peer);
    log_warning(greeting->greeter->worker->log, "plaintext_refused",
                "A local connection was reset: this listener requires TLS",
                log_str("listener", greeting->label), log_str("peer", peer),
                log_str("reason",
                        advice[0] ? advice
                                  : "set the client's security.protocol to SSL, or to SASL_SSL if "
                                    "it logs in, and see `tunnel-client listener-ca`; or let "
                                    "plaintext in with --listener-tls optional"));
    return dismiss_guest(greeting, GREETER_PLAINTEXT, true);
}

static enum greeting_step recognise_guest(struct greeting *greeting)
{
    uint8_t bytes[SNIFFED];
    long got = transport_peek(greeting->transport, bytes, sizeof bytes);

    if (got == TRANSPORT_BLOCKED)
        return GREETING_WAIT;
    if (got < 0)
        return dismiss_guest(greeting, GREETER_LEFT, false);
    if (bytes[0] == TLS_HANDSHAKE) {
        /* The computation would be for nobody: see the server's door (http/server.c). */
        if (socket_peer_end(transport_fd(greeting->transport)) != SOCKET_OPEN)
            return miss_guest(greeting);
        greeting->transport = transport_secure_server(greeting->transport, greeting->tls);
        greeting->phase = GREETING_SECURING;
        return GREETING_ON;
    }
    return greeting->security == LISTENER_SECURE ? refuse_plaintext(greeting, bytes, (size_t)got)
                                                 : hand_guest_on(greeting);
}

/* ---- the way of a connection */

static enum greeting_step greeting_step(struct greeting *greeting)
{
    switch (greeting->phase) {
    case GREETING_SILENT:
        return recognise_guest(greeting);
    case GREETING_SECURING:
        return secure_guest(greeting);
    default:
        return part(greeting);
    }
}

static void on_guest_ready(void *argument)
{
    struct greeting *greeting = argument;
    struct greeter *greeter = greeting->greeter;
    enum greeting_step step;

    do
        step = greeting_step(greeting);
    while (step == GREETING_ON);
    if (step == GREETING_WAIT) {
        bool blocked = transport_busy(greeting->transport);
        if (blocked && !greeting->writable)
            greeting->writable = watch_new(greeter->worker, transport_fd(greeting->transport),
                                           WATCH_WRITE, on_guest_ready, greeting);
        if (greeting->writable)
            watch_want(greeting->writable, blocked);
        watch_want(greeting->readable, true);
    }
    watch_greeter_clock(greeter);
}

static void expire_guest(struct greeting *greeting)
{
    const struct greeter *greeter = greeting->greeter;
    bool securing = greeting->phase == GREETING_SECURING;
    char reason[80];

    if (securing) {
        snprintf(reason, sizeof reason, "the program did not complete it within %u s",
                 (unsigned)(greeter->settings.timeout_ms / 1000));
        say_failed(greeting, "A TLS handshake with a local program failed", reason);
    } else {
        char peer[SOCKET_TEXT_MAX];
        socket_format(&greeting->address, peer);
        log_info(greeter->worker->log, "listener_silent",
                 "A local connection was closed: the program sent nothing",
                 log_str("listener", greeting->label), log_str("peer", peer));
    }
    dismiss_guest(greeting, securing ? GREETER_TIMEOUT : GREETER_SILENT, true);
}

static void on_greeter_time(void *argument)
{
    struct greeter *greeter = argument;
    struct list *node;
    uint64_t now = clock_now_us();

    while ((node = greeter->parting.next) != &greeter->parting) {
        struct greeting *greeting = list_entry(node, struct greeting, node);
        if (greeting->deadline_us > now)
            break;
        dismiss_guest(greeting, greeting->end, false);
    }
    while ((node = greeter->open.next) != &greeter->open) {
        struct greeting *greeting = list_entry(node, struct greeting, node);
        if (greeting->deadline_us > now)
            break;
        expire_guest(greeting);
    }
    watch_greeter_clock(greeter);
}

/* ---- slots */

static struct greeting *find_greeting_victim(const struct greeter *greeter,
                                             const struct socket_address *newcomer)
{
    struct slot *slot = slots_victim(&greeter->slots, newcomer, clock_now_us());

    return slot ? list_entry(slot, struct greeting, slot) : NULL;
}

/* false: none can be had. */
static bool make_room_for_guest(struct greeter *greeter, const struct socket_address *newcomer)
{
    struct greeting *greeting = find_greeting_victim(greeter, newcomer);
    char peer[SOCKET_TEXT_MAX];

    /* Many may have been accepted since the loop last looked at sockets: its bytes may be here. */
    if (greeting && greeting->slot.state == SLOT_OPEN) {
        on_guest_ready(greeting);
        if (!slots_full(&greeter->slots))
            return true;
        greeting = find_greeting_victim(greeter, newcomer);
    }
    if (!greeting)
        return false;
    socket_format(&greeting->address, peer);
    bool open = greeting->slot.state == SLOT_OPEN;
    if (open)
        log_warning(greeter->worker->log, "connection_refused",
                    "A local connection gives way to a new one: too many are silent or in their "
                    "TLS handshake",
                    log_str("listener", greeting->label), log_str("peer", peer),
                    log_u64("limit", greeter->settings.max));
    dismiss_guest(greeting, open ? GREETER_CROWDED : greeting->end, true);
    return true;
}

void greeter_adopt(struct greeter *greeter, const struct greeter_guest *guest)
{
    if (slots_full(&greeter->slots) && !make_room_for_guest(greeter, guest->peer)) {
        log_warning(greeter->worker->log, "connection_refused",
                    "A local connection is refused: too many are in their TLS handshake",
                    log_str("listener", guest->label), log_u64("limit", greeter->settings.max));
        transport_reset(guest->transport);
        greeter->owner->dismissed(greeter->context, guest->connection, GREETER_CROWDED);
        return;
    }
    struct greeting *greeting = memory_new(sizeof *greeting);
    *greeting = (struct greeting){
        .greeter = greeter,
        .address = *guest->peer,
        .deadline_us = clock_now_us() + greeter->settings.timeout_ms * 1000,
        .phase = GREETING_SILENT,
        .security = guest->security,
        .tls = guest->tls,
        .transport = guest->transport,
        .label = guest->label,
        .connection = guest->connection,
    };
    SSL_CTX_up_ref(greeting->tls);
    greeting->readable = watch_new(greeter->worker, transport_fd(guest->transport), WATCH_READ,
                                   on_guest_ready, greeting);
    slots_take(&greeter->slots, &greeting->slot, guest->peer, clock_now_us());
    list_append(&greeter->open, &greeting->node);
    on_guest_ready(greeting);
}

/* ---- life */

struct greeter *greeter_new(struct worker *worker, const struct greeter_settings *settings,
                            const struct greeter_owner *owner, void *context)
{
    struct greeter *greeter = memory_new(sizeof *greeter);

    *greeter = (struct greeter){
        .worker = worker, .owner = owner, .context = context, .settings = *settings};
    slots_init(&greeter->slots, settings->max, &worker->hash_key);
    list_init(&greeter->open);
    list_init(&greeter->parting);
    greeter->timer = timer_new(worker, on_greeter_time, greeter);
    return greeter;
}

void greeter_clear(struct greeter *greeter)
{
    struct list *node;

    if (!greeter)
        return;
    while ((node = greeter->parting.next) != &greeter->parting) {
        struct greeting *greeting = list_entry(node, struct greeting, node);
        dismiss_guest(greeting, greeting->end, false);
    }
    while ((node = greeter->open.next) != &greeter->open)
        dismiss_guest(list_entry(node, struct greeting, node), GREETER_LEFT, true);
}

size_t greeter_count(const struct greeter *greeter)
{
    return greeter->slots.count;
}

void greeter_free(struct greeter *greeter)
{
    if (!greeter)
        return;
    greeter_clear(greeter);
    timer_free(greeter->timer);
    slots_clear(&greeter->slots);
    free(greeter);
}

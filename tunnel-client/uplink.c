#include "uplink.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "config/secret.h"
#include "net/clock.h"
#include "net/http_client.h"

enum {
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 10 * 1000,
    BACKOFF_AUTH_MS = 30 * 1000,
    /* A link that lives shorter than this did not help: the next dial is not immediate. */
    LINK_PROVEN_US = 1000 * 1000,
};

struct uplink {
    struct worker *worker;
    const struct options *options;
    const struct uplink_owner *owner;
    void *context;
    struct http_client *http;
    struct mux_callbacks callbacks;
    struct mux_session *session;
    struct link *link;
    struct event *redial;
    struct event *resume; /* the server forgets the session when this fires */
    uint64_t link_since_us;
    unsigned failures; /* dials in a row that did not lead to a proven link */
    uint32_t resume_window_ms;
    bool session_known; /* a WELCOME has come: streams may exist */
    bool stopping;
};

static void dial(struct uplink *uplink);

/* ---- the session */

static void new_session(struct uplink *uplink)
{
    struct mux_settings settings;
    /* The server makes the key and tells it in WELCOME. */
    const struct mux_session_key none = {0};

    mux_settings_default(&settings);
    settings.role = MUX_CLIENT;
    settings.max_streams = (uint32_t)uplink->options->shared.max_streams;
    settings.ping_interval_us = uplink->options->shared.ping_interval_ms * 1000;
    settings.software = (struct mux_text){"kafka-tunnel/" KAFKA_TUNNEL_VERSION,
                                          sizeof "kafka-tunnel/" KAFKA_TUNNEL_VERSION - 1};
    uplink->session = mux_session_new(&settings, &uplink->callbacks, uplink, &none,
                                      &uplink->worker->pool, &uplink->worker->budget);
    uplink->session_known = false;
}

static void lose_session(struct uplink *uplink, const char *reason)
{
    size_t streams = mux_session_stream_count(uplink->session);

    if (uplink->session_known)
        log_warning(uplink->worker->log, "session_lost",
                    "The session could not be carried on: its connections are reset",
                    log_str("reason", reason), log_u64("connections", streams));
    mux_session_reset_streams(uplink->session, MUX_CODE_SESSION_LOST, reason);
    mux_session_free(uplink->session);
    event_del(uplink->resume);
    new_session(uplink);
}

struct mux_session *uplink_session(struct uplink *uplink)
{
    return uplink->session_known && uplink->link ? uplink->session : NULL;
}

/* ---- redialling */

static unsigned random_below(unsigned bound)
{
    uint32_t number = 0;

    if (RAND_bytes((unsigned char *)&number, sizeof number) != 1)
        abort();
    return number % bound;
}

/* At once after a link that worked; then doubling up to ten seconds, spread so that clients don't
 * meet. */
static unsigned backoff_ms(struct uplink *uplink, bool auth)
{
    unsigned cap = BACKOFF_MIN_MS;

    if (auth)
        return BACKOFF_AUTH_MS + random_below(BACKOFF_AUTH_MS / 2);
    if (uplink->failures == 0)
        return 0;
    for (unsigned i = 0; i < uplink->failures && cap < BACKOFF_MAX_MS; i++)
        cap *= 2;
    if (cap > BACKOFF_MAX_MS)
        cap = BACKOFF_MAX_MS;
    return BACKOFF_MIN_MS + random_below(cap - BACKOFF_MIN_MS + 1);
}

static void redial_in(struct uplink *uplink, unsigned wait_ms)
{
    const struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000};

    if (!uplink->stopping)
        event_add(uplink->redial, &wait);
}

static void on_redial(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    dial(argument);
}

static void dial_failed(struct uplink *uplink, const char *hop, int status, const char *reason,
                        bool auth)
{
    uplink->failures++;
    unsigned wait_ms = backoff_ms(uplink, auth);
    /* An event's fields keep their names in both formats: retry_ms is a plain number. */
    log_warning(uplink->worker->log, "dial_failed", "The server could not be reached",
                log_str("hop", hop), log_str("reason", reason), log_u64("status", (uint64_t)status),
                log_u64("retry_ms", wait_ms));
    redial_in(uplink, wait_ms);
}

/* ---- the link */

static void on_link_ended(void *context, struct link *link, enum link_end end, const char *reason)
{
    struct uplink *uplink = context;
    uint64_t lived_us = clock_now_us() - uplink->link_since_us;
    bool was_up = uplink->session_known;

    if (link != uplink->link)
        return;
    uplink->link = NULL;
    if (uplink->stopping)
        return;
    if (end == LINK_END_REJECTED) {
        const struct mux_reject *rejection = mux_session_rejection(uplink->session);
        char text[300];
        snprintf(text, sizeof text, "the server refused the session: %.*s",
                 (int)rejection->reason.size, rejection->reason.bytes);
        bool forgotten = rejection->code == MUX_CODE_UNKNOWN_SESSION;
        lose_session(uplink, text);
        if (forgotten) {
            redial_in(uplink, 0);
            return;
        }
        dial_failed(uplink, "tunnel", 101, text, false);
        return;
    }
    if (!was_up || end == LINK_END_PROTOCOL) {
        dial_failed(uplink, "tunnel", 101, reason, false);
        if (was_up)
            lose_session(uplink, reason);
        return;
    }
    if (lived_us >= LINK_PROVEN_US)
        uplink->failures = 0;
    else
        uplink->failures++;
    unsigned wait_ms = backoff_ms(uplink, false);
    log_warning(uplink->worker->log, "link_lost",
                "The link to the server is lost; connecting again", log_str("reason", reason),
                log_u64("lived_ms", lived_us / 1000),
                log_u64("connections", mux_session_stream_count(uplink->session)),
                log_u64("retry_ms", wait_ms));
    if (uplink->resume_window_ms == 0) {
        lose_session(uplink, reason);
    } else {
        const struct timeval keep = {uplink->resume_window_ms / 1000,
                                     uplink->resume_window_ms % 1000 * 1000};
        event_add(uplink->resume, &keep);
    }
    redial_in(uplink, wait_ms);
}

static const struct link_owner link_owner = {.ended = on_link_ended};

static void on_resume_expired(evutil_socket_t fd, short what, void *argument)
{
    struct uplink *uplink = argument;

    (void)fd;
    (void)what;
    if (!uplink->link)
        lose_session(uplink, "there was no link for longer than the server keeps a session");
}

static void on_dialled(void *context, const struct http_dial_result *result)
{
    struct uplink *uplink = context;

    if (result->hop != HTTP_HOP_NONE) {
        dial_failed(uplink, http_hop_name(result->hop), result->status, result->reason,
                    result->hop == HTTP_HOP_AUTH);
        return;
    }
    uplink->link =
        link_new_client(uplink->worker, result->transport, uplink->session, &link_owner, uplink);
    uplink->link_since_us = clock_now_us();
    link_start(uplink->link);
}

/* ---- dialling */

static bool uses_snowflake(const struct options *options)
{
    static const char suffix[] = ".snowflakecomputing.app";
    size_t size = strlen(options->url.host);

    if (options->auth_scheme != AUTH_AUTO)
        return options->auth_scheme == AUTH_SNOWFLAKE;
    return size >= sizeof suffix - 1 &&
           strcasecmp(options->url.host + size - (sizeof suffix - 1), suffix) == 0;
}

/* The header's value with the token, to be wiped by the caller; NULL: there is no token. */
static char *make_authorization(const struct options *options, const char *token)
{
    size_t size = strlen(token) + 32;
    char *value = malloc(size);

    if (!value)
        abort();
    snprintf(value, size, uses_snowflake(options) ? "Snowflake Token=\"%s\"" : "Bearer %s", token);
    return value;
}

static void dial(struct uplink *uplink)
{
    const struct options *options = uplink->options;
    char *from_file = NULL;
    char *authorization = NULL;
    const char *token = options->token;

    if (options->token_file) {
        char error[SECRET_ERROR_MAX];
        from_file = secret_read_file(options->token_file, error);
        if (!from_file) {
            dial_failed(uplink, "auth", 0, error, false);
            return;
        }
        token = from_file;
    }
    if (token)
        authorization = make_authorization(options, token);
    secret_free(from_file);
    log_debug(uplink->worker->log, "dialling", "Connecting to the server",
              log_str("server", options->server));
    http_client_dial(uplink->http, authorization, (unsigned)options->dial_timeout_ms, on_dialled,
                     uplink);
    secret_free(authorization);
}

/* ---- session callbacks of our own */

static void on_output(void *context)
{
    struct uplink *uplink = context;

    if (uplink->link)
        link_output(uplink->link);
}

static void on_established(void *context, const struct mux_welcome *welcome)
{
    struct uplink *uplink = context;

    event_del(uplink->resume);
    uplink->session_known = true;
    uplink->resume_window_ms = welcome->resume_window_ms;
    if (uplink->options->shared.resume_window_ms < uplink->resume_window_ms)
        uplink->resume_window_ms = (uint32_t)uplink->options->shared.resume_window_ms;
    log_info(uplink->worker->log, welcome->resumed ? "link_resumed" : "link_up",
             welcome->resumed ? "The link to the server is back; connections go on"
                              : "The link to the server is up",
             log_str("server", uplink->options->server),
             log_str("protection", link_protection(uplink->link)),
             log_bytes("software", welcome->software.bytes, welcome->software.size));
    uplink->owner->up(uplink->context, welcome);
}

static void on_goaway(void *context, enum mux_code code, struct mux_text reason)
{
    struct uplink *uplink = context;

    (void)code;
    log_info(uplink->worker->log, "server_going_away", "The server is about to stop",
             log_bytes("reason", reason.bytes, reason.size));
}

/* The streams' callbacks get the owner's context, not ours. */
static void on_message(void *context, uint8_t type, const uint8_t *payload, size_t size)
{
    struct uplink *uplink = context;

    uplink->owner->streams->message(uplink->context, type, payload, size);
}

/* ---- life */

struct uplink *uplink_new(struct worker *worker, const struct options *options,
                          const struct uplink_owner *owner, void *context, char *error, size_t size)
{
    struct uplink *uplink = calloc(1, sizeof *uplink);
    struct tls_error tls;
    const struct http_client_settings settings = {
        .host = options->url.host,
        .port = options->url.port,
        .path = options->url.path,
        .tls = options->url.tls,
        .ca_file = options->ca,
        .cert_file = options->cert,
        .key_file = options->key,
    };

    if (!uplink)
        abort();
    uplink->worker = worker;
    uplink->options = options;
    uplink->owner = owner;
    uplink->context = context;
    uplink->callbacks = *owner->streams;
    uplink->callbacks.output = on_output;
    uplink->callbacks.established = on_established;
    uplink->callbacks.message = on_message;
    uplink->callbacks.goaway = on_goaway;
    if (options->token_file) {
        /* A file that is missing from the start is a mistake; one that goes missing later may come
         * back. */
        char why[SECRET_ERROR_MAX];
        char *token = secret_read_file(options->token_file, why);
        if (!token) {
            snprintf(error, size, "--token-file: %s", why);
            free(uplink);
            return NULL;
        }
        secret_free(token);
    }
    uplink->http = http_client_new(worker, &settings, &tls);
    if (!uplink->http) {
        snprintf(error, size, "%s", tls.text);
        free(uplink);
        return NULL;
    }
    uplink->redial = event_new(worker->base, -1, 0, on_redial, uplink);
    uplink->resume = event_new(worker->base, -1, 0, on_resume_expired, uplink);
    if (!uplink->redial || !uplink->resume)
        abort();
    new_session(uplink);
    return uplink;
}

void uplink_start(struct uplink *uplink)
{
    redial_in(uplink, 0);
}

void uplink_stop(struct uplink *uplink)
{
    uplink->stopping = true;
    event_del(uplink->redial);
    event_del(uplink->resume);
    if (uplink->link) {
        /* So that the server does not keep the session for a link that will not come. */
        mux_session_goaway(uplink->session, MUX_CODE_GOING_AWAY, "tunnel-client stops");
        link_close(uplink->link, 1000, "tunnel-client stops");
    }
    mux_session_reset_streams(uplink->session, MUX_CODE_GOING_AWAY, "tunnel-client stops");
}

bool uplink_stopped(const struct uplink *uplink)
{
    return !uplink->link;
}

void uplink_free(struct uplink *uplink)
{
    if (!uplink)
        return;
    mux_session_reset_streams(uplink->session, MUX_CODE_GOING_AWAY, "tunnel-client stops");
    if (uplink->link)
        link_abort(uplink->link);
    http_client_free(uplink->http);
    mux_session_free(uplink->session);
    event_free(uplink->redial);
    event_free(uplink->resume);
    free(uplink);
}

#include "brokers/broker_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "broker_login/relogin.h"
#include "brokers/learner.h"
#include "brokers/upstream.h"
#include "io/clock.h"
#include "kafka/catalog.h"
#include "monitoring/telemetry.h"
#include "tunnel/relay_kafka.h"

/*
 * A Kafka client never half-closes: what is still under way when it has ended its connection has
 * no reader. Brokers neither. So long without a byte, in seconds, and the other side is given up:
 * a broker that does not answer; a client that does not close. The tunnel-client closes for its
 * client much earlier; only one that hangs leaves it to us.
 */
enum { BROKER_SILENT_S = 10, CLIENT_SILENT_S = 90 };

/* Responses and addresses that one connection gets through before others have their turn: a tenth
 * of a millisecond's work. */
enum { FILTER_TURN = 1024 };

/* How often the log says that an identity is slowed down. */
enum { SLOWED_SAID_US = 600 * 1000 * 1000 };

/* One stream: a client's connection to a broker or target. */
struct broker_stream {
    struct list node;      /* in streams->all */
    struct node_wait wait; /* a response waits for listeners */
    struct broker_streams *streams;
    struct relay *relay;
    struct kafka_filter *filter; /* the relay's; NULL: a raw target */
    struct stream_guard guard;   /* what the filter asks, with --access */
    struct upstream *opening;
    struct relogin *relogin;           /* NULL: the login lasts, or is not the server's */
    struct learner *learner;           /* asks with the client's login where its node is */
    struct cluster *cluster;           /* NULL: a raw target */
    struct login_account *account;     /* while it is opened; NULL: of no use for it */
    struct login_principal *principal; /* of the account; NULL: there is none */
    size_t cluster_index;
    size_t target_index; /* in METRICS_TARGET */
    enum kafka_endpoint_type type;
    int32_t node_id; /* -1: any bootstrap broker, or a raw target */
    uint32_t id;
    uint64_t opened_us;
    char target[MUX_TARGET_TEXT_MAX]; /* "kafka", "kafka/2", "registry" */
    char peer[MUX_NAME_MAX + 1];
    char address[ADDRESS_TEXT_MAX];
};

static struct log *log_of_stream(const struct broker_streams *streams)
{
    return streams->worker->log;
}

static void stream_free(struct broker_stream *stream)
{
    upstream_cancel(stream->opening);
    learner_cancel(stream->learner);
    relogin_free(stream->relogin);
    login_account_release(stream->account);
    login_principal_release(stream->principal);
    stream_guard_clear(&stream->guard);
    list_remove(&stream->node);
    list_remove(&stream->wait.node);
    tenant_give(stream->streams->tenant, TENANT_STREAMS);
    free(stream);
}

/* ---- addresses in responses */

/* kafka_filter_callbacks: the response of a broker announces a node. */
static int map_address(void *context, enum kafka_endpoint_type type, int32_t node,
                       const struct kafka_address *real, struct kafka_address *local)
{
    struct broker_stream *stream = context;

    if (!cluster_announce(stream->cluster, type, node, real))
        return -1;
    return node_listeners_find(stream->streams->listeners, stream->cluster_index, type, node, real,
                               local);
}

static void note_seen(void *context, enum kafka_endpoint_type type, int32_t node,
                      const struct kafka_address *real)
{
    struct broker_stream *stream = context;

    cluster_announce(stream->cluster, type, node, real);
}

static void note_unusable(void *context, enum kafka_endpoint_type type, int32_t node,
                          const struct kafka_address *real)
{
    struct broker_stream *stream = context;

    cluster_announce_unusable(stream->cluster, type, node, real);
}

/* ---- figures */

static struct metrics *metrics_of(const struct broker_streams *streams)
{
    return streams->worker->metrics;
}

/* A raw token, a vendor's API, a version that nobody knows: all of these are "other". */
static uint64_t count_request(void *context, int16_t api_key, int16_t version)
{
    const struct broker_stream *stream = context;
    bool timed = api_key == KAFKA_CATALOG_PRODUCE || api_key == KAFKA_CATALOG_FETCH;
    bool known = api_key >= 0 && (size_t)api_key < kafka_catalog_size();

    metrics_add(metrics_of(stream->streams), METRIC_KAFKA_REQUESTS,
                known ? (size_t)api_key : SIZE_MAX,
                known && version >= 0 ? (size_t)version : SIZE_MAX, 1);
    return timed ? clock_now_us() : 0;
}

static void count_response(void *context, int16_t api_key, uint64_t asked_us)
{
    const struct broker_stream *stream = context;

    if (asked_us != 0)
        metrics_observe(metrics_of(stream->streams), METRIC_KAFKA_LATENCY,
                        api_key == KAFKA_CATALOG_PRODUCE ? METRICS_LATENCY_PRODUCE
                                                         : METRICS_LATENCY_FETCH,
                        clock_now_us() - asked_us);
}

static void count_addresses(void *context, int16_t api_key, uint32_t rewritten, uint32_t erased,
                            uint32_t unusable)
{
    const struct broker_stream *stream = context;
    struct metrics *metrics = metrics_of(stream->streams);

    metrics_add(metrics, METRIC_ADDRESSES_REWRITTEN, (size_t)api_key, 0, rewritten);
    metrics_add(metrics, METRIC_ADDRESSES_ERASED, (size_t)api_key, 0, erased);
    metrics_add(metrics, METRIC_NODES_UNUSABLE, stream->target_index, 0, unusable);
}

static const struct kafka_filter_callbacks filter_callbacks = {.map = map_address,
                                                               .seen = note_seen,
                                                               .unusable = note_unusable,
                                                               .asked = count_request,
                                                               .answered = count_response,
                                                               .rewrote = count_addresses};

/* ---- the end, for the record */

/* Who the brokers take the client for: by the server's login, by what the client says in its own,
 * or by the certificate that is shown for its identity. "": not known. */
static const char *user_of(const struct broker_stream *stream)
{
    const char *own = stream->filter ? kafka_filter_user(stream->filter) : "";

    if (login_principal_logs_in(stream->principal) || (!*own && stream->principal))
        return stream->principal->user;
    return own;
}

static const char *end_name(bool complete, enum mux_code code)
{
    return complete ? "complete" : mux_code_name(code);
}

static void note_audit(const struct broker_stream *stream, enum audit_kind kind, bool complete,
                       enum mux_code code, struct mux_text reason)
{
    const struct relay *relay = stream->relay;
    const struct broker_streams *streams = stream->streams;
    struct log_field fields[LOG_FIELDS_MAX] = {
        log_str("session", streams->session),
        log_u64("stream", stream->id),
        log_str("identity", streams->identity),
        log_str("peer", streams->peer),
        log_str("local_peer", stream->peer),
        log_str("target", stream->target),
        log_str("address", stream->address),
        log_str("end", end_name(complete, code)),
        log_u64("bytes_up", relay_bytes_to_socket(relay)),
        log_u64("bytes_down", relay_bytes_from_socket(relay)),
        log_ms("duration", (clock_now_us() - stream->opened_us) / 1000)};
    size_t count = 11;

    if (stream->node_id >= 0)
        fields[count++] = log_i64("node", stream->node_id);
    if (stream->filter)
        fields[count++] = log_str("client_id", kafka_filter_client_id(stream->filter));
    const char *user = user_of(stream);
    if (*user)
        fields[count++] = log_str("kafka_user", user);
    if (!complete && reason.bytes)
        fields[count++] = log_bytes("reason", reason.bytes, reason.size);
    audit_note(streams->audit, kind, fields, count);
}

/* A stream that got as far as a relay has ended, or is about to be cut: counts, and the record. */
static void note_stream_end(const struct broker_stream *stream, enum audit_kind kind, bool complete,
                            enum mux_code code, struct mux_text reason)
{
    struct broker_streams *streams = stream->streams;
    struct metrics *metrics = metrics_of(streams);

    metrics_add(metrics, METRIC_STREAMS_ENDED, stream->target_index,
                complete ? 0 : 1 + (size_t)code, 1);
    *metrics_at(metrics, METRIC_STREAMS, stream->target_index, 0) -= 1;
    streams->bytes_up += relay_bytes_to_socket(stream->relay);
    streams->bytes_down += relay_bytes_from_socket(stream->relay);
    note_audit(stream, kind, complete, code, reason);
}

static void cut_broker_stream(struct broker_stream *stream, enum mux_code code, const char *reason)
{
    note_stream_end(stream, AUDIT_CONNECTION_ENDED, false, code,
                    (struct mux_text){reason, strlen(reason)});
    relay_cut(stream->relay, code, reason);
    stream_free(stream);
}

static void relay_wants(void *context, const struct kafka_wanted *nodes, size_t count)
{
    struct broker_stream *stream = context;
    struct node_listeners *listeners = stream->streams->listeners;

    node_listeners_ask(listeners, stream->cluster_index, stream->cluster, nodes, count);
    node_listeners_wait(listeners, &stream->wait);
}

static void on_answered(void *context)
{
    struct broker_stream *stream = context;

    relay_kafka_listeners_ready(stream->relay);
}

static void on_timed_out(void *context)
{
    struct broker_stream *stream = context;

    log_warning(log_of_stream(stream->streams), "expose_timeout",
                "The client did not open the listeners that a response needs; the connection is "
                "reset",
                log_str("session", stream->streams->session), log_str("target", stream->target));
    cut_broker_stream(stream, MUX_CODE_LISTENER,
                      "the client opened no listener for a broker in time");
}

static const struct node_wait_owner wait_owner = {.answered = on_answered,
                                                  .timed_out = on_timed_out};

/* ---- the relay's word */

static const char *describe_event(enum kafka_filter_event event)
{
    switch (event) {
    case KAFKA_FILTER_EVENT_NEWER_METADATA:
        return "A request uses a newer version than the server knows; its known part is rewritten";
    case KAFKA_FILTER_EVENT_OUT_OF_ORDER:
        return "A broker answered out of order";
    default:
        return "A client uses SASL without Kafka framing";
    }
}

static void relay_noticed(void *context)
{
    struct broker_stream *stream = context;
    enum kafka_filter_event event;
    const char *api;
    int16_t version;

    while ((event = kafka_filter_event(stream->filter, &api, &version)) != KAFKA_FILTER_EVENT_NONE)
        log_info(log_of_stream(stream->streams), "kafka_notice", describe_event(event),
                 log_str("session", stream->streams->session), log_str("target", stream->target),
                 log_u64("stream", stream->id), log_str("api", api), log_i64("version", version),
                 log_str("client_id", kafka_filter_client_id(stream->filter)));
}

/* The node is known now, or the cluster does not have it: the client finds out when it connects
 * again. */
static void on_broker_stream_learned(void *context, const struct learner_result *result)
{
    struct broker_stream *stream = context;
    const char *error = result->error;
    char reason[MUX_REASON_MAX];

    stream->learner = NULL;
    snprintf(reason, sizeof reason, "the server did not know this node yet and %s%s",
             error ? "could not learn where it is: " : "has asked where it is: connect again",
             error ? error : "");
    log_event(log_of_stream(stream->streams), error ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
              "nodes_learned",
              "The cluster was asked for its nodes with a client's login; the connection is reset",
              (const struct log_field[]){log_str("session", stream->streams->session),
                                         log_str("target", stream->target),
                                         log_u64("stream", stream->id), log_str("reason", reason)},
              4);
    cut_broker_stream(stream, MUX_CODE_UNKNOWN_NODE, reason);
}

static void relay_logged_in(void *context)
{
    struct broker_stream *stream = context;

    stream->learner = learner_start_on(
        stream->cluster, stream->type, relay_take_transport(stream->relay),
        (unsigned)stream->streams->options->connect_timeout_ms, on_broker_stream_learned, stream);
}

/* The words go into the Kafka client's own message. */
static const char *relay_refused_login(void *context)
{
    const struct broker_stream *stream = context;

    log_warning(
        log_of_stream(stream->streams), "client_login_refused",
        "A client logs in itself, but the server has done that for it; the connection ends. "
        "Set the client to security.protocol=PLAINTEXT (or SSL), or its rule to "
        "client-sasl=pass",
        log_str("session", stream->streams->session),
        log_str("identity", stream->streams->identity), log_str("target", stream->target),
        log_u64("stream", stream->id), log_str("rule", stream->principal->rule),
        log_str("client_id", kafka_filter_client_id(stream->filter)));
    return "none: the tunnel logs in for this client; set security.protocol=PLAINTEXT or SSL";
}

/* ---- logging in again */

static struct login_account *account_in_force(void *context)
{
    const struct broker_stream *stream = context;
    const struct broker_streams *streams = stream->streams;

    return logins_find(streams->logins, streams->identity, stream->cluster->settings->name,
                       stream->cluster_index);
}

static void on_renewed(void *context, struct login_principal *principal)
{
    struct broker_stream *stream = context;

    login_principal_release(stream->principal);
    stream->principal = login_principal_reference(principal);
    metrics_add(metrics_of(stream->streams), METRIC_BROKER_LOGINS, METRICS_LOGIN_AGAIN, 0, 1);
    log_debug(log_of_stream(stream->streams), "login_renewed",
              "The server has logged in again on a client's connection",
              log_str("session", stream->streams->session), log_str("target", stream->target),
              log_u64("stream", stream->id));
}

static void note_relogin_failure(const struct broker_stream *stream, const char *why)
{
    const struct login_principal *principal = stream->principal;

    metrics_add(metrics_of(stream->streams), METRIC_BROKER_LOGINS, METRICS_LOGIN_AGAIN_FAILED, 0,
                1);
    log_warning(log_of_stream(stream->streams), "relogin_failed",
                "The server could not log in again before the end of a broker's session; the "
                "client's connection ends",
                log_str("session", stream->streams->session),
                log_str("identity", stream->streams->identity), log_str("target", stream->target),
                log_str("address", stream->address), log_u64("stream", stream->id),
                log_str("rule", principal->rule), log_str("user", principal->user),
                log_str("mechanism", sasl_mechanism_name(principal->mechanism)),
                log_str("reason", why));
}

static void on_relogin_failed(void *context, const char *why)
{
    struct broker_stream *stream = context;
    char reason[MUX_REASON_MAX];

    note_relogin_failure(stream, why);
    snprintf(reason, sizeof reason, "logging in again at the broker (%s) failed: %s",
             sasl_mechanism_name(stream->principal->mechanism), why);
    relay_fail(stream->relay, MUX_CODE_LOGIN, reason);
}

/* The connection ends while the broker owes an answer to another login. */
static void note_relogin_cut(const struct broker_stream *stream, const char *why)
{
    if (!relogin_is_under_way(stream->relogin))
        return;
    note_relogin_failure(stream, why);
    relogin_abandon(stream->relogin);
}

static void relay_unanswered(void *context)
{
    struct broker_stream *stream = context;

    note_relogin_cut(stream, "it closed the connection");
    log_info(
        log_of_stream(stream->streams), "broker_hung_up",
        "A broker closed a connection instead of answering; did it expect TLS or SASL, or was the "
        "request too large for it?",
        log_str("session", stream->streams->session), log_str("target", stream->target),
        log_str("address", stream->address), log_u64("stream", stream->id),
        log_str("client_id", kafka_filter_client_id(stream->filter)),
        log_u64("unanswered", kafka_filter_in_flight(stream->filter)));
}

static const struct relogin_owner relogin_owner = {
    .find_account = account_in_force, .renewed = on_renewed, .failed = on_relogin_failed};

static void relay_paused(void *context)
{
    struct broker_stream *stream = context;

    relogin_paused(stream->relogin);
}

static void relay_answered(void *context, const uint8_t *bytes, size_t size)
{
    struct broker_stream *stream = context;

    relogin_answered(stream->relogin, bytes, size);
}

static void relay_half_closed(void *context, struct relay *relay, enum relay_side ended,
                              unsigned seconds)
{
    const struct broker_stream *stream = context;

    if (!stream->cluster)
        return;
    if (ended == RELAY_STREAM && seconds >= BROKER_SILENT_S)
        relay_fail(relay, MUX_CODE_UPSTREAM_TIMEOUT,
                   "the client closed the connection, and for 10 s the broker neither read, nor "
                   "answered, nor closed it");
    else if (ended == RELAY_SOCKET && seconds >= CLIENT_SILENT_S)
        relay_fail(relay, MUX_CODE_PEER_RESET,
                   "the broker closed the connection, and for 90 s the client did not");
}

static void note_reset(const struct broker_stream *stream, const struct relay *relay,
                       enum mux_code code, struct mux_text reason)
{
    /* A peer may reset a stream with any code. */
    bool kafka = code == MUX_CODE_KAFKA_PROTOCOL && stream->filter;
    bool refused = code == MUX_CODE_UPSTREAM_UNREACHABLE;
    bool silent = code == MUX_CODE_UPSTREAM_TIMEOUT;
    struct log_field fields[LOG_FIELDS_MAX] = {
        log_str("session", stream->streams->session), log_str("target", stream->target),
        log_str("address", stream->address), log_u64("stream", stream->id),
        log_bytes("reason", reason.bytes, reason.size)};
    size_t count = 5;
    int16_t version;

    /* The audit line says the rest, and all there is to say of what is nobody's fault. */
    if (stream->streams->options->audit && !kafka && !refused && !silent)
        return;
    if (!stream->streams->options->audit) {
        fields[count++] = log_u64("bytes_up", relay_bytes_to_socket(relay));
        fields[count++] = log_u64("bytes_down", relay_bytes_from_socket(relay));
        fields[count++] = log_ms("duration", (clock_now_us() - stream->opened_us) / 1000);
    }

    if (kafka) {
        const char *api = kafka_filter_failed_api(stream->filter, &version);
        fields[count++] = log_str("cluster", stream->cluster->settings->name);
        fields[count++] = log_i64("node", stream->node_id);
        fields[count++] = log_str("api", api);
        fields[count++] = log_i64("version", version);
        fields[count++] = log_str("client_id", kafka_filter_client_id(stream->filter));
    }
    if (refused)
        fields[count++] = log_str("advice", cluster_tls_advice(TLS_FAILURE_ALERT));
    log_event(log_of_stream(stream->streams),
              kafka || refused || silent ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "stream_reset",
              "A connection was cut short", fields, count);
}

static void relay_ended(void *context, struct relay *relay, enum relay_end end, enum mux_code code,
                        struct mux_text reason)
{
    struct broker_stream *stream = context;
    bool complete = end == RELAY_END_COMPLETE;

    note_stream_end(stream, AUDIT_CONNECTION_ENDED, complete, code, reason);
    if (!complete) {
        note_relogin_cut(stream, "the connection was cut short meanwhile");
        note_reset(stream, relay, code, reason);
    } else if (!stream->streams->options->audit) {
        log_debug(log_of_stream(stream->streams), "stream_closed", "A connection has ended",
                  log_str("session", stream->streams->session), log_str("target", stream->target),
                  log_u64("stream", stream->id), log_u64("bytes_up", relay_bytes_to_socket(relay)),
                  log_u64("bytes_down", relay_bytes_from_socket(relay)),
                  log_ms("duration", (clock_now_us() - stream->opened_us) / 1000));
    }
    stream_free(stream);
}

static void relay_slowed(void *context, enum relay_side from)
{
    const struct broker_stream *stream = context;
    const struct broker_streams *streams = stream->streams;
    struct account *account = streams->tenant->account;
    bool up = from == RELAY_STREAM;
    uint64_t now = clock_now_us();
    uint64_t said = atomic_load(&account->slowed_us);

    metrics_add(metrics_of(streams), METRIC_RATE_PAUSES, up ? METRICS_UP : METRICS_DOWN, 0, 1);
    /* It may be so for days, with thousands of connections: one of them says so, now and then. */
    if ((said > 0 && now - said < SLOWED_SAID_US) ||
        !atomic_compare_exchange_strong(&account->slowed_us, &said, now))
        return;
    log_info(log_of_stream(streams), "identity_slowed",
             "An identity wants to move more bytes than it may, and is slowed down",
             log_str("identity", streams->identity), log_str("peer", streams->peer),
             log_str("limit", up ? "--max-rate-up" : "--max-rate-down"),
             log_u64("bytes_per_second", rate_per_second(up ? &account->up : &account->down)));
}

static const struct relay_owner relay_owner = {
    .half_closed = relay_half_closed, .slowed = relay_slowed, .ended = relay_ended};
static const struct relay_kafka_owner kafka_owner = {.wanted = relay_wants,
                                                     .unanswered = relay_unanswered,
                                                     .noticed = relay_noticed,
                                                     .refused_login = relay_refused_login,
                                                     .paused = relay_paused,
                                                     .answered = relay_answered,
                                                     .logged_in = relay_logged_in};

/* ---- opening */

static void refuse(struct broker_streams *streams, struct mux_stream *mux, const char *target,
                   enum mux_code code, const char *reason)
{
    log_warning(log_of_stream(streams), "stream_refused", "A connection was refused",
                log_str("session", streams->session), log_str("identity", streams->identity),
                log_str("target", target), log_str("reason", reason));
    mux_stream_refuse(mux, code, reason);
}

_Static_assert(ADDRESS_BROKERS_MAX <= 64, "told has a bit for each");

/* What the client's people cannot see from where they are: others make up for it. */
static void tell_troubles(const struct broker_stream *stream)
{
    struct broker_streams *streams = stream->streams;
    const struct cluster *cluster = stream->cluster;
    const char *name = cluster->settings->name;
    uint64_t *told = &streams->told[stream->cluster_index];

    for (size_t i = 0; i < cluster->settings->count; i++) {
        char text[CLUSTER_TROUBLE_MAX];
        uint8_t payload[MUX_TROUBLE_MAX];
        if (*told >> i & 1 || !cluster_tell_trouble(cluster, i, text))
            continue;
        *told |= UINT64_C(1) << i;
        size_t size = mux_trouble_encode(payload, (struct mux_text){name, strlen(name)},
                                         (struct mux_text){text, strlen(text)});
        mux_session_send_message(streams->listeners->mux, MUX_TROUBLE, payload, size);
    }
}

static void note_opened(const struct broker_stream *stream)
{
    const struct broker_streams *streams = stream->streams;
    const char *user = user_of(stream);
    struct log_field fields[LOG_FIELDS_MAX] = {
        log_str("session", streams->session),   log_u64("stream", stream->id),
        log_str("identity", streams->identity), log_str("peer", streams->peer),
        log_str("local_peer", stream->peer),    log_str("target", stream->target),
        log_str("address", stream->address)};
    size_t count = 7;

    if (stream->node_id >= 0)
        fields[count++] = log_i64("node", stream->node_id);
    if (*user)
        fields[count++] = log_str("kafka_user", user);
    audit_note(streams->audit, AUDIT_CONNECTION_OPENED, fields, count);
}

/* Before OPENED, for the client's doctor. */
static void tell_login(const struct broker_stream *stream)
{
    const char *user = stream->principal->user;
    char who[SASL_USER_MAX + 40];
    uint8_t payload[MUX_LOGIN_MAX];

    snprintf(who, sizeof who, "%s%s%s", user, *user ? ", " : "",
             sasl_mechanism_name(stream->principal->mechanism));
    size_t size = mux_login_encode(payload, stream->id, (struct mux_text){who, strlen(who)});
    mux_session_send_message(stream->streams->listeners->mux, MUX_LOGIN, payload, size);
}

static void on_upstream(void *context, const struct upstream_result *result)
{
    struct broker_stream *stream = context;

    stream->opening = NULL;
    /* The secret is none of a connection's that stands. */
    login_account_release(stream->account);
    stream->account = NULL;
    /* A client that does not begin with a login has none. */
    if (!result->transport || (result->only_login && !kafka_filter_only_login(stream->filter))) {
        struct mux_stream *mux = relay_stream(stream->relay);
        transport_free(result->transport);
        note_stream_end(stream, AUDIT_CONNECTION_REFUSED, false, result->code,
                        (struct mux_text){result->reason, strlen(result->reason)});
        relay_abandon(stream->relay);
        refuse(stream->streams, mux, stream->target, result->code, result->reason);
        stream_free(stream);
        return;
    }
    snprintf(stream->address, sizeof stream->address, "%s", result->address);
    log_debug(log_of_stream(stream->streams), "stream_opened", "A connection is open",
              log_str("session", stream->streams->session), log_str("target", stream->target),
              log_str("address", stream->address), log_u64("stream", stream->id),
              log_str("peer", stream->peer));
    note_opened(stream);
    if (stream->cluster)
        tell_troubles(stream);
    if (login_principal_logs_in(stream->principal))
        tell_login(stream);
    mux_stream_accept(relay_stream(stream->relay));
    if (login_principal_logs_in(stream->principal) && result->expires_us > 0)
        stream->relogin = relogin_new(
            stream->streams->worker, stream->relay, stream->principal, result->expires_us,
            (unsigned)stream->streams->options->connect_timeout_ms, &relogin_owner, stream);
    relay_connect(stream->relay, result->transport);
}

/* What was asked for and leads nowhere: there is no relay yet. */
static void refuse_unopened(struct broker_streams *streams, struct mux_stream *mux,
                            const struct mux_target *target, struct mux_text peer,
                            enum mux_code code, const char *reason)
{
    struct metrics *metrics = metrics_of(streams);
    char name[MUX_TARGET_TEXT_MAX];

    mux_target_text(target, name);
    streams->opened++;
    metrics_add(metrics, METRIC_STREAMS_OPENED, SIZE_MAX, 0, 1);
    metrics_add(metrics, METRIC_STREAMS_ENDED, SIZE_MAX, 1 + (size_t)code, 1);
    const struct log_field fields[] = {log_str("session", streams->session),
                                       log_u64("stream", mux_stream_id(mux)),
                                       log_str("identity", streams->identity),
                                       log_str("peer", streams->peer),
                                       log_bytes("local_peer", peer.bytes, peer.size),
                                       log_str("target", name),
                                       log_str("end", mux_code_name(code)),
                                       log_str("reason", reason)};
    /* It costs whoever asks nothing: a crowd of these must fill neither record nor log. */
    audit_note_refusal(streams->audit, AUDIT_CONNECTION_REFUSED, streams->identity, reason, fields,
                       sizeof fields / sizeof fields[0]);
    refuse(streams, mux, name, code, reason);
}

static bool text_is(struct mux_text text, const char *string)
{
    return strlen(string) == text.size && memcmp(text.bytes, string, text.size) == 0;
}

static struct broker_stream *stream_new(struct broker_streams *streams, struct mux_stream *mux,
                                        const struct mux_target *target, struct mux_text peer)
{
    struct broker_stream *stream = memory_new(sizeof *stream);

    stream->streams = streams;
    stream->node_id = mux_target_is_node(target->kind) ? target->node_id : -1;
    stream->id = mux_stream_id(mux);
    stream->opened_us = clock_now_us();
    stream->wait = (struct node_wait){.owner = &wait_owner, .context = stream};
    list_init(&stream->wait.node);
    list_append(&streams->all, &stream->node);
    snprintf(stream->peer, sizeof stream->peer, "%.*s", (int)peer.size,
             peer.bytes ? peer.bytes : "");
    mux_target_text(target, stream->target);
    streams->opened++;
    return stream;
}

/* The stream has its relay; target: in METRICS_TARGET. */
static void count_opened_stream(struct broker_stream *stream, size_t target)
{
    struct metrics *metrics = metrics_of(stream->streams);

    stream->target_index = target;
    metrics_add(metrics, METRIC_STREAMS_OPENED, target, 0, 1);
    metrics_add(metrics, METRIC_STREAMS, target, 0, 1);
    const struct relay_counters counters =
        telemetry_relay(stream->streams->worker, target, METRICS_UP);
    relay_count(stream->relay, &counters);
    relay_limit(stream->relay, &stream->streams->tenant->account->up,
                &stream->streams->tenant->account->down);
}

static void on_denied(void *context, const struct kafka_denied *denied)
{
    static const char *const resources[] = {[KAFKA_TOPIC] = "topic",
                                            [KAFKA_GROUP] = "group",
                                            [KAFKA_TRANSACTIONAL_ID] = "transactional-id"};
    const struct broker_stream *stream = context;
    const struct broker_streams *streams = stream->streams;
    bool known = denied->api_key >= 0 && (size_t)denied->api_key < kafka_catalog_size();
    bool named = denied->resource < KAFKA_RESOURCES;
    const struct audit_denial denial = {
        .session = streams->session,
        .identity = streams->identity,
        .peer = streams->peer,
        .target = stream->target,
        .stream = stream->id,
        .client_id = denied->client_id,
        .api = known ? kafka_catalog_name((size_t)denied->api_key) : NULL,
        .api_key = denied->api_key,
        .version = denied->version,
        .resource = named ? resources[denied->resource] : NULL,
        .name = named ? denied->name : NULL,
        .name_size = strlen(denied->name),
    };

    metrics_add(metrics_of(streams), METRIC_KAFKA_DENIED,
                known ? (size_t)denied->api_key : SIZE_MAX, 0, 1);
    audit_note_denial(streams->audit, &denial);
    log_info(log_of_stream(streams), "access_denied",
             "A Kafka request was denied: no rule of --access allows it",
             log_str("session", streams->session), log_str("identity", streams->identity),
             log_str("target", stream->target), log_u64("stream", stream->id),
             log_str("api", denial.api ? denial.api : "other"), log_i64("version", denied->version),
             log_str("resource", named ? denial.resource : ""), log_str("name", denied->name),
             log_str("client_id", denied->client_id));
}

static void guard_stream(struct broker_stream *stream)
{
    const struct broker_streams *streams = stream->streams;

    stream->guard = (struct stream_guard){
        .in_force = streams->access,
        .identity = streams->identity,
        .cluster = stream->cluster->settings->name,
        .topics = &streams->topics[stream->cluster_index],
        .denied = on_denied,
        .context = stream,
    };
    if (!kafka_filter_use_guard(stream->filter, &stream_guard_calls, &stream->guard))
        abort();
}

static void open_kafka(struct broker_streams *streams, struct mux_stream *mux, size_t index,
                       const struct mux_target *target, struct mux_text peer)
{
    struct broker_stream *stream = stream_new(streams, mux, target, peer);
    unsigned timeout_ms = (unsigned)streams->options->connect_timeout_ms;

    stream->cluster = &streams->clusters[index];
    stream->cluster_index = index;
    stream->account =
        logins_find(streams->logins, streams->identity, stream->cluster->settings->name, index);
    stream->principal = login_account_principal(stream->account);
    const struct kafka_filter_limits limits = {.turn = FILTER_TURN,
                                               .hash_key = &streams->worker->hash_key};
    stream->filter = kafka_filter_new(&filter_callbacks, stream, &limits);
    if (!stream->filter)
        abort();
    if (login_principal_logs_in(stream->principal))
        kafka_filter_refuse_login(stream->filter);
    if (streams->access->rules)
        guard_stream(stream);
    stream->relay =
        relay_kafka_new(streams->worker, &relay_owner, &kafka_owner, stream, stream->filter);
    relay_set_stream(stream->relay, mux);
    count_opened_stream(stream, index);
    stream->type =
        target->kind == MUX_TARGET_CONTROLLER ? KAFKA_ENDPOINT_CONTROLLER : KAFKA_ENDPOINT_BROKER;
    if (mux_target_is_node(target->kind))
        stream->opening = upstream_node(stream->cluster, stream->type, target->node_id,
                                        stream->account, timeout_ms, on_upstream, stream);
    else if (target->kind == MUX_TARGET_BOOTSTRAP)
        stream->opening =
            upstream_bootstrap_broker(stream->cluster, (size_t)target->node_id, stream->account,
                                      timeout_ms, on_upstream, stream);
    else
        stream->opening =
            upstream_bootstrap(stream->cluster, stream->account, timeout_ms, on_upstream, stream);
}

static void open_tcp(struct broker_streams *streams, struct mux_stream *mux, size_t index,
                     const struct mux_target *target, struct mux_text peer)
{
    struct broker_stream *stream = stream_new(streams, mux, target, peer);
    const struct address *address = &streams->options->targets[index].address;

    stream->relay = relay_new(streams->worker, &relay_owner, stream);
    relay_set_stream(stream->relay, mux);
    count_opened_stream(stream, streams->options->cluster_count + index);
    stream->opening =
        upstream_target(streams->worker, address, (unsigned)streams->options->connect_timeout_ms,
                        on_upstream, stream);
}

/* SIZE_MAX: there is none of that name. */
static size_t find_target(const struct options *options, const struct mux_target *target)
{
    bool raw = target->kind == MUX_TARGET_TCP;
    size_t count = raw ? options->target_count : options->cluster_count;

    for (size_t i = 0; i < count; i++)
        if (text_is(target->name, raw ? options->targets[i].name : options->clusters[i].name))
            return i;
    return SIZE_MAX;
}

/* Whether the target is a place among the bootstrap brokers where there is none. */
static bool is_beyond_bootstrap(const struct options *options, size_t index,
                                const struct mux_target *target)
{
    return target->kind == MUX_TARGET_BOOTSTRAP &&
           (size_t)target->node_id >= options->clusters[index].count;
}

/* Counts what the client asks for, whatever it is; NULL, or why it is too much. */
static const char *admit_open(struct broker_streams *streams)
{
    struct tenant *tenant = streams->tenant;
    const char *obstacle = audit_obstacle(streams->audit);

    if (obstacle) {
        tenant_limited(tenant->tenants, METRICS_LIMIT_AUDIT);
        return obstacle;
    }
    if (tenant_may_dial(tenant, clock_now_us()))
        return NULL;
    tenant_limited(tenant->tenants, METRICS_LIMIT_DIALS);
    return "this identity has reached its limit of new connections per minute "
           "(--max-dials-per-minute)";
}

/* Takes a place for a stream; NULL, or why there is none. */
static const char *admit_stream(struct broker_streams *streams)
{
    struct tenant *tenant = streams->tenant;
    enum metrics_limit limit;
    const char *reason;

    switch (tenant_take_within(tenant, TENANT_STREAMS)) {
    case LEDGER_TAKEN:
        return NULL;
    case LEDGER_LIMITED:
        limit = METRICS_LIMIT_STREAMS_OF;
        reason = "this identity has reached its limit of connections (--max-streams-per-identity)";
        break;
    default:
        limit = METRICS_LIMIT_STREAMS;
        reason = "the server has as many connections as its file descriptors allow (ulimit -n), "
                 "and this identity has its share of them";
    }
    tenant_limited(tenant->tenants, limit);
    return reason;
}

void broker_stream_limited(struct broker_streams *streams, uint32_t stream, enum mux_limit limit,
                           const char *reason)
{
    tenant_limited(streams->tenant->tenants,
                   limit == MUX_LIMIT_MEMORY ? METRICS_LIMIT_MEMORY : METRICS_LIMIT_STREAMS_EACH);
    log_warning(log_of_stream(streams), "stream_limited",
                "A connection was refused or reset because of a limit",
                log_str("session", streams->session), log_str("identity", streams->identity),
                log_u64("stream", stream), log_str("reason", reason));
}

/* One that has a relay: those that are being opened have one as well. */
static void give_way(struct broker_stream *stream, const char *reason)
{
    const struct broker_streams *streams = stream->streams;

    log_warning(log_of_stream(streams), "stream_gave_way",
                "A connection is reset: its identity has more than its share",
                log_str("session", streams->session), log_str("identity", streams->identity),
                log_u64("stream", stream->id), log_str("target", stream->target),
                log_str("reason", reason));
    cut_broker_stream(stream, MUX_CODE_LIMIT, reason);
}

bool broker_streams_cut_newest(struct broker_streams *streams, const char *reason)
{
    if (list_empty(&streams->all))
        return false;
    give_way(list_entry(streams->all.previous, struct broker_stream, node), reason);
    return true;
}

bool broker_streams_cut_largest(struct broker_streams *streams, enum memory_way way,
                                const char *reason)
{
    struct broker_stream *largest = NULL;
    uint64_t most = 0;

    list_each(at, &streams->all) {
        struct broker_stream *stream = list_entry(at, struct broker_stream, node);
        uint64_t charged = mux_stream_charged(relay_stream(stream->relay), way);
        if (charged > most) {
            most = charged;
            largest = stream;
        }
    }
    if (largest)
        give_way(largest, reason);
    return largest != NULL;
}

static const char NOT_ALLOWED[] = "no rule of the server's --access lets this identity use it";

/* index: of the target, or of the cluster. */
static bool may_use(const struct broker_streams *streams, bool raw, size_t index)
{
    const struct access_rules *rules = streams->access->rules;
    const struct options *options = streams->options;

    if (!rules)
        return true;
    return raw ? access_rules_target(rules, streams->identity, options->targets[index].name)
               : access_rules_cluster(rules, streams->identity, options->clusters[index].name);
}

/* Of a stream that is open, index is where its target is in METRICS_TARGET. */
static bool may_go_on(const struct broker_stream *stream)
{
    const struct broker_streams *streams = stream->streams;

    return stream->cluster
               ? may_use(streams, false, stream->cluster_index)
               : may_use(streams, true, stream->target_index - streams->options->cluster_count);
}

void broker_streams_access_changed(struct broker_streams *streams)
{
    for (struct list *at = streams->all.next, *next; at != &streams->all; at = next) {
        struct broker_stream *stream = list_entry(at, struct broker_stream, node);
        next = at->next;
        if (may_go_on(stream))
            continue;
        log_warning(log_of_stream(streams), "stream_revoked",
                    "A connection is reset: the rules of --access do not allow it any more",
                    log_str("session", streams->session), log_str("identity", streams->identity),
                    log_u64("stream", stream->id), log_str("target", stream->target));
        cut_broker_stream(stream, MUX_CODE_REVOKED, NOT_ALLOWED);
    }
}

void broker_stream_open(struct broker_streams *streams, struct mux_stream *mux,
                        const struct mux_target *target, struct mux_text peer)
{
    const struct options *options = streams->options;
    char reason[MUX_REASON_MAX];
    const char *limited = admit_open(streams);

    if (limited) {
        refuse_unopened(streams, mux, target, peer, MUX_CODE_LIMIT, limited);
        return;
    }
    if (streams->draining) {
        refuse_unopened(streams, mux, target, peer, MUX_CODE_GOING_AWAY,
                        "the session is about to end");
        return;
    }
    size_t index = find_target(options, target);
    if (index != SIZE_MAX && is_beyond_bootstrap(options, index, target)) {
        refuse_unopened(streams, mux, target, peer, MUX_CODE_UNKNOWN_NODE,
                        "the server has no such bootstrap broker");
        return;
    }
    if (index != SIZE_MAX && !may_use(streams, target->kind == MUX_TARGET_TCP, index)) {
        refuse_unopened(streams, mux, target, peer, MUX_CODE_UNKNOWN_TARGET, NOT_ALLOWED);
        return;
    }
    if (index != SIZE_MAX) {
        limited = admit_stream(streams);
        if (limited)
            refuse_unopened(streams, mux, target, peer, MUX_CODE_LIMIT, limited);
        else if (target->kind == MUX_TARGET_TCP)
            open_tcp(streams, mux, index, target, peer);
        else
            open_kafka(streams, mux, index, target, peer);
        return;
    }
    snprintf(reason, sizeof reason, "the server has no %s of that name",
             target->kind == MUX_TARGET_TCP ? "--tcp target" : "--kafka cluster");
    refuse_unopened(streams, mux, target, peer, MUX_CODE_UNKNOWN_TARGET, reason);
}

void broker_streams_drain(struct broker_streams *streams)
{
    streams->draining = true;
    for (struct list *at = streams->all.next, *next; at != &streams->all; at = next) {
        next = at->next;
        relay_drain(list_entry(at, struct broker_stream, node)->relay);
    }
}

static void write_stream(const struct broker_stream *stream, struct json_writer *json)
{
    const struct relay *relay = stream->relay;

    json_put_object(json, NULL);
    json_put_u64(json, "stream", stream->id);
    json_put_string(json, "target", stream->target);
    json_put_string(json, "address", stream->address);
    json_put_string(json, "local_peer", stream->peer);
    json_put_string(json, "client_id",
                    stream->filter ? kafka_filter_client_id(stream->filter) : "");
    json_put_string(json, "kafka_user", user_of(stream));
    json_put_bool(json, "logged_in", login_principal_logs_in(stream->principal));
    json_put_u64(json, "age_ms", (clock_now_us() - stream->opened_us) / 1000);
    json_put_u64(json, "bytes_up", relay_bytes_to_socket(relay));
    json_put_u64(json, "bytes_down", relay_bytes_from_socket(relay));
    json_put_end(json);
}

void broker_streams_write(const struct broker_streams *streams, struct json_writer *json,
                          size_t *left)
{
    json_put_array(json, "streams");
    for (struct list *at = streams->all.next; at != &streams->all && *left > 0; at = at->next) {
        write_stream(list_entry(at, struct broker_stream, node), json);
        --*left;
    }
    json_put_end(json);
}

void broker_streams_bytes(const struct broker_streams *streams, uint64_t *up, uint64_t *down)
{
    *up = streams->bytes_up;
    *down = streams->bytes_down;
    list_each(at, &streams->all) {
        const struct broker_stream *stream = list_entry(at, struct broker_stream, node);
        *up += relay_bytes_to_socket(stream->relay);
        *down += relay_bytes_from_socket(stream->relay);
    }
}

#include "session.h"

#include <assert.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/clock.h"
#include "net/relay.h"
#include "upstream.h"

enum {
    EXPOSE_TIMEOUT_US = 10 * 1000 * 1000,
    EXPOSE_CHECK_S = 1,
    HOST_MAX = 255,
};

/* A listener that the client has, or was asked to have, for a node. */
struct exposed {
    bool ready;
    bool failed;
    uint16_t port;
    char host[HOST_MAX + 1];
};

/* The listeners for one cluster's nodes. */
struct exposed_book {
    struct idmap nodes[3]; /* by enum kafka_endpoint_type: struct exposed * */
};

struct session {
    struct list node; /* in server->sessions */
    struct server *server;
    struct mux_session *mux;
    struct link *link; /* NULL: lost, may come back */
    char identity[HTTP_IDENTITY_MAX];
    char peer[SOCKET_TEXT_MAX];
    char id[2 * MUX_SESSION_ID_SIZE + 1]; /* for the log: it is no secret */
    struct exposed_book *books;           /* one a cluster */
    struct list streams;
    struct list blocked; /* streams whose responses wait for listeners, oldest first */
    struct event *expose_timer;
    struct event *resume_timer;
    uint64_t streams_opened;
    bool leaving; /* the client has said that it stops */
};

/* One stream: a client's connection to a broker or target. */
struct broker_stream {
    struct list node;    /* in session->streams */
    struct list blocked; /* in session->blocked */
    struct session *session;
    struct relay *relay;
    struct upstream *opening;
    struct cluster *cluster; /* NULL: a raw target */
    size_t cluster_index;
    enum mux_target_kind kind;
    int32_t node_id;
    uint32_t id;
    uint64_t blocked_us;
    uint64_t opened_us;
    char target[MUX_NAME_MAX + 16]; /* "kafka", "kafka/2", "registry" */
    char peer[MUX_NAME_MAX + 1];
    char address[ADDRESS_HOST_MAX + 8];
};

static void session_end(struct session *session, enum mux_code code, const char *reason);

static struct log *log_of(const struct session *session)
{
    return session->server->worker->log;
}

/* ---- listeners of the client */

static struct exposed *exposed_get(struct session *session, size_t cluster, unsigned type,
                                   int32_t node)
{
    return idmap_get(&session->books[cluster].nodes[type], (uint32_t)node);
}

static struct exposed *exposed_add(struct session *session, size_t cluster, unsigned type,
                                   int32_t node)
{
    struct idmap *map = &session->books[cluster].nodes[type];
    struct exposed *exposed;

    if (map->count >= CLUSTER_NODES_MAX)
        return NULL;
    exposed = calloc(1, sizeof *exposed);
    if (!exposed)
        abort();
    idmap_put(map, (uint32_t)node, exposed);
    return exposed;
}

static void books_free(struct session *session)
{
    for (size_t i = 0; i < session->server->options->cluster_count; i++) {
        for (size_t type = 0; type < 3; type++) {
            struct exposed *exposed;
            for (size_t at = 0; (exposed = idmap_next(&session->books[i].nodes[type], &at));)
                free(exposed);
            idmap_clear(&session->books[i].nodes[type]);
        }
    }
    free(session->books);
}

/* kafka_filter_callbacks: the response of a broker announces a node. */
static int map_address(void *context, enum kafka_endpoint_type type, int32_t node,
                       const struct kafka_address *real, struct kafka_address *local)
{
    struct broker_stream *stream = context;
    struct session *session = stream->session;
    struct exposed *exposed = exposed_get(session, stream->cluster_index, type, node);

    if (!cluster_announce(stream->cluster, type, node, real))
        return -1;
    if (!exposed)
        return 1;
    if (exposed->failed) {
        /* The next response that names the node makes the client try again. */
        idmap_remove(&session->books[stream->cluster_index].nodes[type], (uint32_t)node);
        free(exposed);
        return -1;
    }
    if (!exposed->ready)
        return 1;
    *local = (struct kafka_address){exposed->host, strlen(exposed->host), exposed->port};
    return 0;
}

static void note_seen(void *context, enum kafka_endpoint_type type, int32_t node,
                      const struct kafka_address *real)
{
    struct broker_stream *stream = context;

    cluster_announce(stream->cluster, type, node, real);
}

static const struct kafka_filter_callbacks filter_callbacks = {.map = map_address,
                                                               .seen = note_seen};

/* Asks the client for listeners of the nodes that it was not asked for yet. */
static void send_expose(struct broker_stream *stream, const struct kafka_wanted *nodes,
                        size_t count)
{
    struct session *session = stream->session;
    const char *name = stream->cluster->settings->name;
    uint8_t payload[4096];
    struct mux_expose_writer writer;
    size_t i = 0;

    while (i < count) {
        mux_expose_begin(&writer, payload, sizeof payload, (struct mux_text){name, strlen(name)});
        for (; i < count; i++) {
            const struct kafka_wanted *wanted = &nodes[i];
            if (exposed_get(session, stream->cluster_index, wanted->type, wanted->node))
                continue;
            if (!mux_expose_add(&writer, (uint8_t)wanted->type, wanted->node))
                break;
            if (!exposed_add(session, stream->cluster_index, wanted->type, wanted->node))
                break;
        }
        if (writer.count > 0)
            mux_session_send_message(session->mux, MUX_EXPOSE, payload, mux_expose_end(&writer));
        else
            break;
    }
}

static void relay_wants(void *context, struct relay *relay, const struct kafka_wanted *nodes,
                        size_t count)
{
    struct broker_stream *stream = context;
    struct session *session = stream->session;
    const struct timeval check = {EXPOSE_CHECK_S, 0};

    (void)relay;
    if (list_empty(&stream->blocked)) {
        stream->blocked_us = clock_now_us();
        list_append(&session->blocked, &stream->blocked);
        event_add(session->expose_timer, &check);
    }
    send_expose(stream, nodes, count);
}

static void stream_free(struct broker_stream *stream);

static void on_expose_timer(evutil_socket_t fd, short what, void *argument)
{
    struct session *session = argument;
    const struct timeval check = {EXPOSE_CHECK_S, 0};
    uint64_t now = clock_now_us();

    (void)fd;
    (void)what;
    while (!list_empty(&session->blocked)) {
        struct broker_stream *stream =
            list_entry(session->blocked.next, struct broker_stream, blocked);
        if (session->link && now - stream->blocked_us >= EXPOSE_TIMEOUT_US) {
            log_warning(
                log_of(session), "expose_timeout",
                "The client did not open the listeners that a response needs; the connection "
                "is reset",
                log_str("session", session->id), log_str("target", stream->target));
            relay_cut(stream->relay, MUX_CODE_LISTENER,
                      "the client opened no listener for a broker in time");
            stream_free(stream);
            continue;
        }
        event_add(session->expose_timer, &check);
        return;
    }
}

static void note_exposed(struct session *session, size_t cluster,
                         const struct mux_exposed_node *node)
{
    struct exposed *exposed;

    if (node->endpoint_type < 1 || node->endpoint_type > 2)
        return;
    exposed = exposed_get(session, cluster, node->endpoint_type, node->node_id);
    if (!exposed || exposed->ready)
        return;
    if (node->port == 0 || node->host.size == 0 || node->host.size > HOST_MAX) {
        exposed->failed = true;
        log_warning(log_of(session), "expose_failed",
                    "The client could not open a listener for a node",
                    log_str("session", session->id), log_i64("node", node->node_id),
                    log_bytes("reason", node->host.bytes, node->host.size));
        return;
    }
    memcpy(exposed->host, node->host.bytes, node->host.size);
    exposed->host[node->host.size] = '\0';
    exposed->port = node->port;
    exposed->ready = true;
    log_info(log_of(session), "exposed", "The client has a listener for a node",
             log_str("session", session->id),
             log_str("cluster", session->server->options->clusters[cluster].name),
             log_i64("node", node->node_id), log_str("host", exposed->host),
             log_u64("port", exposed->port));
}

/* Responses that waited are asked again, each once. */
static void unblock_streams(struct session *session)
{
    struct list waiting;
    struct list *node;

    list_init(&waiting);
    while ((node = list_pop(&session->blocked)))
        list_append(&waiting, node);
    while ((node = list_pop(&waiting)))
        relay_listeners_ready(list_entry(node, struct broker_stream, blocked)->relay);
}

static void receive_exposed(struct session *session, const uint8_t *payload, size_t size)
{
    struct mux_expose_reader reader;
    struct mux_exposed_node node;
    const struct options *options = session->server->options;

    if (!mux_expose_read(&reader, payload, size))
        return;
    for (size_t i = 0; i < options->cluster_count; i++) {
        if (strlen(options->clusters[i].name) != reader.cluster.size ||
            memcmp(options->clusters[i].name, reader.cluster.bytes, reader.cluster.size) != 0)
            continue;
        while (mux_exposed_next(&reader, &node))
            note_exposed(session, i, &node);
        unblock_streams(session);
        return;
    }
}

/* ---- streams */

static void stream_free(struct broker_stream *stream)
{
    upstream_cancel(stream->opening);
    list_remove(&stream->node);
    list_remove(&stream->blocked);
    free(stream);
}

static void note_filter_events(const struct broker_stream *stream)
{
    struct kafka_filter *filter = stream->relay->filter;
    enum kafka_filter_event event;
    const char *api;
    int16_t version;

    while (filter &&
           (event = kafka_filter_event(filter, &api, &version)) != KAFKA_FILTER_EVENT_NONE)
        log_info(
            log_of(stream->session), "kafka_notice",
            event == KAFKA_FILTER_EVENT_NEWER_METADATA
                ? "A request uses a newer version than is known here; its known part is rewritten"
            : event == KAFKA_FILTER_EVENT_OUT_OF_ORDER ? "A broker answered out of order"
            : event == KAFKA_FILTER_EVENT_RAW_SASL     ? "A client uses SASL without Kafka framing"
                                                       : "An impossible broker address was erased",
            log_str("target", stream->target), log_str("api", api), log_i64("version", version),
            log_str("client_id", kafka_filter_client_id(filter)));
}

static void relay_ended(void *context, struct relay *relay, enum relay_end end, enum mux_code code,
                        struct mux_text reason)
{
    struct broker_stream *stream = context;
    struct log *log = log_of(stream->session);
    uint64_t lived_ms = (clock_now_us() - stream->opened_us) / 1000;

    note_filter_events(stream);
    if (end == RELAY_END_COMPLETE)
        log_debug(log, "stream_closed", "A connection has ended",
                  log_str("session", stream->session->id), log_str("target", stream->target),
                  log_u64("stream", stream->id), log_u64("bytes_up", relay->bytes_to_socket),
                  log_u64("bytes_down", relay->bytes_from_socket), log_ms("duration", lived_ms));
    else
        log_event(log, code == MUX_CODE_KAFKA_PROTOCOL ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
                  "stream_reset", "A connection was cut short",
                  (const struct log_field[]){
                      log_str("session", stream->session->id), log_str("target", stream->target),
                      log_str("address", stream->address), log_u64("stream", stream->id),
                      log_bytes("reason", reason.bytes, reason.size),
                      log_u64("bytes_up", relay->bytes_to_socket),
                      log_u64("bytes_down", relay->bytes_from_socket),
                      log_ms("duration", lived_ms)},
                  8);
    stream_free(stream);
}

static const struct relay_owner relay_owner = {.wanted = relay_wants, .ended = relay_ended};

static void refuse(struct session *session, struct mux_stream *mux, const char *target,
                   enum mux_code code, const char *reason)
{
    log_warning(log_of(session), "stream_refused", "A connection was refused",
                log_str("session", session->id), log_str("target", target),
                log_str("reason", reason));
    mux_stream_refuse(mux, code, reason);
}

static void on_upstream(void *context, const struct upstream_result *result)
{
    struct broker_stream *stream = context;

    stream->opening = NULL;
    if (result->fd < 0) {
        struct mux_stream *mux = stream->relay->stream;
        relay_abandon(stream->relay);
        refuse(stream->session, mux, stream->target, result->code, result->reason);
        stream_free(stream);
        return;
    }
    snprintf(stream->address, sizeof stream->address, "%s", result->address);
    log_debug(log_of(stream->session), "stream_opened", "A connection is open",
              log_str("session", stream->session->id), log_str("target", stream->target),
              log_str("address", stream->address), log_u64("stream", stream->id),
              log_str("peer", stream->peer));
    mux_stream_accept(stream->relay->stream);
    relay_connect(stream->relay, result->fd);
}

static bool text_is(struct mux_text text, const char *string)
{
    return strlen(string) == text.size && memcmp(text.bytes, string, text.size) == 0;
}

static struct broker_stream *stream_new(struct session *session, struct mux_stream *mux,
                                        const struct mux_target *target, struct mux_text peer)
{
    struct broker_stream *stream = calloc(1, sizeof *stream);

    if (!stream)
        abort();
    stream->session = session;
    stream->kind = target->kind;
    stream->node_id = target->node_id;
    stream->id = mux_stream_id(mux);
    stream->opened_us = clock_now_us();
    list_init(&stream->blocked);
    list_append(&session->streams, &stream->node);
    snprintf(stream->peer, sizeof stream->peer, "%.*s", (int)peer.size,
             peer.bytes ? peer.bytes : "");
    if (target->kind == MUX_TARGET_NODE)
        snprintf(stream->target, sizeof stream->target, "%.*s/%d", (int)target->name.size,
                 target->name.bytes, (int)target->node_id);
    else
        snprintf(stream->target, sizeof stream->target, "%.*s", (int)target->name.size,
                 target->name.bytes);
    session->streams_opened++;
    return stream;
}

static void open_kafka(struct session *session, struct mux_stream *mux, size_t index,
                       const struct mux_target *target, struct mux_text peer)
{
    struct server *server = session->server;
    struct broker_stream *stream = stream_new(session, mux, target, peer);
    unsigned timeout_ms = (unsigned)server->options->connect_timeout_ms;

    stream->cluster = &server->clusters[index];
    stream->cluster_index = index;
    struct kafka_filter *filter = kafka_filter_new(&filter_callbacks, stream, NULL);
    if (!filter)
        abort();
    stream->relay = relay_new(server->worker, &relay_owner, stream, filter);
    relay_set_stream(stream->relay, mux);
    if (target->kind == MUX_TARGET_NODE)
        stream->opening =
            upstream_node(stream->cluster, target->node_id, timeout_ms, on_upstream, stream);
    else
        stream->opening = upstream_bootstrap(stream->cluster, timeout_ms, on_upstream, stream);
}

static void open_tcp(struct session *session, struct mux_stream *mux, const struct address *address,
                     const struct mux_target *target, struct mux_text peer)
{
    struct server *server = session->server;
    struct broker_stream *stream = stream_new(session, mux, target, peer);

    stream->relay = relay_new(server->worker, &relay_owner, stream, NULL);
    relay_set_stream(stream->relay, mux);
    stream->opening =
        upstream_target(server->worker, address, (unsigned)server->options->connect_timeout_ms,
                        on_upstream, stream);
}

static void on_open(void *context, struct mux_stream *mux, const struct mux_target *target,
                    struct mux_text peer)
{
    struct session *session = context;
    const struct options *options = session->server->options;
    char name[MUX_NAME_MAX + 1];
    char reason[MUX_REASON_MAX];

    if (target->kind == MUX_TARGET_TCP) {
        for (size_t i = 0; i < options->target_count; i++) {
            if (text_is(target->name, options->targets[i].name)) {
                open_tcp(session, mux, &options->targets[i].address, target, peer);
                return;
            }
        }
    } else {
        for (size_t i = 0; i < options->cluster_count; i++) {
            if (text_is(target->name, options->clusters[i].name)) {
                open_kafka(session, mux, i, target, peer);
                return;
            }
        }
    }
    snprintf(name, sizeof name, "%.*s", (int)target->name.size, target->name.bytes);
    snprintf(reason, sizeof reason, "the server has no %s of that name",
             target->kind == MUX_TARGET_TCP ? "--tcp target" : "--kafka cluster");
    refuse(session, mux, name, MUX_CODE_UNKNOWN_TARGET, reason);
}

/* ---- the session */

static void on_output(void *context)
{
    struct session *session = context;

    if (session->link)
        link_output(session->link);
}

static void on_established(void *context, const struct mux_welcome *welcome)
{
    (void)context;
    (void)welcome;
}

static void on_opened(void *context, struct mux_stream *stream)
{
    (void)context;
    (void)stream;
}

static void on_message(void *context, uint8_t type, const uint8_t *payload, size_t size)
{
    if (type == MUX_EXPOSED)
        receive_exposed(context, payload, size);
}

/* The client stops: its session will not be carried on. */
static void on_goaway(void *context, enum mux_code code, struct mux_text reason)
{
    struct session *session = context;

    (void)code;
    (void)reason;
    session->leaving = true;
}

static const struct mux_callbacks session_callbacks = {
    .output = on_output,
    .established = on_established,
    .open = on_open,
    .opened = on_opened,
    .data = relay_on_data,
    .finish = relay_on_finish,
    .writable = relay_on_writable,
    .reset = relay_on_reset,
    .over = relay_on_over,
    .message = on_message,
    .goaway = on_goaway,
};

static void on_resume_timer(evutil_socket_t fd, short what, void *argument)
{
    struct session *session = argument;

    (void)fd;
    (void)what;
    session_end(session, MUX_CODE_SESSION_LOST, "the client did not come back in time");
}

static void format_id(const struct mux_session_key *key, char id[2 * MUX_SESSION_ID_SIZE + 1])
{
    for (size_t i = 0; i < MUX_SESSION_ID_SIZE; i++)
        snprintf(id + 2 * i, 3, "%02x", key->id[i]);
}

static struct mux_session *new_mux(struct session *session)
{
    const struct options *options = session->server->options;
    struct worker *worker = session->server->worker;
    struct mux_settings settings;
    struct mux_session_key key;

    mux_settings_default(&settings);
    settings.role = MUX_SERVER;
    settings.max_streams = (uint32_t)options->shared.max_streams;
    settings.ping_interval_us = options->shared.ping_interval_ms * 1000;
    settings.resume_window_ms = (uint32_t)options->shared.resume_window_ms;
    settings.software = (struct mux_text){"kafka-tunnel/" KAFKA_TUNNEL_VERSION,
                                          sizeof "kafka-tunnel/" KAFKA_TUNNEL_VERSION - 1};
    if (RAND_bytes(key.id, sizeof key.id) != 1 || RAND_bytes(key.secret, sizeof key.secret) != 1)
        abort();
    format_id(&key, session->id);
    struct mux_session *mux = mux_session_new(&settings, &session_callbacks, session, &key,
                                              &worker->pool, &worker->budget);
    byte_wipe(&key, sizeof key);
    return mux;
}

static struct session *session_new(struct server *server, const char *identity, const char *peer)
{
    struct session *session = calloc(1, sizeof *session);

    if (!session)
        abort();
    session->server = server;
    session->books = calloc(server->options->cluster_count + 1, sizeof *session->books);
    session->expose_timer = event_new(server->worker->base, -1, 0, on_expose_timer, session);
    session->resume_timer = event_new(server->worker->base, -1, 0, on_resume_timer, session);
    if (!session->books || !session->expose_timer || !session->resume_timer)
        abort();
    list_init(&session->streams);
    list_init(&session->blocked);
    list_append(&server->sessions, &session->node);
    server->session_count++;
    snprintf(session->identity, sizeof session->identity, "%s", identity);
    snprintf(session->peer, sizeof session->peer, "%s", peer);
    session->mux = new_mux(session);
    return session;
}

static void session_end(struct session *session, enum mux_code code, const char *reason)
{
    struct server *server = session->server;

    log_info(server->worker->log, "session_ended", "A session has ended",
             log_str("session", session->id), log_str("identity", session->identity),
             log_str("reason", reason), log_u64("streams_opened", session->streams_opened),
             log_u64("streams_reset", mux_session_stream_count(session->mux)));
    server_forget_session(server, session);
    mux_session_reset_streams(session->mux, code, reason);
    assert(list_empty(&session->streams));
    mux_session_free(session->mux);
    books_free(session);
    event_free(session->expose_timer);
    event_free(session->resume_timer);
    list_remove(&session->node);
    server->session_count--;
    free(session);
}

static struct session *find(struct server *server, const struct mux_session_key *key)
{
    for (struct list *at = server->sessions.next; at != &server->sessions; at = at->next) {
        struct session *session = list_entry(at, struct session, node);
        if (memcmp(mux_session_key(session->mux)->id, key->id, sizeof key->id) == 0)
            return session;
    }
    return NULL;
}

static struct mux_session *reject_with(struct mux_reject *reject, enum mux_code code,
                                       const char *reason)
{
    *reject = (struct mux_reject){.code = (uint16_t)code, .reason = {reason, strlen(reason)}};
    return NULL;
}

/* Secret and identity must be those of the client that began the session. */
static struct session *find_resumable(struct server *server, const char *identity,
                                      const struct mux_hello *hello)
{
    struct session *session = find(server, &hello->key);

    if (!session ||
        !byte_equal_secret(mux_session_key(session->mux)->secret, hello->key.secret,
                           sizeof hello->key.secret) ||
        strcmp(session->identity, identity) != 0)
        return NULL;
    return session;
}

struct mux_session *session_hello(struct server *server, struct link *link, const char *identity,
                                  const char *peer, const struct mux_hello *hello,
                                  struct mux_reject *reject, struct session **out)
{
    struct session *session;

    if (mux_version_choose(hello->version_min, hello->version_max) == 0)
        return reject_with(
            reject, MUX_CODE_VERSION,
            "client and server speak different versions of the tunnel protocol: update "
            "the older of them");
    if (hello->resume) {
        session = find_resumable(server, identity, hello);
        if (!session)
            return reject_with(reject, MUX_CODE_UNKNOWN_SESSION,
                               "the session is not known here, or no more");
        if (!mux_session_is_newer(session->mux, hello))
            return reject_with(reject, MUX_CODE_LIMIT, "a later link carries the session already");
        if (session->link)
            link_close(session->link, 1001, "the session goes on over a newer link");
        event_del(session->resume_timer);
    } else {
        if (server->session_count >= (size_t)server->options->max_sessions)
            return reject_with(reject, MUX_CODE_LIMIT,
                               "the server has as many sessions as it allows (--max-sessions)");
        session = session_new(server, identity, peer);
    }
    session->link = link;
    snprintf(session->peer, sizeof session->peer, "%s", peer);
    struct mux_text offers = {(const char *)server->offers, server->offers_size};
    if (mux_session_accept(session->mux, hello, server->offer_count, offers, clock_now_us()) != 0) {
        session->link = NULL;
        session_end(session, MUX_CODE_VERSION, "HELLO asks for what this server does not offer");
        return reject_with(reject, MUX_CODE_VERSION,
                           "HELLO asks for what this server does not offer");
    }
    log_info(server->worker->log, hello->resume ? "session_resumed" : "session_up",
             hello->resume ? "A session goes on over a new link" : "A session is up",
             log_str("session", session->id), log_str("identity", session->identity),
             log_str("peer", peer), log_str("protection", link_protection(link)),
             log_bytes("software", hello->software.bytes, hello->software.size));
    *out = session;
    return session->mux;
}

void session_link_lost(struct session *session, struct link *link, enum link_end end,
                       const char *reason)
{
    uint64_t keep_ms = session->server->options->shared.resume_window_ms;
    const struct timeval keep = {(time_t)(keep_ms / 1000), (suseconds_t)(keep_ms % 1000 * 1000)};

    if (session->link != link)
        return;
    session->link = NULL;
    /* Whoever broke the protocol once is not trusted to know where the streams stand. */
    if (end == LINK_END_PROTOCOL || keep_ms == 0 || session->leaving || session->server->stopping ||
        mux_session_stream_count(session->mux) == 0) {
        session_end(session, MUX_CODE_SESSION_LOST, reason);
        return;
    }
    log_info(log_of(session), "link_lost",
             "A client's link is lost; its session is kept for a while",
             log_str("session", session->id), log_str("reason", reason), log_ms("kept", keep_ms));
    event_add(session->resume_timer, &keep);
}

void session_stop_all(struct server *server)
{
    while (!list_empty(&server->sessions)) {
        struct session *session = list_entry(server->sessions.next, struct session, node);
        struct link *link = session->link;
        session->link = NULL;
        if (link)
            link_close(link, 1001, "the server stops");
        session_end(session, MUX_CODE_GOING_AWAY, "the server stops");
    }
}

#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "client_command.h"
#include "monitoring/telemetry.h"
#include "mux/handshake.h"
#include "program/notify.h"
#include "tunnel/link.h"

/* An upgraded connection; its session is known when HELLO has come. */
struct server_link {
    struct list node;
    struct server *server;
    struct tenant *tenant;
    struct link *link;
    struct session_ref ref;     /* to no session: before HELLO, or it has ended */
    struct peer_search *search; /* another instance may have the session */
    bool greeted;               /* HELLO has come */
    bool joins;                 /* a session that has other links */
    bool joined;                /* and has a place of TENANT_JOINS */
    bool handed_on;             /* it is another instance's client */
    bool forwarded;             /* it is another instance's session */
    char identity[HTTP_IDENTITY_MAX];
    char peer[SOCKET_TEXT_MAX];
};

/* ---- other instances */

static void say_rejected(const struct server_link *entry, const struct mux_reject *reject)
{
    struct log *log = entry->server->worker->log;
    const struct log_field fields[] = {
        log_str("peer", entry->peer), log_str("identity", entry->identity),
        log_bytes("reason", reject->reason.bytes, reject->reason.size)};

    if (entry->joins)
        metrics_add(entry->server->worker->metrics, METRIC_LINK_JOINS, telemetry_join(reject->code),
                    0, 1);
    /* Nobody misses a link while there are others. */
    if (entry->joins)
        log_event(log, LOG_LEVEL_INFO, "join_refused", "One more link of a session was refused",
                  fields, 3);
    else
        log_event(log, LOG_LEVEL_WARNING, "session_rejected", "A session was refused", fields, 3);
}

static void on_searched(void *context, struct transport *transport)
{
    static const char unknown[] = "unknown or expired session";
    static const struct mux_reject reject = {.code = MUX_CODE_UNKNOWN_SESSION,
                                             .reason = {unknown, sizeof unknown - 1}};
    struct server_link *entry = context;

    entry->search = NULL;
    if (!transport) {
        say_rejected(entry, &reject);
        link_reject(entry->link, &reject);
        return;
    }
    entry->forwarded = true;
    log_info(entry->server->worker->log, "link_forwarded",
             "Another instance has the session of a link: handing it on",
             log_str("peer", entry->peer), log_str("identity", entry->identity));
    link_forward(entry->link, transport);
}

/* Nobody here knows the session: somebody else may. A link that has been handed on stays. */
static bool search_elsewhere(struct server_link *entry, const struct mux_hello *hello,
                             struct mux_reject *reject)
{
    struct server *server = entry->server;

    if (!server->peers || entry->handed_on || reject->code != MUX_CODE_UNKNOWN_SESSION ||
        session_exists(&server->host, hello->key.id))
        return false;
    entry->search = peers_search(server->peers, hello->key.id, entry->identity, entry->peer,
                                 on_searched, entry);
    reject->code = MUX_CODE_NONE;
    return true;
}

/* ---- links */

static struct mux_link *on_hello(void *context, struct link *link, const struct mux_hello *hello,
                                 struct mux_reject *reject)
{
    struct server_link *entry = context;
    entry->greeted = true;
    entry->joins = hello->join;
    tenant_give(entry->tenant, TENANT_GREETINGS);
    struct mux_link *mux = session_hello(&entry->server->host, link, entry->tenant, entry->identity,
                                         entry->peer, hello, reject, &entry->ref);

    entry->joined = mux && hello->join;
    if (entry->joined)
        metrics_add(entry->server->worker->metrics, METRIC_LINK_JOINS, METRICS_JOIN_JOINED, 0, 1);
    if (!mux && !search_elsewhere(entry, hello, reject))
        say_rejected(entry, reject);
    return mux;
}

static void leave_joins(struct server_link *entry)
{
    if (entry->joined)
        tenant_give(entry->tenant, TENANT_JOINS);
    entry->joined = false;
}

static void entry_free(struct server_link *entry)
{
    leave_joins(entry);
    if (!entry->greeted)
        tenant_give(entry->tenant, TENANT_GREETINGS);
    tenant_give(entry->tenant, TENANT_LINKS);
    tenant_release(entry->tenant);
    peer_search_cancel(entry->search);
    list_remove(&entry->ref.node);
    list_remove(&entry->node);
    free(entry);
}

static void on_server_link_ended(void *context, struct link *link, enum link_end end,
                                 const char *reason)
{
    struct server_link *entry = context;

    metrics_add(entry->server->worker->metrics, METRIC_LINK_ENDS, end, 0, 1);
    bool known = entry->ref.session != NULL;
    if (known)
        session_link_lost(entry->ref.session, link, end, reason);
    else if (end != LINK_END_REJECTED && !entry->server->host.stopping && !entry->greeted)
        log_warning(entry->server->worker->log, "link_dropped",
                    "A WebSocket ended before it said which session it is for",
                    log_str("peer", entry->peer), log_str("reason", reason));
    if (known && (end == LINK_END_GARBLED || end == LINK_END_PROTOCOL))
        log_warning(entry->server->worker->log, "protocol_error",
                    "A client broke the protocol; its link was closed",
                    log_str("peer", entry->peer), log_str("reason", reason));
    entry_free(entry);
}

static const struct link_owner link_owner = {.hello = on_hello, .ended = on_server_link_ended};

static int on_authorize(void *context, const struct http_upgrade *upgrade, char *identity,
                        const char **body)
{
    struct server *server = context;

    if (server->host.stopping) {
        *body = "the server is restarting: try again\n";
        return 503;
    }
    return access_authorize(server->access, upgrade, identity, body);
}

/* The oldest link of the tenant that carries no session, or has not even said HELLO. */
static bool drop_link(struct server *server, const struct tenant *tenant, bool greeting)
{
    list_each(at, &server->links) {
        struct server_link *entry = list_entry(at, struct server_link, node);
        if (entry->tenant != tenant || (greeting ? entry->greeted : entry->ref.session != NULL))
            continue;
        log_warning(server->worker->log, "link_gave_way",
                    "A link is closed: its identity has more than its share of links",
                    log_str("peer", entry->peer), log_str("identity", entry->identity));
        link_abort(entry->link);
        entry_free(entry);
        return true;
    }
    return false;
}

/* A link that its session, which has most, can do without; NULL: there is none. The session itself
 * may be another's: an anonymous client's that has come from another address. */
static struct server_link *find_joined(const struct server *server, const struct tenant *tenant)
{
    struct server_link *found = NULL;
    unsigned most = 0;

    list_each(at, &server->links) {
        struct server_link *entry = list_entry(at, struct server_link, node);
        if (entry->tenant != tenant || !entry->joined || !entry->ref.session)
            continue;
        unsigned links = session_spares(entry->ref.session, entry->link);
        if (links > most)
            found = entry;
        most = links > most ? links : most;
    }
    return found;
}

static bool close_joined(const struct server *server, const struct tenant *tenant)
{
    struct server_link *entry = find_joined(server, tenant);

    if (!entry)
        return false;
    log_info(server->worker->log, "join_gave_way",
             "One of a session's links is closed: its identity has more than its share of links",
             log_str("peer", entry->peer), log_str("identity", entry->identity));
    session_spare(entry->ref.session, entry->link);
    leave_joins(entry);
    link_close(entry->link, 1013, "its place is needed by others with less than their share");
    return true;
}

static bool on_give_way(void *context, struct tenant *from, enum tenant_thing thing)
{
    switch (thing) {
    case TENANT_JOINS:
        return close_joined(context, from);
    case TENANT_SESSIONS:
        return session_give_way(from);
    case TENANT_STREAMS:
        return session_give_way_stream(from);
    default:
        return drop_link(context, from, thing == TENANT_GREETINGS);
    }
}

static bool on_give_way_memory(void *context, struct tenant *from, enum memory_way way)
{
    (void)context;
    return session_give_way_memory(from, way);
}

static const struct tenants_owner tenants_owner = {.give_way = on_give_way,
                                                   .give_way_memory = on_give_way_memory};

/* Takes a place for a link that has not said HELLO. */
static bool admit_link(struct server *server, struct tenant *tenant, const char *identity,
                       const char *peer)
{
    const char *reason = NULL;

    if (!tenant_take(tenant, TENANT_LINKS)) {
        reason = "there are as many links as sessions and handshakes allow (--max-sessions, "
                 "--max-handshakes)";
    } else if (!tenant_take(tenant, TENANT_GREETINGS)) {
        tenant_give(tenant, TENANT_LINKS);
        reason = "too many links have not yet said which session they are for (--max-handshakes)";
    }
    if (!reason)
        return true;
    tenant_limited(&server->tenants, METRICS_LIMIT_LINKS);
    log_warning(server->worker->log, "link_refused", "A WebSocket is closed at once",
                log_str("peer", peer), log_str("identity", identity), log_str("reason", reason));
    return false;
}

static void add_link(struct server *server, struct transport *transport, const char *identity,
                     const char *peer, bool handed_on)
{
    const struct link_counters counters = telemetry_link(server->worker);
    struct server_link *entry;

    struct tenant *tenant = tenant_use(&server->tenants, identity, peer);

    if (!admit_link(server, tenant, identity, peer)) {
        tenant_release(tenant);
        transport_free(transport);
        return;
    }
    entry = memory_new(sizeof *entry);
    entry->server = server;
    entry->tenant = tenant;
    snprintf(entry->identity, sizeof entry->identity, "%s", identity);
    snprintf(entry->peer, sizeof entry->peer, "%s", peer);
    list_append(&server->links, &entry->node);
    list_init(&entry->ref.node);
    entry->handed_on = handed_on;
    entry->link = handed_on ? link_new_handed_on(server->worker, transport, &link_owner, entry)
                            : link_new_server(server->worker, transport, &link_owner, entry);
    link_count(entry->link, &counters);
    link_limit_frames(entry->link, server->options->shared.max_frame);
}

static void on_upgraded(void *context, struct transport *transport, const char *identity,
                        const char *peer)
{
    add_link(context, transport, identity, peer, false);
}

static bool on_asked(void *context, const uint8_t id[MUX_SESSION_ID_SIZE])
{
    const struct server *server = context;

    return session_exists(&server->host, id);
}

static void on_handed_on(void *context, struct transport *transport, const char *identity,
                         const char *peer)
{
    add_link(context, transport, identity, peer, true);
}

static const struct peers_owner peers_owner = {.has = on_asked, .handed_on = on_handed_on};

/* ---- pages */

/* NULL: there is none. */
static const struct cluster *find_silent(const struct server *server)
{
    for (size_t i = 0; i < server->options->cluster_count; i++)
        if (!cluster_is_reachable(&server->clusters[i]))
            return &server->clusters[i];
    return NULL;
}

bool server_is_ready(const struct server *server)
{
    return !server->leaving && !server->host.draining && !find_silent(server);
}

bool server_tell_readiness(const struct server *server, bool for_strangers, char *text, size_t size)
{
    const struct cluster *silent = find_silent(server);

    if (server->leaving || server->host.draining) {
        snprintf(text, size, "the server stops\n");
        return false;
    }
    if (silent)
        snprintf(text, size, "no bootstrap broker of the cluster %s answers\n",
                 silent->settings->name);
    else
        snprintf(text, size, "ready\n");
    for (size_t i = 0; i < server->options->cluster_count; i++)
        cluster_tell_failing(&server->clusters[i], for_strangers, text, size);
    return !silent;
}

static bool asks_for_page(const struct http_request *request)
{
    const char *method = http_request_method(request);

    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static void on_server_page(void *context, const struct http_request *request, const char *path,
                           struct http_page *page)
{
    struct server *server = context;
    bool is_probe = strcmp(path, "/readyz") == 0;

    if (!is_probe && strcmp(path, "/healthz") != 0) {
        page->body = "not found\n";
    } else if (!asks_for_page(request)) {
        page->status = 405;
        page->body = "use GET or HEAD to read a page\n";
    } else if (is_probe) {
        bool ready =
            server_tell_readiness(server, true, server->readiness, sizeof server->readiness);
        page->status = ready ? 200 : 503;
        page->body = server->readiness;
    } else {
        page->status = 200;
        page->body = "ok\n";
    }
    page->size = strlen(page->body);
}

static void on_server_accept(void *context, int fd, const struct socket_address *peer)
{
    struct server *server = context;

    http_server_adopt(server->http, fd, peer);
}

static const struct http_server_owner http_owner = {
    .authorize = on_authorize, .upgraded = on_upgraded, .page = on_server_page};

/* ---- life */

static void encode_offers(struct server *server)
{
    const struct options *options = server->options;
    struct byte_writer w;

    byte_writer_init(&w, server->offers, sizeof server->offers);
    for (size_t i = 0; i < options->cluster_count; i++)
        mux_offer_write(
            &w, MUX_TARGET_CLUSTER,
            (struct mux_text){options->clusters[i].name, strlen(options->clusters[i].name)});
    for (size_t i = 0; i < options->target_count; i++)
        mux_offer_write(
            &w, MUX_TARGET_TCP,
            (struct mux_text){options->targets[i].name, strlen(options->targets[i].name)});
    server->host.offers = (struct mux_text){(const char *)server->offers, byte_writer_size(&w)};
    server->host.offer_count = (uint16_t)(options->cluster_count + options->target_count);
}

static bool use_door_material(void *context, const struct tls_material *material,
                              struct tls_error *error)
{
    struct server *server = context;
    SSL_CTX *tls = tls_server_context(material, error);

    if (!tls)
        return false;
    http_server_use_tls(server->http, tls);
    SSL_CTX_free(tls);
    return true;
}

static bool start_tls(struct server *server, char *error, size_t size)
{
    const struct options *options = server->options;
    const struct tls_files files = {.cert_option = "tls-cert",
                                    .cert_file = options->tls_cert,
                                    .key_option = "tls-key",
                                    .key_file = options->tls_key,
                                    .passphrase_file = options->tls_key_passphrase_file,
                                    .passphrase = options->tls_key_passphrase,
                                    .ca_option = "client-ca",
                                    .ca_file = options->client_ca};
    struct tls_error tls;

    server->files = tls_keeper_new(server->worker, &files, use_door_material, server, &tls);
    if (!server->files)
        snprintf(error, size, "%s", tls.text);
    return server->files != NULL;
}

static bool start_http(struct server *server, char *error, size_t size)
{
    const struct options *options = server->options;
    const struct http_server_settings settings = {
        .path = options->path,
        .origins = options->allow_origin.items,
        .origin_count = options->allow_origin.count,
        .handshakes_max = (size_t)options->max_handshakes,
        .head_max = (size_t)options->header_size,
        .handshake_timeout_ms = options->handshake_timeout_ms,
    };

    server->http = http_server_new(server->worker, &settings, &http_owner, server);
    return !options->tls_cert || start_tls(server, error, size);
}

static bool use_broker_material(void *context, const struct tls_material *material,
                                struct tls_error *error)
{
    struct server *server = context;
    SSL_CTX *tls = tls_client_context(material, true, error);

    if (!tls)
        return false;
    /* Connections, and dials under way, have references of their own. */
    SSL_CTX_free(server->broker_tls);
    server->broker_tls = tls;
    for (size_t i = 0; i < server->options->cluster_count; i++)
        server->clusters[i].access.tls.context = tls;
    /* Brokers that could not be reached before may be now. */
    if (server->probes)
        probes_begin_round(server->probes);
    return true;
}

/* What connections to brokers have in common when they use TLS. */
static bool start_broker_tls(struct server *server, char *error, size_t size)
{
    const struct options *options = server->options;
    const struct tls_files files = {.cert_option = "kafka-cert",
                                    .cert_file = options->kafka_cert,
                                    .key_option = "kafka-key",
                                    .key_file = options->kafka_key,
                                    .passphrase_file = options->kafka_key_passphrase_file,
                                    .passphrase = options->kafka_key_passphrase,
                                    .ca_option = "kafka-ca",
                                    .ca_file = options->kafka_ca};
    struct tls_error tls;

    if (!options->kafka_tls)
        return true;
    server->broker_files =
        tls_keeper_new(server->worker, &files, use_broker_material, server, &tls);
    if (!server->broker_files)
        snprintf(error, size, "%s", tls.text);
    return server->broker_files != NULL;
}

static bool choose_congestion_control(struct server *server, char *error, size_t size)
{
    const char *name = server->options->shared.congestion_control;

    if (!name || listener_use_congestion_control(server->listener, name))
        return true;
    snprintf(error, size, "--congestion-control %s: %s", name, strerror(errno));
    return false;
}

static bool start_listening(struct server *server, char *error, size_t size)
{
    const struct options *options = server->options;
    struct socket_address address;

    if (!socket_parse(options->listen_address.host, options->listen_address.port, &address)) {
        snprintf(error, size, "--listen %s: not an address", options->listen);
        return false;
    }
    server->listener = listener_new(server->worker, "tunnel", &address, on_server_accept, server);
    if (server->listener) {
        listener_warn_if_at_risk(server->listener);
        return choose_congestion_control(server, error, size);
    }
    if (errno == EADDRINUSE)
        snprintf(error, size,
                 "--listen %s: the port is in use, probably by another "
                 "tunnel-server; " LISTENER_WHO_HOLDS,
                 options->listen);
    else
        snprintf(error, size, "--listen %s: %s", options->listen, strerror(errno));
    return false;
}

/* What the defaults allow depends on the machine: who has many clients wants to know before they
 * come. */
static void say_capacity(const struct server *server)
{
    const struct tenants_capacity capacity = tenants_capacity(&server->tenants);
    const struct log_field fields[] = {
        log_u64("sessions", capacity.sessions),
        log_u64("connections", capacity.connections),
        log_str("connections_bound_by", capacity.memory_binds ? "--memory" : "ulimit -n"),
        log_u64("descriptors", capacity.descriptors),
        log_u64("memory", server->options->shared.memory),
    };

    log_event(server->worker->log, capacity.few_descriptors ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
              "capacity",
              capacity.few_descriptors
                  ? "There are fewer file descriptors than --max-sessions need; raise the limit "
                    "(ulimit -n, LimitNOFILE=) or lower --max-sessions"
                  : "So many sessions and connections fit at a time",
              fields, capacity.descriptors == UINT64_MAX ? 3 : 5);
}

/* What to type where the Kafka clients are; for people who start it for the first time. */
static void say_client_command(const struct server *server)
{
    struct text command;

    text_init(&command, LOG_VALUE_MAX);
    client_command_write(server->options, listener_port(server->listener), &command);
    text_bytes(&command, "", 1);
    if (!command.failed)
        log_info(server->worker->log, "client_command", "Clients connect with this command",
                 log_str("command", command.bytes));
    text_clear(&command);
}

static void say_ready(const struct server *server)
{
    const struct options *options = server->options;
    char listen[SOCKET_TEXT_MAX];
    char congestion_control[CONGESTION_NAME_SIZE];

    listener_format(server->listener, listen);
    listener_congestion_control(server->listener, congestion_control);
    log_info(server->worker->log, "ready", "tunnel-server is ready", log_str("listen", listen),
             log_str("path", options->path), log_bool("tls", options->tls_cert != NULL),
             log_str("congestion_control", congestion_control),
             log_u64("clusters", options->cluster_count), log_u64("targets", options->target_count),
             log_str("version", KAFKA_TUNNEL_VERSION));
    say_client_command(server);
    notify_ready(server->notify);
    notify_status(server->notify, "Listening on %s", listen);
}

/* Bootstrap brokers, cluster by cluster; one that is there twice is shown once. */
static size_t name_brokers(struct server *server)
{
    const struct options *options = server->options;
    size_t count = 0;

    server->broker_names = memory_new_array(options->cluster_count * ADDRESS_BROKERS_MAX + 1,
                                            sizeof *server->broker_names);
    for (size_t i = 0; i < options->cluster_count; i++) {
        const struct address_cluster *cluster = &options->clusters[i];
        for (size_t broker = 0; broker < cluster->count; broker++) {
            char address[ADDRESS_TEXT_MAX];
            char name[ADDRESS_NAME_MAX + 1 + ADDRESS_TEXT_MAX];
            address_format(cluster->brokers[broker].host, cluster->brokers[broker].port, address);
            snprintf(name, sizeof name, "%s/%s", cluster->name, address);
            bool again = false;
            for (size_t at = count - broker; at < count && !again; at++)
                again = server->broker_names[at] && strcmp(server->broker_names[at], name) == 0;
            if (!again)
                server->broker_names[count] = memory_text(name);
            count++;
        }
    }
    return count;
}

static void start_telemetry(struct server *server)
{
    const char *states[BROKER_STATES];
    const struct options *options = server->options;

    for (size_t i = 0; i < BROKER_STATES; i++)
        states[i] = broker_state_name((enum broker_state)i);
    server->broker_count = name_brokers(server);
    const struct telemetry_names names = {
        .clusters = TELEMETRY_LIST(options->clusters, options->cluster_count),
        .targets = TELEMETRY_LIST(options->targets, options->target_count),
        .brokers = (const char *const *)server->broker_names,
        .broker_count = server->broker_count,
        .broker_states = states,
        .broker_state_count = BROKER_STATES,
    };
    server->telemetry = telemetry_start(server->worker, METRIC_SERVER, &names);
}

enum program_start server_open(struct server *server, const struct program_context *context,
                               const struct options *options, char *error, size_t size)
{
    struct worker *worker = context->worker;

    memset(server, 0, sizeof *server);
    server->worker = worker;
    server->notify = context->notify;
    server->options = options;
    start_telemetry(server);
    list_init(&server->links);
    ledger_init(&server->ledger, options, &worker->hash_key, 1, options->shared.memory);
    tenants_init(&server->tenants, worker, &server->ledger, 0, &tenants_owner, server);
    server->clusters = memory_new_array(options->cluster_count + 1, sizeof *server->clusters);
    if (!start_broker_tls(server, error, size))
        return PROGRAM_USAGE;
    for (size_t i = 0; i < options->cluster_count; i++)
        cluster_init(&server->clusters[i], worker, &options->clusters[i],
                     (struct cluster_access){
                         .tls = {server->broker_tls, options->kafka_server_name},
                         .rules = &options->node_rules,
                         .check = options->check_brokers,
                     });
    server->host = (struct session_host){.worker = worker,
                                         .options = options,
                                         .clusters = server->clusters,
                                         .table = &server->table,
                                         .tenants = &server->tenants};
    session_table_init(&server->table, &worker->hash_key);
    session_host_init(&server->host);
    encode_offers(server);
    server->access = access_new(worker, options, error, size);
    if (!server->access || !start_http(server, error, size))
        return PROGRAM_USAGE;
    if (options->peer_count > 0) {
        server->peers = peers_new(worker, options, &peers_owner, server, error, size);
        if (!server->peers)
            return PROGRAM_FAILED;
    }
    return start_listening(server, error, size) ? PROGRAM_GOES : PROGRAM_FAILED;
}

void server_begin(struct server *server)
{
    const struct options *options = server->options;

    server->probes = probes_new(server->worker, server->clusters, options->cluster_count,
                                (unsigned)options->connect_timeout_ms);
    say_capacity(server);
    say_ready(server);
}

void server_reload(struct server *server, struct reload *reload)
{
    tls_keeper_reload(server->files, reload);
    tls_keeper_reload(server->broker_files, reload);
    access_reload(server->access, reload);
    peers_reload(server->peers, reload);
}

void server_leave(struct server *server)
{
    server->leaving = true;
}

void server_drain(struct server *server)
{
    /* The listener stays: a client that loses its link now comes back for what is under way. */
    probes_stop(server->probes);
    session_drain_all(&server->host);
    /* A session that is elsewhere goes on there, over whatever instance its client reaches next. */
    list_each(at, &server->links) {
        struct server_link *entry = list_entry(at, struct server_link, node);
        if (entry->forwarded)
            link_close(entry->link, 1001, "this instance stops");
    }
}

void server_stop(struct server *server)
{
    session_stop_all(&server->host);
    /* Who has come is told that the server restarts; who comes later finds nobody, and a load
     * balancer tries the next instance at once. */
    http_server_stop(server->http);
    listener_take_all(server->listener);
    listener_free(server->listener);
    server->listener = NULL;
    list_each(at, &server->links)
        link_close(list_entry(at, struct server_link, node)->link, 1001, "the server stops");
}

bool server_stopped(const struct server *server)
{
    return list_empty(&server->links) && server->host.session_count == 0 &&
           (!server->host.stopping || http_server_count(server->http) == 0);
}

void server_free(struct server *server)
{
    struct list *node;

    probes_free(server->probes);
    while ((node = list_pop(&server->links))) {
        struct server_link *entry = list_entry(node, struct server_link, node);
        link_abort(entry->link);
        entry_free(entry);
    }
    if (server->host.table)
        session_table_clear(&server->table);
    tenants_clear(&server->tenants);
    ledger_clear(&server->ledger);
    listener_free(server->listener);
    http_server_free(server->http);
    peers_free(server->peers);
    access_free(server->access);
    for (size_t i = 0; i < server->options->cluster_count; i++)
        cluster_clear(&server->clusters[i]);
    free(server->clusters);
    for (size_t i = 0; i < server->broker_count; i++)
        free(server->broker_names[i]);
    free(server->broker_names);
    tls_keeper_free(server->files);
    tls_keeper_free(server->broker_files);
    SSL_CTX_free(server->broker_tls);
}

#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/printable.h"
#include "io/clock.h"
#include "listeners/named_ports.h"
#include "monitoring/telemetry.h"
#include "program/notify.h"

enum { WAITING_MAX = 1024, LOOK_US = 1000 * 1000, OFFERS_SHOWN = 480 };

/* Of listeners with TLS: a client's handshake takes milliseconds, on a slow machine a second. */
enum { GREETINGS_MAX = 1024, GREETING_MS = 15 * 1000 };

/*
 * How long a Kafka connection may be half closed without a byte moving, in seconds. A broker that
 * has closed one waits for nothing more; whether its client has read all before the end is only
 * known while there is something that it has not taken. For a client that has closed the server
 * gives up a silent broker; a server that does not is silent itself.
 */
enum { CLOSED_BY_BROKER_S = 10, UNREAD_S = 60, CLOSED_BY_CLIENT_S = 15 };

/* ---- connections */

static void connection_free(struct local_connection *connection)
{
    list_remove(&connection->node);
    transport_reset(connection->transport);
    port_end(connection->port, clock_now_us());
    kafka_peek_end(&connection->peek);
    free(connection->protection);
    free(connection->certificate);
    free(connection->login);
    free(connection);
}

static void count_refusal(const struct client *client, enum metrics_refusal refusal)
{
    metrics_add(client->worker->metrics, METRIC_LISTENER_REFUSALS, refusal, 0, 1);
}

static void on_relay_ended(void *context, struct relay *relay, enum relay_end end,
                           enum mux_code code, struct mux_text reason)
{
    struct local_connection *connection = context;
    struct log *log = connection->client->worker->log;
    struct metrics *metrics = connection->client->worker->metrics;
    uint64_t lived_ms = (clock_now_us() - connection->accepted_us) / 1000;

    metrics_add(metrics, METRIC_STREAMS_ENDED, connection->target,
                end == RELAY_END_COMPLETE ? 0 : 1 + (size_t)code, 1);
    *metrics_at(metrics, METRIC_STREAMS, connection->target, 0) -= 1;
    if (end == RELAY_END_COMPLETE)
        log_debug(
            log, "connection_closed", "A local connection has ended",
            log_str("listener", connection->port->label), log_str("peer", connection->peer),
            log_u64("stream", connection->id), log_u64("bytes_up", relay_bytes_from_socket(relay)),
            log_u64("bytes_down", relay_bytes_to_socket(relay)), log_ms("duration", lived_ms));
    else
        /* What the local program itself cut short is nothing to worry about. */
        log_event(
            log, code == MUX_CODE_PEER_RESET ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING,
            "connection_reset", "A local connection was reset",
            (const struct log_field[]){
                log_str("listener", connection->port->label), log_str("peer", connection->peer),
                log_u64("stream", connection->id), log_bytes("reason", reason.bytes, reason.size),
                log_u64("bytes_up", relay_bytes_from_socket(relay)),
                log_u64("bytes_down", relay_bytes_to_socket(relay)), log_ms("duration", lived_ms)},
            7);
    connection_free(connection);
}

static void on_relay_half_closed(void *context, struct relay *relay, enum relay_side ended,
                                 unsigned seconds)
{
    const struct local_connection *connection = context;

    if (connection->port->kind == MUX_TARGET_TCP)
        return;
    if (relay_unwritten(relay) > 0) {
        if (seconds >= UNREAD_S)
            relay_fail(relay, MUX_CODE_PEER_RESET,
                       "the broker closed the connection, and for 60 s the local program did not "
                       "read what came before");
    } else if (ended == RELAY_STREAM && seconds >= CLOSED_BY_BROKER_S) {
        relay_hang_up(relay);
    } else if (ended == RELAY_SOCKET && seconds >= CLOSED_BY_CLIENT_S) {
        relay_fail(
            relay, MUX_CODE_UPSTREAM_TIMEOUT,
            "the local program closed the connection, and for 15 s the server did not end it");
    }
}

static const struct relay_owner relay_owner = {.half_closed = on_relay_half_closed,
                                               .ended = on_relay_ended};

/* Looks who is there, as long as it takes. */
static bool look_who(void *context, const uint8_t *bytes, size_t size)
{
    struct local_connection *connection = context;

    kafka_peek_requests(&connection->peek, bytes, size);
    return !connection->peek.done;
}

/* From here on its relay counts, and looks who is there. */
static void count_opened_connection(struct local_connection *connection)
{
    struct metrics *metrics = connection->client->worker->metrics;
    struct relay *relay = connection->relay;
    size_t target = metrics_find(metrics, METRICS_TARGET, connection->port->name);

    connection->target = target;
    metrics_add(metrics, METRIC_STREAMS_OPENED, target, 0, 1);
    metrics_add(metrics, METRIC_STREAMS, target, 0, 1);
    const struct relay_counters counters =
        telemetry_relay(connection->client->worker, target, METRICS_DOWN);
    relay_count(relay, &counters);
    kafka_peek_init(&connection->peek);
    if (connection->port->kind != MUX_TARGET_TCP)
        relay_watch(relay, look_who);
}

static void open_stream_of_connection(struct local_connection *connection,
                                      struct mux_session *session)
{
    struct client *client = connection->client;
    const struct mux_target target = port_target(connection->port);
    struct mux_text peer = {connection->peer, strlen(connection->peer)};
    struct relay *relay = relay_new(client->worker, &relay_owner, connection);

    if (!relay_open(relay, session, &target, peer)) {
        log_warning(client->worker->log, "connection_refused",
                    "A local connection is refused: too many connections, or no memory for another "
                    "(--max-streams, --memory)",
                    log_str("listener", connection->port->label),
                    log_str("peer", connection->peer));
        count_refusal(client, METRICS_REFUSAL_LIMIT);
        relay_abandon(relay);
        connection_free(connection);
        return;
    }
    list_remove(&connection->node);
    list_append(&client->connections, &connection->node);
    connection->relay = relay;
    connection->id = mux_stream_id(relay_stream(relay));
    count_opened_connection(connection);
    log_debug(client->worker->log, "connection_opened",
              "A local connection goes through the tunnel",
              log_str("listener", connection->port->label), log_str("peer", connection->peer),
              log_u64("stream", connection->id),
              log_str("security", transport_protection(connection->transport)));
    /* The server connects meanwhile: what the program sends first travels with the request to open.
     */
    struct transport *transport = connection->transport;
    connection->transport = NULL;
    relay_connect(relay, transport);
}

/* ---- waiting for the link */

static size_t waiting_count(const struct client *client)
{
    size_t count = 0;

    list_each(at, &client->waiting)
        count++;
    return count;
}

/* Who has left must not be served any more. A Kafka client that sends nothing more before the first
 * answer has left; at a raw target that may be all that it has to say. */
static bool has_gone(const struct local_connection *connection)
{
    enum socket_end end = socket_peer_end(transport_fd(connection->transport));

    return end == SOCKET_BROKEN ||
           (end == SOCKET_FINISHED && connection->port->kind != MUX_TARGET_TCP);
}

static void forget_gone(struct local_connection *connection)
{
    log_debug(connection->client->worker->log, "connection_closed",
              "A local connection ended before there was a link to the server",
              log_str("listener", connection->port->label), log_str("peer", connection->peer),
              log_ms("waited", (clock_now_us() - connection->accepted_us) / 1000));
    connection_free(connection);
}

static void look_who_waits(struct client *client)
{
    for (struct list *at = client->waiting.next, *next; at != &client->waiting; at = next) {
        struct local_connection *connection = list_entry(at, struct local_connection, node);
        next = at->next;
        if (has_gone(connection))
            forget_gone(connection);
    }
}

static void arm_waiting_timer(struct client *client)
{
    uint64_t now = clock_now_us();

    if (list_empty(&client->waiting))
        return;
    const struct local_connection *first =
        list_entry(client->waiting.next, struct local_connection, node);
    uint64_t due = first->accepted_us + client->options->connect_wait_ms * 1000;
    uint64_t wait = due > now ? due - now : 0;
    if (wait > LOOK_US)
        wait = LOOK_US;
    timer_start_us(client->waiting_timer, wait);
}

static void on_waiting_timer(void *argument)
{
    struct client *client = argument;
    uint64_t now = clock_now_us();

    look_who_waits(client);
    while (!list_empty(&client->waiting)) {
        struct local_connection *first =
            list_entry(client->waiting.next, struct local_connection, node);
        if (first->accepted_us + client->options->connect_wait_ms * 1000 > now)
            break;
        log_warning(client->worker->log, "connection_reset",
                    "A local connection was reset: there was no link to the server in time",
                    log_str("listener", first->port->label), log_str("peer", first->peer),
                    log_ms("waited", (now - first->accepted_us) / 1000));
        count_refusal(client, METRICS_REFUSAL_NO_LINK);
        connection_free(first);
    }
    arm_waiting_timer(client);
}

static bool may_wait_for_link(struct client *client)
{
    if (waiting_count(client) >= WAITING_MAX)
        look_who_waits(client);
    return waiting_count(client) < WAITING_MAX;
}

/* Into the tunnel, or to those that wait for it; or it ends here. */
static void admit_connection(struct local_connection *connection)
{
    struct client *client = connection->client;
    struct mux_session *session = uplink_session(client->uplink);

    if (!session && !may_wait_for_link(client)) {
        count_refusal(client, METRICS_REFUSAL_NO_LINK);
        connection_free(connection);
        return;
    }
    list_append(&client->waiting, &connection->node);
    if (session)
        open_stream_of_connection(connection, session);
    else
        arm_waiting_timer(client);
}

/* For the status page. */
static void note_security(struct local_connection *connection)
{
    struct tls_certificate_text text;

    if (!transport_is_secure(connection->transport))
        return;
    connection->protection = memory_text(transport_protection(connection->transport));
    X509 *certificate = transport_client_certificate(connection->transport);
    if (!certificate)
        return;
    tls_certificate_describe(certificate, &text);
    connection->certificate = memory_text(text.subject);
    X509_free(certificate);
}

static void on_greeted(void *context, void *guest, struct transport *transport)
{
    struct local_connection *connection = guest;

    (void)context;
    connection->transport = transport;
    note_security(connection);
    admit_connection(connection);
}

static void on_dismissed(void *context, void *guest, enum greeter_end end)
{
    static const enum metrics_refusal refusals[] = {
        [GREETER_PLAINTEXT] = METRICS_REFUSAL_PLAINTEXT,
        [GREETER_HANDSHAKE] = METRICS_REFUSAL_HANDSHAKE,
        [GREETER_CLIENT_REFUSED] = METRICS_REFUSAL_CLIENT_REFUSED,
        [GREETER_CERTIFICATE] = METRICS_REFUSAL_CERTIFICATE,
        [GREETER_TIMEOUT] = METRICS_REFUSAL_TIMEOUT,
        [GREETER_SILENT] = METRICS_REFUSAL_SILENT,
        [GREETER_CROWDED] = METRICS_REFUSAL_CROWDED};

    if (end != GREETER_LEFT)
        count_refusal(context, refusals[end]);
    connection_free(guest);
}

static const struct greeter_owner greeter_owner = {.greeted = on_greeted,
                                                   .dismissed = on_dismissed};

/* What a raw target gets may be TLS already, and its server may speak first: only clients of Kafka
 * are asked what they speak, and only where there is a choice. */
enum listener_security client_security_of(const struct client *client, const struct port *port)
{
    return client->listener_tls && port->kind != MUX_TARGET_TCP
               ? listener_security_at(client->options->listener_tls_mode, port->host)
               : LISTENER_PLAIN;
}

static void greet_connection(struct local_connection *connection, const struct socket_address *peer,
                             enum listener_security security)
{
    struct client *client = connection->client;
    const struct greeter_guest guest = {
        .transport = connection->transport,
        .peer = peer,
        .security = security,
        .tls = listener_tls_context(client->listener_tls, security),
        .label = connection->port->label,
        .connection = connection,
    };

    connection->transport = NULL;
    greeter_adopt(client->greeter, &guest);
}

static void on_client_accept(void *context, struct port *port, int fd,
                             const struct socket_address *peer)
{
    struct client *client = context;
    enum listener_security security = client_security_of(client, port);
    struct local_connection *connection = memory_new(sizeof *connection);

    connection->client = client;
    connection->port = port;
    port_begin(port);
    connection->transport = transport_new(fd);
    connection->accepted_us = clock_now_us();
    socket_format(peer, connection->peer);
    list_init(&connection->node);
    if (!allowed_users_admit(client->allowed_users, fd, client->worker->log, port->label,
                             connection->peer)) {
        count_refusal(client, METRICS_REFUSAL_USER);
        connection_free(connection);
    } else if (security == LISTENER_PLAIN) {
        admit_connection(connection);
    } else {
        greet_connection(connection, peer, security);
    }
}

/* ---- the server's word */

static bool is_port_offered(const struct port *port, const struct mux_welcome *welcome)
{
    struct mux_text rest = welcome->offers;
    struct mux_text name;
    enum mux_target_kind kind;

    while (mux_offer_next(&rest, &kind, &name))
        if (kind == port->kind && name.size == strlen(port->name) &&
            memcmp(name.bytes, port->name, name.size) == 0)
            return true;
    return mux_target_is_node(port->kind) || port->kind == MUX_TARGET_BOOTSTRAP;
}

/* What the server has instead: "--kafka staging, --tcp registry". */
static void list_offers(const struct mux_welcome *welcome, char *text, size_t size)
{
    struct mux_text rest = welcome->offers;
    struct mux_text name;
    enum mux_target_kind kind;
    size_t used = 0;

    snprintf(text, size, "nothing");
    for (int i = 0; used < size && mux_offer_next(&rest, &kind, &name); i++)
        used +=
            (size_t)snprintf(text + used, size - used, "%s--%s %.*s", i ? ", " : "",
                             kind == MUX_TARGET_TCP ? "tcp" : "kafka", (int)name.size, name.bytes);
}

/* For a command that is not started because of it. */
static void refuse_to_run(struct client *client, const struct port *port,
                          const struct mux_welcome *welcome)
{
    char offers[OFFERS_SHOWN];
    char reason[OFFERS_SHOWN + MUX_NAME_MAX + 80];

    list_offers(welcome, offers, sizeof offers);
    snprintf(reason, sizeof reason, "the server has no --%s named %s; it offers only %s",
             port->kind == MUX_TARGET_TCP ? "tcp" : "kafka", port->name, offers);
    run_failed(client->run, "tunnel", reason, true);
}

static void check_offers(struct client *client, const struct mux_welcome *welcome)
{
    bool refuses = client->run && run_is_waiting(client->run);
    char offers[OFFERS_SHOWN];

    list_offers(welcome, offers, sizeof offers);
    list_each(at, &client->ports.all) {
        const struct port *port = list_entry(at, struct port, node);
        if (is_port_offered(port, welcome))
            continue;
        if (refuses)
            refuse_to_run(client, port, welcome);
        else
            log_error(
                client->worker->log, "unknown_target",
                port->kind == MUX_TARGET_TCP
                    ? "The server has no --tcp target of this name; connections to it are refused"
                    : "The server has no --kafka cluster of this name; connections to it are "
                      "refused",
                log_str("name", port->name), log_str("offered", offers));
    }
}

static void start_command(struct client *client)
{
    if (client->run && name_keeper_is_ready(client->names))
        run_ready(client->run);
}

static void on_client_up(void *context, const struct mux_welcome *welcome)
{
    struct client *client = context;
    struct mux_session *session = uplink_session(client->uplink);
    struct list waiting;
    struct list *node;

    if (!client->ready)
        log_info(client->worker->log, "ready", "tunnel-client is ready",
                 log_str("server", client->options->server),
                 log_str("version", KAFKA_TUNNEL_VERSION));
    client->ready = true;
    terminal_up(client->terminal, uplink_protection(client->uplink), welcome->resumed);
    notify_ready(client->notify);
    notify_status(client->notify, "Connected to %s", client->options->url.host);
    if (!welcome->resumed) {
        check_offers(client, welcome);
        name_keeper_up(client->names, session, welcome);
    }
    list_init(&waiting);
    while ((node = list_pop(&client->waiting)))
        list_append(&waiting, node);
    timer_stop(client->waiting_timer);
    while ((node = list_pop(&waiting))) {
        struct local_connection *connection = list_entry(node, struct local_connection, node);
        if (has_gone(connection))
            forget_gone(connection);
        else
            open_stream_of_connection(connection, session);
    }
    start_command(client);
}

static void on_client_lost(void *context, bool announced)
{
    struct client *client = context;

    /* A command has the terminal to itself. */
    if (!client->run)
        terminal_lost(client->terminal, announced);
    notify_status(client->notify, "%s; connecting to %s",
                  announced ? "The server is about to stop" : "The link is lost",
                  client->options->url.host);
}

static bool on_client_failed(void *context, const char *hop, const char *reason, bool refused)
{
    struct client *client = context;
    bool waiting = client->run && run_is_waiting(client->run);

    if (!client->run || waiting)
        terminal_failed(client->terminal, hop, reason);
    notify_status(client->notify, "Not connected: %s: %s", hop, reason);
    if (waiting)
        run_failed(client->run, hop, reason, refused);
    return waiting;
}

/* The nodes of an EXPOSE message, in an array that the caller frees. */
static struct port_request *read_expose(struct mux_expose_reader *reader, size_t *count)
{
    struct port_request *requests = memory_new_array((size_t)reader->left + 1, sizeof *requests);
    struct mux_exposed_node node;

    *count = 0;
    while (mux_expose_next(reader, &node)) {
        if (node.endpoint_type >= 1 && node.endpoint_type <= 2 && node.node_id >= 0)
            requests[(*count)++] =
                (struct port_request){.endpoint_type = node.endpoint_type, .node = node.node_id};
    }
    return requests;
}

/* Adds a node's listener to an EXPOSED message; false: the message is full. */
static bool add_exposed(const struct port_request *request, const char *error,
                        struct mux_expose_writer *writer)
{
    const char *host = request->port ? port_advertised_host(request->port) : error;

    return mux_exposed_add(writer, request->endpoint_type, request->node,
                           request->port ? request->port->number : 0,
                           (struct mux_text){host, strlen(host)});
}

/* What the server is told of a node without a listener; logged here as well. */
static void explain_failure(struct client *client, const struct port *bootstrap,
                            struct mux_text cluster, const struct port_request *request,
                            char *error, size_t size)
{
    if (bootstrap && bootstrap->keeps_names)
        named_ports_explain(bootstrap, request, error, size);
    else if (bootstrap)
        ports_explain(bootstrap, request->failed, error, size);
    else
        snprintf(error, size, "the client has no listener for a cluster of this name");
    log_error(client->worker->log, "expose_failed", "No local listener for a node",
              log_bytes("cluster", cluster.bytes, cluster.size), log_i64("node", request->node),
              log_str("reason", error));
}

/* All of one cluster. Before their ports are given to others: servers must not name them any more.
 */
static void tell_withdrawn(struct client *client, struct list *withdrawn)
{
    if (list_empty(withdrawn))
        return;
    const struct mux_text cluster =
        mux_text_of(list_entry(withdrawn->next, struct port, node)->name);
    uint8_t message[MUX_MESSAGE_PAYLOAD_MAX];
    struct mux_expose_writer writer;

    mux_expose_begin(&writer, message, sizeof message, cluster);
    list_each(at, withdrawn) {
        const struct port *port = list_entry(at, struct port, node);
        if (mux_expose_add(&writer, port->known_type, port->known_node))
            continue;
        uplink_tell_all(client->uplink, MUX_WITHDRAWN, message, mux_expose_end(&writer));
        mux_expose_begin(&writer, message, sizeof message, cluster);
        mux_expose_add(&writer, port->known_type, port->known_node);
    }
    uplink_tell_all(client->uplink, MUX_WITHDRAWN, message, mux_expose_end(&writer));
    ports_forget(withdrawn);
}

static void receive_expose_request(struct client *client, struct mux_session *session,
                                   const uint8_t *payload, size_t size)
{
    struct mux_expose_reader reader;
    struct mux_expose_writer writer;
    uint8_t answer[MUX_MESSAGE_PAYLOAD_MAX];
    char error[MUX_REASON_MAX] = "";
    struct list withdrawn;
    const struct named_ports_turn turn = {.now_us = clock_now_us(), .withdrawn = &withdrawn};
    size_t count;

    if (!mux_expose_read(&reader, payload, size))
        return;
    struct port *bootstrap = ports_cluster(&client->ports, reader.cluster);
    struct port_request *requests = read_expose(&reader, &count);
    bool may_withdraw = mux_expose_flags(&reader) & MUX_EXPOSE_MAY_WITHDRAW;
    list_init(&withdrawn);
    if (bootstrap && bootstrap->keeps_names)
        named_ports_nodes(bootstrap, requests, count, &turn);
    else if (bootstrap)
        ports_nodes(bootstrap, requests, count, turn.now_us, may_withdraw ? &withdrawn : NULL);
    tell_withdrawn(client, &withdrawn);
    name_keeper_publish(client->names);
    name_keeper_withhold(client->names, requests, count);
    mux_expose_begin(&writer, answer, sizeof answer, reader.cluster);
    for (size_t i = 0; i < count; i++) {
        if (!requests[i].port)
            explain_failure(client, bootstrap, reader.cluster, &requests[i], error, sizeof error);
        if (add_exposed(&requests[i], error, &writer))
            continue;
        mux_session_send_message(session, MUX_EXPOSED, answer, mux_expose_end(&writer));
        mux_expose_begin(&writer, answer, sizeof answer, reader.cluster);
        add_exposed(&requests[i], error, &writer);
    }
    mux_session_send_message(session, MUX_EXPOSED, answer, mux_expose_end(&writer));
    free(requests);
}

static void receive_broker_addresses(struct client *client, const uint8_t *payload, size_t size)
{
    struct mux_expose_reader reader;
    struct mux_exposed_node node;

    if (!mux_expose_read(&reader, payload, size))
        return;
    const struct port *bootstrap = ports_cluster(&client->ports, reader.cluster);
    while (bootstrap && mux_exposed_next(&reader, &node)) {
        struct port *port = ports_node(bootstrap, node.endpoint_type, node.node_id);
        char host[ADDRESS_HOST_MAX + 1];
        if (port && address_take_host(node.host.bytes, node.host.size, host))
            address_format(host, node.port, port->broker);
    }
}

static void receive_names(struct client *client, const uint8_t *payload, size_t size)
{
    struct list withdrawn;

    list_init(&withdrawn);
    name_keeper_receive(client->names, payload, size, &withdrawn);
    tell_withdrawn(client, &withdrawn);
    start_command(client);
}

static void receive_trouble(struct client *client, const uint8_t *payload, size_t size)
{
    struct mux_text cluster;
    struct mux_text what;

    if (mux_trouble_decode(payload, size, &cluster, &what))
        log_info(client->worker->log, "cluster_trouble",
                 "A bootstrap broker of a cluster fails; others serve clients",
                 log_bytes("cluster", cluster.bytes, cluster.size),
                 log_bytes("reason", what.bytes, what.size));
}

/* For the status page. A connection that is no longer there has no use for it. */
static void receive_login(struct mux_session *session, const uint8_t *payload, size_t size)
{
    char text[MUX_REASON_MAX + 1];
    struct mux_text who;
    uint32_t stream;

    if (!mux_login_decode(payload, size, &stream, &who))
        return;
    struct local_connection *connection = relay_context(session, stream);
    if (!connection)
        return;
    printable(who.bytes, who.size, text, sizeof text);
    free(connection->login);
    connection->login = memory_text(text);
}

static void on_client_message(void *context, struct mux_session *session, uint8_t type,
                              const uint8_t *payload, size_t size)
{
    if (type == MUX_EXPOSE)
        receive_expose_request(context, session, payload, size);
    else if (type == MUX_NAMES)
        receive_names(context, payload, size);
    else if (type == MUX_ADDRESSES)
        receive_broker_addresses(context, payload, size);
    else if (type == MUX_TROUBLE)
        receive_trouble(context, payload, size);
    else if (type == MUX_LOGIN)
        receive_login(session, payload, size);
}

static const struct uplink_owner uplink_owner = {.message = on_client_message,
                                                 .up = on_client_up,
                                                 .lost = on_client_lost,
                                                 .failed = on_client_failed};

/* ---- life */

/* The command of `run` has all that it was started with. */
static void on_run_started(void *context)
{
    struct client *client = context;

    client->confined = client_confine(client->worker, client->options);
}

/* Whoever serves a network should know what goes through it. */
static void say_security(const struct client *client)
{
    const struct options *options = client->options;

    for (size_t i = 0; i < options->cluster_count; i++) {
        const struct address_named *cluster = &options->clusters[i];
        struct socket_address address;
        if (!socket_parse(cluster->address.host, cluster->address.port, &address) ||
            socket_is_loopback(&address))
            continue;
        if (options->listener_tls_mode == LISTENER_TLS_AUTO)
            log_info(client->worker->log, "listener_tls_required",
                     "A listener beyond loopback takes only TLS; --listener-tls optional also lets "
                     "plaintext in",
                     log_str("name", cluster->name), log_str("address", cluster->address.host));
        else if (options->listener_tls == LISTENER_TLS_UNSET)
            log_warning(client->worker->log, "listener_in_clear",
                        "A listener beyond loopback takes Kafka's connections, passwords included, "
                        "unencrypted: --listener-tls auto changes that; --listener-tls off says "
                        "that it is meant, as in a pod or a container network of your own",
                        log_str("name", cluster->name), log_str("address", cluster->address.host));
    }
}

/* true: so are those that have no TLS. */
static bool open_listener_tls(struct client *client, char *error, size_t size)
{
    static const struct greeter_settings greeting = {.max = GREETINGS_MAX,
                                                     .timeout_ms = GREETING_MS};
    const struct options *options = client->options;
    const struct listener_tls_settings settings = options_listener_tls(options);

    say_security(client);
    if (options->listener_tls_mode == LISTENER_TLS_OFF || options->cluster_count == 0)
        return true;
    client->listener_tls = listener_tls_new(client->worker, &settings, error, size);
    if (!client->listener_tls)
        return false;
    client->greeter = greeter_new(client->worker, &greeting, &greeter_owner, client);
    return true;
}

static bool open_ports(struct client *client, char *error, size_t size)
{
    const struct options *options = client->options;

    for (size_t i = 0; i < options->cluster_count; i++)
        if (!ports_open(&client->ports, MUX_TARGET_CLUSTER, &options->clusters[i],
                        &options->cluster_ports[i], error, size))
            return false;
    for (size_t i = 0; i < options->target_count; i++)
        if (!ports_open(&client->ports, MUX_TARGET_TCP, &options->targets[i], NULL, error, size))
            return false;
    client->names = name_keeper_new(&client->ports, client->listener_tls, options);
    ports_plan(&client->ports);
    return true;
}

enum program_start client_open(struct client *client, const struct program_context *context,
                               const struct options *options, char *error, size_t size)
{
    struct worker *worker = context->worker;
    const struct telemetry_names names = {
        .clusters = TELEMETRY_LIST(options->clusters, options->cluster_count),
        .targets = TELEMETRY_LIST(options->targets, options->target_count)};

    *client = (struct client){.worker = worker, .notify = context->notify, .options = options};
    client->telemetry = telemetry_start(worker, METRIC_CLIENT, &names);
    list_init(&client->connections);
    list_init(&client->waiting);
    ports_init(&client->ports, worker, options->advertise_host, on_client_accept, client);
    client->waiting_timer = timer_new(worker, on_waiting_timer, client);
    client->terminal = terminal_new(worker, options);
    client->uplink = uplink_new(worker, options, &uplink_owner, client, error, size);
    if (!client->uplink)
        return PROGRAM_USAGE;
    if (!open_listener_tls(client, error, size) ||
        !allowed_users_new(&options->allow_users, &client->allowed_users, error, size))
        return PROGRAM_USAGE;
    if (!open_ports(client, error, size))
        return PROGRAM_FAILED;
    if (options->call.command == COMMAND_RUN)
        client->run =
            run_new(context, options, &client->ports, client->terminal, on_run_started, client);
    name_keeper_serve(client->names, client->run);
    return PROGRAM_GOES;
}

struct confined client_confine(struct worker *worker, const struct options *options)
{
    /* Commands for tokens are started again and again, and are the user's own. */
    const struct confine_needs needs = {.everything =
                                            !options->shared.confine || options->token_command,
                                        .all_files = options->shared.core_dumps};

    return confine(worker, &needs);
}

void client_connect(struct client *client)
{
    if (!client->run)
        client->confined = client_confine(client->worker, client->options);
    terminal_summary(client->terminal, &client->ports);
    terminal_connecting(client->terminal);
    uplink_start(client->uplink);
}

static void drop_waiting(struct client *client)
{
    while (!list_empty(&client->waiting))
        connection_free(list_entry(client->waiting.next, struct local_connection, node));
}

bool client_signalled(struct client *client, int number, bool from_terminal)
{
    return run_signalled(client->run, number, from_terminal);
}

int client_exit_code(const struct client *client)
{
    return client->run ? run_exit_code(client->run) : 0;
}

void client_reload(struct client *client, struct reload *reload)
{
    uplink_reload(client->uplink, reload);
    listener_tls_reload(client->listener_tls, reload);
}

void client_leave(struct client *client)
{
    client->leaving = true;
}

void client_drain(struct client *client)
{
    terminal_quiet(client->terminal);
    ports_close(&client->ports);
    greeter_clear(client->greeter);
    drop_waiting(client);
    uplink_drain(client->uplink);
}

void client_stop(struct client *client)
{
    uplink_stop(client->uplink);
}

bool client_stopped(const struct client *client)
{
    return uplink_stopped(client->uplink);
}

void client_free(struct client *client)
{
    uplink_free(client->uplink);
    greeter_free(client->greeter);
    drop_waiting(client);
    ports_clear(&client->ports);
    name_keeper_free(client->names);
    listener_tls_free(client->listener_tls);
    allowed_users_free(client->allowed_users);
    timer_free(client->waiting_timer);
    run_free(client->run);
    terminal_free(client->terminal);
}

#include "name_keeper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/clock.h"
#include "listeners/hosts_file.h"
#include "listeners/named_ports.h"

struct name_keeper {
    struct ports *ports;
    struct listener_tls *listener_tls; /* NULL: the listeners have none */
    const struct options *options;
    struct run *run;  /* NULL: there is no command to run */
    bool *answered;   /* by cluster: the server has told all names, in some session */
    bool *due;        /* it is about to, in this session */
    bool lacks_lines; /* the command's hosts file: it cannot be written */
};

static struct log *log_of_names(const struct name_keeper *keeper)
{
    return keeper->ports->worker->log;
}

static struct port *cluster_port(const struct name_keeper *keeper, size_t cluster)
{
    return ports_cluster(keeper->ports, mux_text_of(keeper->options->clusters[cluster].name));
}

/* SIZE_MAX: there is none of that name whose brokers keep theirs. */
static size_t find_kept_cluster(const struct name_keeper *keeper, struct mux_text name)
{
    const struct options *options = keeper->options;

    for (size_t i = 0; i < options->cluster_count; i++) {
        const char *own = options->clusters[i].name;
        if (options->cluster_keeps_names[i] && strlen(own) == name.size &&
            memcmp(own, name.bytes, name.size) == 0)
            return i;
    }
    return SIZE_MAX;
}

/* ---- the names lead here */

static void read_hosts_file(struct name_keeper *keeper)
{
    size_t size;
    char *text = hosts_file_read(HOSTS_FILE, &size);

    kept_names_read_hosts(&keeper->ports->names, text, size);
    free(text);
}

static bool lacks_line(const struct kept_name *name)
{
    return name->listeners > 0 && !name->literal && !name->listed && !name->warned;
}

static void warn_of_missing_lines(struct name_keeper *keeper)
{
    struct kept_names *names = &keeper->ports->names;
    bool is_read = false;

    list_each(at, &names->all) {
        struct kept_name *name = list_entry(at, struct kept_name, node);
        char line[HOSTS_LINE_MAX];
        if (!lacks_line(name))
            continue;
        /* Somebody may have added it since. */
        if (!is_read)
            read_hosts_file(keeper);
        is_read = true;
        if (name->listed)
            continue;
        name->warned = true;
        kept_name_line(names, name, line);
        log_warning(log_of_names(keeper), "name_not_listed",
                    "No line of " HOSTS_FILE
                    " leads a broker's name here: programs of this machine do not reach it; add "
                    "the line (`tunnel-client hosts` prints all of them)",
                    log_str("host", name->host), log_str("line", line));
    }
}

/* Once for each: clients get an address, whatever the broker's name is. */
static void note_literals(struct name_keeper *keeper)
{
    struct kept_names *names = &keeper->ports->names;

    list_each(at, &names->all) {
        struct kept_name *name = list_entry(at, struct kept_name, node);
        char address[NAME_ADDRESS_MAX];
        if (!name->literal || name->listeners == 0 || name->warned)
            continue;
        name->warned = true;
        kept_name_address(names, name, address);
        const struct log_field fields[] = {log_str("host", name->host),
                                           log_str("address", address)};
        if (name->forbidden)
            log_event(log_of_names(keeper), LOG_LEVEL_WARNING, "name_not_kept",
                      "A broker's name is in no domain of --keep-names-in: Kafka clients get the "
                      "listener's address instead",
                      fields, 2);
        else
            log_event(log_of_names(keeper), LOG_LEVEL_WARNING, "name_not_kept",
                      "A broker advertises an address, or a name that is this machine's own, which "
                      "no hosts file can lead here: Kafka clients get the listener's address "
                      "instead",
                      fields, 2);
    }
}

/* Once for each: any broker may say that it has the name of something else. */
static void note_unexpected(struct name_keeper *keeper)
{
    struct kept_names *names = &keeper->ports->names;

    if (names->allowed_count > 0)
        return;
    list_each(at, &names->all) {
        struct kept_name *name = list_entry(at, struct kept_name, node);
        if (name->listeners == 0 || name->literal || name->unexpected ||
            kept_name_is_expected(names, name))
            continue;
        name->unexpected = true;
        log_warning(log_of_names(keeper), "name_unexpected",
                    "A broker has a name that is in no domain of the server's --kafka: where it "
                    "leads here, whatever else has that name is not reached; --keep-names-in says "
                    "which domains are the brokers'",
                    log_str("host", name->host));
    }
}

static void certify_name(struct name_keeper *keeper, struct kept_name *name)
{
    char address[NAME_ADDRESS_MAX];

    kept_name_address(&keeper->ports->names, name, address);
    name->certified = true;
    if (!listener_tls_add_name(keeper->listener_tls, name->literal ? address : name->host))
        log_warning(log_of_names(keeper), "name_not_certified",
                    "The listeners' certificate cannot have the name of a broker, so clients "
                    "with TLS refuse it: give the name, or its domain, to --listener-name, "
                    "with a new --state-dir, or name it in --listener-tls-cert",
                    log_str("host", name->literal ? address : name->host));
}

/* Clients with TLS want to see what they have dialled in the certificate: the name, or the address
 * that they have got in its place. */
static void certify_names(struct name_keeper *keeper)
{
    if (!keeper->listener_tls)
        return;
    list_each(at, &keeper->ports->names.all) {
        struct kept_name *name = list_entry(at, struct kept_name, node);
        if (name->listeners > 0 && !name->certified)
            certify_name(keeper, name);
    }
    listener_tls_renew(keeper->listener_tls);
}

void name_keeper_publish(struct name_keeper *keeper)
{
    if (!keeper)
        return;
    certify_names(keeper);
    note_literals(keeper);
    note_unexpected(keeper);
    if (keeper->run)
        keeper->lacks_lines = !run_publish_names(keeper->run);
    else
        warn_of_missing_lines(keeper);
}

void name_keeper_withhold(const struct name_keeper *keeper, struct port_request *requests,
                          size_t count)
{
    if (!keeper || !keeper->lacks_lines)
        return;
    for (size_t i = 0; i < count; i++) {
        const struct kept_name *name = requests[i].port ? requests[i].port->kept : NULL;
        if (!name || name->literal || name->published)
            continue;
        requests[i].port = NULL;
        requests[i].failed = PORTS_UNPUBLISHED;
    }
}

/* ---- the server's word */

static void send_keep(struct mux_session *session, const char *cluster)
{
    uint8_t message[MUX_KEEP_MAX];
    size_t size = mux_keep_encode(message, mux_text_of(cluster));

    mux_session_send_message(session, MUX_KEEP, message, size);
}

static void note_old_server(struct name_keeper *keeper)
{
    static const char reason[] = "the server is too old to tell brokers' names, which --keep-names "
                                 "needs: update tunnel-server";

    if (keeper->run)
        run_failed(keeper->run, "tunnel", reason, true);
    log_error(log_of_names(keeper), "names_untold",
              "Brokers cannot keep their names; connections that hear of a broker are reset",
              log_str("reason", reason));
}

void name_keeper_up(struct name_keeper *keeper, struct mux_session *session,
                    const struct mux_welcome *welcome)
{
    const struct options *options;

    if (!keeper)
        return;
    if (!welcome->tells_names) {
        note_old_server(keeper);
        return;
    }
    options = keeper->options;
    if (keeper->run)
        run_failed(keeper->run, "names", "the server has not told the brokers' names yet", false);
    for (size_t i = 0; i < options->cluster_count; i++) {
        if (!options->cluster_keeps_names[i])
            continue;
        keeper->due[i] = true;
        named_ports_begin_answer(cluster_port(keeper, i), clock_now_us());
        send_keep(session, options->clusters[i].name);
    }
}

static void note_unserved(struct name_keeper *keeper, struct port *bootstrap, int failed,
                          const char *reason)
{
    bool is_told = failed == PORTS_TOO_MANY && bootstrap->full;

    bootstrap->full |= failed == PORTS_TOO_MANY;
    if (is_told)
        return;
    if (keeper->run && run_is_waiting(keeper->run))
        run_failed(keeper->run, "listener", reason, true);
    else
        log_error(log_of_names(keeper), "name_not_served", "No local listener for a broker's name",
                  log_str("cluster", bootstrap->name), log_str("reason", reason));
}

static void open_bootstrap_name(struct name_keeper *keeper, struct port *bootstrap, int32_t place,
                                const struct address *broker, const struct named_ports_turn *turn)
{
    char reason[3 * ADDRESS_HOST_MAX];
    int failed;

    if (named_ports_bootstrap(bootstrap, place, broker, turn, &failed))
        return;
    named_ports_explain_at(bootstrap, broker->host, broker->port, failed, reason, sizeof reason);
    note_unserved(keeper, bootstrap, failed, reason);
}

static void open_node_names(struct name_keeper *keeper, struct port *bootstrap,
                            struct port_request *requests, size_t count,
                            const struct named_ports_turn *turn)
{
    char reason[3 * ADDRESS_HOST_MAX];

    named_ports_nodes(bootstrap, requests, count, turn);
    for (size_t i = 0; i < count; i++) {
        if (requests[i].port)
            continue;
        named_ports_explain(bootstrap, &requests[i], reason, sizeof reason);
        note_unserved(keeper, bootstrap, requests[i].failed, reason);
    }
}

/* false: it cannot be a broker's. */
static bool take_address(const struct mux_exposed_node *node, struct address *broker)
{
    broker->port = node->port;
    return node->port != 0 && address_take_host(node->host.bytes, node->host.size, broker->host);
}

/* Returns how many nodes it has told of. */
static size_t take_names(struct name_keeper *keeper, struct port *bootstrap,
                         struct mux_expose_reader *reader, struct port_request *requests,
                         const struct named_ports_turn *turn)
{
    struct mux_exposed_node node;
    struct address broker;
    size_t count = 0;

    while (mux_exposed_next(reader, &node)) {
        if (node.endpoint_type > 2 || node.node_id < 0 || !take_address(&node, &broker))
            continue;
        if (node.endpoint_type == MUX_NAMES_BOOTSTRAP) {
            open_bootstrap_name(keeper, bootstrap, node.node_id, &broker, turn);
            continue;
        }
        named_ports_tell(bootstrap, node.endpoint_type, node.node_id, broker.host, broker.port);
        requests[count++] =
            (struct port_request){.endpoint_type = node.endpoint_type, .node = node.node_id};
    }
    return count;
}

static void end_names_answer(struct name_keeper *keeper, struct port *bootstrap, size_t cluster,
                             struct mux_text reason)
{
    named_ports_end_answer(bootstrap);
    keeper->due[cluster] = false;
    keeper->answered[cluster] = true;
    if (reason.size > 0)
        log_info(log_of_names(keeper), "names_incomplete",
                 "The brokers could not be asked for their names; others become known when a "
                 "Kafka client hears of them",
                 log_str("cluster", bootstrap->name),
                 log_bytes("reason", reason.bytes, reason.size));
}

void name_keeper_receive(struct name_keeper *keeper, const uint8_t *payload, size_t size,
                         struct list *withdrawn)
{
    const struct named_ports_turn turn = {.now_us = clock_now_us(), .withdrawn = withdrawn};
    struct mux_expose_reader reader;
    struct mux_text reason;
    uint8_t flags;

    if (!keeper || !mux_expose_read(&reader, payload, size))
        return;
    size_t cluster = find_kept_cluster(keeper, reader.cluster);
    if (cluster == SIZE_MAX)
        return;
    struct port *bootstrap = cluster_port(keeper, cluster);
    struct port_request *requests = memory_new_array((size_t)reader.left + 1, sizeof *requests);
    size_t count = take_names(keeper, bootstrap, &reader, requests, &turn);
    /* Of an EXPOSE that follows, that opens the listeners. */
    if (keeper->due[cluster])
        open_node_names(keeper, bootstrap, requests, count, &turn);
    free(requests);
    if (mux_names_tail(&reader, &flags, &reason) && flags & MUX_NAMES_LAST)
        end_names_answer(keeper, bootstrap, cluster, reason);
    name_keeper_publish(keeper);
}

bool name_keeper_is_ready(const struct name_keeper *keeper)
{
    for (size_t i = 0; keeper && i < keeper->options->cluster_count; i++)
        if (keeper->options->cluster_keeps_names[i] && !keeper->answered[i])
            return false;
    return true;
}

/* ---- life */

void name_keeper_serve(struct name_keeper *keeper, struct run *run)
{
    if (keeper)
        keeper->run = run;
}

struct name_keeper *name_keeper_new(struct ports *ports, struct listener_tls *listener_tls,
                                    const struct options *options)
{
    bool runs = options->call.command == COMMAND_RUN;
    struct name_keeper *keeper;

    if (!options->keeps_names)
        return NULL;
    keeper = memory_new(sizeof *keeper);
    keeper->ports = ports;
    keeper->listener_tls = listener_tls;
    keeper->options = options;
    keeper->answered = memory_new_array(options->cluster_count + 1, sizeof *keeper->answered);
    keeper->due = memory_new_array(options->cluster_count + 1, sizeof *keeper->due);
    /* Only the command's own hosts file leads to them, which is written later. */
    named_ports_begin(ports, &options->name_network, runs);
    kept_names_allow(&ports->names, options->keep_names_in.items, options->keep_names_in.count);
    for (size_t i = 0; i < options->cluster_count; i++)
        if (options->cluster_keeps_names[i])
            named_ports_keep(cluster_port(keeper, i));
    if (!runs)
        read_hosts_file(keeper);
    return keeper;
}

void name_keeper_free(struct name_keeper *keeper)
{
    if (!keeper)
        return;
    free(keeper->answered);
    free(keeper->due);
    free(keeper);
}

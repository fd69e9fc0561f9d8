#include "listeners/ports.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/memory.h"
#include "listeners/node_ports.h"

enum { FREE_PORT_ATTEMPTS = 20 };

/* A quarter of the descriptors is left for the connections that the listeners are for. */
static size_t node_sockets_max(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    return (size_t)(limit.rlim_cur / 4 * 3);
}

void ports_init(struct ports *ports, struct worker *worker, const char *advertise,
                port_callback callback, void *context)
{
    *ports = (struct ports){
        .worker = worker, .advertise = advertise, .callback = callback, .context = context};
    ports->node_sockets_max = node_sockets_max();
    list_init(&ports->all);
    idmap_init(&ports->by_place, &worker->hash_key);
    kept_names_init(&ports->names, &(struct name_network){0, 0});
}

void ports_close(struct ports *ports)
{
    list_each(at, &ports->all) {
        struct port *port = list_entry(at, struct port, node);
        for (size_t i = 0; i < 2; i++) {
            listener_free(port->listeners[i]);
            port->listeners[i] = NULL;
        }
    }
}

void ports_clear(struct ports *ports)
{
    struct list *node;

    ports_close(ports);
    while ((node = list_pop(&ports->all))) {
        struct port *port = list_entry(node, struct port, node);
        for (size_t i = 0; i < 3; i++) {
            void *told;
            for (size_t slot = 0; (told = idmap_next(&port->told[i], &slot));)
                free(told);
            idmap_clear(&port->told[i]);
            idmap_clear(&port->nodes[i]);
        }
        free(port->held);
        free(port);
    }
    idmap_clear(&ports->by_place);
    kept_names_clear(&ports->names);
}

static void on_port_accept(void *context, int fd, const struct socket_address *peer)
{
    struct port *port = context;

    port->ports->callback(port->ports->context, port, fd, peer);
}

int ports_bind(struct port *port, uint16_t number)
{
    struct socket_address address;
    struct socket_address other;

    socket_parse(port->host, number, &address);
    port->listeners[0] =
        listener_new(port->ports->worker, port->label, &address, on_port_accept, port);
    if (!port->listeners[0])
        return errno;
    port->number = listener_port(port->listeners[0]);
    bool v4 = strcmp(port->host, "127.0.0.1") == 0;
    if (!v4 && strcmp(port->host, "::1") != 0)
        return 0;
    socket_parse(v4 ? "::1" : "127.0.0.1", port->number, &other);
    port->listeners[1] =
        listener_new(port->ports->worker, port->label, &other, on_port_accept, port);
    int failed = port->listeners[1] ? 0 : errno;
    /* A machine may have no IPv6; a port that somebody else has there would be a trap, though. */
    if (failed != EADDRINUSE && failed != EMFILE && failed != ENFILE)
        return 0;
    listener_free(port->listeners[0]);
    port->listeners[0] = NULL;
    return failed;
}

void ports_label(struct port *port)
{
    const struct mux_target target = port_target(port);

    mux_target_text(&target, port->label);
}

struct port *ports_new_port(struct ports *ports, enum mux_target_kind kind, const char *name,
                            const char *host, int32_t node_id)
{
    struct port *port = memory_new(sizeof *port);

    port->ports = ports;
    port->kind = kind;
    port->node_id = node_id;
    snprintf(port->name, sizeof port->name, "%s", name);
    snprintf(port->host, sizeof port->host, "%s", host);
    list_init(&port->idle);
    list_init(&port->unused);
    ports_label(port);
    for (size_t i = 0; i < 3; i++) {
        idmap_init(&port->nodes[i], &ports->worker->hash_key);
        idmap_init(&port->told[i], &ports->worker->hash_key);
    }
    return port;
}

void ports_announce(struct port *port)
{
    static const char *const kinds[] = {[MUX_TARGET_CLUSTER] = "bootstrap",
                                        [MUX_TARGET_BROKER] = "broker",
                                        [MUX_TARGET_TCP] = "tcp",
                                        [MUX_TARGET_CONTROLLER] = "controller",
                                        [MUX_TARGET_BOOTSTRAP] = "bootstrap"};
    char text[SOCKET_TEXT_MAX];

    list_append(&port->ports->all, &port->node);
    listener_format(port->listeners[0], text);
    log_info(port->ports->worker->log, "listening", "Listening for local connections",
             log_str("name", port->label), log_str("listen", text), log_str("target", port->name),
             log_str("kind", kinds[port->kind]));
}

struct port *ports_open(struct ports *ports, enum mux_target_kind kind,
                        const struct address_named *where, const struct address_ports *nodes,
                        char *error, size_t size)
{
    struct port *port = ports_new_port(ports, kind, where->name, where->address.host, -1);
    int failed = ports_bind(port, where->address.port);

    /* Port 0: the kernel's choice may be taken in the other family. */
    for (int i = 0; failed == EADDRINUSE && where->address.port == 0 && i < FREE_PORT_ATTEMPTS; i++)
        failed = ports_bind(port, 0);
    if (failed == 0) {
        if (nodes)
            port->node_ports = *nodes;
        ports_announce(port);
        listener_warn_if_at_risk(port->listeners[0]);
        if (port->node_ports.first)
            listener_warn_of_ports_at_risk(ports->worker, port->label, port->node_ports.first,
                                           port->node_ports.last);
        return port;
    }
    if (failed == EADDRINUSE)
        snprintf(error, size, "port %u on %s (%s) is in use, %s; " LISTENER_WHO_HOLDS,
                 (unsigned)where->address.port, where->address.host, where->name,
                 where->address.port == 9092 ? "probably by a Kafka broker or another tunnel-client"
                                             : "probably by another tunnel-client");
    else if (failed == EADDRNOTAVAIL)
        snprintf(error, size,
                 "%s (%s) is not an address of this machine: give one that is, or only the port; "
                 "the brokers' addresses belong to tunnel-server",
                 where->address.host, where->name);
    else
        snprintf(error, size, "cannot listen on %s port %u (%s): %s", where->address.host,
                 (unsigned)where->address.port, where->name, strerror(failed));
    free(port);
    return NULL;
}

struct port *ports_cluster(const struct ports *ports, struct mux_text name)
{
    list_each(at, &ports->all) {
        struct port *port = list_entry(at, struct port, node);
        if (port->kind == MUX_TARGET_CLUSTER && strlen(port->name) == name.size &&
            memcmp(port->name, name.bytes, name.size) == 0)
            return port;
    }
    return NULL;
}

/* ---- where nodes are */

static void log_node_ports(const struct port *bootstrap)
{
    char text[sizeof "65535-65535"];

    snprintf(text, sizeof text, "%u-%u", (unsigned)bootstrap->node_ports.first,
             (unsigned)bootstrap->node_ports.last);
    log_info(bootstrap->ports->worker->log, "node_ports",
             "Listeners for the nodes of a cluster will be on these ports",
             log_str("name", bootstrap->name), log_str("ports", text));
}

static void apply_node_ports(struct port *bootstrap, const struct address_ports *ports)
{
    if (ports->first == 0)
        return;
    bootstrap->node_ports = *ports;
    bootstrap->held = memory_new_array(address_ports_count(ports) / 8 + 1, 1);
    log_node_ports(bootstrap);
}

void ports_plan(struct ports *ports)
{
    size_t count = 0;
    size_t i = 0;

    list_each(at, &ports->all)
        count++;
    struct node_ports *all = memory_new_array(count + 1, sizeof *all);
    list_each(at, &ports->all) {
        const struct port *port = list_entry(at, struct port, node);
        all[i++] =
            (struct node_ports){.name = port->name,
                                .host = port->host,
                                .port = port->number,
                                .cluster = port->kind == MUX_TARGET_CLUSTER && !port->keeps_names,
                                .nodes = port->node_ports};
    }
    node_ports_plan(all, count);
    i = 0;
    list_each(at, &ports->all)
        apply_node_ports(list_entry(at, struct port, node), &all[i++].nodes);
    free(all);
}

/* ---- nodes */

static bool has_bit(const uint8_t *bits, size_t bit)
{
    return bits[bit / 8] >> bit % 8 & 1;
}

static void set_bit(uint8_t *bits, size_t bit)
{
    bits[bit / 8] |= (uint8_t)(1u << bit % 8);
}

/* Binds a node's port, or the one that is so many further on. 0, or an errno. */
static int bind_node(struct port *bootstrap, struct port *port, unsigned attempt)
{
    uint16_t number = node_ports_at(&bootstrap->node_ports, port->node_id, attempt);
    size_t bit = (size_t)number - bootstrap->node_ports.first;

    if (has_bit(bootstrap->held, bit) || has_bit(bootstrap->foreign, bit))
        return EADDRINUSE;
    int failed = ports_bind(port, number);
    if (failed == 0) {
        set_bit(bootstrap->held, bit);
        bootstrap->held_count++;
    } else if (failed == EADDRINUSE) {
        set_bit(bootstrap->foreign, bit);
    }
    return failed;
}

/* Opens a node's listener on one of the ports from the one attempt on to the one before end. */
static void open_node(struct port *bootstrap, struct port_request *request, unsigned attempt,
                      unsigned end)
{
    struct ports *ports = bootstrap->ports;

    /* Listeners are for good, so they must not take what their connections need. */
    if (ports->node_sockets + 2 > ports->node_sockets_max) {
        request->failed = EMFILE;
        return;
    }
    struct port *port = ports_new_port(
        ports, request->endpoint_type == 1 ? MUX_TARGET_BROKER : MUX_TARGET_CONTROLLER,
        bootstrap->name, bootstrap->host, request->node);
    request->failed = EADDRINUSE;
    if (bootstrap->held && bootstrap->held_count == address_ports_count(&bootstrap->node_ports))
        end = attempt;
    for (; attempt < end && request->failed == EADDRINUSE; attempt++)
        request->failed = bind_node(bootstrap, port, attempt);
    if (request->failed != 0) {
        free(port);
        return;
    }
    ports->node_sockets += port->listeners[1] ? 2 : 1;
    ports_announce(port);
    port->bootstrap = bootstrap;
    ports_know(port, request->endpoint_type, request->node);
    list_append(&bootstrap->unused, &port->idle);
    request->port = port;
}

static int compare_requests(const void *a, const void *b)
{
    const struct port_request *x = a;
    const struct port_request *y = b;

    if (x->endpoint_type != y->endpoint_type)
        return x->endpoint_type < y->endpoint_type ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

static void note_other_port(const struct port *bootstrap, const struct port *port)
{
    log_info(port->ports->worker->log, "node_port_taken",
             "A node's own port was in use, so its listener is on the next free one; next time it "
             "may be on another one",
             log_str("name", port->label),
             log_u64("port", node_ports_at(&bootstrap->node_ports, port->node_id, 0)),
             log_u64("listen_port", port->number));
}

/* ---- taking back */

static void unmap_port(const struct port *port)
{
    if (port->known_type != 0)
        idmap_remove(&port->bootstrap->nodes[port->known_type], (uint32_t)port->known_node);
}

void ports_know(struct port *port, uint8_t endpoint_type, int32_t node)
{
    struct port *before = ports_node(port->bootstrap, endpoint_type, node);

    if (before == port)
        return;
    if (before)
        before->known_type = 0;
    unmap_port(port);
    port->known_type = endpoint_type;
    port->known_node = node;
    idmap_put(&port->bootstrap->nodes[endpoint_type], (uint32_t)node, port);
}

void ports_touch(struct port *port, uint64_t now_us)
{
    port->used_us = now_us;
    if (port->connections > 0 || port->stays)
        return;
    list_remove(&port->idle);
    list_append(&port->bootstrap->unused, &port->idle);
}

void port_begin(struct port *port)
{
    port->connections++;
    list_remove(&port->idle);
}

void port_end(struct port *port, uint64_t now_us)
{
    port->connections--;
    if (port->bootstrap)
        ports_touch(port, now_us);
}

struct port *ports_longest_unused(const struct port *bootstrap, uint64_t now_us)
{
    if (list_empty(&bootstrap->unused))
        return NULL;
    struct port *port = list_entry(bootstrap->unused.next, struct port, idle);
    return now_us - port->used_us < PORTS_KEPT_S * UINT64_C(1000000) ? NULL : port;
}

void ports_withdraw(struct port *port, uint64_t now_us)
{
    struct ports *ports = port->ports;

    log_info(ports->worker->log, "listener_withdrawn",
             "A listener whose node is no longer named makes way for another node",
             log_str("name", port->label), log_u64("port", port->number),
             log_ms("unused", (now_us - port->used_us) / 1000));
    for (size_t i = 0; i < 2; i++) {
        ports->node_sockets -= port->listeners[i] != NULL;
        listener_free(port->listeners[i]);
    }
    port->bootstrap->held_count--;
    unmap_port(port);
    list_remove(&port->idle);
    list_remove(&port->node);
}

/* false: none has been unused for long enough. */
static bool take_port_back(struct port *bootstrap, uint64_t now_us, struct list *withdrawn)
{
    struct port *port = ports_longest_unused(bootstrap, now_us);

    if (!port)
        return false;
    size_t bit = (size_t)port->number - bootstrap->node_ports.first;
    bootstrap->held[bit / 8] &= (uint8_t) ~(1u << bit % 8);
    ports_withdraw(port, now_us);
    list_append(withdrawn, &port->node);
    return true;
}

void ports_forget(struct list *withdrawn)
{
    for (struct list *node; (node = list_pop(withdrawn));)
        free(list_entry(node, struct port, node));
}

static bool lacks_port(const struct port_request *request)
{
    return !request->port && (request->failed == EADDRINUSE || request->failed == EMFILE);
}

void ports_nodes(struct port *bootstrap, struct port_request *requests, size_t count,
                 uint64_t now_us, struct list *withdrawn)
{
    /* Without a single port every attempt fails at once. */
    unsigned ports = bootstrap->held ? address_ports_count(&bootstrap->node_ports) : 0;

    bootstrap->foreign = memory_new_array(ports / 8 + 1, 1);
    qsort(requests, count, sizeof *requests, compare_requests);
    /* First of all, so that none that is named here is taken back for another. */
    for (size_t i = 0; i < count; i++) {
        struct port *port = ports_node(bootstrap, requests[i].endpoint_type, requests[i].node);
        if (port)
            ports_touch(port, now_us);
    }
    for (unsigned pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < count; i++) {
            struct port_request *request = &requests[i];
            if (request->port || (pass > 0 && !lacks_port(request)))
                continue;
            request->port =
                idmap_get(&bootstrap->nodes[request->endpoint_type], (uint32_t)request->node);
            if (request->port)
                continue;
            open_node(bootstrap, request, pass, pass == 0 && ports > 0 ? 1 : ports);
            while (pass > 0 && withdrawn && lacks_port(request) &&
                   take_port_back(bootstrap, now_us, withdrawn))
                open_node(bootstrap, request, 0, ports);
            if (!request->port)
                continue;
            ports_touch(request->port, now_us);
            if (request->port->number != node_ports_at(&bootstrap->node_ports, request->node, 0))
                note_other_port(bootstrap, request->port);
        }
    }
    free(bootstrap->foreign);
    bootstrap->foreign = NULL;
}

uint8_t port_endpoint_type(const struct port *port)
{
    return port->kind == MUX_TARGET_BROKER ? 1 : 2;
}

struct port *ports_node(const struct port *bootstrap, uint8_t endpoint_type, int32_t node)
{
    return endpoint_type <= 2 ? idmap_get(&bootstrap->nodes[endpoint_type], (uint32_t)node) : NULL;
}

void ports_explain(const struct port *bootstrap, int failed, char *error, size_t size)
{
    const struct address_ports *ports = &bootstrap->node_ports;

    if (failed == EADDRINUSE && bootstrap->held)
        snprintf(error, size, "all %u ports %u-%u for the nodes of %s are in use; see --node-ports",
                 (unsigned)address_ports_count(ports), (unsigned)ports->first,
                 (unsigned)ports->last, bootstrap->name);
    else if (failed == EADDRINUSE)
        snprintf(error, size, "no ports are left for the nodes of %s; see --node-ports",
                 bootstrap->name);
    else if (failed == EMFILE)
        snprintf(error, size,
                 "too few file descriptors: listeners for nodes use %zu of at most %zu; raise the "
                 "limit (ulimit -n)",
                 bootstrap->ports->node_sockets, bootstrap->ports->node_sockets_max);
    else
        snprintf(error, size, "cannot listen on %s: %s", bootstrap->host, strerror(failed));
}

const char *port_local_host(const struct port *port)
{
    /* What listens everywhere is reached on loopback at least; nobody can dial 0.0.0.0. */
    if (strcmp(port->host, "0.0.0.0") == 0)
        return "127.0.0.1";
    if (strcmp(port->host, "::") == 0)
        return "::1";
    return port->host;
}

const char *port_advertised_host(const struct port *port)
{
    if (port->kept)
        return port->kept->literal ? port->host : port->kept_host;
    return port->ports->advertise[0] != '\0' ? port->ports->advertise : port_local_host(port);
}

struct mux_target port_target(const struct port *port)
{
    const struct mux_text name = mux_text_of(port->name);

    if (port->outdated)
        return (struct mux_target){.kind = MUX_TARGET_CLUSTER, .name = name, .node_id = -1};
    return (struct mux_target){.kind = port->kind, .name = name, .node_id = port->node_id};
}

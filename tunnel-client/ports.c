#include "ports.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NODE_SPAN = 1000,
    NODES_MAX = 4096,
    NODE_ATTEMPTS = 4000,
    CONTROLLER_OFFSET = 500,
    FREE_PORT_ATTEMPTS = 20
};

void ports_init(struct ports *ports, struct worker *worker, const char *advertise,
                port_callback callback, void *context)
{
    *ports = (struct ports){
        .worker = worker, .advertise = advertise, .callback = callback, .context = context};
    list_init(&ports->all);
}

void ports_close(struct ports *ports)
{
    for (struct list *at = ports->all.next; at != &ports->all; at = at->next) {
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
        for (size_t i = 0; i < 3; i++)
            idmap_clear(&port->nodes[i]);
        free(port);
    }
}

static void on_accept(void *context, int fd, const struct socket_address *peer)
{
    struct port *port = context;

    port->ports->callback(port->ports->context, port, fd, peer);
}

/* Binds host:number, and the other loopback family beside it. 0, or an errno. */
static int bind_port(struct port *port, uint16_t number)
{
    struct socket_address address;
    struct socket_address other;

    socket_parse(port->host, number, &address);
    port->listeners[0] = listener_new(port->ports->worker, port->label, &address, on_accept, port);
    if (!port->listeners[0])
        return errno;
    port->number = listener_port(port->listeners[0]);
    bool v4 = strcmp(port->host, "127.0.0.1") == 0;
    if (!v4 && strcmp(port->host, "::1") != 0)
        return 0;
    socket_parse(v4 ? "::1" : "127.0.0.1", port->number, &other);
    port->listeners[1] = listener_new(port->ports->worker, port->label, &other, on_accept, port);
    /* A machine may have no IPv6; a port that somebody else has there would be a trap, though. */
    if (port->listeners[1] || errno != EADDRINUSE)
        return 0;
    listener_free(port->listeners[0]);
    port->listeners[0] = NULL;
    return EADDRINUSE;
}

static struct port *port_new(struct ports *ports, enum mux_target_kind kind, const char *name,
                             const char *host, int32_t node_id)
{
    struct port *port = calloc(1, sizeof *port);

    if (!port)
        abort();
    port->ports = ports;
    port->kind = kind;
    port->node_id = node_id;
    snprintf(port->name, sizeof port->name, "%s", name);
    snprintf(port->host, sizeof port->host, "%s", host);
    const struct mux_target target = port_target(port);
    mux_target_text(&target, port->label);
    for (size_t i = 0; i < 3; i++)
        idmap_init(&port->nodes[i]);
    return port;
}

static void announce(struct port *port)
{
    static const char *const kinds[] = {[MUX_TARGET_CLUSTER] = "bootstrap",
                                        [MUX_TARGET_BROKER] = "broker",
                                        [MUX_TARGET_TCP] = "tcp",
                                        [MUX_TARGET_CONTROLLER] = "controller"};
    char text[SOCKET_TEXT_MAX];

    list_append(&port->ports->all, &port->node);
    listener_format(port->listeners[0], text);
    log_info(port->ports->worker->log, "listening", "Listening for local connections",
             log_str("name", port->label), log_str("listen", text), log_str("target", port->name),
             log_str("kind", kinds[port->kind]));
}

struct port *ports_open(struct ports *ports, enum mux_target_kind kind,
                        const struct address_named *where, char *error, size_t size)
{
    struct port *port = port_new(ports, kind, where->name, where->address.host, -1);
    int failed = bind_port(port, where->address.port);

    /* Port 0: the kernel's choice may be taken in the other family. */
    for (int i = 0; failed == EADDRINUSE && where->address.port == 0 && i < FREE_PORT_ATTEMPTS; i++)
        failed = bind_port(port, 0);
    if (failed == 0) {
        announce(port);
        return port;
    }
    if (failed == EADDRINUSE)
        snprintf(
            error, size,
            "port %u on %s (%s) is in use, %s; `ss -ltnp` (Linux) or `lsof -iTCP -sTCP:LISTEN` "
            "tells by which program",
            (unsigned)where->address.port, where->address.host, where->name,
            where->address.port == 9092 ? "probably by a Kafka broker or another tunnel-client"
                                        : "probably by another tunnel-client");
    else
        snprintf(error, size, "cannot listen on %s port %u (%s): %s", where->address.host,
                 (unsigned)where->address.port, where->name, strerror(failed));
    free(port);
    return NULL;
}

struct port *ports_cluster(const struct ports *ports, struct mux_text name)
{
    for (struct list *at = ports->all.next; at != &ports->all; at = at->next) {
        struct port *port = list_entry(at, struct port, node);
        if (port->kind == MUX_TARGET_CLUSTER && strlen(port->name) == name.size &&
            memcmp(port->name, name.bytes, name.size) == 0)
            return port;
    }
    return NULL;
}

/* The first free port from the node's own place on. 0, or an errno. */
static int bind_node(struct port *port, const struct port *bootstrap, uint8_t endpoint_type)
{
    uint32_t base = bootstrap->number + 1u + (uint32_t)port->node_id % NODE_SPAN;
    int failed = EADDRINUSE;

    if (endpoint_type != 1)
        base += CONTROLLER_OFFSET;
    for (uint32_t i = 0; i < NODE_ATTEMPTS && failed == EADDRINUSE; i++) {
        uint32_t number = base + i;
        if (number > UINT16_MAX)
            number = 1024 + number % UINT16_MAX;
        failed = bind_port(port, (uint16_t)number);
    }
    return failed;
}

struct port *ports_node(struct port *bootstrap, uint8_t endpoint_type, int32_t node, char *error,
                        size_t size)
{
    struct idmap *map = &bootstrap->nodes[endpoint_type];
    struct port *port = idmap_get(map, (uint32_t)node);

    if (port)
        return port;
    if (map->count >= NODES_MAX) {
        snprintf(error, size, "%s has more than %d nodes", bootstrap->name, NODES_MAX);
        return NULL;
    }
    port =
        port_new(bootstrap->ports, endpoint_type == 1 ? MUX_TARGET_BROKER : MUX_TARGET_CONTROLLER,
                 bootstrap->name, bootstrap->host, node);
    int failed = bind_node(port, bootstrap, endpoint_type);
    if (failed == 0) {
        announce(port);
        idmap_put(map, (uint32_t)node, port);
        return port;
    }
    snprintf(error, size, "no local port for node %d of %s: %s", (int)node, bootstrap->name,
             strerror(failed));
    free(port);
    return NULL;
}

const char *port_advertised_host(const struct port *port)
{
    if (port->ports->advertise)
        return port->ports->advertise;
    /* What listens everywhere is reached on loopback at least; nobody can dial 0.0.0.0. */
    if (strcmp(port->host, "0.0.0.0") == 0)
        return "127.0.0.1";
    if (strcmp(port->host, "::") == 0)
        return "::1";
    return port->host;
}

struct mux_target port_target(const struct port *port)
{
    return (struct mux_target){
        .kind = port->kind, .name = {port->name, strlen(port->name)}, .node_id = port->node_id};
}

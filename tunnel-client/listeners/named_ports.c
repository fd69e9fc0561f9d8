#include "listeners/named_ports.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* What a server that makes up nodes makes us keep. */
enum { MOVES_MAX = 64, TOLD_MAX = 10000 };

struct told_name {
    char host[ADDRESS_HOST_MAX + 1];
    uint16_t number;
};

void named_ports_begin(struct ports *ports, const struct name_network *network, bool may_move)
{
    kept_names_clear(&ports->names);
    kept_names_init(&ports->names, network);
    ports->names_may_move = may_move;
}

void named_ports_keep(struct port *bootstrap)
{
    bootstrap->keeps_names = true;
}

void named_ports_tell(struct port *bootstrap, uint8_t endpoint_type, int32_t node, const char *host,
                      uint16_t number)
{
    struct idmap *map = &bootstrap->told[endpoint_type];
    struct told_name *told = idmap_get(map, (uint32_t)node);

    if (!told && map->count >= TOLD_MAX)
        return;
    if (!told) {
        told = memory_new(sizeof *told);
        idmap_put(map, (uint32_t)node, told);
    }
    snprintf(told->host, sizeof told->host, "%s", host);
    told->number = number;
}

/* ---- listeners */

static uint32_t place_key(const struct kept_name *name, uint16_t number)
{
    static_assert(NAME_PLACES_MAX <= 1u << 16, "a place and a port make a key");
    return name->place << 16 | number;
}

/* Binds at the name's address, or at another one if that is in use and may be left. */
static int bind_named(struct port *port, struct kept_name *name, uint16_t number)
{
    struct ports *ports = port->ports;
    int failed = EADDRINUSE;

    for (unsigned moves = 0; failed == EADDRINUSE; moves++) {
        kept_name_address(&ports->names, name, port->host);
        failed = ports_bind(port, number);
        bool may_move = ports->names_may_move && name->listeners == 0 && moves < MOVES_MAX;
        if (failed != EADDRINUSE || !may_move || !kept_names_move(&ports->names, name))
            break;
    }
    return failed;
}

static struct port *open_named(struct port *bootstrap, struct kept_name *name,
                               enum mux_target_kind kind, int32_t id, uint16_t number, int *failed)
{
    struct ports *ports = bootstrap->ports;

    /* A quarter of the descriptors is for connections. */
    if (ports->node_sockets + 1 > ports->node_sockets_max) {
        *failed = EMFILE;
        return NULL;
    }
    struct port *port = ports_new_port(ports, kind, bootstrap->name, "", id);
    *failed = bind_named(port, name, number);
    if (*failed != 0) {
        free(port);
        return NULL;
    }
    ports->node_sockets++;
    name->listeners++;
    port->kept = name;
    idmap_put(&ports->by_place, place_key(name, number), port);
    return port;
}

static bool is_current_bootstrap(const struct port *port)
{
    return port->kind == MUX_TARGET_BOOTSTRAP && !port->outdated;
}

/* From now on it leads there. */
static void lead_to(struct port *port, enum mux_target_kind kind, int32_t id)
{
    port->kind = kind;
    port->node_id = id;
    port->outdated = false;
    ports_label(port);
}

/* The listener at the name and port, which leads there from now on, unless a bootstrap broker has
 * it. NULL: *failed says why. */
static struct port *named_port(struct port *bootstrap, enum mux_target_kind kind, int32_t id,
                               const char *host, uint16_t number, int *failed)
{
    struct ports *ports = bootstrap->ports;
    struct kept_name *name = kept_names_tell(&ports->names, host);

    *failed = PORTS_FULL;
    if (!name)
        return NULL;
    struct port *port = idmap_get(&ports->by_place, place_key(name, number));
    bool is_new = !port;
    *failed = PORTS_FOREIGN;
    if (port && strcmp(port->name, bootstrap->name) != 0)
        return NULL;
    if (!port)
        port = open_named(bootstrap, name, kind, id, number, failed);
    if (!port)
        return NULL;
    *failed = 0;
    if (kind == MUX_TARGET_BOOTSTRAP || !is_current_bootstrap(port))
        lead_to(port, kind, id);
    snprintf(port->kept_host, sizeof port->kept_host, "%s", host);
    address_format(host, number, port->broker);
    if (is_new)
        ports_announce(port);
    return port;
}

static void open_named_node(struct port *bootstrap, struct port_request *request)
{
    const struct told_name *told =
        idmap_get(&bootstrap->told[request->endpoint_type], (uint32_t)request->node);
    enum mux_target_kind kind =
        request->endpoint_type == 1 ? MUX_TARGET_BROKER : MUX_TARGET_CONTROLLER;

    request->port = NULL;
    request->failed = PORTS_UNTOLD;
    if (told)
        request->port =
            named_port(bootstrap, kind, request->node, told->host, told->number, &request->failed);
    if (request->port)
        idmap_put(&bootstrap->nodes[request->endpoint_type], (uint32_t)request->node,
                  request->port);
}

void named_ports_nodes(struct port *bootstrap, struct port_request *requests, size_t count)
{
    for (size_t i = 0; i < count; i++)
        open_named_node(bootstrap, &requests[i]);
}

/* ---- bootstrap brokers */

struct port *named_ports_bootstrap(struct port *bootstrap, int32_t place, const char *host,
                                   uint16_t number, int *failed)
{
    return named_port(bootstrap, MUX_TARGET_BOOTSTRAP, place, host, number, failed);
}

static bool is_bootstrap_of(const struct port *port, const struct port *bootstrap)
{
    return port->kind == MUX_TARGET_BOOTSTRAP && strcmp(port->name, bootstrap->name) == 0;
}

void named_ports_begin_answer(struct port *bootstrap)
{
    /* The places of old may be others' now. */
    list_each(at, &bootstrap->ports->all) {
        struct port *port = list_entry(at, struct port, node);
        if (is_bootstrap_of(port, bootstrap))
            port->outdated = true;
    }
}

void named_ports_end_answer(struct port *bootstrap)
{
    list_each(at, &bootstrap->ports->all) {
        struct port *port = list_entry(at, struct port, node);
        if (is_bootstrap_of(port, bootstrap))
            ports_label(port);
    }
}

bool named_ports_bootstrap_servers(const struct port *bootstrap, char *text, size_t size)
{
    size_t used = 0;

    list_each(at, &bootstrap->ports->all) {
        const struct port *port = list_entry(at, struct port, node);
        char address[ADDRESS_TEXT_MAX];
        if (!is_bootstrap_of(port, bootstrap) || port->outdated)
            continue;
        address_format(port_advertised_host(port), port->number, address);
        used += (size_t)snprintf(text + used, size - used, "%s%s", used ? "," : "", address);
        if (used >= size)
            return false;
    }
    return used > 0;
}

/* ---- failures */

static void explain_binding(const struct port *bootstrap, const char *at, const char *address,
                            uint16_t number, int failed, char *error, size_t size)
{
    switch (failed) {
    case EADDRINUSE:
        snprintf(error, size,
                 "%s leads to %s here, and port %u is in use there: by another program or "
                 "tunnel-client, or by a listener on all addresses, as --kafka 0.0.0.0:%u is; "
                 "--name-network gives names other addresses; " LISTENER_WHO_HOLDS,
                 at, address, (unsigned)number, (unsigned)number);
        break;
    case EACCES:
        snprintf(error, size,
                 "%s leads to %s here, where ports below 1024 need rights: let tunnel-client have "
                 "CAP_NET_BIND_SERVICE, or lower net.ipv4.ip_unprivileged_port_start",
                 at, address);
        break;
    case EADDRNOTAVAIL:
        snprintf(error, size,
                 "%s leads to %s here, which is not an address of this machine; on macOS: sudo "
                 "ifconfig lo0 alias %s",
                 at, address, address);
        break;
    default:
        snprintf(error, size, "cannot listen on %s port %u for %s of %s: %s", address,
                 (unsigned)number, at, bootstrap->name, strerror(failed));
    }
}

void named_ports_explain_at(const struct port *bootstrap, const char *host, uint16_t number,
                            int failed, char *error, size_t size)
{
    struct ports *ports = bootstrap->ports;
    const struct kept_name *name = kept_names_tell(&ports->names, host);
    char address[NAME_ADDRESS_MAX] = "";
    char at[ADDRESS_TEXT_MAX];

    address_format(host, number, at);
    if (name)
        kept_name_address(&ports->names, name, address);
    if (failed == EMFILE)
        ports_explain(bootstrap, EMFILE, error, size);
    else if (failed == PORTS_FOREIGN)
        snprintf(error, size,
                 "%s is a broker of %s and of another cluster: only one of them can keep its "
                 "names (--keep-names-of)",
                 at, bootstrap->name);
    else if (failed == PORTS_FULL)
        snprintf(error, size, "no address is left for the name %s; see --name-network", host);
    else
        explain_binding(bootstrap, at, address, number, failed, error, size);
}

void named_ports_explain(const struct port *bootstrap, const struct port_request *request,
                         char *error, size_t size)
{
    const struct told_name *told =
        idmap_get(&bootstrap->told[request->endpoint_type], (uint32_t)request->node);

    if (told)
        named_ports_explain_at(bootstrap, told->host, told->number, request->failed, error, size);
    else
        snprintf(error, size,
                 "the server has not told the name of node %d of %s, which keeps its names",
                 (int)request->node, bootstrap->name);
}

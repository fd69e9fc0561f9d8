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

static bool may_open_named(const struct port *bootstrap)
{
    const struct ports *ports = bootstrap->ports;

    return bootstrap->held_count < NAMED_PORTS_MAX &&
           ports->node_sockets + 1 <= ports->node_sockets_max;
}

/* Takes back the one that has been unused for longest; false: none has been for long enough. */
static bool take_named_back(struct port *bootstrap, const struct named_ports_turn *turn)
{
    struct port *port = ports_longest_unused(bootstrap, turn->now_us);

    if (!port)
        return false;
    bool is_known = port->known_type != 0;
    idmap_remove(&port->ports->by_place, place_key(port->kept, port->number));
    port->kept->listeners--;
    ports_withdraw(port, turn->now_us);
    if (is_known)
        list_append(turn->withdrawn, &port->node);
    else
        free(port);
    return true;
}

/* A broker's place, and who asks for a listener there. */
struct named_place {
    struct port *bootstrap;
    enum mux_target_kind kind;
    int32_t id;
    const char *host;
    uint16_t number;
    const struct named_ports_turn *turn;
};

static struct port *open_named(const struct named_place *place, int *failed)
{
    struct port *bootstrap = place->bootstrap;
    struct ports *ports = bootstrap->ports;

    while (!may_open_named(bootstrap) && take_named_back(bootstrap, place->turn))
        ;
    /* A quarter of the descriptors is for connections. */
    *failed = bootstrap->held_count < NAMED_PORTS_MAX ? EMFILE : PORTS_TOO_MANY;
    if (!may_open_named(bootstrap))
        return NULL;
    struct kept_name *name = kept_names_tell(&ports->names, place->host);
    *failed = PORTS_FULL;
    if (!name)
        return NULL;
    struct port *port = ports_new_port(ports, place->kind, bootstrap->name, "", place->id);
    *failed = bind_named(port, name, place->number);
    if (*failed != 0) {
        free(port);
        return NULL;
    }
    ports->node_sockets++;
    bootstrap->held_count++;
    name->listeners++;
    port->bootstrap = bootstrap;
    port->kept = name;
    idmap_put(&ports->by_place, place_key(name, place->number), port);
    ports_announce(port);
    return port;
}

static bool is_current_bootstrap(const struct port *port)
{
    return port->kind == MUX_TARGET_BOOTSTRAP && !port->outdated;
}

/* From now on it leads there. */
static void lead_to(struct port *port, const struct named_place *place)
{
    port->kind = place->kind;
    port->node_id = place->id;
    port->outdated = false;
    port->stays = place->kind == MUX_TARGET_BOOTSTRAP;
    if (port->stays)
        list_remove(&port->idle);
    ports_label(port);
}

static struct port *find_named(const struct named_place *place)
{
    const struct ports *ports = place->bootstrap->ports;
    const struct kept_name *name = kept_names_find(&ports->names, place->host);

    return name ? idmap_get(&ports->by_place, place_key(name, place->number)) : NULL;
}

/* The listener at the name and port, which leads there from now on, unless a bootstrap broker has
 * it. NULL: *failed says why. */
static struct port *named_port(const struct named_place *place, int *failed)
{
    struct port *port = find_named(place);

    *failed = PORTS_FOREIGN;
    if (port && strcmp(port->name, place->bootstrap->name) != 0)
        return NULL;
    if (!port)
        port = open_named(place, failed);
    if (!port)
        return NULL;
    *failed = 0;
    kept_names_tell(&port->ports->names, place->host);
    if (place->kind == MUX_TARGET_BOOTSTRAP || !is_current_bootstrap(port))
        lead_to(port, place);
    ports_touch(port, place->turn->now_us);
    snprintf(port->kept_host, sizeof port->kept_host, "%s", place->host);
    address_format(place->host, place->number, port->broker);
    return port;
}

static void open_named_node(struct port *bootstrap, struct port_request *request,
                            const struct named_ports_turn *turn)
{
    const struct told_name *told =
        idmap_get(&bootstrap->told[request->endpoint_type], (uint32_t)request->node);

    request->port = NULL;
    request->failed = PORTS_UNTOLD;
    if (!told)
        return;
    const struct named_place place = {.bootstrap = bootstrap,
                                      .kind = request->endpoint_type == 1 ? MUX_TARGET_BROKER
                                                                          : MUX_TARGET_CONTROLLER,
                                      .id = request->node,
                                      .host = told->host,
                                      .number = told->number,
                                      .turn = turn};
    request->port = named_port(&place, &request->failed);
    if (request->port)
        ports_know(request->port, request->endpoint_type, request->node);
}

void named_ports_nodes(struct port *bootstrap, struct port_request *requests, size_t count,
                       const struct named_ports_turn *turn)
{
    /* First of all, so that none that is named here is taken back for another. */
    for (size_t i = 0; i < count; i++) {
        struct port *port = ports_node(bootstrap, requests[i].endpoint_type, requests[i].node);
        if (port)
            ports_touch(port, turn->now_us);
    }
    for (size_t i = 0; i < count; i++)
        open_named_node(bootstrap, &requests[i], turn);
}

/* ---- bootstrap brokers */

struct port *named_ports_bootstrap(struct port *bootstrap, int32_t place, const struct address *at,
                                   const struct named_ports_turn *turn, int *failed)
{
    const struct named_place wanted = {.bootstrap = bootstrap,
                                       .kind = MUX_TARGET_BOOTSTRAP,
                                       .id = place,
                                       .host = at->host,
                                       .number = at->port,
                                       .turn = turn};

    kept_names_expect(&bootstrap->ports->names, at->host);
    return named_port(&wanted, failed);
}

static bool is_bootstrap_of(const struct port *port, const struct port *bootstrap)
{
    return port->kind == MUX_TARGET_BOOTSTRAP && strcmp(port->name, bootstrap->name) == 0;
}

void named_ports_begin_answer(struct port *bootstrap, uint64_t now_us)
{
    /* The places of old may be others' now. */
    list_each(at, &bootstrap->ports->all) {
        struct port *port = list_entry(at, struct port, node);
        if (!is_bootstrap_of(port, bootstrap) || port->outdated)
            continue;
        port->outdated = true;
        port->stays = false;
        ports_touch(port, now_us);
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
    const struct kept_name *name = kept_names_find(&ports->names, host);
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
    else if (failed == PORTS_TOO_MANY)
        snprintf(error, size,
                 "the brokers of %s have more names and ports than the %d that listeners are "
                 "opened for; one that no response has named for %d minutes makes way",
                 bootstrap->name, NAMED_PORTS_MAX, PORTS_KEPT_S / 60);
    else if (failed == PORTS_UNPUBLISHED)
        snprintf(error, size,
                 "the command's own hosts file has no line for %s, since it cannot be written; "
                 "TMPDIR says where it is",
                 host);
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

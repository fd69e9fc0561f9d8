#include "listeners/node_ports.h"

#include <stdio.h>
#include <string.h>

enum { LOWEST = 1024 };

uint16_t node_ports_at(const struct address_ports *ports, int32_t node, unsigned attempt)
{
    uint32_t count = address_ports_count(ports);

    return (uint16_t)(ports->first + ((uint32_t)node % count + attempt) % count);
}

static bool is_loopback_pair(const char *host)
{
    return strcmp(host, "127.0.0.1") == 0 || strcmp(host, "::1") == 0;
}

static bool is_wildcard(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

bool node_ports_hosts_meet(const char *a, const char *b)
{
    return strcmp(a, b) == 0 || is_wildcard(a) || is_wildcard(b) ||
           (is_loopback_pair(a) && is_loopback_pair(b));
}

static bool holds(const struct address_ports *ports, uint32_t port)
{
    return ports->first != 0 && port >= ports->first && port <= ports->last;
}

bool node_ports_check(const struct node_ports *all, size_t count, size_t index, char *error,
                      size_t size)
{
    const struct node_ports *own = &all[index];

    for (size_t i = 0; i < count; i++) {
        const struct node_ports *other = &all[i];
        if (!node_ports_hosts_meet(own->host, other->host))
            continue;
        if (other->port != 0 && holds(&own->nodes, other->port)) {
            snprintf(error, size, "port %u of the listener %s is in the range %u-%u",
                     (unsigned)other->port, other->name, (unsigned)own->nodes.first,
                     (unsigned)own->nodes.last);
            return false;
        }
        if (i != index && other->nodes.first != 0 && own->nodes.first <= other->nodes.last &&
            other->nodes.first <= own->nodes.last) {
            snprintf(error, size, "%u-%u overlaps with %u-%u of %s", (unsigned)own->nodes.first,
                     (unsigned)own->nodes.last, (unsigned)other->nodes.first,
                     (unsigned)other->nodes.last, other->name);
            return false;
        }
    }
    return true;
}

/* ---- the plan */

static bool is_taken(const struct node_ports *all, size_t count, const char *host, uint32_t port)
{
    for (size_t i = 0; i < count; i++) {
        if ((all[i].port == port || holds(&all[i].nodes, port)) &&
            node_ports_hosts_meet(host, all[i].host))
            return true;
    }
    return false;
}

/* How many ports from first on are nobody's, at most ADDRESS_NODE_PORTS. */
static uint32_t free_run(const struct node_ports *all, size_t count, const char *host,
                         uint32_t first)
{
    uint32_t run = 0;

    while (run < ADDRESS_NODE_PORTS && first + run <= UINT16_MAX &&
           !is_taken(all, count, host, first + run))
        run++;
    return run;
}

static void give(struct node_ports *cluster, uint32_t first, uint32_t count)
{
    cluster->nodes =
        (struct address_ports){.first = (uint16_t)first, .last = (uint16_t)(first + count - 1)};
}

/* The first run of that many ports from first on. */
static bool give_next(struct node_ports *all, size_t count, struct node_ports *cluster,
                      uint32_t first, uint32_t wanted)
{
    while (first <= UINT16_MAX) {
        uint32_t run = free_run(all, count, cluster->host, first);
        if (run >= wanted) {
            give(cluster, first, run);
            return true;
        }
        first += run + 1;
    }
    return false;
}

static struct node_ports *lowest_without(struct node_ports *all, size_t count)
{
    struct node_ports *lowest = NULL;

    for (size_t i = 0; i < count; i++) {
        if (all[i].cluster && all[i].nodes.first == 0 && (!lowest || all[i].port < lowest->port))
            lowest = &all[i];
    }
    return lowest;
}

void node_ports_plan(struct node_ports *all, size_t count)
{
    struct node_ports *cluster;

    /* These cannot meet each other: each ends before the next bootstrap port. */
    for (size_t i = 0; i < count; i++) {
        if (!all[i].cluster || all[i].nodes.first != 0)
            continue;
        uint32_t run = free_run(all, count, all[i].host, all[i].port + 1u);
        if (run >= NODE_PORTS_MIN)
            give(&all[i], all[i].port + 1u, run);
    }
    while ((cluster = lowest_without(all, count))) {
        uint32_t above = cluster->port + 1u;
        if (!give_next(all, count, cluster, above, ADDRESS_NODE_PORTS) &&
            !give_next(all, count, cluster, LOWEST, ADDRESS_NODE_PORTS) &&
            !give_next(all, count, cluster, LOWEST, 1))
            return; /* not a port left: its nodes get no listeners */
    }
}

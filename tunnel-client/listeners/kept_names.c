#include "listeners/kept_names.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "config/value.h"
#include "listeners/hosts_text.h"

/* How far from its own one a name's address may be: a bound for what a server that makes up names
 * costs. */
enum { PROBES_MAX = 4096, PREFIX_SHORTEST = 16, PREFIX_LONGEST = 28 };

/* Known to everybody: the same name has the same address everywhere. */
static const struct hash_key everybodys_key = {{0, 0}};

const char *name_network_parse(const char *text, struct name_network *network)
{
    char address[NAME_ADDRESS_MAX];
    size_t size = strcspn(text, "/");
    struct in_addr parsed;
    int64_t prefix;

    if (text[size] != '/' || size >= sizeof address ||
        !value_parse_integer(text + size + 1, &prefix))
        return "expected a network of IPv4 addresses, as in 127.77.0.0/16";
    memcpy(address, text, size);
    address[size] = '\0';
    if (inet_pton(AF_INET, address, &parsed) != 1)
        return "expected a network of IPv4 addresses, as in 127.77.0.0/16";
    if (prefix < PREFIX_SHORTEST || prefix > PREFIX_LONGEST)
        return "the number behind the slash must be from 16 to 28";
    network->first = ntohl(parsed.s_addr);
    network->count = (uint32_t)1 << (32 - prefix);
    if (network->first >> 24 != 127)
        return "the network must be one of this machine's loopback: it begins with 127";
    if (network->first % network->count != 0)
        return "that is an address inside the network: the network's own first address is needed";
    if (network->first == 0x7f000000)
        return "127.0.0.1 is in that network, and belongs to all programs of this machine";
    return NULL;
}

void kept_names_init(struct kept_names *names, const struct name_network *network)
{
    *names = (struct kept_names){.network = *network};
    list_init(&names->all);
    idmap_init(&names->by_hash, &everybodys_key);
    idmap_init(&names->by_place, &everybodys_key);
}

void kept_names_clear(struct kept_names *names)
{
    for (struct list *node; (node = list_pop(&names->all));)
        free(list_entry(node, struct kept_name, node));
    idmap_clear(&names->by_hash);
    idmap_clear(&names->by_place);
    while (names->domain_count > 0)
        free(names->domains[--names->domain_count]);
}

/* ---- names */

static uint64_t hash_name(const char *host)
{
    char lower[ADDRESS_HOST_MAX + 1];
    size_t size = 0;

    for (; host[size]; size++)
        lower[size] = (char)tolower((unsigned char)host[size]);
    return hash_bytes(&everybodys_key, lower, size);
}

static bool ends_in(const char *host, const char *domain)
{
    size_t size = strlen(host);
    size_t own = strlen(domain);

    return size >= own && strcasecmp(host + size - own, domain) == 0 &&
           (size == own || host[size - own - 1] == '.');
}

/* What hosts files name this machine itself by. */
static bool is_of_this_machine(const char *host)
{
    static const char *const reserved[] = {"localhost",     "localdomain",  "ip6-localhost",
                                           "broadcasthost", "ip6-loopback", NULL};

    for (size_t i = 0; reserved[i]; i++)
        if (ends_in(host, reserved[i]))
            return true;
    return false;
}

/* For resolvers, 10.1 and 0x7f000001 are addresses. */
static bool ends_in_number(const char *host)
{
    const char *dot = strrchr(host, '.');
    const char *last = dot ? dot + 1 : host;
    bool hexadecimal = strncasecmp(last, "0x", 2) == 0;

    return hexadecimal ? last[2 + strspn(last + 2, "0123456789abcdefABCDEF")] == '\0'
                       : last[strspn(last, "0123456789")] == '\0';
}

bool kept_name_is_possible(const char *host)
{
    char undotted[ADDRESS_HOST_MAX + 1];
    char checked[ADDRESS_HOST_MAX + 1];

    address_host_undotted(host, undotted);
    return !address_parse_host(undotted, strlen(undotted), checked) && !ends_in_number(undotted) &&
           !is_of_this_machine(undotted);
}

/* ---- domains */

const char *kept_names_check_domain(const char *domain)
{
    char checked[ADDRESS_HOST_MAX + 1];
    const char *why = address_parse_host(domain, strlen(domain), checked);

    if (why)
        return why;
    if (domain[0] == '.' || domain[strlen(domain) - 1] == '.')
        return "write the domain without a dot before or behind it";
    return kept_name_is_possible(domain) ? NULL : "no name like that can be kept";
}

void kept_names_allow(struct kept_names *names, const char *const *domains, size_t count)
{
    names->allowed = domains;
    names->allowed_count = count;
}

static bool is_allowed(const struct kept_names *names, const char *host)
{
    for (size_t i = 0; i < names->allowed_count; i++)
        if (ends_in(host, names->allowed[i]))
            return true;
    return names->allowed_count == 0;
}

/* Of a broker: what is behind the first dot, unless that is a domain of the whole world's, as com
 * is. "": it has none. */
static const char *domain_of(const char *host)
{
    const char *dot = strchr(host, '.');

    if (!dot)
        return "";
    return strchr(dot + 1, '.') ? dot + 1 : host;
}

static bool is_in_domain(const char *host, const char *domain)
{
    return *domain ? ends_in(host, domain) : strchr(host, '.') == NULL;
}

static bool is_expected_host(const struct kept_names *names, const char *host)
{
    for (size_t i = 0; i < names->domain_count; i++)
        if (is_in_domain(host, names->domains[i]))
            return true;
    return false;
}

void kept_names_expect(struct kept_names *names, const char *host)
{
    char undotted[ADDRESS_HOST_MAX + 1];

    address_host_undotted(host, undotted);
    if (kept_name_is_possible(host) && !is_expected_host(names, undotted) &&
        names->domain_count < KEPT_DOMAINS_MAX)
        names->domains[names->domain_count++] = memory_text(domain_of(undotted));
}

bool kept_name_is_expected(const struct kept_names *names, const struct kept_name *name)
{
    return is_expected_host(names, name->host);
}

/* ---- names and their places */

static struct kept_name *find_name(const struct kept_names *names, uint64_t hash, const char *host)
{
    struct kept_name *name = idmap_get(&names->by_hash, (uint32_t)hash);

    while (name && strcasecmp(name->host, host) != 0)
        name = name->next;
    return name;
}

static struct kept_name *add_name(struct kept_names *names, uint64_t hash, const char *host,
                                  uint32_t place)
{
    struct kept_name *name = memory_new(sizeof *name);

    name->next = idmap_get(&names->by_hash, (uint32_t)hash);
    name->place = place;
    name->forbidden = !is_allowed(names, host);
    name->literal = name->forbidden || !kept_name_is_possible(host);
    snprintf(name->host, sizeof name->host, "%s", host);
    idmap_put(&names->by_hash, (uint32_t)hash, name);
    idmap_put(&names->by_place, place, name);
    list_append(&names->all, &name->node);
    return name;
}

/* The first and the last one look like a network's and its broadcast. */
static uint32_t step(const struct kept_names *names, uint32_t place)
{
    return place + 2 < names->network.count ? place + 1 : 1;
}

static uint32_t own_place(const struct kept_names *names, uint64_t hash)
{
    return 1 + (uint32_t)(hash >> 32) % (names->network.count - 2);
}

/* The first one from place on that nobody has; 0: there is none near. */
static uint32_t free_place(const struct kept_names *names, uint32_t place)
{
    for (unsigned i = 0; i < PROBES_MAX && i + 2 < names->network.count; i++) {
        if (!idmap_get(&names->by_place, place))
            return place;
        place = step(names, place);
    }
    return 0;
}

struct kept_name *kept_names_find(const struct kept_names *names, const char *host)
{
    char undotted[ADDRESS_HOST_MAX + 1];

    address_host_undotted(host, undotted);
    return find_name(names, hash_name(undotted), undotted);
}

struct kept_name *kept_names_tell(struct kept_names *names, const char *host)
{
    char undotted[ADDRESS_HOST_MAX + 1];

    address_host_undotted(host, undotted);
    uint64_t hash = hash_name(undotted);
    struct kept_name *name = find_name(names, hash, undotted);
    if (!name) {
        uint32_t place = free_place(names, own_place(names, hash));
        name = place ? add_name(names, hash, undotted, place) : NULL;
    }
    if (!name)
        return NULL;
    name->told = true;
    name->dotted |= strlen(host) != strlen(undotted);
    return name;
}

bool kept_names_move(struct kept_names *names, struct kept_name *name)
{
    uint32_t place = free_place(names, step(names, name->place));

    if (place == 0)
        return false;
    idmap_remove(&names->by_place, name->place);
    idmap_put(&names->by_place, place, name);
    name->place = place;
    name->listed = false;
    return true;
}

void kept_name_address(const struct kept_names *names, const struct kept_name *name,
                       char text[NAME_ADDRESS_MAX])
{
    struct in_addr address = {.s_addr = htonl(names->network.first + name->place)};

    inet_ntop(AF_INET, &address, text, NAME_ADDRESS_MAX);
}

void kept_name_line(const struct kept_names *names, const struct kept_name *name,
                    char line[HOSTS_LINE_MAX])
{
    char address[NAME_ADDRESS_MAX];

    kept_name_address(names, name, address);
    snprintf(line, HOSTS_LINE_MAX, "%s %s", address, name->host);
    /* Resolvers compare names of a hosts file to the letter. */
    if (name->dotted)
        snprintf(line + strlen(line), HOSTS_LINE_MAX - strlen(line), " %s.", name->host);
}

/* ---- the hosts file */

/* The place of an address; 0: it is not one of the network's. */
static uint32_t parse_place(const struct kept_names *names, const struct hosts_pair *pair)
{
    char text[NAME_ADDRESS_MAX];
    struct in_addr address;

    if (pair->address_size >= sizeof text)
        return 0;
    memcpy(text, pair->address, pair->address_size);
    text[pair->address_size] = '\0';
    if (inet_pton(AF_INET, text, &address) != 1)
        return 0;
    uint32_t place = ntohl(address.s_addr) - names->network.first;
    return place < names->network.count ? place : 0;
}

static void note_line(struct kept_names *names, const struct hosts_pair *pair, uint32_t place)
{
    char host[ADDRESS_HOST_MAX + 1];
    char undotted[ADDRESS_HOST_MAX + 1];

    if (pair->name_size >= sizeof host)
        return;
    memcpy(host, pair->name, pair->name_size);
    host[pair->name_size] = '\0';
    if (!kept_name_is_possible(host))
        return;
    address_host_undotted(host, undotted);
    uint64_t hash = hash_name(undotted);
    struct kept_name *name = find_name(names, hash, undotted);
    if (!name && !idmap_get(&names->by_place, place))
        name = add_name(names, hash, undotted, place);
    if (name)
        name->listed |= name->place == place;
}

void kept_names_read_hosts(struct kept_names *names, const char *text, size_t size)
{
    struct hosts_walk walk = {.at = text, .end = text + size};
    struct hosts_pair pair;

    list_each(at, &names->all)
        list_entry(at, struct kept_name, node)->listed = false;
    while (hosts_text_next(&walk, &pair)) {
        uint32_t place = parse_place(names, &pair);
        if (place != 0)
            note_line(names, &pair, place);
    }
}

/*
 * The addresses that brokers' names lead to where clients keep them: each name has an address of
 * its own in a network of loopback. It follows from the name, so that the lines that `hosts` has
 * printed stay true; where two names would have the same one, the second takes the next. A name for
 * which a hosts file has an address in the network keeps that. No sockets in here.
 *
 * What is no name, an address or a name of this machine's own, has an address here too, but no
 * hosts file leads it there: Kafka clients are told the address instead.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/idmap.h"
#include "base/list.h"
#include "config/address.h"

#define NAME_ADDRESS_MAX sizeof "127.255.255.255"
/* So many addresses at most, which a name's place fits into. */
#define NAME_PLACES_MAX 65536u

/* Addresses of loopback, from first on, in the host's byte order. */
struct name_network {
    uint32_t first;
    uint32_t count; /* a power of two */
};

/* "127.77.0.0/16": /16 to /28, not that of 127.0.0.1. NULL, or what is wrong. */
const char *name_network_parse(const char *text, struct name_network *network);

struct kept_name {
    struct list node;       /* in names->all: in the order in which they came */
    struct kept_name *next; /* whose hash is the same */
    uint32_t place;         /* its address is that far from the network's first */
    unsigned listeners;     /* that are open on it: while there are any, it does not move */
    bool told;              /* a broker has it; else only a line of the hosts file */
    bool dotted;            /* brokers have it with a dot at its end, too */
    bool listed;            /* a line of the hosts file leads it to its address */
    bool warned;            /* that there is no such line */
    bool certified;         /* the listeners' certificate has it, or cannot */
    bool published;         /* in the hosts file of the command of `run` */
    bool literal;           /* no hosts file leads it anywhere: it cannot, or may not */
    bool forbidden;         /* because it is in none of names->allowed */
    bool unexpected;        /* that it is in no domain of a bootstrap broker has been said */
    char host[ADDRESS_HOST_MAX + 1]; /* as it was first told, without the dot */
};

/* So many domains of bootstrap brokers are known at most. */
#define KEPT_DOMAINS_MAX 64

struct kept_names {
    struct name_network network;
    const char *const *allowed;      /* domains; no other name is led anywhere */
    size_t allowed_count;            /* 0: any name is */
    char *domains[KEPT_DOMAINS_MAX]; /* of bootstrap brokers */
    size_t domain_count;
    struct list all;
    struct idmap by_hash;
    struct idmap by_place;
};

void kept_names_init(struct kept_names *names, const struct name_network *network);
void kept_names_clear(struct kept_names *names);
/* Takes over what a hosts file says of addresses in the network. Of names that have an address
 * already it only notes whether the file agrees. */
void kept_names_read_hosts(struct kept_names *names, const char *text, size_t size);
/* Whether a hosts file can lead it somewhere, and nobody expects it elsewhere: not an address, not
 * localhost, nothing that would break a line. */
bool kept_name_is_possible(const char *host);
/* NULL, or why names cannot be told to be in that domain. */
const char *kept_names_check_domain(const char *domain);
/* Before there are any: only names in these domains are led anywhere. The texts must live as long.
 */
void kept_names_allow(struct kept_names *names, const char *const *domains, size_t count);
/* The server is configured with that bootstrap broker: names in its domain are expected. */
void kept_names_expect(struct kept_names *names, const char *host);
/* Whether the name is in the domain of a bootstrap broker. What has no domain goes with bootstrap
 * brokers that have none. */
bool kept_name_is_expected(const struct kept_names *names, const struct kept_name *name);
/* The name, if it is known. */
struct kept_name *kept_names_find(const struct kept_names *names, const char *host);
/* A broker has the host: what it is here, from now on. NULL: all addresses are taken. */
struct kept_name *kept_names_tell(struct kept_names *names, const char *host);
/* Gives it the next free address instead of the one it has. false: there is none near. */
bool kept_names_move(struct kept_names *names, struct kept_name *name);
void kept_name_address(const struct kept_names *names, const struct kept_name *name,
                       char text[NAME_ADDRESS_MAX]);
/* A line for a hosts file: "127.77.3.4 broker1". */
#define HOSTS_LINE_MAX (NAME_ADDRESS_MAX + 2 * (ADDRESS_HOST_MAX + 2))
void kept_name_line(const struct kept_names *names, const struct kept_name *name,
                    char line[HOSTS_LINE_MAX]);

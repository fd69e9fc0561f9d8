/*
 * The addresses that options hold. Each function returns NULL, or a static sentence that says what
 * is wrong; out is then undefined. A host is a DNS name or an IPv4 address, or an IPv6 address,
 * which stands in brackets in the text and without them in the result.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADDRESS_HOST_MAX 253
#define ADDRESS_NAME_MAX 63
#define ADDRESS_BROKERS_MAX 64
/* How many ports an option that names only the first one means. */
#define ADDRESS_NODE_PORTS 1000
/* HOST:PORT as text, an IPv6 address in brackets. */
#define ADDRESS_TEXT_MAX (ADDRESS_HOST_MAX + sizeof "[]:65535")
/* The cluster that an option without a name means. */
#define ADDRESS_DEFAULT_CLUSTER "kafka"

struct address {
    char host[ADDRESS_HOST_MAX + 1];
    uint16_t port;
};

/* A name (letters, digits, dot, underscore, hyphen) and an address. */
struct address_named {
    char name[ADDRESS_NAME_MAX + 1];
    struct address address;
};

/* Ports from first, which is not 0, to last, both included. */
struct address_ports {
    uint16_t first;
    uint16_t last;
};

static inline uint32_t address_ports_count(const struct address_ports *ports)
{
    return (uint32_t)ports->last - ports->first + 1;
}

struct address_named_ports {
    char name[ADDRESS_NAME_MAX + 1];
    struct address_ports ports;
};

/* What a scheme before a broker says about its listener. */
enum address_protocol {
    ADDRESS_PROTOCOL_NONE, /* there is none */
    ADDRESS_PROTOCOL_PLAIN,
    ADDRESS_PROTOCOL_TLS,
};

struct address_cluster {
    char name[ADDRESS_NAME_MAX + 1];
    size_t count;
    struct address brokers[ADDRESS_BROKERS_MAX];
    enum address_protocol protocol; /* of all of them */
};

/* "broker1:9092", "[::1]:9092": the other way round, for logs and messages. */
void address_format(const char *host, uint16_t port, char text[ADDRESS_TEXT_MAX]);

/*
 * A name may end in a dot: then the resolver looks it up as it stands, without search domains.
 * Certificates, SNI (RFC 6066, 3) and no_proxy have names without it.
 */
size_t address_host_size(const char *host); /* without that dot */
bool address_same_host(const char *a, const char *b);
/* A copy without that dot, cut to fit. */
void address_host_undotted(const char *host, char out[ADDRESS_HOST_MAX + 1]);

/* HOST:PORT, the port from 1 to 65535. */
const char *address_parse(const char *text, struct address *out);

/* What is wrong with an ADDR that is a name: one may have many addresses, and change them. */
#define ADDRESS_NOT_NUMERIC                                                                        \
    "give a numeric address to listen on: 127.0.0.1 for localhost, 0.0.0.0 for all addresses"

/* [ADDR:]PORT to listen on; 127.0.0.1 without ADDR. Port 0: any free one. */
const char *address_parse_listen(const char *text, struct address *out);

/* [NAME=][ADDR:]PORT; without NAME it is default_name, which may be NULL: a name is needed. */
const char *address_parse_named_listen(const char *text, const char *default_name,
                                       struct address_named *out);

/* NAME=HOST:PORT. */
const char *address_parse_target(const char *text, struct address_named *out);

/*
 * [NAME=]HOST:PORT[,HOST:PORT]..., with blanks around each; the cluster is named kafka without
 * NAME. As brokers' configuration has it, PLAINTEXT://, SASL_PLAINTEXT://, SSL:// or SASL_SSL://
 * may stand before each HOST.
 */
const char *address_parse_cluster(const char *text, struct address_cluster *out);

/* [NAME=]FIRST[-LAST]; the name is kafka without NAME, LAST the 1000th port, at most 65535. */
const char *address_parse_ports(const char *text, struct address_named_ports *out);

/* A host that others are told: a name, an IPv4 address, an IPv6 address with or without brackets.
 */
const char *address_parse_told_host(const char *text, char host[ADDRESS_HOST_MAX + 1]);

/* A host that a broker or the other end has told, as it came: any word, which nobody has to be able
 * to look up. false: it is none (a control character would be another line of a hosts file), or is
 * too long. */
bool address_take_host(const char *text, size_t size, char host[ADDRESS_HOST_MAX + 1]);

/* Used for URLs too: checks the host at text[0..size), without brackets, and copies it. */
const char *address_parse_host(const char *text, size_t size, char host[ADDRESS_HOST_MAX + 1]);
const char *address_parse_ipv6(const char *text, size_t size, char host[ADDRESS_HOST_MAX + 1]);
const char *address_parse_port(const char *text, size_t size, uint16_t *port);

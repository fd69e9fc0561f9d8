/*
 * Which addresses a program may connect to when somebody else names them: lists of networks and
 * names that are allowed or denied, and what is refused unless a list allows it, because no service
 * of others is there: link-local (RFC 3927; RFC 4291, 2.5.6), multicast, unspecified, broadcast,
 * and loopback.
 *
 * A name is decided on together with each address that it resolves to, so that a name cannot lead
 * where an address may not (DNS rebinding).
 */
#pragma once

#include <stdbool.h>

#include "config/address.h"

/* A network ("10.0.0.0/8", "fd00::/8"), an address, a host name, or "*.example.com": the names
 * below it. */
struct address_rule {
    const char *text; /* as it was given */
    bool is_name;
    bool below;    /* the names below name */
    bool ipv4;     /* bits are of an IPv4 address */
    unsigned bits; /* of base, that addresses have in common */
    uint8_t base[16];
    char name[ADDRESS_HOST_MAX + 1];
};

struct address_rules {
    struct address_rule *allow; /* none: everything that is not refused by default */
    size_t allow_count;
    struct address_rule *deny; /* wins */
    size_t deny_count;
};

/* An IPv6 address, or an IPv4 address mapped into one (::ffff:192.0.2.1). */
struct address_ip {
    uint8_t bytes[16];
};

enum address_verdict {
    ADDRESS_ALLOWED = 0,
    ADDRESS_DENIED,   /* *rule is the text of the rule that denies it */
    ADDRESS_UNLISTED, /* there are rules that allow, and none is for this */
    ADDRESS_SPECIAL,  /* *rule says what it is: "link-local" */
};

/* text must live as long as the rule. NULL, or a static sentence that says what is wrong. */
const char *address_rule_parse(const char *text, struct address_rule *out);

/* host: the name, or the address as text, that was told; ip: what is about to be connected to.
 * loopback: who told it is on loopback itself, where others may be then. */
enum address_verdict address_rules_judge(const struct address_rules *rules, const char *host,
                                         const struct address_ip *ip, bool loopback,
                                         const char **rule);

/*
 * HTTP proxies as people name them: a URL in an option or in the environment, and the list of hosts
 * for which the environment's proxy is not meant. And addresses given by hand for a host.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config/address.h"

struct proxy {
    bool tls;                        /* the proxy itself is spoken to with TLS */
    char host[ADDRESS_HOST_MAX + 1]; /* without brackets */
    uint16_t port;                   /* 443 with TLS and 80 without, unless given */
    /* "user:password" or "user:", percent-decoded, of any length; NULL: none. Never log it. */
    char *credentials;
};

/* http[s]://[USER[:PASSWORD]@]HOST[:PORT]; http:// if there is no scheme. Blanks and line breaks
 * around it do not count. NULL, or a static sentence that quotes nothing; then there is nothing to
 * free. */
const char *proxy_parse(const char *text, struct proxy *out);
void proxy_clear(struct proxy *proxy);

/*
 * Whether a NO_PROXY list (separated by commas or blanks) names the host: "*"; a domain, with or
 * without a leading dot, which stands for the hosts below it too; an IP address; an IPv4 or IPv6
 * network as ADDRESS/BITS. Each but networks may end in :PORT.
 */
bool proxy_is_excepted(const char *list, const char *host, uint16_t port);

/* --resolve: HOST:PORT:ADDRESS, an IPv6 address in brackets or without. */
struct address_override {
    struct address at;
    char address[ADDRESS_HOST_MAX + 1];
};
const char *address_parse_override(const char *text, struct address_override *out);

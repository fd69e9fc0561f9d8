/*
 * Proxies as people name them: a URL in an option or in the environment, and the list of hosts for
 * which the environment's proxy is not meant. And addresses given by hand for a host.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/address.h"

/* The schemes are curl's. */
enum proxy_kind {
    PROXY_HTTP,    /* http://: is asked to CONNECT (RFC 9110, 9.3.6) */
    PROXY_HTTPS,   /* https://: the same, over TLS with the proxy itself */
    PROXY_SOCKS5,  /* socks5:// (RFC 1928): is told an address, which this machine looks up */
    PROXY_SOCKS5H, /* socks5h://: is told the host's name, and looks it up itself */
};

struct proxy {
    enum proxy_kind kind;
    char host[ADDRESS_HOST_MAX + 1]; /* without brackets */
    uint16_t port;                   /* 80, 443, or 1080 of SOCKS, unless given */
    /* "user:password" or "user:", percent-decoded; NULL: none. Never log it. Of any length for
     * HTTP; for SOCKS, each part has at most PROXY_SOCKS_LOGIN_MAX bytes, the user at least one. */
    char *credentials;
    size_t user_size; /* of credentials; what follows is the colon and the password */
};
#define PROXY_SOCKS_LOGIN_MAX 255 /* RFC 1929, 2 */

static inline bool proxy_is_socks(const struct proxy *proxy)
{
    return proxy->kind == PROXY_SOCKS5 || proxy->kind == PROXY_SOCKS5H;
}

/* http[s]://[USER[:PASSWORD]@]HOST[:PORT], or socks5[h]://; http:// if there is no scheme. Blanks
 * and line breaks around it do not count. NULL, or a static sentence that quotes nothing; then
 * there is nothing to free. */
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

/* The URL of a tunnel server: http, https, ws or wss://HOST[:PORT][/PATH]. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "config/address.h"

#define URL_PATH_MAX 1023
/* Where both sides meet when the URL has no path, or only a slash. */
#define URL_DEFAULT_PATH "/tunnel"

struct url {
    bool tls;                        /* https, wss */
    bool is_ipv6;                    /* host is an IPv6 address: brackets belong around it */
    char host[ADDRESS_HOST_MAX + 1]; /* without brackets */
    uint16_t port;                   /* 443 with TLS and 80 without, unless given */
    char path[URL_PATH_MAX + 1];     /* begins with a slash */
};

/* Whether a path consists of what may stand in a URL; as url_parse(). */
const char *url_check_path(const char *text);
/* Returns NULL, or a static sentence that says what is wrong and quotes nothing of the URL. */
const char *url_parse(const char *text, struct url *out);

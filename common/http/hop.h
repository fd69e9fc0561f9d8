/* Where, on its way to a server and back, a request fails. */
#pragma once

enum http_hop {
    HTTP_HOP_DNS,
    HTTP_HOP_TCP,
    HTTP_HOP_PROXY, /* all that has to do with a proxy, up to its answer to CONNECT */
    HTTP_HOP_TLS,
    HTTP_HOP_AUTH, /* 401, 403, or a redirect to a sign-in page; or a proxy's 407 */
    HTTP_HOP_HTTP, /* an answer, but not from a tunnel */
    HTTP_HOP_UPGRADE,
    HTTP_HOP_NONE, /* it succeeded */
};

/* "dns", "tcp", "proxy", "tls", "auth", "http", "upgrade" */
const char *http_hop_name(enum http_hop hop);

/* The longest sentence about it, with its NUL. */
#define HTTP_REASON_MAX 1100

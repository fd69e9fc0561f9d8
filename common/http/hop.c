#include "http/hop.h"

const char *http_hop_name(enum http_hop hop)
{
    static const char *const names[] = {
        [HTTP_HOP_DNS] = "dns",         [HTTP_HOP_TCP] = "tcp",   [HTTP_HOP_PROXY] = "proxy",
        [HTTP_HOP_TLS] = "tls",         [HTTP_HOP_AUTH] = "auth", [HTTP_HOP_HTTP] = "http",
        [HTTP_HOP_UPGRADE] = "upgrade", [HTTP_HOP_NONE] = "none",
    };
    return names[hop];
}

#include "listeners/listener_mode.h"

#include <stddef.h>

#include "io/socket.h"

const char *const listener_tls_modes[] = {
    [LISTENER_TLS_UNSET] = "default",     [LISTENER_TLS_OFF] = "off",
    [LISTENER_TLS_AUTO] = "auto",         [LISTENER_TLS_OPTIONAL] = "optional",
    [LISTENER_TLS_REQUIRED] = "required", NULL};

enum listener_security listener_security_at(enum listener_tls_mode mode, const char *host)
{
    struct socket_address address;

    switch (mode) {
    case LISTENER_TLS_UNSET:
    case LISTENER_TLS_OFF:
        return LISTENER_PLAIN;
    case LISTENER_TLS_AUTO:
        return socket_parse(host, 0, &address) && socket_is_loopback(&address) ? LISTENER_EITHER
                                                                               : LISTENER_SECURE;
    case LISTENER_TLS_OPTIONAL:
        return LISTENER_EITHER;
    default:
        return LISTENER_SECURE;
    }
}

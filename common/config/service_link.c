#include "config/service_link.h"

#include <stddef.h>
#include <string.h>

static const char DIGITS[] = "0123456789";
static const char HEXADECIMAL[] = "0123456789abcdefABCDEF.:";
static const char UPPER[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

static bool is_of(const char *text, const char *characters)
{
    return *text && text[strspn(text, characters)] == '\0';
}

static bool is_protocol(const char *text, size_t size, const char *const names[3])
{
    for (int i = 0; i < 3; i++)
        if (strlen(names[i]) == size && memcmp(names[i], text, size) == 0)
            return true;
    return false;
}

/* tcp://10.96.0.7:8080 */
static bool is_url(const char *value)
{
    static const char *const names[3] = {"tcp", "udp", "sctp"};
    const char *colon = strstr(value, "://");

    return colon && is_protocol(value, (size_t)(colon - value), names) &&
           is_of(colon + 3, "0123456789abcdefABCDEF.:[]");
}

/* Behind NAME_PORT: nothing, or _8080_TCP and maybe _PROTO, _PORT or _ADDR. */
static bool is_port(const char *rest, const char *value)
{
    static const char *const upper[3] = {"TCP", "UDP", "SCTP"};
    static const char *const lower[3] = {"tcp", "udp", "sctp"};

    if (*rest == '\0')
        return is_url(value);
    size_t digits = *rest == '_' ? strspn(rest + 1, DIGITS) : 0;
    if (digits == 0 || rest[1 + digits] != '_')
        return false;
    const char *protocol = rest + 2 + digits;
    size_t size = strcspn(protocol, "_");
    if (!is_protocol(protocol, size, upper))
        return false;
    rest = protocol + size;
    return *rest == '\0'                 ? is_url(value)
           : strcmp(rest, "_PROTO") == 0 ? is_protocol(value, strlen(value), lower)
           : strcmp(rest, "_PORT") == 0  ? is_of(value, DIGITS)
                                         : strcmp(rest, "_ADDR") == 0 && is_of(value, HEXADECIMAL);
}

bool service_link_is(const char *entry)
{
    static const char host[] = "_SERVICE_HOST";
    static const char service_port[] = "_SERVICE_PORT";
    static const char port[] = "_PORT";
    const char *value = strchr(entry, '=');
    char name[128];

    if (!value || (size_t)(value - entry) >= sizeof name)
        return false;
    memcpy(name, entry, (size_t)(value - entry));
    name[value - entry] = '\0';
    value++;
    if (!is_of(name, UPPER))
        return false;
    /* A Service's own name may hold such words: each place counts. */
    for (const char *at = strchr(name, '_'); at; at = strchr(at + 1, '_')) {
        const char *rest = at + sizeof service_port - 1;
        if (at > name && strcmp(at, host) == 0 && is_of(value, HEXADECIMAL))
            return true;
        if (at > name && strncmp(at, service_port, sizeof service_port - 1) == 0 &&
            (*rest == '\0' || *rest == '_') && is_of(value, DIGITS))
            return true;
        if (at > name && strncmp(at, port, sizeof port - 1) == 0 &&
            is_port(at + sizeof port - 1, value))
            return true;
    }
    return false;
}

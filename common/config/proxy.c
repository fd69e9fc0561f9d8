#include "config/proxy.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "config/secret.h"

/* ---- the proxy's URL */

/* What stands before the @, decoded; NULL: a % without two digits, or a NUL. user_size: what of it
 * comes before the colon, of which it may have more in %3A. */
static char *decode_credentials(const char *text, size_t size, size_t *user_size)
{
    const char *colon = memchr(text, ':', size);
    size_t user_end = colon ? (size_t)(colon - text) : size;
    char *out = memory_new(size + 2);
    size_t fill = 0;

    for (size_t i = 0; i < size; i++) {
        if (i == user_end)
            *user_size = fill;
        int high = text[i] == '%' && i + 2 < size ? bytes_hex_digit(text[i + 1]) : -1;
        int low = high >= 0 ? bytes_hex_digit(text[i + 2]) : -1;
        out[fill] = low >= 0 ? (char)(high << 4 | low) : text[i];
        if (out[fill] == '\0' || (text[i] == '%' && low < 0)) {
            byte_wipe(out, size);
            free(out);
            return NULL;
        }
        fill++;
        i += low >= 0 ? 2 : 0;
    }
    if (!colon) {
        *user_size = fill;
        out[fill] = ':';
    }
    return out;
}

static const struct {
    const char *scheme;
    enum proxy_kind kind;
    uint16_t port;
} kinds[] = {
    {"http", PROXY_HTTP, 80},
    {"https", PROXY_HTTPS, 443},
    {"socks5", PROXY_SOCKS5, 1080},
    {"socks5h", PROXY_SOCKS5H, 1080},
};

static const char *take_proxy_scheme(const char **text, struct proxy *out)
{
    const char *end = strstr(*text, "://");
    size_t size = end ? (size_t)(end - *text) : 4;
    const char *scheme = end ? *text : "http";

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (size != strlen(kinds[i].scheme) || strncasecmp(scheme, kinds[i].scheme, size) != 0)
            continue;
        out->kind = kinds[i].kind;
        out->port = kinds[i].port;
        *text = end ? end + 3 : *text;
        return NULL;
    }
    return "only http://, https://, socks5:// and socks5h:// proxies are supported";
}

/* RFC 1929 has a byte for the length of each. */
static const char *check_socks_login(const struct proxy *proxy)
{
    size_t user = proxy->user_size;

    if (user == 0)
        return "a SOCKS5 proxy's login needs a user name";
    if (user > PROXY_SOCKS_LOGIN_MAX ||
        strlen(proxy->credentials + user + 1) > PROXY_SOCKS_LOGIN_MAX)
        return "a SOCKS5 proxy's user name and password have at most 255 bytes each";
    return NULL;
}

static const char *take_host(const char *text, size_t size, struct proxy *out)
{
    const char *end = text + size;
    const char *host_end;
    const char *error;

    if (size > 0 && text[0] == '[') {
        host_end = memchr(text, ']', size);
        if (!host_end)
            return "the closing bracket of the proxy's IPv6 address is missing";
        error = address_parse_ipv6(text + 1, (size_t)(host_end - text - 1), out->host);
        host_end++;
    } else {
        host_end = memchr(text, ':', size);
        if (!host_end)
            host_end = end;
        error = address_parse_host(text, (size_t)(host_end - text), out->host);
    }
    if (error || host_end == end)
        return error;
    if (*host_end != ':')
        return "only :PORT may follow the proxy's address";
    error = address_parse_port(host_end + 1, (size_t)(end - host_end - 1), &out->port);
    return error ? error : out->port == 0 ? "you cannot connect to port 0" : NULL;
}

static const char *take_url(const char *text, struct proxy *out)
{
    const char *error;

    error = take_proxy_scheme(&text, out);
    if (error)
        return error;
    size_t size = strcspn(text, "/?#");
    if (text[size] && strcmp(text + size, "/") != 0)
        return "a proxy's URL has no path; give http://HOST:PORT (a / in a password is %2F)";
    const char *at = NULL;
    for (size_t i = 0; i < size; i++)
        if (text[i] == '@')
            at = text + i;
    if (at) {
        out->credentials = decode_credentials(text, (size_t)(at - text), &out->user_size);
        if (!out->credentials)
            return "the proxy's user name or password has a % without two hexadecimal digits";
        size -= (size_t)(at + 1 - text);
        text = at + 1;
        if (proxy_is_socks(out))
            error = check_socks_login(out);
    }
    if (!error)
        error = take_host(text, size, out);
    if (error)
        proxy_clear(out);
    return error;
}

const char *proxy_parse(const char *text, struct proxy *out)
{
    size_t size = strlen(text);
    const char *trimmed = secret_trim(text, &size);
    char *url = strndup(trimmed, size);

    if (!url)
        abort();
    memset(out, 0, sizeof *out);
    const char *error = take_url(url, out);
    secret_free(url);
    return error;
}

void proxy_clear(struct proxy *proxy)
{
    if (proxy->credentials)
        byte_wipe(proxy->credentials, strlen(proxy->credentials));
    free(proxy->credentials);
    proxy->credentials = NULL;
}

/* ---- whom the environment's proxy is not for */

static int parse_ip(const char *text, uint8_t bytes[16])
{
    return inet_pton(AF_INET, text, bytes) == 1    ? 4
           : inet_pton(AF_INET6, text, bytes) == 1 ? 16
                                                   : 0;
}

static bool is_in_network(const char *network, const char *slash, const char *host)
{
    char text[INET6_ADDRSTRLEN];
    uint8_t base[16];
    uint8_t ip[16];
    size_t size = (size_t)(slash - network);
    char *end;
    long bits = strtol(slash + 1, &end, 10);

    if (size >= sizeof text || *end || end == slash + 1)
        return false;
    memcpy(text, network, size);
    text[size] = '\0';
    int length = parse_ip(text, base);
    if (length == 0 || length != parse_ip(host, ip) || bits < 0 || bits > 8 * length)
        return false;
    for (long i = 0; i < bits; i++)
        if ((base[i / 8] ^ ip[i / 8]) & (0x80 >> (i % 8)))
            return false;
    return true;
}

static bool is_same_or_below(const char *domain, const char *host)
{
    size_t domain_size = address_host_size(domain);
    size_t host_size = address_host_size(host);
    uint8_t a[16];
    uint8_t b[16];
    int length = parse_ip(domain, a);

    if (length > 0)
        return length == parse_ip(host, b) && memcmp(a, b, (size_t)length) == 0;
    if (domain_size == 0 || domain_size > host_size ||
        strncasecmp(host + host_size - domain_size, domain, domain_size) != 0)
        return false;
    return domain_size == host_size || host[host_size - domain_size - 1] == '.';
}

static bool matches(char *entry, const char *host, uint16_t port)
{
    const char *slash = strchr(entry, '/');
    char *colon = strrchr(entry, ':');
    uint8_t ip[16];

    if (strcmp(entry, "*") == 0)
        return true;
    if (slash)
        return is_in_network(entry, slash, host);
    /* An IPv6 address has colons of its own, unless it stands in brackets. */
    if (colon && parse_ip(entry, ip) == 0 && colon[1]) {
        uint16_t wanted;
        if (address_parse_port(colon + 1, strlen(colon + 1), &wanted) == NULL) {
            if (wanted != port)
                return false;
            *colon = '\0';
        }
    }
    if (entry[0] == '[' && entry[strlen(entry) - 1] == ']') {
        entry[strlen(entry) - 1] = '\0';
        entry++;
    }
    while (*entry == '.' || *entry == '*')
        entry++;
    return is_same_or_below(entry, host);
}

bool proxy_is_excepted(const char *list, const char *host, uint16_t port)
{
    char entry[ADDRESS_TEXT_MAX + 8];

    while (*list) {
        size_t size = strcspn(list, ", \t");
        if (size > 0 && size < sizeof entry) {
            memcpy(entry, list, size);
            entry[size] = '\0';
            if (matches(entry, host, port))
                return true;
        }
        list += size;
        list += strspn(list, ", \t");
    }
    return false;
}

/* ---- addresses given by hand */

const char *address_parse_override(const char *text, struct address_override *out)
{
    static const char form[] = "give HOST:PORT:ADDRESS, as in example.com:443:127.0.0.1";
    const char *host_end = text[0] == '[' ? strchr(text, ']') : strchr(text, ':');
    const char *port_end;
    const char *error;
    uint8_t ip[16];

    if (text[0] == '[' && host_end)
        host_end++;
    if (!host_end || *host_end != ':' || !(port_end = strchr(host_end + 1, ':')))
        return form;
    if (text[0] == '[')
        error = address_parse_ipv6(text + 1, (size_t)(host_end - text - 2), out->at.host);
    else
        error = address_parse_host(text, (size_t)(host_end - text), out->at.host);
    if (!error)
        error = address_parse_port(host_end + 1, (size_t)(port_end - host_end - 1), &out->at.port);
    if (error)
        return error;
    if (out->at.port == 0)
        return "you cannot connect to port 0";
    error = address_parse_told_host(port_end + 1, out->address);
    if (error || parse_ip(out->address, ip) == 0)
        return "the last part of HOST:PORT:ADDRESS must be an IP address";
    return NULL;
}

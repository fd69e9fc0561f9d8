#include "config/url.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char *take_url_scheme(const char **text, struct url *out)
{
    static const struct {
        const char *name;
        bool tls;
    } schemes[] = {{"https://", true}, {"http://", false}, {"wss://", true}, {"ws://", false}};

    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t size = strlen(schemes[i].name);

        if (strncasecmp(*text, schemes[i].name, size) == 0) {
            *text += size;
            out->tls = schemes[i].tls;
            out->port = out->tls ? 443 : 80;
            return NULL;
        }
    }
    return "the URL must begin with https://, http://, wss:// or ws://";
}

static const char *take_authority(const char **text, struct url *out)
{
    size_t size = strcspn(*text, "/?#");
    const char *start = *text;
    const char *end = start + size;
    const char *host_end;
    const char *error;

    *text = end;
    if (memchr(start, '@', size))
        return "the URL contains a user name or password; give a token with its own option";
    out->is_ipv6 = size > 0 && start[0] == '[';
    if (out->is_ipv6) {
        host_end = memchr(start, ']', size);
        if (!host_end)
            return "the closing bracket of the IPv6 address is missing";
        error = address_parse_ipv6(start + 1, (size_t)(host_end - start - 1), out->host);
        host_end++;
    } else {
        host_end = memchr(start, ':', size);
        if (!host_end)
            host_end = end;
        if (memchr(host_end, ':', (size_t)(end - host_end)) &&
            memchr(host_end + 1, ':', (size_t)(end - host_end - 1)))
            return strspn(start, "0123456789abcdefABCDEF.:") >= size
                       ? "write an IPv6 address in brackets, as in https://[::1]:8443"
                       : "the URL has more than one colon after the host; give the URL of one "
                         "server";
        error = address_parse_host(start, (size_t)(host_end - start), out->host);
    }
    if (error || host_end == end)
        return error;
    if (*host_end != ':')
        return "only :PORT or a path may follow the IPv6 address";
    error = address_parse_port(host_end + 1, (size_t)(end - host_end - 1), &out->port);
    if (!error && out->port == 0)
        return "you cannot connect to port 0";
    return error;
}

const char *url_check_path(const char *text)
{
    size_t size = strlen(text);

    if (size > URL_PATH_MAX)
        return "the path is longer than 1023 characters";
    for (size_t i = 0; i < size; i++) {
        if (text[i] <= 0x20 || text[i] >= 0x7f || strchr("\"<>\\^`{|}", text[i]))
            return "the path contains a character that must be percent-encoded";
        if (text[i] == '%' &&
            (!isxdigit((unsigned char)text[i + 1]) || !isxdigit((unsigned char)text[i + 2])))
            return "the path has a % without two hexadecimal digits";
    }
    return NULL;
}

static const char *take_path(const char *text, struct url *out)
{
    size_t size = strlen(text);

    if (strstr(text, "//"))
        return "the URL's path has two slashes in a row; remove one";
    if (strchr(text, '#'))
        return "the URL has a fragment (#...); remove it";
    if (strchr(text, '?'))
        return "the URL has a query (?...); remove it";
    const char *error = url_check_path(text);
    if (error)
        return error;
    strcpy(out->path, size <= 1 ? URL_DEFAULT_PATH : text);
    return NULL;
}

const char *url_parse(const char *text, struct url *out)
{
    const char *error = take_url_scheme(&text, out);

    if (!error)
        error = take_authority(&text, out);
    return error ? error : take_path(text, out);
}

#include "credentials/request_headers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "config/secret.h"
#include "http/field.h"

enum { NAME_SHOWN_MAX = 60 };

static bool is_named(const char *entry, size_t size, const char *name)
{
    return strlen(name) == size && strncasecmp(entry, name, size) == 0;
}

/* What stands behind the colon, without what is around it. */
static const char *value_of(const char *entry, size_t name, size_t *size)
{
    const char *value = entry + name + 1;

    *size = strlen(value);
    return secret_trim(value, size);
}

static bool has_control_in_header(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
            return true;
    return false;
}

static const char *check_header(const char *entry, size_t name, bool with_token)
{
    size_t size;
    const char *value = value_of(entry, name, &size);

    if (has_control_in_header(value, size))
        return "its value contains a line break or another control character";
    if (is_named(entry, name, "Authorization") && with_token)
        return "this header carries the token; give one or the other";
    if (is_named(entry, name, "Proxy-Authorization"))
        return "this header is for proxies only, but the server would get it";
    if (http_is_framing(entry, name))
        return "the handshake itself sets this header";
    return NULL;
}

bool request_headers_check(const struct config_list *list, bool with_token, char *error,
                           size_t size)
{
    size_t total = 0;

    for (size_t i = 0; i < list->count; i++) {
        const char *entry = list->items[i];
        size_t name = http_name_size(entry);
        if (name == 0 || entry[name] != ':') {
            /* What stands there may be a value whose name was forgotten: it is not shown. */
            snprintf(error, size,
                     "--header: entry %zu is not NAME:VALUE; a name has no spaces, and a colon "
                     "follows it",
                     i + 1);
            return false;
        }
        const char *why = check_header(entry, name, with_token);
        total += strlen(entry) + sizeof ": \r\n" - 1;
        if (!why && total > REQUEST_HEADERS_MAX)
            why = "all of them together are larger than 4 KiB";
        if (why) {
            snprintf(error, size, "--header %.*s: %s",
                     (int)(name < NAME_SHOWN_MAX ? name : NAME_SHOWN_MAX), entry, why);
            return false;
        }
    }
    return true;
}

char *request_header_line(const char *entry)
{
    size_t name = http_name_size(entry);
    size_t size;
    const char *value = value_of(entry, name, &size);
    char *line = memory_raw(strlen(entry) + 2);

    sprintf(line, "%.*s: %.*s", (int)name, entry, (int)size, value);
    return line;
}

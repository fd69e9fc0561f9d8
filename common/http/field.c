#include "http/field.h"

#include <string.h>

/* Shifts and multiplications by ten do not overflow. */
#define LENGTH_MAX (UINT64_MAX >> 8)

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Without regard to the case of ASCII letters. */
static bool same_letters(const char *a, const char *b, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (lower(a[i]) != lower(b[i]))
            return false;
    return true;
}

bool http_is_token(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

size_t http_name_size(const char *text)
{
    size_t size = 0;

    while (http_is_token(text[size]))
        size++;
    return size;
}

bool http_is_framing(const char *name, size_t size)
{
    static const char *const names[] = {"Host",      "Connection",     "Upgrade",
                                        "TE",        "Content-Length", "Transfer-Encoding",
                                        "Trailer",   "Expect",         "Proxy-Connection",
                                        "Keep-Alive"};
    static const char websocket[] = "Sec-WebSocket-";

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == size && same_letters(name, names[i], size))
            return true;
    return size >= sizeof websocket - 1 && same_letters(name, websocket, sizeof websocket - 1);
}

static bool is_field_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void trim_field(const char **text, size_t *size)
{
    while (*size > 0 && is_field_blank(**text)) {
        ++*text;
        --*size;
    }
    while (*size > 0 && is_field_blank((*text)[*size - 1]))
        --*size;
}

bool http_fields_line(struct http_fields *fields, const char **line, size_t *size)
{
    size_t left = (size_t)(fields->end - fields->at);
    const char *end = left > 0 ? memchr(fields->at, '\n', left) : NULL;

    if (!end)
        return false;
    *line = fields->at;
    *size = (size_t)(end - fields->at);
    if (*size > 0 && (*line)[*size - 1] == '\r')
        --*size;
    fields->at = end + 1;
    return true;
}

bool http_field_split(const char *line, size_t size, struct http_field *field)
{
    const char *colon = size > 0 ? memchr(line, ':', size) : NULL;

    if (!colon || colon == line || is_field_blank(line[0]) || is_field_blank(colon[-1]))
        return false;
    field->name = line;
    field->name_size = (size_t)(colon - line);
    field->value = colon + 1;
    field->value_size = size - field->name_size - 1;
    trim_field(&field->value, &field->value_size);
    return true;
}

bool http_fields_find(struct http_fields *fields, const char *name, struct http_field *field)
{
    size_t wanted = strlen(name);
    const char *line;
    size_t size;

    while (http_fields_line(fields, &line, &size))
        if (http_field_split(line, size, field) && field->name_size == wanted &&
            same_letters(field->name, name, wanted))
            return true;
    return false;
}

static bool list_has(const char *list, size_t size, const char *word)
{
    size_t wanted = strlen(word);

    while (size > 0) {
        const char *comma = memchr(list, ',', size);
        const char *part = list;
        size_t part_size = comma ? (size_t)(comma - list) : size;
        size_t step = part_size + (comma != NULL);
        trim_field(&part, &part_size);
        if (part_size == wanted && same_letters(part, word, wanted))
            return true;
        list += step;
        size -= step;
    }
    return false;
}

bool http_fields_have(struct http_fields fields, const char *name, const char *word)
{
    struct http_field field;

    while (http_fields_find(&fields, name, &field))
        if (list_has(field.value, field.value_size, word))
            return true;
    return false;
}

bool http_field_length(const struct http_field *field, uint64_t *length)
{
    *length = 0;
    for (size_t i = 0; i < field->value_size; i++) {
        char c = field->value[i];
        if (c < '0' || c > '9' || *length > LENGTH_MAX / 10)
            return false;
        *length = 10 * *length + (uint64_t)(c - '0');
    }
    return field->value_size > 0;
}

#include "config/properties.h"

#include <stdbool.h>
#include <string.h>

static bool is_property_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\f' || c == '\r';
}

static char *skip_blanks(char *at)
{
    while (is_property_blank(*at))
        at++;
    return at;
}

static bool ends_in_backslash(const char *start, const char *end)
{
    size_t count = 0;

    while (end > start && end[-1] == '\\') {
        end--;
        count++;
    }
    return count % 2;
}

/*
 * Joins a line that begins at start with those that continue it, in place and NUL-terminated.
 * Returns where the next line begins, and counts the lines that were taken.
 */
static char *take_line(char *start, char *end, unsigned *lines)
{
    char *to = start;
    char *at = start;
    bool comment = *skip_blanks(start) == '#' || *skip_blanks(start) == '!';

    for (;;) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        char *line_end = newline ? newline : end;
        size_t size = (size_t)(line_end - at);

        (*lines)++;
        if (size > 0 && at[size - 1] == '\r')
            size--;
        memmove(to, at, size);
        to += size;
        at = newline ? newline + 1 : end;
        if (comment || !ends_in_backslash(to - size, to))
            break;
        to--;
        if (!newline)
            break;
        while (at < end && is_property_blank(*at))
            at++;
    }
    *to = '\0';
    return at;
}

/* Resolves escapes in place; false at a \u. */
static bool unescape(char *text)
{
    static const char names[] = "nrtf";
    static const char meanings[] = "\n\r\t\f";
    char *to = text;

    for (char *at = text; *at; at++) {
        const char *name;

        if (*at != '\\' || at[1] == '\0') {
            *to++ = *at;
            continue;
        }
        at++;
        if (*at == 'u')
            return false;
        name = strchr(names, *at);
        *to++ = name ? meanings[name - names] : *at;
    }
    *to = '\0';
    return true;
}

/* Ends the key in place, and returns where its value begins. */
static char *split_key(char *key)
{
    char *at = key;

    while (*at && *at != '=' && *at != ':' && !is_property_blank(*at))
        at += at[0] == '\\' && at[1] ? 2 : 1;
    char *key_end = at;
    at = skip_blanks(at);
    if (*at == '=' || *at == ':')
        at = skip_blanks(at + 1);
    *key_end = '\0';
    return at;
}

static void drop_trailing_blanks(char *text)
{
    size_t size = strlen(text);

    while (size > 0 && is_property_blank(text[size - 1]) &&
           !ends_in_backslash(text, text + size - 1))
        text[--size] = '\0';
}

int properties_parse(char *text, size_t size,
                     int (*entry)(void *context, const char *key, const char *value, unsigned line),
                     void *context, unsigned *error_line, const char **error)
{
    char *end = text + size;
    unsigned line = 1;

    *end = '\0';
    for (char *at = text; at < end; at++) {
        if (*at == '\0') {
            *error_line = line;
            *error = "a NUL byte; this is not a text file";
            return -1;
        }
        line += *at == '\n';
    }
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3;

    unsigned next_line = 1;
    while (text < end) {
        char *start = text;

        line = next_line;
        text = take_line(start, end, &next_line);
        char *key = skip_blanks(start);
        if (*key == '\0' || *key == '#' || *key == '!')
            continue;
        char *value = split_key(key);
        drop_trailing_blanks(value);
        if (!unescape(key) || !unescape(value)) {
            *error_line = line;
            *error = "a \\u escape; write the character itself, in UTF-8";
            return -1;
        }
        int result = entry(context, key, value, line);
        if (result != 0)
            return result;
    }
    return 0;
}

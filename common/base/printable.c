#include "base/printable.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* In order. What Unicode calls format characters, but for those that have a shape. */
static const struct {
    uint32_t first;
    uint32_t last;
} unsafe[] = {
    {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},       {0x61c, 0x61c},
    {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f},
    {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f},
};

static bool is_unsafe(uint32_t c)
{
    for (size_t i = 0; i < sizeof unsafe / sizeof unsafe[0]; i++)
        if (c <= unsafe[i].last)
            return c >= unsafe[i].first;
    return false;
}

const char *printable_escape(uint32_t c, char buffer[PRINTABLE_MAX])
{
    switch (c) {
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        if (!is_unsafe(c))
            return NULL;
        if (c > 0xffff)
            snprintf(buffer, PRINTABLE_MAX, "\\u%04x\\u%04x", (unsigned)(0xd7c0 + (c >> 10)),
                     (unsigned)(0xdc00 | (c & 0x3ff)));
        else
            snprintf(buffer, PRINTABLE_MAX, "\\u%04x", (unsigned)c);
        return buffer;
    }
}

size_t printable_character(const uint8_t *bytes, size_t size, char out[PRINTABLE_MAX],
                           size_t *written)
{
    char buffer[PRINTABLE_MAX];
    uint32_t c = 0;
    size_t taken = utf8_decode(bytes, size, &c);
    const char *escaped = taken > 0 ? printable_escape(c, buffer) : buffer;

    if (taken == 0)
        snprintf(buffer, sizeof buffer, "\\x%02x", bytes[0]);
    *written = escaped ? strlen(escaped) : taken;
    memcpy(out, escaped ? escaped : (const char *)bytes, *written);
    return taken > 0 ? taken : 1;
}

bool printable(const char *text, size_t size, char *out, size_t room)
{
    const uint8_t *at = (const uint8_t *)text;
    size_t fill = 0;

    while (size > 0) {
        char shown[PRINTABLE_MAX];
        size_t written;
        size_t taken = printable_character(at, size, shown, &written);

        if (written >= room - fill)
            break;
        memcpy(out + fill, shown, written);
        fill += written;
        at += taken;
        size -= taken;
    }
    out[fill] = '\0';
    return size == 0;
}

void printable_columns(char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

bool printable_is_word(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return size > 0;
}

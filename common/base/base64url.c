#include "base/base64url.h"

/* -1: no digit. */
static int digit_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool base64url_decode(const char *text, size_t text_size, uint8_t *out, size_t room, size_t *size)
{
    uint32_t bits = 0;
    unsigned count = 0; /* of bits that are not written yet */

    *size = 0;
    if (text_size % 4 == 1)
        return false;
    for (size_t i = 0; i < text_size; i++) {
        int value = digit_value(text[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count < 8)
            continue;
        count -= 8;
        if (*size == room)
            return false;
        out[(*size)++] = (uint8_t)(bits >> count);
        bits &= (1U << count) - 1;
    }
    return bits == 0;
}

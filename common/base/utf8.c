#include "base/utf8.h"

static size_t sequence_size(uint8_t lead)
{
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 2;
    if (lead >= 0xe0 && lead <= 0xef)
        return 3;
    if (lead >= 0xf0 && lead <= 0xf4)
        return 4;
    return 0;
}

size_t utf8_decode(const uint8_t *bytes, size_t size, uint32_t *code_point)
{
    static const uint8_t lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = size > 0 ? sequence_size(bytes[0]) : 0;

    if (length == 0 || length > size)
        return 0;

    uint32_t value = bytes[0] & lead_bits[length];
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (bytes[i] & 0x3fu);
    }
    if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *code_point = value;
    return length;
}

bool utf8_valid(const uint8_t *bytes, size_t size)
{
    uint32_t code_point;

    while (size > 0) {
        size_t length = utf8_decode(bytes, size, &code_point);
        if (length == 0)
            return false;
        bytes += length;
        size -= length;
    }
    return true;
}

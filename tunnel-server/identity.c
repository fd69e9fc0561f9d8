#include "identity.h"

#include "base/printable.h"
#include "base/utf8.h"

const char *identity_check(const char *text, size_t size)
{
    const uint8_t *at = (const uint8_t *)text;

    if (size == 0)
        return "is empty";
    if (size > IDENTITY_MAX)
        return "is longer than 255 bytes";
    for (const uint8_t *end = at + size; at < end;) {
        char escape[PRINTABLE_MAX];
        uint32_t c;
        size_t taken = utf8_decode(at, (size_t)(end - at), &c);

        if (taken == 0)
            return "is not UTF-8";
        if (printable_escape(c, escape))
            return "contains a control character or another invisible character";
        at += taken;
    }
    return NULL;
}

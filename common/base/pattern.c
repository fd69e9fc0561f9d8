#include "base/pattern.h"

#include <string.h>

bool pattern_fits(const char *pattern, size_t pattern_size, const char *text, size_t text_size)
{
    size_t at = 0;
    size_t in = 0;
    size_t star = pattern_size; /* of the last *; pattern_size: none yet */
    size_t resume = 0;          /* where in text what follows that * is tried next */

    while (in < text_size) {
        if (at < pattern_size && pattern[at] == '*') {
            star = at++;
            resume = in;
        } else if (at < pattern_size && (pattern[at] == '?' || pattern[at] == text[in])) {
            at++;
            in++;
        } else if (star < pattern_size) {
            /* The last * takes one more; those before it need not be tried again. */
            at = star + 1;
            in = ++resume;
        } else {
            return false;
        }
    }
    while (at < pattern_size && pattern[at] == '*')
        at++;
    return at == pattern_size;
}

bool pattern_list_fits(const char *list, const char *text, size_t text_size)
{
    if (!list)
        return true;
    for (;;) {
        list += strspn(list, " \t,");
        if (!*list)
            return false;
        size_t size = strcspn(list, ",");
        size_t trimmed = size;
        while (list[trimmed - 1] == ' ' || list[trimmed - 1] == '\t')
            trimmed--;
        if (pattern_fits(list, trimmed, text, text_size))
            return true;
        list += size;
    }
}

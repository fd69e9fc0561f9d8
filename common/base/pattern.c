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

/* One pattern of a list. */
struct item {
    const char *at;
    size_t size;
};

/* Steps over the next pattern. false: there is none any more. */
static bool next_item(const char **list, struct item *item)
{
    const char *at = *list + strspn(*list, " \t,");

    if (!*at)
        return false;
    bool quoted = *at == '"';
    item->at = at + quoted;
    item->size = strcspn(item->at, quoted ? "\"" : ",");
    *list = item->at + item->size + (quoted && item->at[item->size]);
    while (!quoted && (item->at[item->size - 1] == ' ' || item->at[item->size - 1] == '\t'))
        item->size--;
    return true;
}

const char *pattern_list_next(const char **list, size_t *size)
{
    struct item item;

    if (!next_item(list, &item))
        return NULL;
    *size = item.size;
    return item.at;
}

bool pattern_list_fits(const char *list, const char *text, size_t text_size)
{
    struct item item;

    if (!list)
        return true;
    while (next_item(&list, &item))
        if (pattern_fits(item.at, item.size, text, text_size))
            return true;
    return false;
}

/* The letters of "O=Example", an attribute of a certificate's subject; 0: it is none. */
static size_t attribute_size(const struct item *item)
{
    size_t letters = strspn(item->at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

    return item->at[letters] == '=' ? letters : 0;
}

/* Two attributes in a row, of different names: a subject that its own comma has cut. */
static bool are_of_one_subject(const struct item *a, const struct item *b)
{
    size_t size = attribute_size(a);
    size_t next = attribute_size(b);

    return size > 0 && next > 0 && (size != next || memcmp(a->at, b->at, size) != 0);
}

const char *pattern_list_check(const char *list)
{
    struct item item;
    struct item before = {"", 0};

    while (list) {
        bool quoted = list[strspn(list, " \t,")] == '"';
        if (!next_item(&list, &item))
            break;
        if (quoted && item.at[item.size] != '"')
            return "has a pattern without its closing quotation mark";
        if (quoted && list[strspn(list, " \t")] != ',' && list[strspn(list, " \t")] != '\0')
            return "has something between a closing quotation mark and the next comma";
        if (!quoted && are_of_one_subject(&before, &item))
            return "has a certificate's subject without quotation marks around it, so that its "
                   "commas make it several patterns";
        before = quoted ? (struct item){"", 0} : item;
    }
    return NULL;
}

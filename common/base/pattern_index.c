#include "base/pattern_index.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/pattern.h"

enum { PATTERNS_FIRST = 16 };

static uint32_t literal_size(const char *pattern, size_t size)
{
    uint32_t at = 0;

    while (at < size && pattern[at] != '*' && pattern[at] != '?')
        at++;
    return at;
}

void pattern_index_add(struct pattern_index *index, const char *list, uint32_t owner)
{
    size_t size;

    for (const char *pattern; list && (pattern = pattern_list_next(&list, &size));) {
        if (index->count == index->capacity) {
            index->capacity = index->capacity > 0 ? 2 * index->capacity : PATTERNS_FIRST;
            index->patterns =
                memory_grow(index->patterns, index->capacity * sizeof *index->patterns);
        }
        index->patterns[index->count++] =
            (struct indexed_pattern){pattern, (uint32_t)size, literal_size(pattern, size), owner};
    }
}

static int compare_patterns(const void *left, const void *right)
{
    const struct indexed_pattern *a = left, *b = right;
    uint32_t both = a->literal < b->literal ? a->literal : b->literal;
    int order = memcmp(a->pattern, b->pattern, both);

    return order != 0 ? order : (a->literal > b->literal) - (a->literal < b->literal);
}

void pattern_index_sort(struct pattern_index *index)
{
    if (index->count > 0)
        qsort(index->patterns, index->count, sizeof *index->patterns, compare_patterns);
}

void pattern_index_clear(struct pattern_index *index)
{
    free(index->patterns);
    *index = (struct pattern_index){0};
}

/* The first from low on whose literal text has more than that byte at a place where all have one
 * (or: as much as that); high if there is none. */
static size_t first_above(const struct pattern_index *index, size_t low, size_t high, size_t at,
                          int byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((unsigned char)index->patterns[middle].pattern[at] > byte)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static bool rest_fits(const struct indexed_pattern *p, const char *text, size_t size)
{
    const char *rest = p->pattern + p->literal;
    size_t rest_size = p->size - p->literal;

    if (rest_size == 0)
        return size == p->literal;
    return (rest_size == 1 && rest[0] == '*') ||
           pattern_fits(rest, rest_size, text + p->literal, size - p->literal);
}

bool pattern_index_fits(const struct pattern_index *index, const char *text, size_t size,
                        bool (*counts)(const void *context, uint32_t owner), const void *context)
{
    size_t low = 0, high = index->count;

    /* Those from low to high begin with the first bytes of the text, up to at. */
    for (size_t at = 0;; at++) {
        for (; low < high && index->patterns[low].literal == at; low++)
            if (counts(context, index->patterns[low].owner) &&
                rest_fits(&index->patterns[low], text, size))
                return true;
        if (low == high || at == size)
            return false;
        int byte = (unsigned char)text[at];
        high = first_above(index, low, high, at, byte);
        low = first_above(index, low, high, at, byte - 1);
    }
}

/*
 * Many lists of patterns (pattern.h), asked at once whether one of them fits. Patterns are found by
 * the literal text that they begin with: one that begins otherwise than the name costs it nothing.
 * What begins with * or ?, or with the same text, is tried one after another.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct indexed_pattern {
    const char *pattern;
    uint32_t size;
    uint32_t literal; /* bytes before the first * or ? */
    uint32_t owner;
};

/* Zero-initialised is empty. */
struct pattern_index {
    struct indexed_pattern *patterns; /* sorted by their literal text, shorter before longer */
    size_t count;
    size_t capacity;
};

/* The list's patterns, for an owner of the caller's; the text must live as long. NULL adds none. */
void pattern_index_add(struct pattern_index *index, const char *list, uint32_t owner);
/* After the last one that is added, before the first question. */
void pattern_index_sort(struct pattern_index *index);
void pattern_index_clear(struct pattern_index *index);

/* Whether a pattern fits whose owner counts. counts is asked about patterns whose literal text the
 * name begins with, before they are tried. */
bool pattern_index_fits(const struct pattern_index *index, const char *text, size_t size,
                        bool (*counts)(const void *context, uint32_t owner), const void *context);

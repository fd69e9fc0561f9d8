/* What a misspelt word was probably meant to be: the nearest of the words that there are. */
#pragma once

#include <stddef.h>

#define NEAREST_SIZE_MAX 64

struct nearest {
    const char *text;
    size_t size;
    const char *best; /* NULL: none is near enough */
    size_t distance;
};

void nearest_begin(struct nearest *nearest, const char *text, size_t size);
/* word must live as long as best is used. Of two that are as near the first counts. */
void nearest_offer(struct nearest *nearest, const char *word);

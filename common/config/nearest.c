#include "config/nearest.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* How many letters to add, drop or change to get from one word to the other (Levenshtein). */
static size_t distance(const char *a, size_t a_size, const char *b)
{
    size_t row[NEAREST_SIZE_MAX + 1];
    size_t b_size = strlen(b);

    if (b_size > NEAREST_SIZE_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j - 1] < row[j])
                row[j] = row[j - 1];
            row[j]++;
            if (change < row[j])
                row[j] = change;
        }
    }
    return row[b_size];
}

void nearest_begin(struct nearest *nearest, const char *text, size_t size)
{
    *nearest = (struct nearest){.text = text,
                                .size = size,
                                .distance = (size < 6    ? 1
                                             : size < 12 ? 2
                                                         : 3) +
                                            1};
    if (size == 0 || size > NEAREST_SIZE_MAX)
        nearest->distance = 0;
}

void nearest_offer(struct nearest *nearest, const char *word)
{
    if (nearest->distance == 0)
        return;
    bool begins = nearest->size >= 3 && strncmp(word, nearest->text, nearest->size) == 0;
    size_t steps = begins ? 1 : distance(nearest->text, nearest->size, word);

    if (steps < nearest->distance) {
        nearest->best = word;
        nearest->distance = steps;
    }
}

#include "config/nearest.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* How many letters to add, drop or change, or neighbours to exchange, to get from one word to the
 * other (optimal string alignment). */
static size_t distance(const char *a, size_t a_size, const char *b)
{
    size_t rows[3][NEAREST_SIZE_MAX + 1]; /* the current one, and the two above it */
    size_t b_size = strlen(b);

    if (b_size > NEAREST_SIZE_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_size; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *before = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t change = above[j - 1] + (a[i - 1] != b[j - 1]);

            row[j] = (row[j - 1] < above[j] ? row[j - 1] : above[j]) + 1;
            if (change < row[j])
                row[j] = change;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
    }
    return rows[a_size % 3][b_size];
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

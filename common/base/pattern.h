/* Patterns for names: * is any text, also none, ? is any byte, everything else is itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whether text of text_size bytes fits pattern of pattern_size bytes. It takes a time that is at
 * most the product of both sizes, whatever the pattern. */
bool pattern_fits(const char *pattern, size_t pattern_size, const char *text, size_t text_size);

/* The same for a list of patterns at commas, blanks around each dropped. NULL is a list of
 * everything; a list without a pattern fits nothing. */
bool pattern_list_fits(const char *list, const char *text, size_t text_size);

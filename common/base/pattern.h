/* Patterns for names: * is any text, also none, ? is any byte, everything else is itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whether text of text_size bytes fits pattern of pattern_size bytes. It takes a time that is at
 * most the product of both sizes, whatever the pattern. */
bool pattern_fits(const char *pattern, size_t pattern_size, const char *text, size_t text_size);

/* The same for a list of patterns at commas, blanks around each dropped; one in quotation marks may
 * have commas of its own, as a certificate's subject has. NULL is a list of everything; a list
 * without a pattern fits nothing. */
bool pattern_list_fits(const char *list, const char *text, size_t text_size);
/* The next pattern of such a list, of *size bytes; *list moves behind it. NULL: there is none. */
const char *pattern_list_next(const char **list, size_t *size);
/* NULL, or what is wrong with such a list: the end of a sentence ("has a pattern without ..."). */
const char *pattern_list_check(const char *list);

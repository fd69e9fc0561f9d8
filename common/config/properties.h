/*
 * The .properties syntax (java.util.Properties), as far as options need it.
 *
 * A line is key=value, key: value or key value. # and ! begin a comment line. A backslash at the
 * end continues a line, whose leading blanks are dropped; elsewhere \n, \r, \t, \f stand for a
 * control character and any other backslash is dropped, so write \\ for one. Two things differ from
 * Java: blanks at the end of a value are dropped, and \uXXXX is refused: write the character in
 * UTF-8.
 */
#pragma once

#include <stddef.h>

/*
 * Calls entry for every entry of text[0..size), with the number of the line that it begins on; key
 * and value hold only until it returns. text[size] must be writable; text is used up. entry returns
 * 0 to go on; anything else ends the reading and is returned.
 * Returns -1 for a syntax error, with its line and a static sentence in error_line and error.
 */
int properties_parse(char *text, size_t size,
                     int (*entry)(void *context, const char *key, const char *value, unsigned line),
                     void *context, unsigned *error_line, const char **error);

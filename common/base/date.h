/*
 * Moments as people write them: a day, 2027-01-31, or a second of one, 2027-01-31T18:00:00Z (RFC
 * 3339, always in UTC). Both are seconds since 1970, without leap seconds, as time() counts them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "2027-01-31T18:00:00Z" */
#define DATE_TEXT_SIZE 21

/* The end of what the text names: of a day its last moment, which is the first of the next day.
 * false: it is no such text, or names a day that there is not. Years 1970 to 9999. */
bool date_parse_end(const char *text, size_t size, int64_t *end);
/* Moments beyond those years are shown as the first or the last one. */
void date_format(int64_t moment, char text[DATE_TEXT_SIZE]);

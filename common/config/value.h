/* Reading and writing the values of options: numbers, durations, sizes, yes and no. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each reads the whole of text, and returns false if it is anything else or too large. */
bool value_parse_integer(const char *text, int64_t *value);
/* A whole number of seconds, or one with ms, s, m or h behind it; in milliseconds. */
bool value_parse_duration(const char *text, uint64_t *milliseconds);
/* A whole number of bytes, or one with KiB, MiB or GiB behind it. */
bool value_parse_size(const char *text, uint64_t *bytes);
/* true, yes, on, 1; false, no, off, 0. */
bool value_parse_bool(const char *text, bool *value);

/* The other way round, in the largest unit that divides the value: "250ms", "20s", "64MiB". */
void value_format_duration(uint64_t milliseconds, char *out, size_t size);
void value_format_size(uint64_t bytes, char *out, size_t size);

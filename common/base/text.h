/* Text that grows as it is written, up to a bound: pages of figures, JSON documents. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* failed sticks: memory or the bound did not suffice, and what is there is not whole. */
struct text {
    char *bytes; /* not NUL terminated; NULL while empty */
    size_t size;
    size_t capacity;
    size_t max;
    bool failed;
};

void text_init(struct text *text, size_t max);
void text_clear(struct text *text);
void text_bytes(struct text *text, const void *bytes, size_t size);
void text_string(struct text *text, const char *string);
/* As printf(), for short pieces: at most TEXT_FORMAT_MAX bytes. */
#define TEXT_FORMAT_MAX 512
void text_format(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 4096 };

void text_init(struct text *text, size_t max)
{
    *text = (struct text){.max = max};
}

void text_clear(struct text *text)
{
    free(text->bytes);
    *text = (struct text){.max = text->max};
}

static bool grow_text(struct text *text, size_t wanted)
{
    size_t capacity = text->capacity > 0 ? text->capacity : FIRST_CAPACITY;

    while (capacity < wanted)
        capacity *= 2;
    char *bytes = realloc(text->bytes, capacity);
    if (!bytes)
        return false;
    text->bytes = bytes;
    text->capacity = capacity;
    return true;
}

void text_bytes(struct text *text, const void *bytes, size_t size)
{
    if (text->failed || size == 0)
        return;
    if (size > text->max - text->size ||
        (size > text->capacity - text->size && !grow_text(text, text->size + size))) {
        text->failed = true;
        return;
    }
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
}

void text_string(struct text *text, const char *string)
{
    text_bytes(text, string, strlen(string));
}

void text_format(struct text *text, const char *format, ...)
{
    char piece[TEXT_FORMAT_MAX];
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= sizeof piece)
        text->failed = true;
    else
        text_bytes(text, piece, (size_t)size);
}

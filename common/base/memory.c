#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static void *there(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

void *memory_new(size_t size)
{
    return there(calloc(1, size));
}

void *memory_new_array(size_t count, size_t size)
{
    return there(calloc(count, size));
}

void *memory_raw(size_t size)
{
    return there(malloc(size));
}

void *memory_grow(void *memory, size_t size)
{
    return there(realloc(memory, size));
}

char *memory_text(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(memory_raw(size), text, size);
}

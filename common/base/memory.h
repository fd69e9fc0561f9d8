/*
 * Memory that is there: without any left, these functions end the program (abort()). What a peer
 * may make large is bounded before (memory_budget.h, docs/architecture.md "What bounds what"), so
 * that only a system that is out of memory gets here; parsers of peers' bytes report it instead.
 *
 * All of it is freed with free().
 */
#pragma once

#include <stddef.h>

/* Zeroed. */
void *memory_new(size_t size);
/* count times size bytes, zeroed; also ends the program where that is more than a size_t holds. */
void *memory_new_array(size_t count, size_t size);
/* As it comes. */
void *memory_raw(size_t size);
/* realloc(): memory may be NULL, and moves. */
void *memory_grow(void *memory, size_t size);
/* A copy of a NUL terminated text. */
char *memory_text(const char *text);

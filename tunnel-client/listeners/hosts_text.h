/*
 * The text of a hosts file (hosts(5)): lines of an address and names, # begins a comment. Names are
 * compared without regard to case, and without a dot at their end. No files in here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Walks through a text: begin with {.at = text, .end = text + size}. */
struct hosts_walk {
    const char *at;
    const char *end;
    const char *address; /* of this line; NULL: between lines */
    size_t address_size;
};

/* A name of the text, with the address that it leads to. They are not NUL terminated. */
struct hosts_pair {
    const char *address;
    size_t address_size;
    const char *name;
    size_t name_size;
};

/* false: there are no more. */
bool hosts_text_next(struct hosts_walk *walk, struct hosts_pair *pair);
/* Whether it is that name. */
bool hosts_text_is(const struct hosts_pair *pair, const char *name);
/* Overwrites a name with blanks wherever it stands, so that the text keeps its size; a line that
 * has no other name becomes a comment. false: it stands nowhere. */
bool hosts_text_blank(char *text, size_t size, const char *name);

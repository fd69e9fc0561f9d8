/*
 * The tokens that a server accepts, as a file lists them:
 *
 *     # comments and empty lines count for nothing
 *     TOKEN [NAME]
 *
 * A name goes to the end of its line, is an identity (identity.h) and may hold blanks; blanks
 * around token and name do not count. Several tokens may have the same name: they are one user's.
 * A file is taken as a whole or not at all. No files here, no clock.
 *
 * A token is looked up before anybody has logged in. That takes the time of one hash, whatever is
 * in the table, and does not tell how much of a token was right: kept are digests under a key that
 * is new for each table, so that nobody outside can know where one stands.
 */
#pragma once

#include <stddef.h>

#include "identity.h"

#define TOKENS_MAX 10000

struct token {
    unsigned char digest[32];
    char *name;  /* NULL: it has none */
    size_t line; /* from 1 */
};

struct token_table;

/* NULL: error holds a sentence part for after the file's name, "line 3: ...", without anything of
 * the file. */
struct token_table *token_table_parse(const char *bytes, size_t size, char *error,
                                      size_t error_size);
/* NULL is fine. */
void token_table_free(struct token_table *table);
/* Different tokens. */
size_t token_table_count(const struct token_table *table);
/* NULL: it is none of them. */
const struct token *token_table_find(const struct token_table *table, const char *token,
                                     size_t size);

/* Who somebody with this token is, if nothing else says so: its name, or "token of line 3". */
void token_label(const struct token *token, char out[HTTP_IDENTITY_MAX]);

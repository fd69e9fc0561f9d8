/*
 * --token-file: the accepted tokens, followed while the program runs.
 *
 * A new file counts from the next login on. One that cannot be used as a whole leaves in force what
 * there was: an editor that empties the file, a mount that is away for a moment must not shut
 * everybody out. That is said once for each change of the file, and so is its removal. Who is in by
 * a token that is not there any more is told to go.
 */
#pragma once

#include "authentication/token_table.h"
#include "base/log.h"
#include "io/reload.h"

struct token_file;

struct token_file_settings {
    const char *path;
    bool strict;    /* not one that others may read or write */
    bool has_rules; /* there are rules of --access, which lines may name */
};

struct token_file_owner {
    /* Other tokens are in force. */
    void (*renewed)(void *context);
    /* Grants have ended that somebody held: because a token is not in the file any more, or has
     * expired. */
    void (*ended)(void *context);
};

/* Reads the file. NULL: error holds a sentence. The path and the owner must live as long. */
struct token_file *token_file_new(struct log *log, const struct token_file_settings *settings,
                                  const struct token_file_owner *owner, void *context, char *error,
                                  size_t size);
/* NULL is fine. */
void token_file_free(struct token_file *file);

/* Reads it again if it has changed, and looks what has expired; that costs a stat() if nothing has.
 */
void token_file_follow(struct token_file *file);
/* Reads it again in any case. */
void token_file_reload(struct token_file *file, struct reload *reload);

/* Until the next of these two calls. */
struct token_table *token_file_tokens(const struct token_file *file);

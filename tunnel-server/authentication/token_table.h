/*
 * The tokens that a server accepts, as a file lists them:
 *
 *     # comments and empty lines count for nothing
 *     TOKEN [until=DATE] [rule=RULE,...] [[name=]NAME]
 *
 * TOKEN is the token itself, or better its digest: sha256: and 64 hexadecimal digits. DATE is as in
 * base/date.h; the token is good until then. A name goes to the end of its line, is an identity
 * (identity.h) and may hold blanks; blanks around token and name do not count. One that begins like
 * an option, with lower case letters and =, has name= in front. Several tokens may have the same
 * name: they are one user's. RULE is the name of a rule of --access (rule_choices.h); rights are a
 * user's, so a token with rules has a name, and all of a user's tokens have the same rules. A file
 * is taken as a whole or not at all. No files here, no clock.
 *
 * A token is looked up before anybody has logged in. That takes the time of two hashes, whatever is
 * in the table, and does not tell how much of a token was right: kept are digests of digests under
 * a key that is drawn at random, so that nobody outside can know where one stands.
 *
 * A plain SHA-256 is enough for what nobody can guess, as the tokens that the program makes. A slow
 * hash for words that people think of (scrypt, Argon2) would give whoever floods the port with
 * guesses a tenth of a second of work for each.
 */
#pragma once

#include <stddef.h>

#include "authentication/grant.h"
#include "identity.h"
#include "rule_choices.h"

#define TOKENS_MAX 10000
#define TOKEN_DIGEST_PREFIX "sha256:"

struct token {
    unsigned char digest[32];
    char *name;          /* NULL: it has none */
    char *rules;         /* names at commas; NULL: the line says nothing of rules */
    size_t line;         /* from 1 */
    int64_t until;       /* seconds since 1970; 0: for ever */
    struct grant *grant; /* of those who are in by it; NULL: nobody has been yet */
};

struct token_table;

/*
 * before: the table that this one is to follow, or NULL; it may be compared with it then. NULL:
 * error holds a sentence part for after the file's name, "line 3: ...", without anything of the
 * file.
 */
struct token_table *token_table_parse(const char *bytes, size_t size,
                                      const struct token_table *before, char *error,
                                      size_t error_size);
/* NULL is fine. Grants stay good. */
void token_table_free(struct token_table *table);
/* Different tokens. */
size_t token_table_count(const struct token_table *table);
/* Which rules its users have by name, without a reference; NULL: no line has rules. */
struct rule_choices *token_table_choices(const struct token_table *table);
/* NULL: it is none of them. It may have expired. */
struct token *token_table_find(const struct token_table *table, const char *token, size_t size);

bool token_has_expired(const struct token *token, int64_t now);
/* For a client that has come with it: a reference. */
struct grant *token_grant(struct token *token);
/*
 * table takes the place of before, which it was parsed to follow: takes over the grants of tokens
 * that are still there with the same name, and ends the others'. How many of these were held.
 */
size_t token_table_succeed(struct token_table *table, struct token_table *before, int64_t now);
/* Ends the grants of tokens that have expired. How many of these were held. */
size_t token_table_expire(struct token_table *table, int64_t now);

/* Who somebody with this token is, if nothing else says so: its name, or "token of line 3". */
void token_label(const struct token *token, char out[HTTP_IDENTITY_MAX]);

/* TOKEN_DIGEST_PREFIX and digits: what a file may hold instead of the token. */
#define TOKEN_DIGEST_SIZE (sizeof TOKEN_DIGEST_PREFIX + 64)
void token_digest_format(const char *token, size_t size, char out[TOKEN_DIGEST_SIZE]);
/* Why these bytes can be no list behind rule=; NULL: they can. */
const char *token_check_rules(const char *list, size_t size);
/* Why these bytes can be no name in a token file; NULL: they can (identity.h). */
const char *token_check_name(const char *name, size_t size);

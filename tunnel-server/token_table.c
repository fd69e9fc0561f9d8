#include "token_table.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "config/secret.h"
#include "identity.h"

enum { KEY_SIZE = 32, DIGEST_SIZE = sizeof((struct token *)NULL)->digest };

/* What a token without a name is called by; so no name may begin with it. */
static const char NAMELESS[] = "token of line ";

struct token_table {
    unsigned char key[KEY_SIZE];
    struct token *tokens;
    size_t count;
    size_t capacity;
    uint32_t *slots; /* open addressing: an index into tokens, plus 1; 0: free */
    size_t mask;     /* of a slot's index; half of the slots at least are free */
};

static void digest_token(const struct token_table *table, const char *token, size_t size,
                         unsigned char out[DIGEST_SIZE])
{
    unsigned written = 0;

    if (!HMAC(EVP_sha256(), table->key, KEY_SIZE, (const unsigned char *)token, size, out,
              &written) ||
        written != DIGEST_SIZE)
        abort();
}

/* ---- slots */

/* The slot that holds the digest, or the free one where it would be. */
static uint32_t *slot_of(const struct token_table *table, const unsigned char wanted[DIGEST_SIZE])
{
    size_t at = (size_t)byte_load_u64(wanted) & table->mask;

    while (table->slots[at] != 0 &&
           !byte_equal_secret(table->tokens[table->slots[at] - 1].digest, wanted, DIGEST_SIZE))
        at = (at + 1) & table->mask;
    return &table->slots[at];
}

static bool has_same_name(const struct token *a, const struct token *b)
{
    return a->name && b->name ? strcmp(a->name, b->name) == 0 : a->name == b->name;
}

/* A token is who it is for: it cannot be for two. */
static bool fill_slots(struct token_table *table, char *error, size_t error_size)
{
    size_t slots = 1;
    size_t count = 0;

    while (slots < 2 * table->count)
        slots *= 2;
    table->mask = slots - 1;
    table->slots = memory_new_array(slots, sizeof *table->slots);
    for (size_t i = 0; i < table->count; i++) {
        struct token *token = &table->tokens[i];
        uint32_t *slot = slot_of(table, token->digest);
        if (*slot == 0) {
            struct token kept = *token;
            token->name = NULL;
            table->tokens[count++] = kept;
            *slot = (uint32_t)count;
            continue;
        }
        const struct token *first = &table->tokens[*slot - 1];
        if (!has_same_name(first, token)) {
            snprintf(error, error_size,
                     "line %zu: the token is the same as in line %zu, but the name is different",
                     token->line, first->line);
            return false;
        }
        free(token->name);
        token->name = NULL;
    }
    table->count = count;
    return true;
}

/* ---- lines */

static bool fail_line(char *error, size_t error_size, size_t number, const char *what,
                      const char *why)
{
    snprintf(error, error_size, "line %zu: the %s %s", number, what, why);
    return false;
}

static const char *check_name(const char *name, size_t size)
{
    if (size >= sizeof NAMELESS - 1 && memcmp(name, NAMELESS, sizeof NAMELESS - 1) == 0)
        return "begins like the names that are given to tokens without one";
    return identity_check(name, size);
}

static void add_token(struct token_table *table, const char *token, size_t size, const char *name,
                      size_t name_size, size_t number)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity ? 2 * table->capacity : 16;
        table->tokens = memory_grow(table->tokens, table->capacity * sizeof *table->tokens);
    }
    struct token *added = &table->tokens[table->count++];
    *added = (struct token){.line = number};
    digest_token(table, token, size, added->digest);
    if (name_size == 0)
        return;
    added->name = strndup(name, name_size);
    if (!added->name)
        abort();
}

static bool add_line(struct token_table *table, const char *line, size_t size, size_t number,
                     char *error, size_t error_size)
{
    line = secret_trim(line, &size);
    if (size == 0 || line[0] == '#')
        return true;
    size_t token_size = 0;
    while (token_size < size && line[token_size] != ' ' && line[token_size] != '\t')
        token_size++;
    size_t name_size = size - token_size;
    const char *name = secret_trim(line + token_size, &name_size);
    const char *why = secret_check_token(line, token_size);
    if (why)
        return fail_line(error, error_size, number, "token", why);
    why = name_size > 0 ? check_name(name, name_size) : NULL;
    if (why)
        return fail_line(error, error_size, number, "name", why);
    if (table->count == TOKENS_MAX) {
        snprintf(error, error_size, "line %zu: there are more than %d tokens", number, TOKENS_MAX);
        return false;
    }
    add_token(table, line, token_size, name, name_size, number);
    return true;
}

static bool add_lines(struct token_table *table, const char *bytes, size_t size, char *error,
                      size_t error_size)
{
    const char *end = bytes + size;
    size_t number = 1;

    for (const char *at = bytes; at < end; number++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline ? newline : end;
        if (!add_line(table, at, (size_t)(line_end - at), number, error, error_size))
            return false;
        at = newline ? newline + 1 : end;
    }
    return true;
}

/* ---- the table */

struct token_table *token_table_parse(const char *bytes, size_t size, char *error,
                                      size_t error_size)
{
    struct token_table *table = memory_new(sizeof *table);
    const char *why = secret_check_encoding(bytes, size);

    if (RAND_bytes(table->key, KEY_SIZE) != 1)
        abort();
    bool good = !why && add_lines(table, bytes, size, error, error_size);
    if (good && table->count == 0) {
        why = "contains no token";
        good = false;
    }
    if (why)
        snprintf(error, error_size, "%s", why);
    if (good && fill_slots(table, error, error_size))
        return table;
    token_table_free(table);
    return NULL;
}

void token_table_free(struct token_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->count; i++)
        free(table->tokens[i].name);
    free(table->tokens);
    free(table->slots);
    byte_wipe(table->key, KEY_SIZE);
    free(table);
}

size_t token_table_count(const struct token_table *table)
{
    return table->count;
}

const struct token *token_table_find(const struct token_table *table, const char *token,
                                     size_t size)
{
    unsigned char wanted[DIGEST_SIZE];

    digest_token(table, token, size, wanted);
    uint32_t slot = *slot_of(table, wanted);
    return slot != 0 ? &table->tokens[slot - 1] : NULL;
}

void token_label(const struct token *token, char out[HTTP_IDENTITY_MAX])
{
    if (token->name)
        snprintf(out, HTTP_IDENTITY_MAX, "%s", token->name);
    else
        snprintf(out, HTTP_IDENTITY_MAX, "%s%zu", NAMELESS, token->line);
}

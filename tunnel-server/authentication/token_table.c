#include "authentication/token_table.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/date.h"
#include "base/memory.h"
#include "config/rule_file.h"
#include "config/secret.h"
#include "identity.h"

enum {
    KEY_SIZE = 32,
    DIGEST_SIZE = sizeof((struct token *)NULL)->digest,
    TOKEN_RULES_MAX = 64,
    OPTION_ERROR_MAX = 160,
};

/* What a token without a name is called by; so no name may begin with it. */
static const char NAMELESS[] = "token of line ";

struct token_table {
    unsigned char key[KEY_SIZE];
    struct token *tokens;
    size_t count;
    size_t capacity;
    uint32_t *slots;              /* open addressing: an index into tokens, plus 1; 0: free */
    size_t mask;                  /* of a slot's index; half of the slots at least are free */
    struct rule_choices *choices; /* NULL: no line has rules */
    /* Of the last look at what has expired, and when the next token does; 0: none. */
    int64_t looked;
    int64_t next_expiry;
};

_Static_assert(SHA256_DIGEST_LENGTH == DIGEST_SIZE, "a digest of a digest is as long");

static void hash_token(const char *token, size_t size, unsigned char out[DIGEST_SIZE])
{
    if (EVP_Digest(token, size, out, NULL, EVP_sha256(), NULL) != 1)
        abort();
}

/* Of a token's SHA-256, where it stands in the table. */
static void digest_hash(const struct token_table *table, const unsigned char hash[DIGEST_SIZE],
                        unsigned char out[DIGEST_SIZE])
{
    unsigned written = 0;

    if (!HMAC(EVP_sha256(), table->key, KEY_SIZE, hash, DIGEST_SIZE, out, &written) ||
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

/* NULL is equal to itself alone. */
static bool has_same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool has_same_name(const struct token *a, const struct token *b)
{
    return has_same_text(a->name, b->name);
}

static void free_token_words(struct token *token)
{
    free(token->name);
    free(token->rules);
    token->name = NULL;
    token->rules = NULL;
}

/* Why a token that is there twice cannot be taken: the part of a sentence after "but"; NULL: it
 * can. */
static const char *compare_lines(const struct token *first, const struct token *second)
{
    if (!has_same_name(first, second))
        return "the name";
    if (first->until != second->until)
        return "until=";
    return has_same_text(first->rules, second->rules) ? NULL : "rule=";
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
            token->rules = NULL;
            table->tokens[count++] = kept;
            *slot = (uint32_t)count;
            continue;
        }
        const struct token *first = &table->tokens[*slot - 1];
        const char *different = compare_lines(first, token);
        if (different) {
            snprintf(error, error_size,
                     "line %zu: the token is the same as in line %zu, but %s is different",
                     token->line, first->line, different);
            return false;
        }
        free_token_words(token);
    }
    table->count = count;
    return true;
}

/* ---- rules */

static int compare_users(const void *a, const void *b)
{
    const struct token *const *left = a;
    const struct token *const *right = b;
    int order = strcmp((*left)->name, (*right)->name);

    return order != 0 ? order : (*left)->line < (*right)->line ? -1 : 1;
}

/* Those with a name, by that. */
static size_t sort_users(const struct token_table *table, const struct token **users)
{
    size_t count = 0;

    for (size_t i = 0; i < table->count; i++)
        if (table->tokens[i].name)
            users[count++] = &table->tokens[i];
    qsort(users, count, sizeof(struct token *), compare_users);
    return count;
}

/* Rights are a user's, whichever token it comes with. */
static bool collect_choices(struct token_table *table, char *error, size_t error_size)
{
    const struct token **users = memory_new_array(table->count, sizeof(struct token *));
    size_t count = sort_users(table, users);
    bool good = true;

    for (size_t i = 0; good && i < count; i++) {
        const struct token *before =
            i > 0 && has_same_name(users[i - 1], users[i]) ? users[i - 1] : NULL;
        good = !before || has_same_text(before->rules, users[i]->rules);
        if (!good)
            snprintf(error, error_size,
                     "line %zu: the name is the same as in line %zu, but rule= is different; all "
                     "tokens of a user have the same rules",
                     users[i]->line, before->line);
        if (before || !users[i]->rules)
            continue;
        if (!table->choices)
            table->choices = rule_choices_new();
        rule_choices_add(table->choices, users[i]->name, users[i]->rules, users[i]->line);
    }
    free(users);
    return good;
}

/* ---- lines */

static bool fail_line(char *error, size_t error_size, size_t number, const char *what,
                      const char *why)
{
    snprintf(error, error_size, "line %zu: the %s %s", number, what, why);
    return false;
}

const char *token_check_name(const char *name, size_t size)
{
    if (size >= sizeof NAMELESS - 1 && memcmp(name, NAMELESS, sizeof NAMELESS - 1) == 0)
        return "begins like the names that are given to tokens without one";
    return identity_check(name, size);
}

/* -1: it is none. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool has_word_prefix(const char *text, size_t size, const char *prefix)
{
    size_t length = strlen(prefix);

    return size >= length && strncasecmp(text, prefix, length) == 0;
}

/* NULL: hash is that of the token that the word stands for. */
static const char *read_token_word(const char *word, size_t size, unsigned char hash[DIGEST_SIZE])
{
    static const char *const others[] = {
        "sha1:",   "sha224:", "sha384:",  "sha512:",   "md5:",   "scrypt:",
        "bcrypt:", "argon2:", "argon2i:", "argon2id:", "pbkdf2:"};
    const char *digits = word + sizeof TOKEN_DIGEST_PREFIX - 1;
    const char *why = secret_check_token(word, size);

    if (why)
        return why;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (has_word_prefix(word, size, others[i]))
            return "is a digest of a kind that is not supported: use sha256:, which "
                   "tunnel-server token prints";
    if (!has_word_prefix(word, size, TOKEN_DIGEST_PREFIX)) {
        hash_token(word, size, hash);
        return NULL;
    }
    if (size != sizeof TOKEN_DIGEST_PREFIX - 1 + (size_t)2 * DIGEST_SIZE)
        return "is not a digest: behind sha256: come 64 hexadecimal digits";
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        int high = hex_value(digits[2 * i]);
        int low = hex_value(digits[2 * i + 1]);
        if (high < 0 || low < 0)
            return "is not a digest: behind sha256: come 64 hexadecimal digits";
        hash[i] = (unsigned char)(high << 4 | low);
    }
    return NULL;
}

/* The size of a key and its =, in front of a line's rest; 0: no option comes next. */
static size_t option_key_size(const char *text, size_t size)
{
    size_t length = 0;

    while (length < size && ((text[length] >= 'a' && text[length] <= 'z') || text[length] == '-'))
        length++;
    return length > 0 && length < size && text[length] == '=' ? length + 1 : 0;
}

static size_t word_size(const char *text, size_t size)
{
    size_t length = 0;

    while (length < size && text[length] != ' ' && text[length] != '\t')
        length++;
    return length;
}

static const char *take_until(struct token *token, const char *value, size_t size)
{
    if (token->until != 0)
        return "until= is there twice";
    if (!date_parse_end(value, size, &token->until))
        return "until= is no date: write until=2027-01-31 or until=2027-01-31T18:00:00Z (UTC)";
    return NULL;
}

static char *copy_part(const char *text, size_t size)
{
    char *copy = strndup(text, size);

    if (!copy)
        abort();
    return copy;
}

const char *token_check_rules(const char *list, size_t size)
{
    size_t names = 0;
    size_t at = 0;

    do {
        size_t end = at;
        while (end < size && list[end] != ',')
            end++;
        if (!rule_file_is_name(list + at, end - at))
            return "is no list of rules: write the names that rules of --access have, with commas "
                   "between them and no blanks";
        if (++names > TOKEN_RULES_MAX)
            return "names more than 64 rules";
        at = end + 1;
    } while (at <= size);
    return NULL;
}

/* NULL, or the key and what is wrong, in text. */
static const char *take_rule_names(struct token *token, const char *value, size_t size,
                                   char text[OPTION_ERROR_MAX])
{
    const char *why = token->rules ? "is there twice" : token_check_rules(value, size);

    if (why) {
        snprintf(text, OPTION_ERROR_MAX, "rule= %s", why);
        return text;
    }
    token->rules = copy_part(value, size);
    return NULL;
}

/* NULL, or why the value of that key cannot be taken. */
static const char *take_option(struct token *token, const char *key, size_t key_size,
                               const char *value, size_t size, char text[OPTION_ERROR_MAX])
{
    if (has_word_prefix(key, key_size, "until="))
        return take_until(token, value, size);
    if (has_word_prefix(key, key_size, "rule="))
        return take_rule_names(token, value, size, text);
    return "is neither until=, rule= nor name=; write name= in front of a name that looks like an "
           "option";
}

/* What stands behind the token. NULL, and the rest, without blanks around it, is the name. */
static const char *take_options(struct token *token, const char **rest, size_t *size,
                                char text[OPTION_ERROR_MAX])
{
    size_t key;

    *rest = secret_trim(*rest, size);
    while ((key = option_key_size(*rest, *size)) > 0) {
        const char *why;
        size_t length = word_size(*rest, *size);
        if (has_word_prefix(*rest, key, "name=")) {
            *rest += key;
            *size -= key;
            *rest = secret_trim(*rest, size);
            return *size == 0 ? "name= has no name behind it" : NULL;
        }
        why = take_option(token, *rest, key, *rest + key, length - key, text);
        if (why)
            return why;
        *rest += length;
        *size -= length;
        *rest = secret_trim(*rest, size);
    }
    return token->rules && *size == 0 ? "rule= needs a name behind it: rights are a user's" : NULL;
}

static void add_token(struct token_table *table, const struct token *token, const char *name,
                      size_t name_size)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity ? 2 * table->capacity : 16;
        table->tokens = memory_grow(table->tokens, table->capacity * sizeof *table->tokens);
    }
    struct token *added = &table->tokens[table->count++];
    *added = *token;
    if (name_size > 0)
        added->name = copy_part(name, name_size);
}

/* NULL, or what is wrong: in *what, and how; text has room for it. */
static const char *read_line_rest(struct token *token, const char **name, size_t *name_size,
                                  const char **what, char text[OPTION_ERROR_MAX])
{
    const char *why = take_options(token, name, name_size, text);

    *what = "option";
    if (why || *name_size == 0)
        return why;
    *what = "name";
    return token_check_name(*name, *name_size);
}

static bool add_line(struct token_table *table, const char *line, size_t size, size_t number,
                     char *error, size_t error_size)
{
    struct token token = {.line = number};
    unsigned char hash[DIGEST_SIZE];
    const char *what = "token";
    char text[OPTION_ERROR_MAX];

    line = secret_trim(line, &size);
    if (size == 0 || line[0] == '#')
        return true;
    size_t token_size = word_size(line, size);
    size_t name_size = size - token_size;
    const char *name = line + token_size;
    const char *why = read_token_word(line, token_size, hash);
    if (!why) {
        digest_hash(table, hash, token.digest);
        byte_wipe(hash, sizeof hash);
        why = read_line_rest(&token, &name, &name_size, &what, text);
    }
    if (!why && table->count < TOKENS_MAX) {
        add_token(table, &token, name, name_size);
        return true;
    }
    free_token_words(&token);
    if (why)
        return fail_line(error, error_size, number, what, why);
    snprintf(error, error_size, "line %zu: there are more than %d tokens", number, TOKENS_MAX);
    return false;
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

struct token_table *token_table_parse(const char *bytes, size_t size,
                                      const struct token_table *before, char *error,
                                      size_t error_size)
{
    struct token_table *table = memory_new(sizeof *table);
    const char *why = secret_check_encoding(bytes, size);

    if (before)
        memcpy(table->key, before->key, KEY_SIZE);
    else if (RAND_bytes(table->key, KEY_SIZE) != 1)
        abort();
    table->looked = INT64_MAX;
    bool good = !why && add_lines(table, bytes, size, error, error_size);
    if (good && table->count == 0) {
        why = "contains no token";
        good = false;
    }
    if (why)
        snprintf(error, error_size, "%s", why);
    if (good && fill_slots(table, error, error_size) && collect_choices(table, error, error_size))
        return table;
    token_table_free(table);
    return NULL;
}

void token_table_free(struct token_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->count; i++) {
        free_token_words(&table->tokens[i]);
        grant_release(table->tokens[i].grant);
    }
    rule_choices_release(table->choices);
    free(table->tokens);
    free(table->slots);
    byte_wipe(table->key, KEY_SIZE);
    free(table);
}

size_t token_table_count(const struct token_table *table)
{
    return table->count;
}

struct rule_choices *token_table_choices(const struct token_table *table)
{
    return table->choices;
}

struct token *token_table_find(const struct token_table *table, const char *token, size_t size)
{
    unsigned char hash[DIGEST_SIZE];
    unsigned char wanted[DIGEST_SIZE];

    hash_token(token, size, hash);
    digest_hash(table, hash, wanted);
    byte_wipe(hash, sizeof hash);
    uint32_t slot = *slot_of(table, wanted);
    return slot != 0 ? &table->tokens[slot - 1] : NULL;
}

/* ---- how long a token is good */

bool token_has_expired(const struct token *token, int64_t now)
{
    return token->until != 0 && token->until <= now;
}

struct grant *token_grant(struct token *token)
{
    /* Time that was set back makes a token good again, but nothing that has ended. */
    if (token->grant && grant_state(token->grant) != GRANT_GOOD) {
        grant_release(token->grant);
        token->grant = NULL;
    }
    if (!token->grant)
        token->grant = grant_new(0);
    return grant_reference(token->grant);
}

/* Whether whoever a token was for has another one that is good. */
static bool has_good_token(const struct token_table *table, const char *name, int64_t now)
{
    for (size_t i = 0; name && i < table->count; i++) {
        const struct token *token = &table->tokens[i];
        if (token->name && strcmp(token->name, name) == 0 && !token_has_expired(token, now))
            return true;
    }
    return false;
}

/* 1: somebody held it. */
static size_t end_token_grant(struct token *token, const struct token_table *table, int64_t now,
                              enum grant_state alone, enum grant_state among_others)
{
    if (!token->grant || grant_state(token->grant) != GRANT_GOOD)
        return 0;
    bool held = grant_is_held(token->grant);
    bool stays = held && has_good_token(table, token->name, now);
    grant_end(token->grant, stays ? among_others : alone);
    return held;
}

size_t token_table_succeed(struct token_table *table, struct token_table *before, int64_t now)
{
    size_t ended = 0;

    for (size_t i = 0; i < before->count; i++) {
        struct token *old = &before->tokens[i];
        uint32_t slot = old->grant ? *slot_of(table, old->digest) : 0;
        struct token *heir = slot != 0 ? &table->tokens[slot - 1] : NULL;
        if (heir && has_same_name(old, heir)) {
            heir->grant = old->grant;
            old->grant = NULL;
        } else {
            ended += end_token_grant(old, table, now, GRANT_REVOKED, GRANT_REPLACED);
        }
    }
    return ended;
}

size_t token_table_expire(struct token_table *table, int64_t now)
{
    size_t ended = 0;

    /* If the time was set back, tokens that had expired may do so again. */
    if (now >= table->looked && (table->next_expiry == 0 || now < table->next_expiry))
        return 0;
    table->looked = now;
    table->next_expiry = 0;
    for (size_t i = 0; i < table->count; i++) {
        struct token *token = &table->tokens[i];
        if (token_has_expired(token, now))
            ended += end_token_grant(token, table, now, GRANT_EXPIRED, GRANT_LAPSED);
        else if (token->until != 0 &&
                 (table->next_expiry == 0 || token->until < table->next_expiry))
            table->next_expiry = token->until;
    }
    return ended;
}

/* ---- for people */

void token_label(const struct token *token, char out[HTTP_IDENTITY_MAX])
{
    if (token->name)
        snprintf(out, HTTP_IDENTITY_MAX, "%s", token->name);
    else
        snprintf(out, HTTP_IDENTITY_MAX, "%s%zu", NAMELESS, token->line);
}

void token_digest_format(const char *token, size_t size, char out[TOKEN_DIGEST_SIZE])
{
    unsigned char hash[DIGEST_SIZE];
    char *at = stpcpy(out, TOKEN_DIGEST_PREFIX);

    hash_token(token, size, hash);
    for (size_t i = 0; i < DIGEST_SIZE; i++, at += 2)
        snprintf(at, 3, "%02x", hash[i]);
}

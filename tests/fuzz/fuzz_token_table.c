/*
 * A token file: whatever it holds, each line that is taken names a token that is found again, and
 * what is not in it is not found. Input: the file.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../../tunnel-server/authentication/token_table.h"
#include "check.h"
#include "config/secret.h"

/* The token of a line as a reader of the documents would find it; 0: none. */
static size_t token_of(const char **line, size_t size)
{
    *line = secret_trim(*line, &size);
    if (size == 0 || **line == '#')
        return 0;
    size_t end = 0;
    while (end < size && (*line)[end] != ' ' && (*line)[end] != '\t')
        end++;
    return end;
}

/* Stands for a token that nobody here knows. */
static bool is_digest(const char *token, size_t size)
{
    size_t prefix = strlen(TOKEN_DIGEST_PREFIX);

    return size >= prefix && strncasecmp(token, TOKEN_DIGEST_PREFIX, prefix) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[300] = "";
    char label[HTTP_IDENTITY_MAX];
    char *text = malloc(size + 1);

    memcpy(text, data, size);
    text[size] = '\0';
    struct token_table *table = token_table_parse(text, size, NULL, error, sizeof error);
    CHECK((table == NULL) == (error[0] != '\0'));
    const char *end = text + size;
    for (const char *at = text; table && at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line = at;
        size_t token = token_of(&line, (size_t)((newline ? newline : end) - at));
        const struct token *found = token > 0 ? token_table_find(table, line, token) : NULL;
        CHECK((found != NULL) == (token > 0 && !is_digest(line, token)));
        if (found) {
            token_label(found, label);
            CHECK(identity_check(label, strlen(label)) == NULL);
        }
        at = newline ? newline + 1 : end;
    }
    CHECK(!table || (token_table_count(table) > 0 && !token_table_find(table, "", 0)));
    /* The same once more: nothing ends. */
    struct token_table *again =
        table ? token_table_parse(text, size, table, error, sizeof error) : NULL;
    CHECK((table == NULL) == (again == NULL));
    CHECK(!again || token_table_succeed(again, table, 0) == 0);
    token_table_free(again);
    token_table_free(table);
    free(text);
    return 0;
}

#include "authentication/token_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "config/file_stamp.h"
#include "config/secret.h"

/* 10000 tokens of 1.6 KB. */
enum { FILE_MAX_KIB = 16 * 1024, ERROR_MAX = SECRET_ERROR_MAX + 200 };

struct token_file {
    struct log *log;
    struct token_file_settings settings;
    const struct token_file_owner *owner;
    void *context;
    struct token_table *tokens;
    struct file_stamp stamp; /* when it was last read, well or not */
    bool unread;             /* the system did not let us: it may next time, without a change */
    char said[ERROR_MAX];    /* the error that was said last; "": the file is good */
};

/* Without --access everybody may do everything: whoever gave a token rules did not mean that. */
static const char *check_choices(const struct token_file *file, const struct token_table *tokens,
                                 char why[SECRET_ERROR_MAX])
{
    const struct rule_choices *choices = token_table_choices(tokens);

    if (!choices || file->settings.has_rules)
        return NULL;
    snprintf(why, SECRET_ERROR_MAX,
             "line %zu: rule= names a rule of --access, which is not set: without it, the token "
             "would be allowed everything",
             choices->choices[0].line);
    return why;
}

/* NULL: error holds a sentence. */
static struct token_table *read_tokens(struct token_file *file, char error[ERROR_MAX])
{
    const char *path = file->settings.path;
    char why[SECRET_ERROR_MAX];
    struct secret_bytes content;
    struct token_table *tokens;

    file->unread = !secret_read_large(path, FILE_MAX_KIB, &content, why);
    if (file->unread) {
        snprintf(error, ERROR_MAX, "--token-file: %s", why);
        return NULL;
    }
    if (!secret_is_guarded(path, content.exposed, file->settings.strict, why)) {
        secret_bytes_free(&content);
        snprintf(error, ERROR_MAX, "--token-file: %s", why);
        return NULL;
    }
    tokens = token_table_parse(content.bytes, content.size, file->tokens, why, sizeof why);
    secret_bytes_free(&content);
    if (tokens && check_choices(file, tokens, why)) {
        token_table_free(tokens);
        tokens = NULL;
    }
    if (!tokens)
        snprintf(error, ERROR_MAX, "--token-file: %s %s", path, why);
    return tokens;
}

static bool take_tokens(struct token_file *file, bool changed)
{
    char error[ERROR_MAX];
    struct token_table *tokens = read_tokens(file, error);

    if (!tokens) {
        if (changed || strcmp(error, file->said) != 0)
            log_error(file->log, "tokens_unreadable",
                      "The token file cannot be used; the old tokens stay in force",
                      log_str("reason", error), log_u64("tokens", token_table_count(file->tokens)));
        snprintf(file->said, sizeof file->said, "%s", error);
        return false;
    }
    size_t ended = token_table_succeed(tokens, file->tokens, (int64_t)time(NULL));
    token_table_free(file->tokens);
    file->tokens = tokens;
    file->owner->renewed(file->context);
    if (ended > 0)
        file->owner->ended(file->context);
    if (changed || file->said[0])
        log_info(file->log, "tokens_read", "The token file has changed and was read again",
                 log_u64("tokens", token_table_count(tokens)));
    file->said[0] = '\0';
    return true;
}

/* Before the file is read: a change in between is then noticed at the next look. */
static bool has_changed(struct token_file *file)
{
    struct file_stamp now;

    file_stamp_take(file->settings.path, &now);
    bool changed = !file_stamp_equal(&now, &file->stamp);
    file->stamp = now;
    return changed;
}

void token_file_follow(struct token_file *file)
{
    bool changed = has_changed(file);

    if (changed || file->unread)
        take_tokens(file, changed);
    if (token_table_expire(file->tokens, (int64_t)time(NULL)) > 0)
        file->owner->ended(file->context);
}

void token_file_reload(struct token_file *file, struct reload *reload)
{
    bool changed = has_changed(file);

    if (!take_tokens(file, changed))
        reload->failed++;
    else if (changed)
        reload->renewed++;
}

struct token_table *token_file_tokens(const struct token_file *file)
{
    return file->tokens;
}

struct token_file *token_file_new(struct log *log, const struct token_file_settings *settings,
                                  const struct token_file_owner *owner, void *context, char *error,
                                  size_t size)
{
    struct token_file *file = memory_new(sizeof *file);
    char why[ERROR_MAX];

    file->log = log;
    file->settings = *settings;
    file->owner = owner;
    file->context = context;
    has_changed(file);
    file->tokens = read_tokens(file, why);
    if (file->tokens)
        return file;
    snprintf(error, size, "%s", why);
    token_file_free(file);
    return NULL;
}

void token_file_free(struct token_file *file)
{
    if (!file)
        return;
    token_table_free(file->tokens);
    free(file);
}

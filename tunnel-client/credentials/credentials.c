#include "credentials/credentials.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "config/file_stamp.h"
#include "config/secret.h"
#include "credentials/credential_options.h"
#include "credentials/key_pair.h"
#include "credentials/request_headers.h"
#include "io/secret_command.h"

extern char **environ;

enum { FILES_MAX = 2 };

struct credentials {
    struct worker *worker;
    const struct options *options;
    struct secret_command *command; /* the source, if it is one of these two */
    struct key_pair *pair;
    struct file_stamp stamps[FILES_MAX]; /* of files_of(), as the last answer saw them */

    /* the question under way */
    credentials_callback callback;
    void *context;
};

/* ---- headers */

static char *make_authorization(const struct options *options, const char *token, size_t token_size)
{
    size_t size = token_size + sizeof "Authorization: Snowflake Token=\"\"";
    char *line = memory_raw(size);

    snprintf(line, size,
             options_use_snowflake(options) ? "Authorization: Snowflake Token=\"%.*s\""
                                            : "Authorization: Bearer %.*s",
             (int)token_size, token);
    return line;
}

/* token: NULL if there is no source of any. */
static char **make_headers(const struct options *options, const char *token, size_t token_size)
{
    char **headers = memory_new_array(options->header.count + 2, sizeof *headers);
    char **at = headers;

    if (token)
        *at++ = make_authorization(options, token, token_size);
    for (size_t i = 0; i < options->header.count; i++)
        *at++ = request_header_line(options->header.items[i]);
    return headers;
}

static void free_headers(char **headers)
{
    for (char **at = headers; *at; at++)
        secret_free(*at);
    free(headers);
}

/* ---- the answer */

static void fail_credentials(struct credentials *credentials,
                             const struct credentials_result *result)
{
    credentials_callback callback = credentials->callback;

    credentials->callback = NULL;
    callback(credentials->context, result);
}

static void succeed(struct credentials *credentials, const char *text)
{
    credentials_callback callback = credentials->callback;
    size_t size = text ? strlen(text) : 0;
    const char *token = text ? secret_trim(text, &size) : NULL;
    const char *why =
        token ? credential_options_check_token(credentials->options, token, size) : NULL;
    char reason[SECRET_ERROR_MAX];

    if (why) {
        snprintf(reason, sizeof reason, "the token %s", why);
        fail_credentials(credentials,
                         &(struct credentials_result){.hop = "auth", .reason = reason});
        return;
    }
    char **headers = make_headers(credentials->options, token, size);
    credentials->callback = NULL;
    callback(credentials->context,
             &(struct credentials_result){.headers = (const char *const *)headers});
    free_headers(headers);
}

static void on_token(void *context, const struct token_result *result)
{
    if (result->token)
        succeed(context, result->token);
    else
        fail_credentials(context, &(struct credentials_result){.hop = result->hop,
                                                               .status = result->status,
                                                               .reason = result->reason,
                                                               .refused = result->refused});
}

static void on_token_command_ended(void *context, const struct secret_result *result)
{
    if (result->secret)
        succeed(context, result->secret);
    else
        fail_credentials(context,
                         &(struct credentials_result){.hop = "auth", .reason = result->reason});
}

/* ---- the question */

/* A token that can be presented, out of the file; NULL: error holds a sentence. */
static char *read_token_file(const struct options *options, char error[SECRET_ERROR_MAX])
{
    bool exposed;
    char *token = secret_read_looking(options->token_file, secret_check_token, &exposed, error);

    if (token &&
        !secret_is_guarded(options->token_file, exposed, options->shared.strict_files, error)) {
        secret_free(token);
        return NULL;
    }
    const char *why = token ? credential_options_check_token(options, token, strlen(token)) : NULL;

    if (!why)
        return token;
    snprintf(error, SECRET_ERROR_MAX, "%s %s", options->token_file, why);
    secret_free(token);
    return NULL;
}

static void ask_file(struct credentials *credentials)
{
    char error[SECRET_ERROR_MAX];
    char *token = read_token_file(credentials->options, error);

    if (token)
        succeed(credentials, token);
    else
        fail_credentials(credentials, &(struct credentials_result){.hop = "auth", .reason = error});
    secret_free(token);
}

/* What is read anew for each answer; NULL where there is none. */
static void files_of(const struct options *options, const char *files[FILES_MAX])
{
    files[0] = options->token_file ? options->token_file : options->private_key_file;
    files[1] = options->private_key_passphrase_file;
}

static void note_files(struct credentials *credentials)
{
    const char *files[FILES_MAX];

    files_of(credentials->options, files);
    for (size_t i = 0; i < FILES_MAX; i++)
        if (files[i])
            file_stamp_take(files[i], &credentials->stamps[i]);
}

bool credentials_changed(const struct credentials *credentials)
{
    const char *files[FILES_MAX];
    struct file_stamp now;

    files_of(credentials->options, files);
    for (size_t i = 0; i < FILES_MAX; i++) {
        if (!files[i])
            continue;
        file_stamp_take(files[i], &now);
        if (!file_stamp_equal(&now, &credentials->stamps[i]))
            return true;
    }
    return false;
}

void credentials_ask(struct credentials *credentials, credentials_callback callback, void *context)
{
    const struct options *options = credentials->options;
    unsigned timeout_ms = (unsigned)options->dial_timeout_ms;

    note_files(credentials);
    credentials->callback = callback;
    credentials->context = context;
    if (credentials->command)
        secret_command_start(credentials->command, timeout_ms, on_token_command_ended, credentials);
    else if (credentials->pair)
        key_pair_ask(credentials->pair, timeout_ms, on_token, credentials);
    else if (options->token_file)
        ask_file(credentials);
    else
        succeed(credentials, options->token);
}

void credentials_cancel(struct credentials *credentials)
{
    credentials->callback = NULL;
    if (credentials->command)
        secret_command_cancel(credentials->command);
    if (credentials->pair)
        key_pair_cancel(credentials->pair);
}

void credentials_refused(struct credentials *credentials)
{
    if (credentials->pair)
        key_pair_forget(credentials->pair);
}

/* ---- life */

static struct secret_command *new_token_command(struct worker *worker, const char *command)
{
    const struct secret_command_settings settings = {.command = command,
                                                     .environment = environ,
                                                     .is_hidden = options_is_secret,
                                                     .named_by = "--token-command",
                                                     .time_limit = " (--dial-timeout)",
                                                     .what = "token",
                                                     .check = secret_check_token};

    return secret_command_new(worker, &settings);
}

/* A file that is missing from the start is a mistake; one that goes missing later may come back. */
static bool check_token_file(const struct options *options, char *error, size_t size)
{
    char why[SECRET_ERROR_MAX];
    char *token;

    if (!options->token_file)
        return true;
    token = read_token_file(options, why);
    if (!token)
        snprintf(error, size, "--token-file: %s", why);
    secret_free(token);
    return token != NULL;
}

void credentials_reload(struct credentials *credentials, struct reload *reload)
{
    char error[SECRET_ERROR_MAX + 50];

    if (check_token_file(credentials->options, error, sizeof error) &&
        (!credentials->pair || key_pair_check(credentials->pair, error, sizeof error)))
        return;
    log_error(credentials->worker->log, "token_unusable",
              "The file with the token or its key cannot be used", log_str("reason", error));
    reload->failed++;
}

struct credentials *credentials_new(struct worker *worker, struct http_way *way,
                                    const struct options *options, char *error, size_t size)
{
    struct credentials *credentials = memory_new(sizeof *credentials);

    credentials->worker = worker;
    credentials->options = options;
    bool good = check_token_file(options, error, size);
    if (good && options->token_command)
        credentials->command = new_token_command(worker, options->token_command);
    if (good && options->private_key_file) {
        credentials->pair = key_pair_new(worker, way, options, error, size);
        good = credentials->pair != NULL;
    }
    if (!good) {
        free(credentials);
        return NULL;
    }
    return credentials;
}

void credentials_free(struct credentials *credentials)
{
    if (!credentials)
        return;
    secret_command_free(credentials->command);
    key_pair_free(credentials->pair);
    free(credentials);
}

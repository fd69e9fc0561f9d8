#include "credentials/key_pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "config/secret.h"
#include "credentials/snowflake_answer.h"
#include "credentials/snowflake_jwt.h"
#include "http/fetch.h"
#include "tls/pem.h"

enum {
    /* A kept token must be good for so long: the dial takes time, and clocks differ. */
    STILL_GOOD_S = 60,
    REASON_MAX = SNOWFLAKE_SENTENCE_MAX + 100,
    URL_MAX = ADDRESS_TEXT_MAX + sizeof "https://",
};

struct key_pair {
    struct worker *worker;
    struct http_way *way;
    const struct options *options;
    char url[URL_MAX];                        /* of the token endpoint's host, for people */
    char endpoint_host[ADDRESS_HOST_MAX + 1]; /* that the tokens are for */
    char account[SNOWFLAKE_ACCOUNT_MAX + 1];
    char user[SNOWFLAKE_USER_MAX + 1];
    char fingerprint[SNOWFLAKE_FINGERPRINT_MAX]; /* of the key that was read last */

    /* the last token */
    char *kept;
    int64_t kept_until; /* seconds since 1970 of this machine's clock */

    /* the question under way */
    struct http_fetch *fetch;
    char *form;
    token_callback callback;
    void *context;
};

/* ---- the key */

/* A file with a secret, as far as others may have seen it. */
static bool read_guarded(const struct options *options, const char *path,
                         struct secret_bytes *content, char error[SECRET_ERROR_MAX])
{
    if (!secret_read_bytes(path, content, error))
        return false;
    if (secret_is_guarded(path, content->exposed, options->shared.strict_files, error))
        return true;
    secret_bytes_free(content);
    return false;
}

static bool read_passphrase(const struct options *options, struct secret_bytes *passphrase,
                            char error[SECRET_ERROR_MAX])
{
    const char *path = options->private_key_passphrase_file;

    if (!read_guarded(options, path, passphrase, error))
        return false;
    const char *why = pem_passphrase_line(passphrase->bytes);
    if (!why)
        return true;
    snprintf(error, SECRET_ERROR_MAX, "%s %s", path, why);
    secret_bytes_free(passphrase);
    return false;
}

/* NULL: error holds a sentence. The files are read each time: keys are exchanged while programs
 * run. */
static EVP_PKEY *load_key(const struct options *options, char error[SECRET_ERROR_MAX])
{
    struct secret_bytes passphrase = {0};
    struct secret_bytes pem = {0};
    const char *file = options->private_key_passphrase_file;
    EVP_PKEY *key = NULL;
    const char *why;

    if (file && !read_passphrase(options, &passphrase, error))
        return NULL;
    if (read_guarded(options, options->private_key_file, &pem, error)) {
        key = snowflake_read_key(pem.bytes, pem.size,
                                 file ? passphrase.bytes : options->private_key_passphrase, &why);
        if (!key)
            snprintf(error, SECRET_ERROR_MAX, "%s %s", options->private_key_file, why);
    }
    secret_bytes_free(&pem);
    secret_bytes_free(&passphrase);
    return key;
}

/* ---- the last token */

void key_pair_forget(struct key_pair *pair)
{
    secret_free(pair->kept);
    pair->kept = NULL;
}

/* date: the answer's, for what is left of the token's life is told by its issuer's clock. */
static void keep_token(struct key_pair *pair, const char *token, size_t size, int64_t date)
{
    int64_t expiry = snowflake_token_expiry(token, size);
    int64_t now = time(NULL);

    key_pair_forget(pair);
    if (expiry == 0)
        return;
    pair->kept = strndup(token, size);
    if (!pair->kept)
        abort();
    pair->kept_until = now + (expiry - (date > 0 ? date : now));
}

/* ---- the answer */

static void end_question(struct key_pair *pair)
{
    http_fetch_cancel(pair->fetch);
    pair->fetch = NULL;
    secret_free(pair->form);
    pair->form = NULL;
    pair->callback = NULL;
}

static void answer_key_pair(struct key_pair *pair, const struct token_result *result)
{
    token_callback callback = pair->callback;
    void *context = pair->context;

    pair->fetch = NULL; /* it has answered */
    end_question(pair);
    callback(context, result);
}

static void fail_key_pair(struct key_pair *pair, const char *hop, int status, bool refused,
                          const char *reason)
{
    answer_key_pair(pair, &(struct token_result){
                              .hop = hop, .status = status, .refused = refused, .reason = reason});
}

/* The endpoint has not said no, it has said nothing: the last token does as well. */
static void do_without(struct key_pair *pair, const char *hop, int status, bool refused,
                       const char *reason)
{
    int64_t left = pair->kept ? pair->kept_until - (int64_t)time(NULL) : 0;
    char *token;

    if (left < STILL_GOOD_S) {
        key_pair_forget(pair);
        fail_key_pair(pair, hop, status, refused, reason);
        return;
    }
    log_warning(pair->worker->log, "token_reused",
                "Could not get a new token; using the last one, which is still valid",
                log_str("reason", reason), log_i64("good_for_s", left));
    token = memory_text(pair->kept);
    answer_key_pair(pair, &(struct token_result){.token = token});
    secret_free(token);
}

static void use_token(struct key_pair *pair, const struct http_fetch_result *result)
{
    size_t size = result->body_size;
    const char *trimmed = secret_trim(result->body, &size);
    char *token = strndup(trimmed, size);

    if (!token)
        abort();
    keep_token(pair, token, size, result->date);
    answer_key_pair(pair, &(struct token_result){.token = token});
    secret_free(token);
}

static void on_fetched(void *context, const struct http_fetch_result *result)
{
    struct key_pair *pair = context;
    char sentence[REASON_MAX];
    const struct options *options = pair->options;
    const struct snowflake_question question = {.url = pair->url,
                                                .account = pair->account,
                                                .user = pair->user,
                                                .role = options->snowflake_role,
                                                .fingerprint = pair->fingerprint,
                                                .endpoint_host = pair->endpoint_host};

    if (result->hop != HTTP_HOP_NONE) {
        snprintf(sentence, sizeof sentence, "no token: %s", result->reason);
        do_without(pair, http_hop_name(result->hop), result->status, result->login_refused,
                   sentence);
        return;
    }
    const struct snowflake_answer read = {.status = result->status,
                                          .location = result->location,
                                          .date = result->date,
                                          .body = result->body,
                                          .body_size = result->body_size,
                                          .now = time(NULL)};
    switch (snowflake_answer_read(&read, &question, sentence)) {
    case SNOWFLAKE_TOKEN:
        use_token(pair, result);
        break;
    case SNOWFLAKE_BUSY:
        do_without(pair, "auth", result->status, false, sentence);
        break;
    default:
        key_pair_forget(pair);
        fail_key_pair(pair, "auth", result->status, true, sentence);
    }
}

/* ---- the question */

void key_pair_ask(struct key_pair *pair, unsigned timeout_ms, token_callback callback,
                  void *context)
{
    const struct options *options = pair->options;
    char error[SECRET_ERROR_MAX];
    EVP_PKEY *key = load_key(options, error);

    pair->callback = callback;
    pair->context = context;
    if (!key) {
        fail_key_pair(pair, "auth", 0, false, error);
        return;
    }
    snowflake_fingerprint(key, pair->fingerprint);
    char *jwt = snowflake_jwt(key, options->snowflake_account, options->snowflake_user, time(NULL));
    EVP_PKEY_free(key);
    pair->form = snowflake_token_form(jwt, options->snowflake_role, pair->endpoint_host);
    secret_free(jwt);
    const struct http_fetch_request request = {
        .host = options->token_url.host,
        .port = options->token_url.port,
        .tls = options->token_url.tls,
        .named_by = options->snowflake_url ? "--snowflake-url" : "--snowflake-account",
        .path = "/oauth/token",
        .method = "POST",
        .content_type = "application/x-www-form-urlencoded",
        .body = pair->form,
        .body_size = strlen(pair->form),
    };
    log_debug(pair->worker->log, "token_asked", "Asking for a token", log_str("at", pair->url));
    pair->fetch = http_fetch_start(pair->way, &request, timeout_ms, on_fetched, pair);
}

void key_pair_cancel(struct key_pair *pair)
{
    end_question(pair);
}

/* ---- life */

static void name_parties(struct key_pair *pair)
{
    const struct options *options = pair->options;
    char host[ADDRESS_TEXT_MAX];

    address_host_undotted(options->url.host, pair->endpoint_host);
    if (options->token_url.port == (options->token_url.tls ? 443 : 80))
        snprintf(host, sizeof host, "%s", options->token_url.host);
    else
        address_format(options->token_url.host, options->token_url.port, host);
    snprintf(pair->url, sizeof pair->url, "%s://%s", options->token_url.tls ? "https" : "http",
             host);
    snowflake_claim_account(options->snowflake_account, pair->account);
    snowflake_claim_user(options->snowflake_user, pair->user);
}

struct key_pair *key_pair_new(struct worker *worker, struct http_way *way,
                              const struct options *options, char *error, size_t size)
{
    struct key_pair *pair = memory_new(sizeof *pair);
    char why[SECRET_ERROR_MAX];
    EVP_PKEY *key;

    pair->worker = worker;
    pair->way = way;
    pair->options = options;
    name_parties(pair);
    key = load_key(options, why);
    if (!key) {
        snprintf(error, size, "--private-key-file: %s", why);
        free(pair);
        return NULL;
    }
    snowflake_fingerprint(key, pair->fingerprint);
    EVP_PKEY_free(key);
    log_info(worker->log, "key_pair", "Asking for tokens with a key pair", log_str("at", pair->url),
             log_str("account", pair->account), log_str("user", pair->user),
             log_str("fingerprint", pair->fingerprint));
    return pair;
}

bool key_pair_check(const struct key_pair *pair, char *error, size_t size)
{
    char why[SECRET_ERROR_MAX];
    EVP_PKEY *key = load_key(pair->options, why);

    if (!key)
        snprintf(error, size, "--private-key-file: %s", why);
    EVP_PKEY_free(key);
    return key != NULL;
}

void key_pair_free(struct key_pair *pair)
{
    if (!pair)
        return;
    key_pair_cancel(pair);
    key_pair_forget(pair);
    free(pair);
}

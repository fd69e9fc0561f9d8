#include "broker_login/login_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "broker_login/token_request.h"
#include "config/secret.h"
#include "config/url.h"
#include "http/fetch.h"
#include "io/secret_command.h"
#include "io/timer.h"

extern char **environ;

enum { COMMAND_TIMEOUT_MS = 30 * 1000, FETCH_TIMEOUT_MS = 10 * 1000, WHY_MAX = 1200 };

struct login_source {
    struct worker *worker;
    struct http_way *way;
    const struct login_rule *rule;
    struct secret_command *command; /* NULL: there is none */
    struct timer *answer;           /* with why, outside of login_source_ask() */
    struct url url;                 /* of the endpoint */

    /* the question under way */
    login_source_callback callback;
    void *context;
    struct http_fetch *fetch;
    char *client_secret;
    char *body;
    char *header;
    char why[WHY_MAX];
};

static void forget_question(struct login_source *source)
{
    source->callback = NULL;
    secret_free(source->client_secret);
    secret_free(source->body);
    secret_free(source->header);
    source->client_secret = source->body = source->header = NULL;
}

/* The owner may free the source in its callback. */
static void answer_source(struct login_source *source, const struct login_source_answer *answer)
{
    login_source_callback callback = source->callback;
    void *context = source->context;

    forget_question(source);
    callback(context, answer);
}

static void fail_source(struct login_source *source, const char *why, bool refused)
{
    char text[WHY_MAX];

    snprintf(text, sizeof text, "%s", why);
    answer_source(source, &(struct login_source_answer){.reason = text, .refused = refused});
}

static void on_source_answer(void *argument)
{
    struct login_source *source = argument;

    fail_source(source, source->why, true);
}

/* ---- token endpoints */

const char *login_source_check_url(const char *text)
{
    struct url url;
    const char *path = strstr(text, "://");

    path = path ? strchr(path + 3, '/') : NULL;
    if (path && path[1])
        return http_fetch_check_url(text, &url);
    return "it is no https:// URL with a path";
}

static struct token_client client_of(const struct login_source *source)
{
    const struct login_rule *rule = source->rule;

    return (struct token_client){.id = rule->client_id,
                                 .secret = source->client_secret,
                                 .in_body =
                                     rule->client_auth && strcmp(rule->client_auth, "post") == 0,
                                 .scope = rule->scope,
                                 .audience = rule->audience};
}

static void on_token_fetched(void *context, const struct http_fetch_result *result)
{
    struct login_source *source = context;
    const struct token_client client = client_of(source);
    const struct token_answer answer = {.status = result->status,
                                        .location = result->location,
                                        .body = result->body,
                                        .body_size = result->body_size,
                                        .now = (int64_t)time(NULL)};
    char sentence[TOKEN_SENTENCE_MAX];
    char *token;
    int64_t lasts_s;

    source->fetch = NULL;
    if (result->hop != HTTP_HOP_NONE) {
        fail_source(source, result->reason, false);
        return;
    }
    enum token_verdict verdict = token_answer_read(
        &answer, &client, source->rule->token_endpoint_url, &token, &lasts_s, sentence);
    answer_source(source, &(struct login_source_answer){
                              .secret = token,
                              .lasts_s = lasts_s,
                              .reason = sentence,
                              .refused = verdict == TOKEN_REFUSED,
                              .retry_after_s = verdict == TOKEN_BUSY ? result->retry_after_s : 0});
    secret_free(token);
}

/* With the client's secret, which the source has now. */
static void fetch_token(struct login_source *source)
{
    const struct token_client client = client_of(source);

    source->body = token_request_body(&client);
    source->header = token_request_header(&client);
    const struct http_fetch_request request = {
        .host = source->url.host,
        .port = source->url.port,
        .tls = source->url.tls,
        .named_by = "the token-endpoint-url",
        .method = "POST",
        .path = source->url.path,
        .header = source->header,
        .content_type = "application/x-www-form-urlencoded",
        .body = source->body,
        .body_size = strlen(source->body),
        .accept = "application/json",
    };

    source->fetch =
        http_fetch_start(source->way, &request, FETCH_TIMEOUT_MS, on_token_fetched, source);
}

/* ---- commands */

static void on_source_command_ended(void *context, const struct secret_result *result)
{
    struct login_source *source = context;

    if (!result->secret) {
        fail_source(source, result->reason, false);
    } else if (source->rule->token_endpoint_url) {
        source->client_secret = memory_text(result->secret);
        fetch_token(source);
    } else {
        bool is_token = source->rule->token_command != NULL;
        answer_source(
            source,
            &(struct login_source_answer){
                .secret = result->secret,
                .lasts_s = is_token ? token_lifetime(result->secret, (int64_t)time(NULL)) : 0});
    }
}

static struct secret_command *new_source_command(struct worker *worker,
                                                 const struct login_rule *rule,
                                                 bool (*is_hidden)(const char *entry))
{
    char name[RULE_NAME_MAX + 60];
    const struct secret_command_settings settings = {
        .command = login_rule_command(rule),
        .environment = environ,
        .is_hidden = is_hidden,
        .named_by = name,
        .time_limit = "",
        .what = rule->password_command ? "password"
                : rule->token_command  ? "token"
                                       : "client's secret",
        .check = rule->token_command ? secret_check_token : secret_check_line};

    snprintf(name, sizeof name, "the %s of rule %s",
             rule->password_command ? "password-command"
             : rule->token_command  ? "token-command"
                                    : "client-secret-command",
             rule->head.name);
    return secret_command_new(worker, &settings);
}

/* ---- questions */

static void ask_with_file(struct login_source *source)
{
    source->client_secret = secret_read_file(source->rule->client_secret_file, source->why);
    if (source->client_secret)
        fetch_token(source);
    else
        timer_fire(source->answer);
}

void login_source_ask(struct login_source *source, login_source_callback callback, void *context)
{
    source->callback = callback;
    source->context = context;
    if (source->command)
        secret_command_start(source->command, COMMAND_TIMEOUT_MS, on_source_command_ended, source);
    else
        ask_with_file(source);
}

struct login_source *login_source_new(struct worker *worker, struct http_way *way,
                                      const struct login_rule *rule,
                                      bool (*is_hidden)(const char *entry))
{
    struct login_source *source = memory_new(sizeof *source);

    source->worker = worker;
    source->way = way;
    source->rule = rule;
    source->answer = timer_new(worker, on_source_answer, source);
    if (login_rule_command(rule))
        source->command = new_source_command(worker, rule, is_hidden);
    /* It was fine when the file was read. */
    if (rule->token_endpoint_url)
        http_fetch_check_url(rule->token_endpoint_url, &source->url);
    return source;
}

void login_source_free(struct login_source *source)
{
    if (!source)
        return;
    secret_command_free(source->command);
    http_fetch_cancel(source->fetch);
    timer_free(source->answer);
    forget_question(source);
    free(source);
}

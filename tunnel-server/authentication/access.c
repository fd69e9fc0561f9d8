#include "authentication/access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "authentication/certificate_identity.h"
#include "authentication/token_file.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "config/secret.h"
#include "io/timer.h"
#include "oidc/jwt.h"
#include "oidc/oidc.h"

enum {
    AUTHORIZATION_MAX = SECRET_TOKEN_MAX + 64, /* with its scheme */
    LOOK_S = 2,
    BODY_MAX = CLAIMS_REASON_MAX + 1,
};

struct access {
    struct worker *worker;
    const struct options *options;
    const struct access_owner *owner;
    void *context;
    struct token_file *tokens; /* NULL: without --token-file */
    struct oidc *oidc;         /* NULL: without --oidc-issuer */
    struct timer *look;
    char body[BODY_MAX + 1]; /* of the last refusal, with its line end */
};

/* ---- refusals */

static int refuse_client(struct access *access, const char *peer, int status, const char *reason,
                         const char **body)
{
    if (status == 401)
        log_warning(access->worker->log, "unauthorized",
                    "A client was refused: it is not allowed in, or does not say who it is",
                    log_str("peer", peer), log_str("reason", reason));
    else
        log_info(access->worker->log, "login_delayed",
                 "A client was told to come back: whether it is allowed in is not known yet",
                 log_str("peer", peer), log_str("reason", reason));
    snprintf(access->body, sizeof access->body, "%s\n", reason);
    *body = access->body;
    return status;
}

/* ---- tokens */

/* Points at the token in `Bearer X` or `Snowflake Token="X"`. */
static const char *token_of(const char *authorization, size_t *size)
{
    static const char bearer[] = "Bearer ";
    static const char snowflake[] = "Snowflake Token=\"";

    if (strncasecmp(authorization, bearer, sizeof bearer - 1) == 0) {
        const char *token = authorization + sizeof bearer - 1;
        *size = strlen(token);
        return secret_trim(token, size);
    }
    if (strncasecmp(authorization, snowflake, sizeof snowflake - 1) == 0) {
        const char *token = authorization + sizeof snowflake - 1;
        *size = strcspn(token, "\"");
        return token;
    }
    return NULL;
}

/* What a token says. */
struct presented {
    char name[HTTP_IDENTITY_MAX];  /* for nobody else than this; "": for whoever else is named */
    char label[HTTP_IDENTITY_MAX]; /* who somebody is whom nothing else names */
    struct grant *grant;
    char reason[BODY_MAX]; /* why it is not taken */
};

/* Each returns 101, or the status to refuse with. */
static int refuse_token(struct presented *presented, int status, const char *reason)
{
    snprintf(presented->reason, sizeof presented->reason, "%s", reason);
    return status;
}

static int take_listed(struct token *token, struct presented *presented)
{
    if (token_has_expired(token, (int64_t)time(NULL)))
        return refuse_token(presented, 401,
                            "the token has expired; ask whoever runs this tunnel for a new one");
    token_label(token, presented->label);
    if (token->name)
        snprintf(presented->name, sizeof presented->name, "%s", token->name);
    presented->grant = token_grant(token);
    return 101;
}

static int take_signed(struct access *access, const char *token, size_t size,
                       struct presented *presented)
{
    struct oidc_answer answer;

    switch (oidc_judge(access->oidc, token, size, &answer)) {
    case OIDC_ADMITTED:
        memcpy(presented->name, answer.identity, sizeof presented->name);
        memcpy(presented->label, answer.identity, sizeof presented->label);
        if (access->options->oidc_end_sessions)
            presented->grant = grant_new(answer.until);
        return 101;
    case OIDC_LATER:
        return refuse_token(presented, 503, answer.reason);
    default:
        return refuse_token(presented, 401, answer.reason);
    }
}

static int take_token(struct access *access, const char *token, size_t size,
                      struct presented *presented)
{
    struct token *listed =
        access->tokens ? token_table_find(token_file_tokens(access->tokens), token, size) : NULL;

    if (listed)
        return take_listed(listed, presented);
    if (access->oidc && (!access->tokens || jwt_is_likely(token, size)))
        return take_signed(access, token, size, presented);
    return refuse_token(presented, 401, "the token is not one of those that this tunnel accepts");
}

static int take_authorization(struct access *access, const struct http_request *request,
                              struct presented *presented)
{
    char authorization[AUTHORIZATION_MAX];
    size_t count = http_request_header_count(request, "authorization");
    size_t size = 0;
    int status;

    if (count == 0)
        return refuse_token(presented, 401,
                            "this tunnel requires a token: Authorization: Bearer ...");
    if (count > 1)
        return refuse_token(presented, 401, "the request has several Authorization headers");
    if (!http_request_header(request, "authorization", authorization, sizeof authorization)) {
        status = refuse_token(
            presented, 401, "the Authorization header is longer than any that this tunnel accepts");
    } else {
        const char *token = token_of(authorization, &size);
        status = token ? take_token(access, token, size, presented)
                       : refuse_token(presented, 401,
                                      "this tunnel requires a token, and the Authorization header "
                                      "holds something else: Authorization: Bearer ...");
    }
    byte_wipe(authorization, sizeof authorization);
    return status;
}

/* ---- the ingress */

/* Whoever joins two headers of a name puts a comma between them (RFC 9110, 5.3): which of the two
 * the ingress wrote, nobody could tell. */
static const char *check_user(const char *user)
{
    if (strchr(user, ','))
        return "contains a comma, as two joined headers do";
    return identity_check(user, strlen(user));
}

/* "" in user: the header is not there, and need not be. false: reason says why not. */
static bool take_user(const struct access *access, const struct http_request *request,
                      char user[HTTP_IDENTITY_MAX], char reason[BODY_MAX])
{
    const char *name = access->options->identity_header;
    size_t count = http_request_header_count(request, name);
    const char *why = NULL;

    user[0] = '\0';
    if (count == 0 && access->options->trust_ingress == TRUST_INGRESS_OPTIONAL)
        return true;
    if (count == 0)
        why = "is missing";
    else if (count > 1)
        why = "occurs more than once";
    else if (!http_request_header(request, name, user, HTTP_IDENTITY_MAX))
        why = "is longer than 255 bytes";
    else
        why = check_user(user);
    if (why)
        snprintf(reason, BODY_MAX,
                 "the header %s %s; in it, the ingress in front of this tunnel must name the user",
                 name, why);
    return why == NULL;
}

/* ---- who it is */

/* What certificate or ingress say; "": nothing. false: reason says why that is not enough. */
static bool take_client_name(const struct access *access, const struct http_upgrade *upgrade,
                             char name[HTTP_IDENTITY_MAX], char reason[BODY_MAX])
{
    const struct options *options = access->options;
    const char *why;

    name[0] = '\0';
    if (options->client_ca && !upgrade->certificate) {
        snprintf(reason, BODY_MAX, "this tunnel requires a client certificate");
        return false;
    }
    if (options->trust_ingress)
        return take_user(access, upgrade->request, name, reason);
    if (!options->client_ca)
        return true;
    why = certificate_identity(upgrade->certificate, (enum identity_from)options->identity_from,
                               name);
    if (why)
        snprintf(reason, BODY_MAX, "the client certificate %s", why);
    return why == NULL;
}

/* Whose the token is must be whom the others name, if both say so. */
static const char *compare_names(const struct access *access, const char *name,
                                 const struct presented *presented)
{
    if (!name[0] || !presented->name[0] || strcmp(presented->name, name) == 0)
        return NULL;
    return access->options->trust_ingress
               ? "the token belongs to a user other than the one that the ingress names"
               : "the token belongs to a user other than the client certificate's";
}

int access_authorize(struct access *access, const struct http_upgrade *upgrade,
                     struct http_admission *admission)
{
    struct presented presented = {.label = ACCESS_ANONYMOUS};
    char name[HTTP_IDENTITY_MAX];
    char reason[BODY_MAX];
    int status = 101;

    if (!take_client_name(access, upgrade, name, reason))
        return refuse_client(access, upgrade->peer, 401, reason, &admission->body);
    if (access->tokens)
        token_file_follow(access->tokens);
    if (access->tokens || access->oidc)
        status = take_authorization(access, upgrade->request, &presented);
    if (status != 101)
        return refuse_client(access, upgrade->peer, status, presented.reason, &admission->body);
    const char *why = compare_names(access, name, &presented);
    if (why) {
        grant_release(presented.grant);
        return refuse_client(access, upgrade->peer, 401, why, &admission->body);
    }
    memcpy(admission->identity, name[0] ? name : presented.label, sizeof name);
    admission->pass = presented.grant;
    return 101;
}

/* ---- life */

/* So that a file that cannot be used is not first noticed by who is refused. */
static void on_token_look(void *argument)
{
    struct access *access = argument;

    token_file_follow(access->tokens);
}

struct rule_choices *access_choices(const struct access *access)
{
    return access->tokens ? token_table_choices(token_file_tokens(access->tokens)) : NULL;
}

void access_reload(struct access *access, struct reload *reload)
{
    if (access->tokens)
        token_file_reload(access->tokens, reload);
    if (access->oidc)
        oidc_reload(access->oidc, reload);
}

static void on_token_ended(void *context)
{
    const struct access *access = context;

    access->owner->ended(access->context);
}

static void on_tokens_renewed(void *context)
{
    const struct access *access = context;

    access->owner->renewed(access->context);
}

static const struct token_file_owner token_owner = {.renewed = on_tokens_renewed,
                                                    .ended = on_token_ended};

static bool begin_tokens(struct access *access, char *error, size_t size)
{
    const struct options *options = access->options;
    const struct token_file_settings settings = {.path = options->token_file,
                                                 .strict = options->shared.strict_files,
                                                 .has_rules = options->access_file != NULL};

    if (!options->token_file)
        return true;
    access->tokens =
        token_file_new(access->worker->log, &settings, &token_owner, access, error, size);
    if (!access->tokens)
        return false;
    access->look = timer_new(access->worker, on_token_look, access);
    timer_repeat_ms(access->look, LOOK_S * 1000);
    return true;
}

static bool begin_oidc(struct access *access, char *error, size_t size)
{
    const struct options *options = access->options;
    const struct oidc_settings settings = {
        .rules = {.issuer = options->oidc_issuer,
                  .audiences = &options->oidc_audience,
                  .identity = options->oidc_identity,
                  .required = &options->oidc_require},
        .policy = &options->tls_policy,
        .ca_file = options->oidc_ca,
        .ca_option = "oidc-ca",
    };

    if (!options->oidc_issuer)
        return true;
    access->oidc = oidc_new(access->worker, &settings, error, size);
    return access->oidc != NULL;
}

struct access *access_new(struct worker *worker, const struct options *options,
                          const struct access_owner *owner, void *context, char *error, size_t size)
{
    struct access *access = memory_new(sizeof *access);

    access->worker = worker;
    access->options = options;
    access->owner = owner;
    access->context = context;
    if (begin_tokens(access, error, size) && begin_oidc(access, error, size))
        return access;
    access_free(access);
    return NULL;
}

void access_free(struct access *access)
{
    if (!access)
        return;
    timer_free(access->look);
    token_file_free(access->tokens);
    oidc_free(access->oidc);
    free(access);
}

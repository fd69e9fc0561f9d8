#include "access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "certificate_identity.h"
#include "config/secret.h"
#include "io/timer.h"
#include "token_file.h"

enum {
    AUTHORIZATION_MAX = SECRET_TOKEN_MAX + 64, /* with its scheme */
    LOOK_S = 2,
    BODY_MAX = 320,
};

struct access {
    struct worker *worker;
    const struct options *options;
    struct token_file *tokens; /* NULL: without --token-file */
    struct timer *look;
    char body[BODY_MAX + 1]; /* of the last refusal, with its line end */
};

/* ---- refusals */

static int refuse_client(struct access *access, const char *peer, const char *reason,
                         const char **body)
{
    log_warning(access->worker->log, "unauthorized",
                "A client was refused: it is not allowed in, or does not say who it is",
                log_str("peer", peer), log_str("reason", reason));
    snprintf(access->body, sizeof access->body, "%s\n", reason);
    *body = access->body;
    return 401;
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

/* NULL: *reason says why. */
static const struct token *find_presented(struct access *access, const struct http_request *request,
                                          const char **reason)
{
    char authorization[AUTHORIZATION_MAX];
    size_t count = http_request_header_count(request, "authorization");
    const struct token *found = NULL;
    size_t size = 0;

    *reason = "this tunnel requires a token: Authorization: Bearer ...";
    if (count == 0)
        return NULL;
    *reason = count > 1 ? "the request has several Authorization headers"
                        : "the Authorization header is longer than any that this tunnel accepts";
    if (http_request_header(request, "authorization", authorization, sizeof authorization)) {
        const char *token = token_of(authorization, &size);
        if (token)
            found = token_table_find(token_file_tokens(access->tokens), token, size);
        *reason = token ? "the token is not one of those that this tunnel accepts"
                        : "this tunnel requires a token, and the Authorization header holds "
                          "something else: Authorization: Bearer ...";
    }
    byte_wipe(authorization, sizeof authorization);
    return found;
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

int access_authorize(struct access *access, const struct http_upgrade *upgrade, char *identity,
                     const char **body)
{
    const struct token *token = NULL;
    char name[HTTP_IDENTITY_MAX];
    char reason[BODY_MAX];
    const char *why;

    if (!take_client_name(access, upgrade, name, reason))
        return refuse_client(access, upgrade->peer, reason, body);
    if (access->tokens) {
        token_file_follow(access->tokens);
        token = find_presented(access, upgrade->request, &why);
        if (!token)
            return refuse_client(access, upgrade->peer, why, body);
    }
    if (name[0] && token && token->name && strcmp(token->name, name) != 0)
        return refuse_client(
            access, upgrade->peer,
            access->options->trust_ingress
                ? "the token belongs to a user other than the one that the ingress names"
                : "the token belongs to a user other than the client certificate's",
            body);
    if (name[0])
        memcpy(identity, name, sizeof name);
    else if (token)
        token_label(token, identity);
    else
        snprintf(identity, HTTP_IDENTITY_MAX, ACCESS_ANONYMOUS);
    return 101;
}

/* ---- life */

/* So that a file that cannot be used is not first noticed by who is refused. */
static void on_token_look(void *argument)
{
    struct access *access = argument;

    token_file_follow(access->tokens);
}

void access_reload(struct access *access, struct reload *reload)
{
    if (access->tokens)
        token_file_reload(access->tokens, reload);
}

struct access *access_new(struct worker *worker, const struct options *options, char *error,
                          size_t size)
{
    struct access *access = memory_new(sizeof *access);

    access->worker = worker;
    access->options = options;
    if (!options->token_file)
        return access;
    access->tokens = token_file_new(worker->log, options->token_file, error, size);
    if (!access->tokens) {
        access_free(access);
        return NULL;
    }
    access->look = timer_new(worker, on_token_look, access);
    timer_repeat_ms(access->look, LOOK_S * 1000);
    return access;
}

void access_free(struct access *access)
{
    if (!access)
        return;
    timer_free(access->look);
    token_file_free(access->tokens);
    free(access);
}

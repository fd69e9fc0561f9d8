#include "access.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/bytes.h"

#ifdef __APPLE__
#define st_mtim st_mtimespec
#endif

enum {
    DIGEST_SIZE = 32,
    TOKENS_MAX = 10000,
    LINE_MAX_SIZE = 16 * 1024,
    NAME_SIZE = 64,
    AUTHORIZATION_MAX = 12 * 1024,
};

/* Only digests are kept: equal length for the comparison, and nothing to steal from memory. */
struct token {
    uint8_t digest[DIGEST_SIZE];
    char name[NAME_SIZE];
};

struct access {
    const struct options *options;
    struct log *log;
    struct token *tokens;
    size_t count;
    struct timespec changed;
    off_t size;
};

static void digest(const char *bytes, size_t size, uint8_t out[DIGEST_SIZE])
{
    unsigned written = 0;

    if (EVP_Digest(bytes, size, out, &written, EVP_sha256(), NULL) != 1 || written != DIGEST_SIZE)
        abort();
}

/* TOKEN [NAME], blank lines and # comments apart. */
static void add_line(struct access *access, char *line, size_t number)
{
    size_t size = strcspn(line, " \t\r\n");
    const char *name = line + size + strspn(line + size, " \t");
    struct token *tokens;

    if (size == 0 || line[0] == '#' || access->count == TOKENS_MAX)
        return;
    tokens = realloc(access->tokens, (access->count + 1) * sizeof *tokens);
    if (!tokens)
        abort();
    access->tokens = tokens;
    struct token *token = &tokens[access->count++];
    digest(line, size, token->digest);
    size_t name_size = strcspn(name, "\r\n");
    if (name_size > 0)
        snprintf(token->name, sizeof token->name, "%.*s", (int)name_size, name);
    else
        snprintf(token->name, sizeof token->name, "token of line %zu", number);
}

static bool load(struct access *access, char *error, size_t error_size)
{
    const char *path = access->options->token_file;
    char line[LINE_MAX_SIZE];
    struct stat status;
    FILE *file = fopen(path, "re");

    if (!file || fstat(fileno(file), &status) != 0) {
        snprintf(error, error_size, "--token-file %s: %s", path, strerror(errno));
        if (file)
            fclose(file);
        return false;
    }
    free(access->tokens);
    access->tokens = NULL;
    access->count = 0;
    access->changed = status.st_mtim;
    access->size = status.st_size;
    for (size_t number = 1; fgets(line, sizeof line, file); number++)
        add_line(access, line, number);
    byte_wipe(line, sizeof line);
    fclose(file);
    if (access->count > 0)
        return true;
    snprintf(error, error_size, "--token-file %s: there is no token in it", path);
    return false;
}

struct access *access_new(const struct options *options, struct log *log, char *error, size_t size)
{
    struct access *access = calloc(1, sizeof *access);

    if (!access)
        abort();
    access->options = options;
    access->log = log;
    if (options->token_file && !load(access, error, size)) {
        access_free(access);
        return NULL;
    }
    return access;
}

void access_free(struct access *access)
{
    if (!access)
        return;
    free(access->tokens);
    free(access);
}

static bool is_changed(const struct access *access)
{
    struct stat status;

    return stat(access->options->token_file, &status) == 0 &&
           (status.st_mtim.tv_sec != access->changed.tv_sec ||
            status.st_mtim.tv_nsec != access->changed.tv_nsec || status.st_size != access->size);
}

/* One that cannot be read leaves the old tokens in force. */
static bool read_again(struct access *access)
{
    char error[512];
    bool good = load(access, error, sizeof error);

    if (good)
        log_info(access->log, "tokens_read", "The token file was read again",
                 log_u64("tokens", access->count));
    else
        log_error(access->log, "tokens_unreadable",
                  "The token file is unusable; the old tokens stay in force",
                  log_str("reason", error));
    return good;
}

/* A rotated file counts from the next client on. */
static void reload_if_changed(struct access *access)
{
    if (is_changed(access))
        read_again(access);
}

void access_reload(struct access *access, struct reload *reload)
{
    if (!access->options->token_file)
        return;
    bool changed = is_changed(access);
    if (!read_again(access))
        reload->failed++;
    else if (changed)
        reload->renewed++;
}

/* Points at the token in `Bearer X` or `Snowflake Token="X"`. */
static const char *token_of(const char *authorization, size_t *size)
{
    static const char bearer[] = "Bearer ";
    static const char snowflake[] = "Snowflake Token=\"";

    if (strncasecmp(authorization, bearer, sizeof bearer - 1) == 0) {
        const char *token = authorization + sizeof bearer - 1;
        *size = strlen(token);
        return token;
    }
    if (strncasecmp(authorization, snowflake, sizeof snowflake - 1) == 0) {
        const char *token = authorization + sizeof snowflake - 1;
        *size = strcspn(token, "\"");
        return token;
    }
    return NULL;
}

/* Looks at every token, so that the time does not tell which one came near. */
static const struct token *find(const struct access *access, const char *bytes, size_t size)
{
    const struct token *found = NULL;
    uint8_t wanted[DIGEST_SIZE];

    digest(bytes, size, wanted);
    for (size_t i = 0; i < access->count; i++)
        if (byte_equal_secret(wanted, access->tokens[i].digest, DIGEST_SIZE))
            found = &access->tokens[i];
    return found;
}

static const struct token *find_presented(const struct access *access,
                                          const struct http_request *request, bool *given)
{
    char authorization[AUTHORIZATION_MAX];
    size_t size = 0;

    http_request_header(request, "authorization", authorization, sizeof authorization);
    const char *token = token_of(authorization, &size);
    const struct token *found = token ? find(access, token, size) : NULL;
    *given = token != NULL;
    byte_wipe(authorization, sizeof authorization);
    return found;
}

int access_authorize(struct access *access, const struct http_upgrade *upgrade, char *identity,
                     const char **body)
{
    const struct options *options = access->options;
    const struct token *known = NULL;
    char subject[HTTP_IDENTITY_MAX] = "";

    if (upgrade->certificate)
        X509_NAME_oneline(X509_get_subject_name(upgrade->certificate), subject, sizeof subject);
    if (options->client_ca && !subject[0]) {
        *body = "this tunnel wants a client certificate\n";
        return 401;
    }
    if (options->token_file) {
        bool given;
        reload_if_changed(access);
        known = find_presented(access, upgrade->request, &given);
        if (!known) {
            log_warning(access->log, "unauthorized", "A client without a valid token was refused",
                        log_str("peer", upgrade->peer), log_bool("token_given", given));
            *body = given ? "the token is not one of those that this tunnel accepts\n"
                          : "this tunnel wants a token: Authorization: Bearer ...\n";
            return 401;
        }
    }
    const char *who = options->client_ca ? subject : known ? known->name : "anonymous";
    snprintf(identity, HTTP_IDENTITY_MAX, "%s", who);
    char user[HTTP_IDENTITY_MAX];
    if (options->trust_ingress &&
        http_request_header(upgrade->request, "sf-context-current-user", user, sizeof user) &&
        user[0])
        snprintf(identity, HTTP_IDENTITY_MAX, "%s", user);
    return 101;
}

#include "credentials/credential_options.h"

#include <stdio.h>
#include <string.h>

#include "config/secret.h"
#include "credentials/request_headers.h"
#include "credentials/snowflake_jwt.h"
#include "io/socket.h"

static bool fail_credential_option(char *error, size_t size, const char *what, const char *why)
{
    snprintf(error, size, "%s: %s", what, why);
    return false;
}

static bool is_loopback_host(const char *host)
{
    struct socket_address address;

    if (socket_parse(host, 0, &address))
        return socket_is_loopback(&address);
    return address_same_host(host, "localhost");
}

static bool is_protected(const struct url *url)
{
    return url->tls || is_loopback_host(url->host);
}

/* ---- where tokens come from */

static bool check_one_source(const struct options *options, bool *any, char *error, size_t size)
{
    const struct {
        const char *option;
        const char *value;
    } sources[] = {{"--token", options->token},
                   {"--token-file", options->token_file},
                   {"--token-command", options->token_command},
                   {"--private-key-file", options->private_key_file}};
    const char *first = NULL;

    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        if (!sources[i].value)
            continue;
        if (first) {
            snprintf(error, size, "%s and %s cannot be used together: choose one", first,
                     sources[i].option);
            return false;
        }
        first = sources[i].option;
    }
    *any = first != NULL;
    return true;
}

const char *credential_options_check_token(const struct options *options, const char *token,
                                           size_t size)
{
    const char *why = secret_check_token(token, size);

    if (!why && options_use_snowflake(options) &&
        (memchr(token, '"', size) || memchr(token, '\\', size)))
        return "contains a quotation mark or a backslash, which no Snowflake token does";
    return why;
}

/* What is wrong with a token that cannot change is said at once. */
static bool check_given_token(const struct options *options, char *error, size_t size)
{
    size_t token_size = options->token ? strlen(options->token) : 0;
    const char *token = options->token ? secret_trim(options->token, &token_size) : NULL;
    const char *why = token ? credential_options_check_token(options, token, token_size) : NULL;

    if (!why)
        return true;
    snprintf(error, size, "--token (TUNNEL_TOKEN): the token %s", why);
    return false;
}

/* ---- key pair */

/* Which option of the key pair is there, so that the others are missed; NULL: none is. */
static const char *given_of_pair(const struct options *options)
{
    if (options->private_key_file)
        return "--private-key-file";
    if (options->snowflake_account)
        return "--snowflake-account";
    if (options->snowflake_user)
        return "--snowflake-user";
    if (options->snowflake_role)
        return "--snowflake-role";
    if (options->snowflake_url)
        return "--snowflake-url";
    if (options->private_key_passphrase_file)
        return "--private-key-passphrase-file";
    return options->private_key_passphrase ? "--private-key-passphrase" : NULL;
}

static const char *missing_of_pair(const struct options *options)
{
    if (!options->private_key_file)
        return "--private-key-file";
    if (!options->snowflake_account)
        return "--snowflake-account";
    return options->snowflake_user ? NULL : "--snowflake-user";
}

/* Only the host is the user's to say: the path of the token endpoint is always the same. */
static const char *check_no_path(const char *url)
{
    const char *host = strstr(url, "://");
    const char *path = host ? strchr(host + 3, '/') : NULL;

    return path && path[1] ? "give https://HOST[:PORT] without a path" : NULL;
}

static bool set_token_url(struct options *options, char *error, size_t size)
{
    const char *text = options->snowflake_url;
    const char *why;

    if (!text) {
        options->token_url = (struct url){.tls = true, .port = 443};
        snowflake_account_host(options->snowflake_account, options->token_url.host);
        return true;
    }
    why = url_parse(text, &options->token_url);
    if (!why)
        why = check_no_path(text);
    if (!why && !is_protected(&options->token_url))
        why = "the credentials would be sent unencrypted: use https://";
    /* The URL may hold a password: it is not repeated. */
    return why ? fail_credential_option(error, size, "--snowflake-url", why) : true;
}

static bool check_pair(struct options *options, char *error, size_t size)
{
    const char *given = given_of_pair(options);
    const char *missing = given ? missing_of_pair(options) : NULL;
    const char *why;

    if (missing) {
        snprintf(error, size, "%s requires %s, for key-pair authentication", given, missing);
        return false;
    }
    if (!given)
        return true;
    if (!shared_check_passphrase("private-key", options->private_key_file,
                                 options->private_key_passphrase,
                                 options->private_key_passphrase_file, error, size))
        return false;
    why = snowflake_check_account(options->snowflake_account);
    if (why)
        return fail_credential_option(error, size, "--snowflake-account", why);
    why = snowflake_check_user(options->snowflake_user);
    if (why)
        return fail_credential_option(error, size, "--snowflake-user", why);
    why = options->snowflake_role ? snowflake_check_role(options->snowflake_role) : NULL;
    if (why)
        return fail_credential_option(error, size, "--snowflake-role", why);
    return set_token_url(options, error, size);
}

/* ---- all of them */

bool credential_options_check(struct options *options, char *error, size_t size)
{
    bool token;

    if (!check_one_source(options, &token, error, size) ||
        !check_given_token(options, error, size) || !check_pair(options, error, size) ||
        !request_headers_check(&options->header, token, error, size))
        return false;
    if (!options->cert != !options->key) {
        snprintf(error, size, "--cert and --key must be used together: %s is missing",
                 options->cert ? "--key" : "--cert");
        return false;
    }
    if (!shared_check_passphrase("key", options->key, options->key_passphrase,
                                 options->key_passphrase_file, error, size))
        return false;
    if ((token || options->header.count > 0) && !is_protected(&options->url)) {
        snprintf(error, size, "--server %s: %s would be sent unencrypted: use https://",
                 options->server, token ? "a token" : "the value of --header");
        return false;
    }
    return true;
}

#include "broker_login/login_rules.h"

#include <stdio.h>
#include <string.h>

#include "base/pattern.h"
#include "sasl/exchange.h"

static const struct rule_key keys[] = {
    {"identity", offsetof(struct login_rule, identities)},
    {"cluster", offsetof(struct login_rule, clusters)},
    {"mechanism", offsetof(struct login_rule, mechanism_name)},
    {"user", offsetof(struct login_rule, user)},
    {"password-file", offsetof(struct login_rule, password_file)},
    {"password-command", offsetof(struct login_rule, password_command)},
    {"token-file", offsetof(struct login_rule, token_file)},
    {"token-command", offsetof(struct login_rule, token_command)},
    {"token-endpoint-url", offsetof(struct login_rule, token_endpoint_url)},
    {"token-endpoint-ca", offsetof(struct login_rule, token_endpoint_ca)},
    {"client-id", offsetof(struct login_rule, client_id)},
    {"client-secret-file", offsetof(struct login_rule, client_secret_file)},
    {"client-secret-command", offsetof(struct login_rule, client_secret_command)},
    {"client-auth", offsetof(struct login_rule, client_auth)},
    {"scope", offsetof(struct login_rule, scope)},
    {"audience", offsetof(struct login_rule, audience)},
    {"delegation-token", offsetof(struct login_rule, delegation_token_text)},
    {"client-sasl", offsetof(struct login_rule, client_sasl)},
    {"certificate", offsetof(struct login_rule, certificate)},
    {"key", offsetof(struct login_rule, key)},
    {"key-passphrase-file", offsetof(struct login_rule, key_passphrase_file)},
};

static const struct rule_form form = {
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .rule_size = sizeof(struct login_rule),
    .rules_max = LOGIN_RULES_MAX,
    .example = "orders.user=svc-orders",
    .main_keys = "identity, cluster, mechanism, user and password-file",
};

/* What asking a token endpoint needs beside its address. */
static const char *find_endpoint_key(const struct login_rule *rule)
{
    return rule->token_endpoint_ca       ? "a token-endpoint-ca"
           : rule->client_id             ? "a client-id"
           : rule->client_secret_file    ? "a client-secret-file"
           : rule->client_secret_command ? "a client-secret-command"
           : rule->client_auth           ? "a client-auth"
           : rule->scope                 ? "a scope"
           : rule->audience              ? "an audience"
                                         : NULL;
}

static const char *find_token_key(const struct login_rule *rule)
{
    return rule->token_file           ? "a token-file"
           : rule->token_command      ? "a token-command"
           : rule->token_endpoint_url ? "a token-endpoint-url"
                                      : find_endpoint_key(rule);
}

/* For each mechanism: what only others use, or NULL. */
static const char *find_foreign_key(const struct login_rule *rule)
{
    bool scram = rule->mechanism == SASL_SCRAM_SHA_256 || rule->mechanism == SASL_SCRAM_SHA_512;
    bool passwords = scram || rule->mechanism == SASL_PLAIN;
    const char *token = rule->mechanism == SASL_OAUTHBEARER ? NULL : find_token_key(rule);

    if (rule->user && !passwords)
        return "a user";
    if (rule->password_file && !passwords)
        return "a password-file";
    if (rule->password_command && !passwords)
        return "a password-command";
    if (token)
        return token;
    return rule->delegation_token_text && !scram ? "a delegation-token" : NULL;
}

/* Of a token endpoint's client. */
static const char *check_client(const struct login_rule *rule)
{
    if (!rule->client_id)
        return "has a token-endpoint-url, but no client-id";
    if (!rule->client_secret_file && !rule->client_secret_command)
        return "needs a client-secret-file or a client-secret-command";
    if (rule->client_secret_file && rule->client_secret_command)
        return "has both a client-secret-file and a client-secret-command; remove one of the two";
    if (rule->client_auth && strcmp(rule->client_auth, "basic") != 0 &&
        strcmp(rule->client_auth, "post") != 0)
        return "has a client-auth that is neither basic nor post";
    return NULL;
}

static const char *check_token(const struct login_rule *rule)
{
    int origins = !!rule->token_file + !!rule->token_command + !!rule->token_endpoint_url;

    if (origins == 0)
        return "needs a token-file, a token-command or a token-endpoint-url";
    if (origins > 1)
        return "has more than one of token-file, token-command and token-endpoint-url";
    if (rule->token_endpoint_url)
        return check_client(rule);
    return find_endpoint_key(rule) ? "has parts of a token endpoint's client, but no "
                                     "token-endpoint-url"
                                   : NULL;
}

/* NULL, or what is wrong with the rule. */
static const char *check_login_secrets(const struct login_rule *rule)
{
    if (rule->mechanism == SASL_OAUTHBEARER)
        return check_token(rule);
    if (!rule->user)
        return "has no user";
    if (strlen(rule->user) > SASL_USER_MAX)
        return "has a user whose name is longer than 255 bytes";
    if (rule->password_file && rule->password_command)
        return "has both a password-file and a password-command; remove one of the two";
    return rule->password_file || rule->password_command
               ? NULL
               : "needs a password-file or a password-command";
}

/* Clients that log in themselves: nothing is left to say. */
static const char *check_passing(const struct login_rule *rule)
{
    if (rule->mechanism_name)
        return "has client-sasl=pass, so that clients log in themselves, and a mechanism; remove "
               "one of the two";
    return find_foreign_key(rule) ? "has client-sasl=pass, so that clients log in themselves, and "
                                    "a login of its own"
                                  : NULL;
}

static const char *check_switches(struct login_rule *rule)
{
    const char *token = rule->delegation_token_text;

    if (token && strcmp(token, "true") != 0 && strcmp(token, "false") != 0)
        return "has a delegation-token that is neither true nor false";
    rule->delegation_token = token && strcmp(token, "true") == 0;
    if (rule->client_sasl && strcmp(rule->client_sasl, "pass") != 0 &&
        strcmp(rule->client_sasl, "refuse") != 0)
        return "has a client-sasl that is neither refuse nor pass";
    return NULL;
}

static const char *check_certificate(const struct login_rule *rule)
{
    if (!rule->certificate != !rule->key)
        return "needs both a certificate and its key, or neither";
    return rule->key_passphrase_file && !rule->key ? "has a key-passphrase-file, but no key" : NULL;
}

/* Nobody logs in: the rule is for a certificate alone, and has nothing of a login. */
static const char *check_without_login(const struct login_rule *rule)
{
    if (!rule->certificate)
        return "has neither a mechanism nor a certificate";
    if (rule->client_sasl)
        return "has client-sasl=refuse, but no mechanism: the server does not log in there, and "
               "clients may do so themselves; remove it, or set a mechanism";
    return find_foreign_key(rule) ? "has parts of a login, but no mechanism" : NULL;
}

static const char *check_login_patterns(const struct login_rule *rule)
{
    const char *why = pattern_list_check(rule->identities);

    return why ? why : pattern_list_check(rule->clusters);
}

static int check_login_rule(struct login_rule *rule, char *error, size_t error_size)
{
    const char *why = check_login_patterns(rule);
    char what[160];

    if (!why)
        why = check_switches(rule);

    rule->mechanism =
        rule->mechanism_name ? sasl_mechanism_find(rule->mechanism_name) : SASL_MECHANISMS;
    if (!why && rule->mechanism_name && rule->mechanism == SASL_MECHANISMS)
        why = "has an unknown mechanism; there are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and "
              "OAUTHBEARER";
    if (!why)
        why = check_certificate(rule);
    if (!why && rule->client_sasl && strcmp(rule->client_sasl, "pass") == 0) {
        why = check_passing(rule);
    } else if (!why && !rule->mechanism_name) {
        why = check_without_login(rule);
    } else if (!why && find_foreign_key(rule)) {
        snprintf(what, sizeof what, "has %s, which %s does not use", find_foreign_key(rule),
                 sasl_mechanism_name(rule->mechanism));
        why = what;
    } else if (!why) {
        why = check_login_secrets(rule);
    }
    if (why)
        rule_file_say(&rule->head, why, error, error_size);
    return why ? -1 : 0;
}

int login_rules_parse(char *text, size_t size, struct rule_list *rules, char *error,
                      size_t error_size)
{
    if (rule_file_parse(&form, text, size, rules, error, error_size) != 0)
        return -1;
    struct login_rule *each = rules->rules;
    int result = rules->count > 0 ? 0 : -1;
    if (result != 0)
        snprintf(error, error_size, "holds no rules");
    for (size_t i = 0; result == 0 && i < rules->count; i++)
        result = check_login_rule(&each[i], error, error_size);
    if (result != 0)
        login_rules_free(rules);
    return result;
}

void login_rules_free(struct rule_list *rules)
{
    rule_file_free(&form, rules);
}

enum login_origin login_rule_origin(const struct login_rule *rule)
{
    if (rule->password_command || rule->token_command)
        return LOGIN_ORIGIN_COMMAND;
    if (rule->token_endpoint_url)
        return LOGIN_ORIGIN_ENDPOINT;
    return rule->password_file || rule->token_file ? LOGIN_ORIGIN_FILE : LOGIN_ORIGIN_NONE;
}

const char *login_rule_command(const struct login_rule *rule)
{
    return rule->password_command ? rule->password_command
           : rule->token_command  ? rule->token_command
                                  : rule->client_secret_command;
}

static bool are_same_texts(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool login_rule_names_same(const struct login_rule *a, const struct login_rule *b)
{
    return a->mechanism == b->mechanism && are_same_texts(a->user, b->user) &&
           are_same_texts(a->password_file, b->password_file) &&
           are_same_texts(a->password_command, b->password_command) &&
           are_same_texts(a->token_file, b->token_file) &&
           are_same_texts(a->token_command, b->token_command) &&
           are_same_texts(a->token_endpoint_url, b->token_endpoint_url) &&
           are_same_texts(a->token_endpoint_ca, b->token_endpoint_ca) &&
           are_same_texts(a->client_id, b->client_id) &&
           are_same_texts(a->client_secret_file, b->client_secret_file) &&
           are_same_texts(a->client_secret_command, b->client_secret_command) &&
           are_same_texts(a->client_auth, b->client_auth) && are_same_texts(a->scope, b->scope) &&
           are_same_texts(a->audience, b->audience);
}

bool login_rule_is_for(const struct login_rule *rule, const char *cluster)
{
    return pattern_list_fits(rule->clusters, cluster, strlen(cluster));
}

const struct login_rule *login_rules_find(const struct rule_list *rules, const char *identity,
                                          const char *cluster)
{
    const struct login_rule *each = rules->rules;

    for (size_t i = 0; i < rules->count; i++)
        if (pattern_list_fits(each[i].identities, identity, strlen(identity)) &&
            login_rule_is_for(&each[i], cluster))
            return &each[i];
    return NULL;
}

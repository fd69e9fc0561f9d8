/*
 * --kafka-login: who logs in how at the brokers, as the file lists it (config/rule_file.h):
 *
 *     # Rules in order; the first that fits identity and cluster counts.
 *     ci.identity=ci-*
 *     ci.cluster=main
 *     ci.mechanism=SCRAM-SHA-512
 *     ci.user=svc-ci
 *     ci.password-file=/run/secrets/ci
 *
 * identity is a list of patterns (base/pattern.h); without it the rule is for everybody. cluster is
 * a list of patterns for names of --kafka; without it the rule is for all. A file is taken as a
 * whole or not at all. No files here, no clock: files of secrets are named, not read, and commands
 * not run.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "config/rule_file.h"
#include "sasl/types.h"

#define LOGIN_RULES_MAX 1000

/* What a rule's lines say; each is NULL if there is no such line. */
struct login_rule {
    struct rule_head head;
    char *identities; /* the list, as it stands */
    char *clusters;
    char *mechanism_name;
    char *user;
    char *password_file;
    char *password_command;
    char *token_file; /* OAUTHBEARER: one of these three */
    char *token_command;
    char *token_endpoint_url; /* whom to ask, as a client with credentials (RFC 6749, 4.4) */
    char *token_endpoint_ca;
    char *client_id;
    char *client_secret_file;
    char *client_secret_command;
    char *client_auth; /* "basic" or "post" */
    char *scope;
    char *audience;
    char *delegation_token_text;
    char *client_sasl;
    char *certificate; /* to show to brokers, in place of --kafka-cert */
    char *key;
    char *key_passphrase_file;
    enum sasl_mechanism mechanism; /* SASL_MECHANISMS: nobody logs in for these clients */
    bool delegation_token;         /* SCRAM: user and password are a token's id and HMAC */
};

/* Where the secret of a rule comes from. */
enum login_origin {
    LOGIN_ORIGIN_NONE, /* it has none */
    LOGIN_ORIGIN_FILE,
    LOGIN_ORIGIN_COMMAND,
    LOGIN_ORIGIN_ENDPOINT, /* of tokens */
};

/* Takes text of size bytes apart, which is used up; text[size] must be writable. -1: error holds a
 * sentence part for after the file's name, "line 3: ...", without a value of the file. */
int login_rules_parse(char *text, size_t size, struct rule_list *rules, char *error,
                      size_t error_size);
/* Leaves *rules empty. */
void login_rules_free(struct rule_list *rules);

/* The first that fits; NULL: none, nobody logs in for this identity there. */
const struct login_rule *login_rules_find(const struct rule_list *rules, const char *identity,
                                          const char *cluster);
enum login_origin login_rule_origin(const struct login_rule *rule);
/* What has to be run for the rule's secret, or for that by which a token is asked for; NULL:
 * nothing. */
const char *login_rule_command(const struct login_rule *rule);
/* Whether both name the same secret, as far as their lines say. */
bool login_rule_names_same(const struct login_rule *a, const struct login_rule *b);
/* Whether the rule is for this cluster, whoever asks. */
bool login_rule_is_for(const struct login_rule *rule, const char *cluster);

/* tunnel-client's options: one table, from which flags, environment, file, --help and docs come. */
#pragma once

#include "config/address.h"
#include "config/shared.h"
#include "config/url.h"
#include "io/socket.h"
#include "listeners/kept_names.h"
#include "listeners/listener_tls.h"
#include "tls/tls_policy.h"

enum auth_scheme { AUTH_AUTO, AUTH_SNOWFLAKE, AUTH_BEARER };

/* As config_call counts them, in the order of the table in options.c. */
enum command {
    COMMAND_NONE,
    COMMAND_RUN,
    COMMAND_WAIT,
    COMMAND_DOCTOR,
    COMMAND_LISTENER_CA,
    COMMAND_HOSTS,
};

enum hosts_format { HOSTS_FORMAT_HOSTS, HOSTS_FORMAT_KUBERNETES, HOSTS_FORMAT_DOCKER };

struct options {
    struct config_call call;
    const char *server;
    struct config_list kafka;
    struct config_list tcp;
    struct config_list node_ports;
    bool keep_names;
    struct config_list keep_names_of;
    struct config_list keep_names_in;
    const char *name_network_text;
    const char *advertise;
    int listener_tls; /* enum listener_tls_mode */
    const char *listener_tls_cert;
    const char *listener_tls_key;
    const char *listener_tls_key_passphrase_file;
    const char *listener_tls_key_passphrase;
    const char *listener_client_ca;
    const char *listener_client_crl;
    struct config_list listener_name;
    const char *state_dir;
    struct config_list allow_users;
    const char *ca;
    const char *crl;
    const char *proxy;
    struct config_list resolve;
    const char *cert;
    const char *key;
    const char *key_passphrase_file;
    const char *key_passphrase;
    const char *token;
    const char *token_file;
    const char *token_command;
    int auth_scheme; /* enum auth_scheme */
    struct config_list header;
    const char *snowflake_account;
    const char *snowflake_user;
    const char *snowflake_role;
    const char *snowflake_url;
    const char *private_key_file;
    const char *private_key_passphrase;
    const char *private_key_passphrase_file;
    uint64_t connect_wait_ms;
    uint64_t dial_timeout_ms;
    int64_t links; /* of a session, at a time */
    uint64_t ready_timeout_ms;
    uint64_t max_ms;
    bool json;
    int hosts_format; /* enum hosts_format */
    bool allow_quit;
    struct shared_options shared;

    /* What the texts above say, parsed and checked. */
    struct tls_policy tls_policy;
    struct url url;
    struct url token_url; /* where a key pair is exchanged for tokens; its path means nothing */
    struct address_named *clusters;
    struct address_ports *cluster_ports; /* of the nodes of each; first 0: not given */
    size_t cluster_count;
    bool *cluster_keeps_names; /* of the brokers of each */
    bool keeps_names;          /* one of them does */
    struct name_network name_network;
    struct address_named *targets;
    size_t target_count;
    struct address wait_address;               /* of --status, for the command wait */
    char advertise_host[ADDRESS_HOST_MAX + 1]; /* "": none */
    struct socket_address status_address;      /* of --status, if that is given */
    enum listener_tls_mode listener_tls_mode;  /* never unset */
    char (*listener_hosts)[ADDRESS_HOST_MAX + 1];
    const char **listener_names; /* listener_hosts: what the local CA vouches for beside loopback */
    size_t listener_name_count;
};

extern const struct config_program options_program;

/* Checks what config_load() has read and fills in the parsed part. false: error holds a sentence.
 */
bool options_check(struct options *options, char *error, size_t size);
/* Whether a token is presented as Snowflake's ingress wants it. */
bool options_use_snowflake(const struct options *options);
/* Whether an entry NAME=VALUE of the environment holds a secret of the tunnel's, which no program
 * that is started needs. */
bool options_is_secret(const char *entry);
/* TUNNEL_NAME_SUFFIX: what the command of `run` finds a listener's address in. */
#define OPTIONS_VARIABLE_MAX (ADDRESS_NAME_MAX + sizeof "TUNNEL__BOOTSTRAP_SERVERS")
void options_variable(const char *name, const char *suffix, char out[OPTIONS_VARIABLE_MAX]);
/* Whether a token is shown to the server. */
bool options_has_token(const struct options *options);
/* What the listeners for Kafka need for TLS; of use unless listener_tls_mode is off. */
struct listener_tls_settings options_listener_tls(const struct options *options);
void options_free(struct options *options);

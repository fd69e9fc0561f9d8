/* tunnel-server's options: one table, from which flags, environment, file, --help and docs come. */
#pragma once

#include "config/address_rules.h"
#include "config/shared.h"
#include "io/socket.h"
#include "tls/tls_policy.h"

/* Names and addresses in --peers. */
#define PEERS_MAX 16

/* Where SPCS says who the user is. */
#define IDENTITY_HEADER_DEFAULT "Sf-Context-Current-User"

enum trust_ingress { TRUST_INGRESS_NO, TRUST_INGRESS_YES, TRUST_INGRESS_OPTIONAL };

/* Beside its work as a server. */
enum command { COMMAND_NONE, COMMAND_TOKEN, COMMAND_AUDIT };

struct options {
    struct config_call call; /* its command: enum command */
    const char *listen;
    struct config_list kafka;
    struct config_list tcp;
    bool check_brokers;
    struct config_list allow_brokers;
    struct config_list deny_brokers;
    bool kafka_tls;
    const char *kafka_ca;
    const char *kafka_crl;
    const char *kafka_cert;
    const char *kafka_key;
    const char *kafka_key_passphrase_file;
    const char *kafka_key_passphrase;
    const char *kafka_server_name;
    const char *kafka_login;
    const char *access_file;
    const char *path;
    struct config_list allow_origin;
    const char *tls_cert;
    const char *tls_key;
    const char *tls_key_passphrase_file;
    const char *tls_key_passphrase;
    const char *client_ca;
    const char *client_crl;
    const char *token_file;
    const char *oidc_issuer;
    struct config_list oidc_audience;
    const char *oidc_identity;
    struct config_list oidc_require;
    const char *oidc_ca;
    bool oidc_end_sessions;
    int identity_from; /* enum identity_from */
    int trust_ingress; /* enum trust_ingress */
    const char *identity_header;
    uint64_t connect_timeout_ms;
    uint64_t handshake_timeout_ms;
    uint64_t header_size;
    struct config_list peers;
    const char *peer_listen;
    const char *peer_secret_file;
    const char *peer_cert;
    const char *peer_key;
    const char *peer_key_passphrase_file;
    const char *peer_key_passphrase;
    const char *peer_ca;
    int64_t max_sessions;
    int64_t max_sessions_of; /* an identity; 0: its share */
    int64_t max_streams_of;  /* the same */
    int64_t max_dials;       /* of an identity, in a minute */
    int64_t max_links_of;    /* an identity; 0: no limit of its own, as the next three */
    int64_t max_new_links;   /* of an identity, in a minute */
    uint64_t max_bytes_up;   /* of an identity, in a second */
    uint64_t max_bytes_down;
    int64_t max_handshakes;
    int64_t max_links; /* of a session */
    int64_t workers;
    bool audit;
    const char *audit_log;
    bool audit_required;
    const char *expect;     /* of the command audit */
    const char *token_name; /* of the command token, as the next four */
    const char *token_rules;
    const char *token_until;
    const char *token_out;
    const char *token_from;
    struct shared_options shared;

    /* What the texts above say, parsed and checked. */
    struct tls_policy tls_policy;
    struct address listen_address;
    struct socket_address status_address; /* of --status, if that is given */
    struct address peer_listen_address;
    struct address peer_addresses[PEERS_MAX];
    size_t peer_count;
    struct address_rules node_rules; /* --allow-brokers, --deny-brokers */
    struct address_cluster *clusters;
    size_t cluster_count;
    struct address_named *targets;
    size_t target_count;
};

extern const struct config_program options_program;

/* Checks what config_load() has read and fills in the parsed part. false: error holds a sentence.
 */
bool options_check(struct options *options, char *error, size_t size);
/* config_is_secret() of this program. */
bool options_is_secret(const char *entry);
void options_free(struct options *options);

#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "authentication/certificate_identity.h"
#include "base/memory.h"
#include "config/url.h"
#include "http/field.h"
#include "io/congestion.h"
#include "io/crew.h"
#include "io/socket.h"
#include "monitoring/pages.h"
#include "mux/protocol.h"
#include "mux/session.h"
#include "oidc/oidc.h"

enum { IDENTITY_HEADER_MAX = 80 };

/* In the order of enum trust_ingress and enum identity_from. */
static const char *const trust_words[] = {"false", "true", "optional", NULL};
static const char *const identity_words[] = {"subject", "san-uri", "san-dns", "san-email", NULL};

static const struct config_option table[] = {
    {.name = "listen",
     .metavar = "ADDR:PORT",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, listen),
     .group = "Listening",
     .brief = "where clients connect; 127.0.0.1:8080",
     .help = "Address for tunnel clients, or for the ingress in front of the server.",
     .default_value = "127.0.0.1:8080"},
    {.name = "path",
     .metavar = "PATH",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, path),
     .group = "Listening",
     .help = "The URL path of the tunnel. A slash at its end makes no difference.",
     .default_value = "/tunnel"},
    {.name = "allow-origin",
     .metavar = "ORIGIN",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, allow_origin),
     .group = "Listening",
     .help = "Pages of this origin (https://example.com) may open a tunnel from a browser. Without "
             "it, no page may. tunnel-client does not need it."},
    {.name = "tls-cert",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, tls_cert),
     .group = "Listening",
     .brief = "certificate chain (PEM); without it, HTTP",
     .help = "Certificate chain (PEM). Without it the server speaks plain HTTP, for use behind an "
             "ingress that terminates TLS."},
    {.name = "tls-key",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, tls_key),
     .group = "Listening",
     .brief = "its private key (PEM)",
     .help = "Private key (PEM) of --tls-cert; it may be encrypted.",
     .flags = CONFIG_SECRET_FILE},
    SHARED_PASSPHRASE_OPTIONS(struct options, "tls-key", tls_key, "Listening"),
    {.name = "kafka",
     .metavar = "[NAME=]HOST:PORT,...",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, kafka),
     .group = "What is reachable",
     .brief = "a cluster's bootstrap brokers",
     .help = "A Kafka cluster: its bootstrap brokers, separated by commas; clients are connected "
             "to one that answers. Give each further cluster a name; the one without a name is "
             "called kafka.",
     .flags = CONFIG_SPLIT_NAMED},
    {.name = "tcp",
     .metavar = "NAME=HOST:PORT",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, tcp),
     .group = "What is reachable",
     .brief = "a raw target, such as a Schema Registry",
     .help = "A raw TCP target, for example a Schema Registry."},
    {.name = "check-brokers",
     .kind = CONFIG_BOOL,
     .offset = offsetof(struct options, check_brokers),
     .group = "Connections to brokers",
     .help = "Ask on each new connection to a broker whether it speaks Kafka (ApiVersions), before "
             "sending any of a client's bytes. Brokers before Kafka 0.10 cannot answer.",
     .default_value = "true"},
    {.name = "allow-brokers",
     .metavar = "NETWORK|NAME",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, allow_brokers),
     .group = "Connections to brokers",
     .help = "Connect to brokers that a cluster announces only if they are here: a network "
             "(10.1.0.0/16), an address, a host name, or *.example.com for the names below one. "
             "Without it, they may be anywhere except at link-local, multicast, broadcast and "
             "unspecified addresses; on loopback only if the bootstrap brokers are."},
    {.name = "deny-brokers",
     .metavar = "NETWORK|NAME",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, deny_brokers),
     .group = "Connections to brokers",
     .help = "Never connect to brokers that a cluster announces here, whatever --allow-brokers "
             "says. Neither option affects the brokers in --kafka."},
    {.name = "kafka-tls",
     .kind = CONFIG_BOOL,
     .offset = offsetof(struct options, kafka_tls),
     .group = "Connections to brokers",
     .help = "The brokers of all clusters speak TLS (listeners of the kinds SSL and SASL_SSL): the "
             "server encrypts, and Kafka clients keep using PLAINTEXT and SASL_PLAINTEXT."},
    {.name = "kafka-ca",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, kafka_ca),
     .group = "Connections to brokers",
     .help = "CA certificates (PEM) that brokers' certificates may be signed by, in addition to "
             "the system's: roots, intermediates, or the brokers' own."},
    {.name = "kafka-crl",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, kafka_crl),
     .group = "Connections to brokers",
     .help = "Lists of revoked certificates (PEM), one of each CA that takes part in a broker's "
             "certificate. A certificate of a CA without a list is refused. Read again when it "
             "changes."},
    {.name = "kafka-cert",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, kafka_cert),
     .group = "Connections to brokers",
     .help = "Client certificate chain (PEM) to present to brokers. To the brokers, all clients "
             "are then the user that it names."},
    {.name = "kafka-key",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, kafka_key),
     .group = "Connections to brokers",
     .help = "Private key (PEM) of --kafka-cert; it may be encrypted.",
     .flags = CONFIG_SECRET_FILE},
    SHARED_PASSPHRASE_OPTIONS(struct options, "kafka-key", kafka_key, "Connections to brokers"),
    {.name = "kafka-server-name",
     .metavar = "NAME",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, kafka_server_name),
     .group = "Connections to brokers",
     .help = "The name that every broker's certificate must be for, when it is not the host that "
             "the broker advertises."},
    {.name = "kafka-login",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, kafka_login),
     .group = "Connections to brokers",
     .help =
         "Rules by which the server logs in at brokers for its clients, by cluster and "
         "identity: mechanism, user, and a file or command for the password; or a token endpoint. "
         "Clients then need no Kafka login of their own. The file and those that it names are "
         "read again when they have changed."},
    {.name = "token-file",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, token_file),
     .group = "Who may connect",
     .brief = "accepted tokens, one per line",
     .help = "Accepted bearer tokens, one per line: sha256: and the token's digest, or the token "
             "itself; then until=DATE, if it expires, rule=RULE,... for rules of --access, and the "
             "user's name, all optional. tunnel-server token makes a token and its line. The file "
             "is read again when it has "
             "changed.",
     .flags = CONFIG_SECRET_FILE},
    {.name = "oidc-issuer",
     .metavar = "URL",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, oidc_issuer),
     .group = "Who may connect",
     .help = "Accept tokens (JWTs) that this OpenID provider has signed, such as those of CI jobs. "
             "Needs --oidc-audience and --oidc-require. HTTPS_PROXY and NO_PROXY count for the way "
             "there."},
    {.name = "oidc-audience",
     .metavar = "NAME",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, oidc_audience),
     .group = "Who may connect",
     .help = "Accept only tokens that are meant for this audience (aud)."},
    {.name = "oidc-require",
     .metavar = "CLAIM=PATTERN",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, oidc_require),
     .group = "Who may connect",
     .help = "Accept only tokens whose claim fits the pattern, in which * is any text and ? any "
             "character: repository=example/*. Each one must fit. In the environment, one per "
             "line.",
     .flags = CONFIG_SPLIT_LINES},
    {.name = "oidc-identity",
     .metavar = "CLAIM|TEXT",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, oidc_identity),
     .group = "Who may connect",
     .help = "The claim that identifies the client; or text in which each {CLAIM} stands for a "
             "claim: ci:{project_path}.",
     .default_value = "sub"},
    {.name = "oidc-ca",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, oidc_ca),
     .group = "Who may connect",
     .help = "CA certificates (PEM) for connections to the provider, in addition to the system's."},
    {.name = "oidc-end-sessions",
     .kind = CONFIG_BOOL,
     .offset = offsetof(struct options, oidc_end_sessions),
     .group = "Who may connect",
     .help = "Close a link when its token expires; the client carries its session on with a new "
             "token. Without it, a link may outlive its token.",
     .default_value = "true"},
    {.name = "access",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, access_file),
     .flags = CONFIG_RULES_FILE,
     .group = "Who may connect",
     .help = "Rules of who may do what: which clusters and targets, which Kafka APIs, with which "
             "topics and groups. What no rule allows is denied. The file is read again when it has "
             "changed."},
    {.name = "client-ca",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, client_ca),
     .group = "Who may connect",
     .help = "Clients must present a certificate that one of these CAs (PEM) has signed. Needs "
             "--tls-cert."},
    {.name = "client-crl",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, client_crl),
     .group = "Who may connect",
     .help = "Lists of revoked certificates (PEM), one of each CA that takes part in a client "
             "certificate: a certificate that is in its CA's list is refused, and so is one of a "
             "CA without a list. Read again when it changes. Needs --client-ca."},
    {.name = "identity-from",
     .kind = CONFIG_ENUM,
     .offset = offsetof(struct options, identity_from),
     .group = "Who may connect",
     .help = "The part of a client certificate that identifies the client: its subject (RFC 2253), "
             "or the one URI, DNS name or e-mail address in its subject alternative name; san-uri "
             "is for SPIFFE. Needs --client-ca.",
     .default_value = "subject",
     .values = identity_words},
    {.name = "trust-ingress",
     .kind = CONFIG_SWITCH,
     .offset = offsetof(struct options, trust_ingress),
     .group = "Who may connect",
     .brief = "an ingress has authenticated the clients",
     .help =
         "An ingress in front authenticates everybody (as in SPCS); the user it names in "
         "--identity-header goes to the log and owns the session. A request without exactly one "
         "such header is refused; with optional, a request without it is admitted as anonymous.",
     .values = trust_words},
    {.name = "identity-header",
     .metavar = "NAME",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, identity_header),
     .group = "Who may connect",
     .help = "The header in which the ingress names the user. It must replace what clients send "
             "under this name. Needs --trust-ingress.",
     .default_value = IDENTITY_HEADER_DEFAULT},
    {.name = "peers",
     .metavar = "HOST:PORT",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, peers),
     .group = "Several instances",
     .help = "The --peer-listen addresses of the other instances behind the same load balancer; a "
             "name means all its addresses (a dns: prefix changes nothing). A link is handed on to "
             "the instance that has its session. The list may include this instance."},
    {.name = "peer-listen",
     .metavar = "ADDR:PORT",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, peer_listen),
     .group = "Several instances",
     .help = "Where the other instances connect. Plain TCP unless there is a --peer-cert: it must "
             "not be reachable from outside the service."},
    {.name = "peer-secret-file",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, peer_secret_file),
     .group = "Several instances",
     .help = "File with a secret that all instances share. Needed unless TLS says who they are "
             "(--peer-cert).",
     .flags = CONFIG_SECRET_FILE},
    {.name = "peer-cert",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, peer_cert),
     .group = "Several instances",
     .help = "Certificate chain (PEM) of this instance, for TLS between the instances, both ways: "
             "for the host names by which --peers of the others name it."},
    {.name = "peer-key",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, peer_key),
     .group = "Several instances",
     .help = "Private key (PEM) of --peer-cert; it may be encrypted.",
     .flags = CONFIG_SECRET_FILE},
    SHARED_PASSPHRASE_OPTIONS(struct options, "peer-key", peer_key, "Several instances"),
    {.name = "peer-ca",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, peer_ca),
     .group = "Several instances",
     .help = "CA certificates (PEM) that have signed the certificates of the other instances, and "
             "of nobody else: whoever has one is an instance. The system's CAs do not count."},
    {.name = "connect-timeout",
     .metavar = "S",
     .kind = CONFIG_DURATION,
     .offset = offsetof(struct options, connect_timeout_ms),
     .group = "Limits",
     .help = "How long connecting to one broker or target may take, and then a broker's first "
             "answer.",
     .default_value = "5s",
     .min = 100,
     .max = 300 * 1000},
    {.name = "max-sessions",
     .metavar = "N",
     .kind = CONFIG_INTEGER,
     .offset = offsetof(struct options, max_sessions),
     .group = "Limits",
     .help = "Maximum number of sessions (one per client) at a time.",
     .default_value = "1000",
     .min = 1,
     .max = 1000000,
     .unit = "sessions"},
    {.name = "max-sessions-per-identity",
     .metavar = "N",
     .kind = CONFIG_INTEGER,
     .offset = offsetof(struct options, max_sessions_of),
     .group = "Limits",
     .help = "Sessions that one identity may have at a time; an anonymous client counts by its "
             "address. 0: no fixed limit. When none are left, an identity that has more than an "
             "equal share gives way.",
     .default_value = "0",
     .min = 0,
     .max = 1000000,
     .unit = "sessions"},
    {.name = "max-streams-per-identity",
     .metavar = "N",
     .kind = CONFIG_INTEGER,
     .offset = offsetof(struct options, max_streams_of),
     .group = "Limits",
     .help = "Connections that all sessions of one identity may have open at a time. 0: as many as "
             "descriptors (ulimit -n) and --memory allow and other identities leave.",
     .default_value = "0",
     .min = 0,
     .max = 1000000,
     .unit = "connections"},
    {.name = "max-dials-per-minute",
     .metavar = "N",
     .kind = CONFIG_INTEGER,
     .offset = offsetof(struct options, max_dials),
     .group = "Limits",
     .help = "Connections that one identity may ask for per minute, whether or not they succeed.",
     .default_value = "60000",
     .min = 1,
     .max = 1000000,
     .unit = "connections"},
    {.name = "max-links-per-identity",
     .metavar = "N",
     .kind = CONFIG_INTEGER,
     .offset = offsetof(struct options, max_links_of),
     .group = "Limits",
     .help = "Links (WebSockets) that one identity may have at a time, of all its sessions. A link "
             "that was lost counts until the server notices. 0: no fixed limit.",
     .default_value = "0",
     .min = 0,
     .max = 1000000,
     .unit = "links"},
    {.name = "max-links-per-minute",
     .metavar = "N",
     .kind = CONFIG_INTEGER,
     .offset = offsetof(struct options, max_new_links),
     .group = "Limits",
     .help = "Links (WebSockets) that one identity may open per minute, also to come back to its "
             "sessions; beyond it, a client is asked to wait (429). 0: no limit.",
     .default_value = "0",
     .min = 0,
     .max = 1000000,
     .unit = "links"},
    {.name = "max-rate-up",
     .metavar = "SIZE",
     .kind = CONFIG_SIZE,
     .offset = offsetof(struct options, max_bytes_up),
     .group = "Limits",
     .help = "Bytes per second that one identity may send to brokers and targets, by all its "
             "connections together. What is more is slowed down, never cut. 0: no limit.",
     .default_value = "0",
     .min = 0,
     .max = INT64_C(1) << 40},
    {.name = "max-rate-down",
     .metavar = "SIZE",
     .kind = CONFIG_SIZE,
     .offset = offsetof(struct options, max_bytes_down),
     .group = "Limits",
     .help = "The same for what it receives from brokers and targets.",
     .default_value = "0",
     .min = 0,
     .max = INT64_C(1) << 40},
    {.name = "max-links",
     .metavar = "N",
     .kind = CONFIG_INTEGER,
     .offset = offsetof(struct options, max_links),
     .group = "Limits",
     .help = "Maximum number of links (WebSockets) that one session may have at a time. A client "
             "adds links only where they help; --links of the client says how many. 1: none.",
     .default_value = "8",
     .min = 1,
     .max = MUX_LINKS_MAX,
     .unit = "links"},
    {.name = "workers",
     .metavar = "N",
     .kind = CONFIG_INTEGER,
     .offset = offsetof(struct options, workers),
     .group = "Limits",
     .help = "Threads that carry sessions, each session by one of them. 0: one for each two "
             "processors that the server may use, at most 4. More than one help only where many "
             "sessions together need more than one processor. Limits are those of all of them "
             "together.",
     .default_value = "0",
     .min = 0,
     .max = CREW_MAX,
     .unit = "workers"},
    {.name = "max-handshakes",
     .metavar = "N",
     .kind = CONFIG_INTEGER,
     .offset = offsetof(struct options, max_handshakes),
     .group = "Limits",
     .help = "Maximum number of connections between accept and upgrade at a time. When one more "
             "arrives, the oldest connection of the address that has the most gives way.",
     .default_value = "512",
     .min = 1,
     .max = 10000,
     .unit = "connections"},
    {.name = "max-header-size",
     .metavar = "SIZE",
     .kind = CONFIG_SIZE,
     .offset = offsetof(struct options, header_size),
     .group = "Limits",
     .help = "Maximum size of one request's headers. Tokens can be as large as 9 KB.",
     .default_value = "16KiB",
     .min = 1 << 10,
     .max = 1 << 20},
    {.name = "handshake-timeout",
     .metavar = "S",
     .kind = CONFIG_DURATION,
     .offset = offsetof(struct options, handshake_timeout_ms),
     .group = "Limits",
     .help = "How long a connection may take from accept to upgrade: TLS and the request.",
     .default_value = "10s",
     .min = 1000,
     .max = 300 * 1000},
    SHARED_LIMIT_OPTIONS(struct options),
    SHARED_TUNNEL_OPTIONS(struct options),
    SHARED_STOP_DELAY_OPTION(struct options, 0),
    SHARED_STATUS_OPTION(struct options, 0),
    {.name = "audit",
     .kind = CONFIG_BOOL,
     .offset = offsetof(struct options, audit),
     .group = "Log",
     .help = "One line (info) for each session and each connection when it ends: audit_session and "
             "audit_stream, with identity, addresses, bytes, duration and how it ended. --log-rate "
             "does not apply to them.",
     .default_value = "true"},
    {.name = "audit-log",
     .metavar = "FILE|stdout|syslog",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, audit_log),
     .group = "Log",
     .help = "Where audit records go, whatever --log-level says: who came, was refused or denied "
             "something, and how it ended, as JSON, each line tied to the one before by a hash. A "
             "file is made with mode 0600 and opened again after SIGHUP; syslog is the system's "
             "log (journald), or syslog:SOCKET."},
    {.name = "audit-required",
     .kind = CONFIG_BOOL,
     .offset = offsetof(struct options, audit_required),
     .group = "Log",
     .help = "While audit records cannot be written, accept no new sessions and connections, and "
             "be not ready (/readyz). Needs --audit-log.",
     .default_value = "false"},
    SHARED_SECRECY_OPTIONS(struct options),
    SHARED_CONFINE_OPTION(struct options,
                          "executing programs and changing files outside the directory of "
                          "--audit-log",
                          "With a command in --kafka-login, it may execute programs and change "
                          "files, and gives up fewer system calls.",
                          0),
    SHARED_LOG_OPTIONS(struct options),
    {.name = "name",
     .metavar = "NAME",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, token_name),
     .group = "Options of commands",
     .brief = "the user's name",
     .help = "The name of the user whom the token is for.",
     .commands = CONFIG_WITH(COMMAND_TOKEN)},
    {.name = "rule",
     .metavar = "RULE,...",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, token_rules),
     .group = "Options of commands",
     .brief = "the rules of --access that it has",
     .help = "The rules of --access that the user has, and no others. Without it, those that fit "
             "the name.",
     .commands = CONFIG_WITH(COMMAND_TOKEN)},
    {.name = "until",
     .metavar = "DATE|SPAN",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, token_until),
     .group = "Options of commands",
     .brief = "when it expires: 2027-01-31, 90d, 12h",
     .help = "When the token expires: at the end of a day (2027-01-31), at a time "
             "(2027-01-31T18:00:00Z), both in UTC, or after so many days or hours (90d, 12h). "
             "Without it, never.",
     .commands = CONFIG_WITH(COMMAND_TOKEN)},
    {.name = "out",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, token_out),
     .group = "Options of commands",
     .brief = "a new file for the token",
     .help = "Write the token into this file, which must not exist yet and is for its owner only, "
             "and print nothing but the line for --token-file.",
     .commands = CONFIG_WITH(COMMAND_TOKEN)},
    {.name = "from",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, token_from),
     .group = "Options of commands",
     .brief = "take the token in this file",
     .help = "Do not make a token; print the line for the one in this file.",
     .commands = CONFIG_WITH(COMMAND_TOKEN)},
    {.name = "expect",
     .metavar = "SEQUENCE:HASH",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, expect),
     .group = "Options of commands",
     .help = "A record that must be among those of audit verify, as the log (audit_head) or an "
             "earlier audit verify has told it.",
     .commands = CONFIG_WITH(COMMAND_AUDIT)},
};

static const struct config_command commands[] = {
    [COMMAND_TOKEN -
     1] = {.name = "token",
           .brief = "make a token for a client, and its line for --token-file",
           .example = "token --name alice --until 90d --out alice.token >>tokens",
           .help = "Make a random token and print it, and then its line for --token-file, which "
                   "holds a digest instead of the token: whoever reads that file learns no "
                   "token.",
           .own_options_only = true},
    [COMMAND_AUDIT -
        1] = {.name = "audit",
              .arguments = "verify FILE...",
              .plain_arguments = true,
              .brief = "verify that audit records are all there and unchanged",
              .example = "audit verify /var/log/kafka-tunnel/audit.log*",
              .help = "Verify that the audit records in files (-: standard input) are all there, "
                      "unchanged and in order, and say which are not. The exit code is 0, or 1 if "
                      "something is wrong, or 2 if a file cannot be read.",
              .own_options_only = true},
};

static const char *const examples[] = {
    "--listen 0.0.0.0:8443 --kafka broker1:9092 --token-file token \\\n"
    "      --tls-cert server.pem --tls-key server.key",
    "--listen 0.0.0.0:8080 --kafka localhost:9092 --trust-ingress",
    "--kafka test=b1:9092 --tcp registry=b2:8081 --token-file token", NULL};

const struct config_program options_program = {
    .name = "tunnel-server",
    .summary = "The broker side of a tunnel that carries Kafka connections through HTTPS.",
    .examples = examples,
    .options = table,
    .count = sizeof table / sizeof table[0],
    .commands = commands,
    .command_count = sizeof commands / sizeof commands[0],
    .call = offsetof(struct options, call),
};

bool options_is_secret(const char *entry)
{
    return config_is_secret(&options_program, entry);
}

static bool fail_server_option(char *error, size_t size, const char *option, const char *value,
                               const char *why)
{
    /* So that the reason has room whatever was given. */
    const char *cut = strlen(value) > 200 ? "..." : "";

    snprintf(error, size, "--%s %.200s%s: %s", option, value, cut, why);
    return false;
}

static bool name_taken(const struct options *options, const char *name)
{
    for (size_t i = 0; i < options->cluster_count; i++)
        if (strcmp(options->clusters[i].name, name) == 0)
            return true;
    for (size_t i = 0; i < options->target_count; i++)
        if (strcmp(options->targets[i].name, name) == 0)
            return true;
    return false;
}

static bool parse_clusters(struct options *options, char *error, size_t size)
{
    options->clusters = memory_new_array(options->kafka.count + 1, sizeof *options->clusters);
    for (size_t i = 0; i < options->kafka.count; i++) {
        struct address_cluster cluster;
        const char *why = address_parse_cluster(options->kafka.items[i], &cluster);
        if (!why && name_taken(options, cluster.name))
            why = "another --kafka already has this name (kafka, if none is given): list the "
                  "brokers of one cluster in one option, as in --kafka b1:9092,b2:9092; give a "
                  "second cluster its own name, as in --kafka NAME=b3:9092";
        if (!why && cluster.protocol == ADDRESS_PROTOCOL_TLS && !options->kafka_tls)
            why = "these brokers require TLS: add --kafka-tls, and --kafka-ca if their CA is your "
                  "own";
        if (!why && cluster.protocol == ADDRESS_PROTOCOL_PLAIN && options->kafka_tls)
            why = "these brokers speak plaintext, but --kafka-tls is for brokers that speak TLS";
        if (why)
            return fail_server_option(error, size, "kafka", options->kafka.items[i], why);
        options->clusters[options->cluster_count++] = cluster;
    }
    return true;
}

static bool parse_rules(const struct config_list *list, const char *option,
                        struct address_rule **rules, size_t *count, char *error, size_t size)
{
    *rules = memory_new_array(list->count + 1, sizeof **rules);
    for (size_t i = 0; i < list->count; i++) {
        const char *why = address_rule_parse(list->items[i], &(*rules)[i]);
        if (why)
            return fail_server_option(error, size, option, list->items[i], why);
        ++*count;
    }
    return true;
}

static bool parse_node_rules(struct options *options, char *error, size_t size)
{
    struct address_rules *rules = &options->node_rules;

    return parse_rules(&options->allow_brokers, "allow-brokers", &rules->allow, &rules->allow_count,
                       error, size) &&
           parse_rules(&options->deny_brokers, "deny-brokers", &rules->deny, &rules->deny_count,
                       error, size);
}

static bool parse_targets(struct options *options, char *error, size_t size)
{
    options->targets = memory_new_array(options->tcp.count + 1, sizeof *options->targets);
    for (size_t i = 0; i < options->tcp.count; i++) {
        struct address_named target;
        const char *why = address_parse_target(options->tcp.items[i], &target);
        if (!why && name_taken(options, target.name))
            why = "another --tcp or --kafka already has this name: each needs its own name";
        if (why)
            return fail_server_option(error, size, "tcp", options->tcp.items[i], why);
        options->targets[options->target_count++] = target;
    }
    return true;
}

/* Beyond loopback, somebody must be asked who they are. */
static bool check_access(const struct options *options, char *error, size_t size)
{
    struct socket_address address;

    if (!socket_parse(options->listen_address.host, options->listen_address.port, &address))
        return fail_server_option(error, size, "listen", options->listen, ADDRESS_NOT_NUMERIC);
    if (socket_is_loopback(&address) || options->token_file || options->oidc_issuer ||
        options->client_ca || options->trust_ingress)
        return true;
    snprintf(
        error, size,
        "--listen %s is reachable from other machines, and anyone there could use the brokers: add "
        "--token-file, --oidc-issuer, --client-ca, or --trust-ingress if an ingress in front "
        "authenticates",
        options->listen);
    return false;
}

/* What every client sends: it says nothing of who it is, or is a secret. */
static bool is_clients_field(const char *name)
{
    static const char *const names[] = {"Authorization", "Proxy-Authorization", "Cookie", "Origin",
                                        "User-Agent"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return http_is_framing(name, strlen(name));
}

static bool check_identity(const struct options *options, char *error, size_t size)
{
    const char *header = options->identity_header;
    size_t length = strlen(header);

    if (length == 0 || length > IDENTITY_HEADER_MAX || http_name_size(header) != length)
        return fail_server_option(
            error, size, "identity-header", header,
            "a header's name has letters, digits and hyphens, at most 80 of them");
    if (is_clients_field(header))
        return fail_server_option(
            error, size, "identity-header", header,
            "clients send this header themselves; the ingress must set its own header");
    if (!options->trust_ingress && strcasecmp(header, IDENTITY_HEADER_DEFAULT) != 0)
        return fail_server_option(error, size, "identity-header", header,
                                  "it has no effect without --trust-ingress");
    if (options->identity_from == IDENTITY_FROM_SUBJECT)
        return true;
    if (!options->client_ca)
        return fail_server_option(error, size, "identity-from",
                                  identity_words[options->identity_from],
                                  "it has no effect without --client-ca");
    if (options->trust_ingress)
        return fail_server_option(
            error, size, "identity-from", identity_words[options->identity_from],
            "with --trust-ingress a certificate is the ingress's, and --identity-header "
            "says who the client is");
    return true;
}

/* Many issuers give a token to whoever asks, for any audience: claims say whose it is. */
static bool check_oidc(const struct options *options, char *error, size_t size)
{
    const char *needs_issuer = options->oidc_audience.count > 0  ? "oidc-audience"
                               : options->oidc_require.count > 0 ? "oidc-require"
                               : options->oidc_ca                ? "oidc-ca"
                                                                 : NULL;

    if (!options->oidc_issuer && needs_issuer)
        snprintf(error, size, "--%s has no effect without --oidc-issuer", needs_issuer);
    if (!options->oidc_issuer)
        return needs_issuer == NULL;
    const char *why = claims_check_identity(options->oidc_identity);
    if (why)
        return fail_server_option(error, size, "oidc-identity", options->oidc_identity, why);
    for (size_t i = 0; i < options->oidc_require.count; i++) {
        why = claims_check_required(options->oidc_require.items[i]);
        if (why)
            return fail_server_option(error, size, "oidc-require", options->oidc_require.items[i],
                                      why);
    }
    why = oidc_check_issuer(options->oidc_issuer);
    if (!why && options->oidc_audience.count == 0)
        why = "add --oidc-audience, so that only tokens count that are meant for this tunnel";
    if (!why && options->oidc_require.count == 0)
        why = "add --oidc-require, to say who may connect of all that have a token of this issuer; "
              "sub=* means everybody";
    return !why || fail_server_option(error, size, "oidc-issuer", options->oidc_issuer, why);
}

static bool check_broker_tls(const struct options *options, char *error, size_t size)
{
    const char *needs_tls = options->kafka_ca                    ? "kafka-ca"
                            : options->kafka_crl                 ? "kafka-crl"
                            : options->kafka_cert                ? "kafka-cert"
                            : options->kafka_key                 ? "kafka-key"
                            : options->kafka_key_passphrase      ? "kafka-key-passphrase"
                            : options->kafka_key_passphrase_file ? "kafka-key-passphrase-file"
                            : options->kafka_server_name         ? "kafka-server-name"
                                                                 : NULL;

    if (needs_tls && !options->kafka_tls) {
        snprintf(error, size, "--%s has no effect without --kafka-tls", needs_tls);
        return false;
    }
    if (options->kafka_server_name) {
        char host[ADDRESS_HOST_MAX + 1];
        const char *why = address_parse_told_host(options->kafka_server_name, host);
        if (why)
            return fail_server_option(error, size, "kafka-server-name", options->kafka_server_name,
                                      why);
    }
    if (!options->kafka_cert != !options->kafka_key) {
        snprintf(error, size, "--kafka-cert and --kafka-key must be used together: %s is missing",
                 options->kafka_cert ? "--kafka-key" : "--kafka-cert");
        return false;
    }
    return shared_check_passphrase("kafka-key", options->kafka_key, options->kafka_key_passphrase,
                                   options->kafka_key_passphrase_file, error, size);
}

static bool parse_peers(struct options *options, char *error, size_t size)
{
    for (size_t i = 0; i < options->peers.count; i++) {
        const char *text = options->peers.items[i];
        bool prefixed = strncmp(text, "dns:", 4) == 0;
        const char *why =
            i == PEERS_MAX ? "there are too many of them; one name can mean several addresses"
                           : address_parse(prefixed ? text + 4 : text, &options->peer_addresses[i]);
        if (why)
            return fail_server_option(error, size, "peers", text, why);
        options->peer_count++;
    }
    if (!options->peer_listen && !options->peer_secret_file && !options->peer_cert &&
        options->peer_count == 0)
        return true;
    if (!options->peer_listen || options->peer_count == 0 ||
        (!options->peer_secret_file && !options->peer_cert)) {
        snprintf(error, size,
                 "--peers, --peer-listen, and --peer-secret-file or --peer-cert must be used "
                 "together: %s is missing",
                 options->peer_count == 0 ? "--peers"
                 : !options->peer_listen  ? "--peer-listen"
                                          : "--peer-secret-file or --peer-cert");
        return false;
    }
    struct socket_address address;
    const struct address *listen = &options->peer_listen_address;
    const char *why = address_parse_listen(options->peer_listen, &options->peer_listen_address);
    if (!why && !socket_parse(listen->host, listen->port, &address))
        why = ADDRESS_NOT_NUMERIC;
    return !why || fail_server_option(error, size, "peer-listen", options->peer_listen, why);
}

/* Who the others are is said by their certificates, or nobody says it. */
static bool check_peer_tls(const struct options *options, char *error, size_t size)
{
    const char *missing = !options->peer_cert  ? "--peer-cert"
                          : !options->peer_key ? "--peer-key"
                          : !options->peer_ca  ? "--peer-ca"
                                               : NULL;

    if (missing && (options->peer_cert || options->peer_key || options->peer_ca)) {
        snprintf(error, size,
                 "--peer-cert, --peer-key and --peer-ca must be used together: %s is missing",
                 missing);
        return false;
    }
    return shared_check_passphrase("peer-key", options->peer_key, options->peer_key_passphrase,
                                   options->peer_key_passphrase_file, error, size);
}

static bool check_tls(struct options *options, char *error, size_t size)
{
    char why[300];

    if (!tls_policy_choose(&options->tls_policy, options->shared.tls_min_version == 1,
                           options->shared.tls_ciphers, why, sizeof why))
        return fail_server_option(error, size, "tls-ciphers", options->shared.tls_ciphers, why);
    if (!options->tls_cert != !options->tls_key) {
        snprintf(error, size, "--tls-cert and --tls-key must be used together: %s is missing",
                 options->tls_cert ? "--tls-key" : "--tls-cert");
        return false;
    }
    if (options->client_crl && !options->client_ca) {
        snprintf(error, size, "--client-crl has no effect without --client-ca");
        return false;
    }
    if (options->client_ca && !options->tls_cert) {
        snprintf(error, size, "--client-ca needs TLS: add --tls-cert and --tls-key");
        return false;
    }
    return shared_check_passphrase("tls-key", options->tls_key, options->tls_key_passphrase,
                                   options->tls_key_passphrase_file, error, size);
}

/* What is asked for is compared as it comes, so it must be what clients send. */
static const char *path_problem(const char *path)
{
    const char *end = path + strlen(path);

    if (path[0] != '/')
        return "a path must begin with /";
    if (strchr(path, '?'))
        return "a path must not have a query (?...)";
    if (strchr(path, '#'))
        return "a path must not have a fragment (#...)";
    if (strstr(path, "//"))
        return "a path must not have an empty part (//): clients and proxies remove it";
    for (const char *at = path; at < end; at++)
        if (strncmp(at, "/.", 2) == 0 &&
            (at[2] == '/' || at[2] == '\0' || (at[2] == '.' && (at[3] == '/' || at[3] == '\0'))))
            return "a path must not have a part . or ..: clients and proxies remove it";
    if (strcmp(path, "/") == 0)
        return "the tunnel needs its own path, such as /tunnel, which tunnel-client uses when its "
               "URL has no path";
    return url_check_path(path);
}

static bool check_path(const struct options *options, char *error, size_t size)
{
    static const char *const taken[] = {"/healthz", "/readyz"};
    const char *problem = path_problem(options->path);
    size_t length = strlen(options->path);

    if (problem)
        return fail_server_option(error, size, "path", options->path, problem);
    if (options->path[length - 1] == '/')
        length--;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (strlen(taken[i]) == length && strncmp(options->path, taken[i], length) == 0)
            return fail_server_option(error, size, "path", options->path, "that is a health page");
    return true;
}

/* As a browser writes it: SCHEME://HOST[:PORT], and nothing else. */
static bool check_origins(const struct options *options, char *error, size_t size)
{
    for (size_t i = 0; i < options->allow_origin.count; i++) {
        const char *origin = options->allow_origin.items[i];
        const char *host = strstr(origin, "://");

        if (!host || host == origin || host[3] == '\0' ||
            strspn(host + 3,
                   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]") !=
                strlen(host + 3))
            return fail_server_option(
                error, size, "allow-origin", origin,
                "an origin is SCHEME://HOST or SCHEME://HOST:PORT, without a path");
    }
    return true;
}

static bool check_server_congestion(const struct options *options, char *error, size_t size)
{
    const char *name = options->shared.congestion_control;
    char why[600];

    return !name || congestion_check(name, why, sizeof why) ||
           fail_server_option(error, size, "congestion-control", name, why);
}

static bool check_audit(const struct options *options, char *error, size_t size)
{
    if (!options->audit_required || options->audit_log)
        return true;
    snprintf(error, size, "--audit-required has no effect without --audit-log");
    return false;
}

bool options_check(struct options *options, char *error, size_t size)
{
    const char *why = address_parse_listen(options->listen, &options->listen_address);

    if (options->call.command != COMMAND_NONE)
        return true;
    if (why)
        return fail_server_option(error, size, "listen", options->listen, why);
    if (!check_path(options, error, size) || !check_origins(options, error, size))
        return false;
    if (!parse_clusters(options, error, size) || !parse_targets(options, error, size) ||
        !parse_node_rules(options, error, size))
        return false;
    if (options->cluster_count + options->target_count == 0) {
        snprintf(error, size,
                 "nothing to reach: give --kafka broker:9092 (or --tcp NAME=host:port)");
        return false;
    }
    if ((options->cluster_count + options->target_count) * (MUX_NAME_MAX + 2) > MUX_OFFERS_MAX) {
        snprintf(error, size, "more than %u clusters and targets",
                 MUX_OFFERS_MAX / (MUX_NAME_MAX + 2));
        return false;
    }
    if (options->shared.status &&
        !pages_parse(options->shared.status, &options->status_address, error, size))
        return false;
    return parse_peers(options, error, size) && check_peer_tls(options, error, size) &&
           check_tls(options, error, size) && check_identity(options, error, size) &&
           check_oidc(options, error, size) && check_broker_tls(options, error, size) &&
           check_access(options, error, size) && check_audit(options, error, size) &&
           check_server_congestion(options, error, size);
}

void options_free(struct options *options)
{
    free(options->node_rules.allow);
    free(options->node_rules.deny);
    free(options->clusters);
    free(options->targets);
}

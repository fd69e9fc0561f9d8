#include "options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "config/proxy.h"
#include "io/congestion.h"
#include "io/socket.h"
#include "listeners/node_ports.h"
#include "monitoring/pages.h"
#include "mux/protocol.h"

static const char *const auth_schemes[] = {"auto", "snowflake", "bearer", NULL};
static const char *const hosts_formats[] = {"hosts", "kubernetes", "docker", NULL};

/* What the local CA is made for. */
#define LISTENER_COMMANDS                                                                          \
    (CONFIG_WITH(COMMAND_NONE) | CONFIG_WITH(COMMAND_RUN) | CONFIG_WITH(COMMAND_DOCTOR) |          \
     CONFIG_WITH(COMMAND_LISTENER_CA) | CONFIG_WITH(COMMAND_HOSTS))

static const struct config_option table[] = {
    {.name = "server",
     .metavar = "URL",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, server),
     .group = "The server",
     .brief = "where the server, or its ingress, is; required",
     .help = "https://HOST[:PORT][/PATH] of tunnel-server or of the ingress in front of it. The "
             "default path is /tunnel.",
     .flags = CONFIG_REQUIRED},
    {.name = "ca",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, ca),
     .group = "The server",
     .brief = "CA certificates (PEM) beside the system's",
     .help = "CA certificates (PEM) to trust in addition to the system's: roots, intermediates, or "
             "the server's own."},
    {.name = "crl",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, crl),
     .group = "The server",
     .help = "Lists of revoked certificates (PEM), one of each CA that takes part in the "
             "certificate of the server, of an https:// proxy, or of the token endpoint. A "
             "certificate of a CA without a list is refused. Read again when it changes."},
    {.name = "cert",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, cert),
     .group = "The server",
     .help = "Client certificate chain (PEM), for a server with --client-ca."},
    {.name = "key",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, key),
     .group = "The server",
     .help = "Private key (PEM) of --cert; it may be encrypted.",
     .flags = CONFIG_SECRET_FILE},
    SHARED_PASSPHRASE_OPTIONS(struct options, "key", key, "The server"),
    {.name = "proxy",
     .metavar = "URL|none",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, proxy),
     .group = "The server",
     .brief = "HTTP proxy; else HTTPS_PROXY and so on",
     .help = "http[s]://[USER:PASSWORD@]HOST[:PORT] of an HTTP proxy that is asked to CONNECT to "
             "the server, or socks5h://[USER:PASSWORD@]HOST[:PORT] of a SOCKS5 proxy; with "
             "socks5:// this machine looks the server's name up, not the proxy. Without it: "
             "https_proxy or HTTPS_PROXY (http_proxy for an http:// server), all_proxy or "
             "ALL_PROXY, except for this machine itself and for what no_proxy or NO_PROXY names; "
             "none uses no proxy.",
     .flags = CONFIG_SECRET},
    {.name = "resolve",
     .metavar = "HOST:PORT:ADDRESS",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, resolve),
     .group = "The server",
     .help =
         "Connect to ADDRESS for HOST:PORT, whatever the name service says; the certificate must "
         "still be HOST's. Also for a proxy. Repeat it to give one HOST:PORT several addresses."},
    {.name = "token",
     .metavar = "TOKEN",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, token),
     .group = "The server",
     .help = "Token to present. Other users of the machine may see a process's arguments: prefer "
             "TUNNEL_TOKEN or --token-file.",
     .flags = CONFIG_SECRET},
    {.name = "token-file",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, token_file),
     .group = "The server",
     .brief = "the token; read again for every link",
     .help = "File with the token; read again for every connection to the server.",
     .flags = CONFIG_SECRET_FILE},
    {.name = "token-command",
     .metavar = "COMMAND",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, token_command),
     .group = "The server",
     .help = "Command for /bin/sh that prints the token, as the first line of its output; run for "
             "every connection to the server, for at most --dial-timeout. What it writes to "
             "standard error is logged.",
     .flags = CONFIG_QUOTES},
    {.name = "auth-scheme",
     .metavar = "auto|snowflake|bearer",
     .kind = CONFIG_ENUM,
     .offset = offsetof(struct options, auth_scheme),
     .group = "The server",
     .help = "How the token is presented: snowflake is Authorization: Snowflake Token=\"...\", "
             "bearer is Authorization: Bearer ...; auto uses snowflake for "
             "*.snowflakecomputing.app hosts and for --private-key-file.",
     .default_value = "auto",
     .values = auth_schemes},
    {.name = "header",
     .metavar = "NAME:VALUE",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, header),
     .group = "The server",
     .help = "Header field to send with the request for the tunnel. Other users of the machine may "
             "see a process's arguments: for secrets, prefer TUNNEL_HEADER, one field per line.",
     .flags = CONFIG_SECRET | CONFIG_SPLIT_LINES},
    {.name = "private-key-file",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, private_key_file),
     .group = "Key pair of a Snowflake user",
     .brief = "key pair of a Snowflake user, instead of a token",
     .help = "RSA private key (PEM, PKCS#8 or PKCS#1; it may be encrypted) of --snowflake-user, "
             "used to ask for a token for every connection to the server.",
     .flags = CONFIG_SECRET_FILE},
    {.name = "private-key-passphrase-file",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, private_key_passphrase_file),
     .group = "Key pair of a Snowflake user",
     .help = "File whose first line is the passphrase of --private-key-file.",
     .flags = CONFIG_SECRET_FILE},
    {.name = "private-key-passphrase",
     .metavar = "PASSPHRASE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, private_key_passphrase),
     .group = "Key pair of a Snowflake user",
     .help = "Passphrase of --private-key-file. Other users of the machine may see a process's "
             "arguments: prefer the environment or --private-key-passphrase-file.",
     .flags = CONFIG_SECRET | CONFIG_QUOTES},
    {.name = "snowflake-account",
     .metavar = "ACCOUNT",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, snowflake_account),
     .group = "Key pair of a Snowflake user",
     .help = "Account identifier, without a domain: myorg-account1, xy12345.us-east-2.aws."},
    {.name = "snowflake-user",
     .metavar = "USER",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, snowflake_user),
     .group = "Key pair of a Snowflake user",
     .help = "User for whom the public key is registered (ALTER USER ... SET RSA_PUBLIC_KEY)."},
    {.name = "snowflake-role",
     .metavar = "ROLE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, snowflake_role),
     .group = "Key pair of a Snowflake user",
     .help = "Role that may use the service's endpoint; by default, the user's default role."},
    {.name = "snowflake-url",
     .metavar = "URL",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, snowflake_url),
     .group = "Key pair of a Snowflake user",
     .help = "https://HOST[:PORT] that issues tokens, for private links; by default, "
             "https://ACCOUNT.snowflakecomputing.com."},
    {.name = "kafka",
     .metavar = "[NAME=][ADDR:]PORT",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, kafka),
     .group = "Local listeners",
     .brief = "where Kafka clients connect; 9092 here",
     .help = "Bootstrap listener for the cluster that the server calls NAME (kafka). The listener "
             "for node N is at PORT + 1 + N mod 1000 unless --node-ports says otherwise. Without "
             "--kafka and --tcp it is 127.0.0.1:9092.",
     .commands = LISTENER_COMMANDS},
    {.name = "tcp",
     .metavar = "NAME=[ADDR:]PORT",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, tcp),
     .group = "Local listeners",
     .brief = "the same for a raw target of the server",
     .help = "Listener for the server's raw target NAME."},
    {.name = "node-ports",
     .metavar = "[NAME=]FIRST[-LAST]",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, node_ports),
     .group = "Local listeners",
     .help = "The ports of the listeners for the nodes of the cluster NAME (kafka), to be opened "
             "in a firewall or by docker -p: node N is at FIRST + N mod the number of ports, or at "
             "the next one of them that is free; no other ports are used. LAST is FIRST + 999 by "
             "default. Without --node-ports they are the 1000 ports above the bootstrap listener, "
             "or fewer, up to the next --kafka, --tcp or --node-ports; where these would be fewer "
             "than 50, the next 1000 that no other listener uses."},
    {.name = "keep-names",
     .kind = CONFIG_BOOL,
     .offset = offsetof(struct options, keep_names),
     .group = "Local listeners",
     .help = "Kafka clients get the brokers' own names and ports, and each name leads to an "
             "address of --name-network on this machine: for logins that are bound to the broker's "
             "name (GSSAPI, AWS_MSK_IAM), and for configurations that are to stay as they are. The "
             "command of run finds the names by itself (Linux); for other programs, "
             "`tunnel-client hosts` prints the lines that /etc/hosts needs."},
    {.name = "keep-names-of",
     .metavar = "NAME",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, keep_names_of),
     .group = "Local listeners",
     .help = "The same for the brokers of the cluster NAME only."},
    {.name = "keep-names-in",
     .metavar = "DOMAIN",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, keep_names_in),
     .group = "Local listeners",
     .help = "Keep only names in this domain: its own, and all that end in it. Brokers with other "
             "names are reached by an address. Without this option any broker may take any name; "
             "one in no domain of the server's --kafka is logged."},
    {.name = "name-network",
     .metavar = "NETWORK",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, name_network_text),
     .group = "Local listeners",
     .help = "The loopback addresses for names that are kept: a network within 127.0.0.0/8. Each "
             "name has an address of its own, which follows from the name, unless a line of "
             "/etc/hosts gives it another one in the network.",
     .default_value = "127.77.0.0/16"},
    {.name = "advertise",
     .metavar = "HOST",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, advertise),
     .group = "Local listeners",
     .help =
         "The host name that Kafka clients get for brokers, if it is not the listeners' address: "
         "the container's name, for a sidecar. An IPv6 address with or without brackets.",
     .commands = LISTENER_COMMANDS},
    {.name = "listener-tls",
     .metavar = "default|off|auto|optional|required",
     .kind = CONFIG_ENUM,
     .offset = offsetof(struct options, listener_tls),
     .group = "Local listeners",
     .help =
         "TLS on the listeners for Kafka, for clients set to SSL or SASL_SSL. optional takes TLS "
         "and plaintext on the same port, required only TLS; auto is optional on loopback and "
         "required on other addresses. Without --listener-tls-cert, the certificate comes from a "
         "local CA, which is made once; `tunnel-client listener-ca` says how clients trust it. "
         "default is auto with --listener-tls-cert, and off without. Raw targets (--tcp) are not "
         "concerned.",
     .default_value = "default",
     .values = listener_tls_modes},
    {.name = "listener-tls-cert",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, listener_tls_cert),
     .group = "Local listeners",
     .help = "Certificate chain (PEM) of the listeners for Kafka, instead of the local CA's. Read "
             "again when it changes.",
     .commands = LISTENER_COMMANDS},
    {.name = "listener-tls-key",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, listener_tls_key),
     .group = "Local listeners",
     .help = "Private key (PEM) of --listener-tls-cert; it may be encrypted.",
     .flags = CONFIG_SECRET_FILE},
    SHARED_PASSPHRASE_OPTIONS(struct options, "listener-tls-key", listener_tls_key,
                              "Local listeners"),
    {.name = "listener-client-ca",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, listener_client_ca),
     .group = "Local listeners",
     .help = "CA certificates (PEM) for clients' certificates. Where TLS is required, clients must "
             "show one that these CAs have signed; where it is optional, one that is shown must be "
             "such. Read again when it changes."},
    {.name = "listener-client-crl",
     .metavar = "FILE",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, listener_client_crl),
     .group = "Local listeners",
     .help = "Lists of revoked certificates (PEM) for --listener-client-ca, one of each CA. A "
             "certificate of a CA without a list is refused. Read again when it changes."},
    {.name = "listener-name",
     .metavar = "HOST",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, listener_name),
     .group = "Local listeners",
     .help = "Another host name or IP address by which clients reach the listeners, for the local "
             "CA's certificates. They always name localhost, 127.0.0.1, ::1, --advertise and the "
             "addresses that are listened on; brokers' names that are kept (--keep-names) as far "
             "as they, or their domains, are given here.",
     .commands = LISTENER_COMMANDS},
    {.name = "state-dir",
     .metavar = "DIR",
     .kind = CONFIG_STRING,
     .offset = offsetof(struct options, state_dir),
     .group = "Local listeners",
     .help = "Where the local CA is kept. By default $STATE_DIRECTORY (systemd), "
             "$XDG_STATE_HOME/kafka-tunnel or ~/.local/state/kafka-tunnel.",
     .commands = LISTENER_COMMANDS},
    {.name = "allow-users",
     .metavar = "me|NAME|any",
     .kind = CONFIG_LIST,
     .offset = offsetof(struct options, allow_users),
     .group = "Local listeners",
     .help = "Users of this machine, by name or number, who may use the listeners; me is the one "
             "that tunnel-client runs as. Connections of others are reset, and so are those from "
             "other machines, containers and network namespaces, whose user nobody knows. any "
             "allows all, and is the default. Linux only."},
    {.name = "connect-wait",
     .metavar = "S",
     .kind = CONFIG_DURATION,
     .offset = offsetof(struct options, connect_wait_ms),
     .group = "Local listeners",
     .help = "While there is no link to the server, new connections wait this long before they are "
             "reset.",
     .default_value = "10s",
     .min = 0,
     .max = 3600 * 1000},
    SHARED_LIMIT_OPTIONS(struct options),
    {.name = "dial-timeout",
     .metavar = "S",
     .kind = CONFIG_DURATION,
     .offset = offsetof(struct options, dial_timeout_ms),
     .group = "Tunnel",
     .help = "How long one attempt to reach the server may take, from the name's look-up to the "
             "upgrade.",
     .default_value = "15s",
     .min = 100,
     .max = 600 * 1000},
    {.name = "links",
     .metavar = "N",
     .kind = CONFIG_INTEGER,
     .offset = offsetof(struct options, links),
     .group = "Tunnel",
     .help = "Maximum number of links (WebSockets) to the server at a time. The client adds links "
             "only where they help: on a path that is long or loses packets. Each is "
             "authenticated like the first one. The server's --max-links may allow fewer. 1: only "
             "one link.",
     .default_value = "8",
     .min = 1,
     .max = MUX_LINKS_MAX,
     .unit = "links"},
    SHARED_TUNNEL_OPTIONS(struct options),
    SHARED_STOP_DELAY_OPTION(struct options, CONFIG_WITH(COMMAND_NONE)),
    SHARED_STATUS_OPTION(struct options, CONFIG_WITH(COMMAND_NONE) | CONFIG_WITH(COMMAND_RUN) |
                                             CONFIG_WITH(COMMAND_WAIT)),
    {.name = "allow-quit",
     .kind = CONFIG_BOOL,
     .offset = offsetof(struct options, allow_quit),
     .group = "Status",
     .help = "POST /quitquitquit at the --status address ends the program as SIGTERM does: for "
             "sidecars.",
     .commands = CONFIG_WITH(COMMAND_NONE) | CONFIG_WITH(COMMAND_RUN)},
    SHARED_SECRECY_OPTIONS(struct options),
    SHARED_CONFINE_OPTION(struct options, "executing programs and changing files",
                          "With run, that begins when the command has started, which keeps all; "
                          "with --token-command, nothing is given up.",
                          CONFIG_WITH(COMMAND_NONE) | CONFIG_WITH(COMMAND_RUN) |
                              CONFIG_WITH(COMMAND_DOCTOR)),
    SHARED_LOG_OPTIONS(struct options),
    {.name = "ready-timeout",
     .metavar = "S",
     .kind = CONFIG_DURATION,
     .offset = offsetof(struct options, ready_timeout_ms),
     .group = "Options of commands",
     .brief = "how long the tunnel may take to come up; 30s",
     .help = "How long the tunnel may take to come up before run or hosts gives up.",
     .default_value = "30s",
     .min = 100,
     .max = 3600 * 1000,
     .commands = CONFIG_WITH(COMMAND_RUN) | CONFIG_WITH(COMMAND_HOSTS)},
    {.name = "format",
     .kind = CONFIG_ENUM,
     .offset = offsetof(struct options, hosts_format),
     .group = "Options of commands",
     .help = "What hosts prints: lines for /etc/hosts, hostAliases for a pod's specification in "
             "Kubernetes, or --add-host for docker run.",
     .default_value = "hosts",
     .values = hosts_formats,
     .commands = CONFIG_WITH(COMMAND_HOSTS)},
    {.name = "json",
     .kind = CONFIG_BOOL,
     .offset = offsetof(struct options, json),
     .group = "Options of commands",
     .brief = "write one JSON object instead of lines",
     .help = "Write what was found as one JSON object instead of lines.",
     .commands = CONFIG_WITH(COMMAND_DOCTOR)},
    {.name = "max",
     .metavar = "S",
     .kind = CONFIG_DURATION,
     .offset = offsetof(struct options, max_ms),
     .group = "Options of commands",
     .brief = "maximum time to wait; 30s",
     .help = "Maximum time to wait.",
     .default_value = "30s",
     .min = 0,
     .max = 24 * 3600 * 1000,
     .commands = CONFIG_WITH(COMMAND_WAIT)},
};

static const struct config_default run_defaults[] = {
    {"log-level", "warning"}, {"drain-timeout", "5s"}, {NULL, NULL}};
static const struct config_default doctor_defaults[] = {
    {"log-level", "error"}, {"drain-timeout", "0s"}, {NULL, NULL}};
static const struct config_default hosts_defaults[] = {
    {"log-level", "error"}, {"drain-timeout", "0s"}, {NULL, NULL}};
static const struct config_default wait_defaults[] = {{"status", "127.0.0.1:9091"}, {NULL, NULL}};

static const char *const examples[] = {
    "--server https://kafka.example --token-file token",
    "doctor --server https://kafka.example --token-file token",
    "run --server https://kafka.example --token-file token -- ./tests", NULL};

static const struct config_command commands[] = {
    [COMMAND_RUN -
     1] = {.name = "run",
           .arguments = "COMMAND [ARG...]",
           .brief = "start the tunnel, run a command, and exit with its exit code",
           .example = "run --server https://kafka.example --token-file token -- ./tests",
           .help =
               "Start the tunnel, run COMMAND when it is ready, and exit with COMMAND's exit "
               "code. COMMAND finds the listeners in its environment: KAFKA_BOOTSTRAP_SERVERS "
               "for the cluster kafka (or the first one), TUNNEL_NAME_BOOTSTRAP_SERVERS for each "
               "other cluster NAME, TUNNEL_NAME_ADDRESS for each raw target NAME, with NAME in "
               "upper case and _ for - and .; it does not find the tunnel's secrets there.",
           .defaults = run_defaults},
    [COMMAND_WAIT - 1] = {.name = "wait",
                          .brief = "wait until a client that was started with --status is ready",
                          .example = "wait --max 60s",
                          .help = "Wait until a client that was started with --status is ready.",
                          .own_options_only = true,
                          .defaults = wait_defaults},
    [COMMAND_DOCTOR -
        1] = {.name = "doctor",
              .brief = "check the way to the brokers, layer by layer, and say what to do",
              .example = "doctor --server https://kafka.example --token-file token",
              .help = "Check the way to the brokers, layer by layer, and say what to do. The exit "
                      "code is 0, or says which layer fails: 10 configuration, 11 dns, 12 tcp, 13 "
                      "proxy, 14 tls, 15 http, 16 auth, 17 upgrade, 18 tunnel, 19 server, 20 "
                      "broker, 21 kafka, 22 target, 23 listener.",
              .defaults = doctor_defaults},
    [COMMAND_LISTENER_CA -
        1] = {.name = "listener-ca",
              .brief = "print the CA of --listener-tls, and how clients trust it",
              .help = "Print the local CA of --listener-tls, as PEM with comments that say how "
                      "clients of each family trust it. Makes it if there is none yet.",
              .own_options_only = true},
    [COMMAND_HOSTS - 1] = {.name = "hosts",
                           .brief = "print where --keep-names lets the brokers' names lead",
                           .help = "Ask the server for the brokers' names, and print the lines "
                                   "that let them lead to a tunnel-client that was started with "
                                   "--keep-names: for /etc/hosts, Kubernetes or Docker.",
                           .defaults = hosts_defaults},
};

const struct config_program options_program = {
    .name = "tunnel-client",
    .summary = "The client side of a tunnel that carries Kafka connections through HTTPS.",
    .examples = examples,
    .options = table,
    .count = sizeof table / sizeof table[0],
    .commands = commands,
    .command_count = sizeof commands / sizeof commands[0],
    .call = offsetof(struct options, call),
};

static bool fail_client_option(char *error, size_t size, const char *option, const char *value,
                               const char *why)
{
    snprintf(error, size, "--%s %s: %s", option, value, why);
    return false;
}

/* What is no address to listen on: an address of something behind the server, in all likelihood. */
static const char *explain_listener(const char *text, const char *host, bool cluster)
{
    if (strcasecmp(host, "localhost") == 0)
        return ADDRESS_NOT_NUMERIC;
    if (cluster && (strpbrk(text, ",/") || host[0]))
        return "this option says where tunnel-client listens on this machine, as in --kafka 9092; "
               "give the brokers' addresses to tunnel-server's --kafka";
    if (host[0] || strstr(text, "://"))
        return "this option says where tunnel-client listens on this machine, as in --tcp "
               "NAME=8081; give the target's address to tunnel-server's --tcp";
    return NULL;
}

static bool parse_listeners(const char *option, const struct config_list *list, const char *name,
                            struct address_named **listeners, size_t *count, char *error,
                            size_t size)
{
    *listeners = memory_new_array(list->count + 1, sizeof **listeners);
    for (size_t i = 0; i < list->count; i++) {
        struct address_named *listener = &(*listeners)[*count];
        struct socket_address address;
        const char *why = address_parse_named_listen(list->items[i], name, listener);
        bool is_listener = !why && socket_parse(listener->address.host, 0, &address);
        if (!is_listener) {
            const char *meant =
                explain_listener(list->items[i], why ? "" : listener->address.host, name != NULL);
            why = meant ? meant : why ? why : ADDRESS_NOT_NUMERIC;
        }
        for (size_t other = 0; !why && other < *count; other++)
            if (strcmp((*listeners)[other].name, listener->name) == 0)
                why = "another --kafka or --tcp already has this name (kafka, if none is given): "
                      "each needs its own name, as in --kafka NAME=9192";
        if (why)
            return fail_client_option(error, size, option, list->items[i], why);
        ++*count;
    }
    return true;
}

/* Bootstrap listeners and raw targets, as node_ports.h wants them; the caller frees it. */
static struct node_ports *list_listeners(const struct options *options, size_t *count)
{
    struct node_ports *all;

    *count = options->cluster_count + options->target_count;
    all = memory_new_array(*count + 1, sizeof *all);
    for (size_t i = 0; i < *count; i++) {
        bool cluster = i < options->cluster_count;
        const struct address_named *listener =
            cluster ? &options->clusters[i] : &options->targets[i - options->cluster_count];
        all[i] = (struct node_ports){.name = listener->name,
                                     .host = listener->address.host,
                                     .port = listener->address.port,
                                     .cluster = cluster};
        if (cluster)
            all[i].nodes = options->cluster_ports[i];
    }
    return all;
}

static const char *set_node_ports_option(struct options *options,
                                         const struct address_named_ports *given, size_t *cluster)
{
    for (size_t i = 0; i < options->cluster_count; i++) {
        if (strcmp(options->clusters[i].name, given->name) != 0)
            continue;
        if (options->cluster_ports[i].first != 0)
            return "--node-ports is given twice for this cluster (kafka, if no name is given)";
        options->cluster_ports[i] = given->ports;
        *cluster = i;
        return NULL;
    }
    return "there is no --kafka of that name";
}

static bool parse_node_ports(struct options *options, char *error, size_t size)
{
    options->cluster_ports =
        memory_new_array(options->cluster_count + 1, sizeof *options->cluster_ports);
    for (size_t i = 0; i < options->node_ports.count; i++) {
        const char *text = options->node_ports.items[i];
        struct address_named_ports given;
        char met[2 * ADDRESS_NAME_MAX];
        size_t cluster = 0;
        const char *why = address_parse_ports(text, &given);
        if (!why)
            why = set_node_ports_option(options, &given, &cluster);
        if (!why) {
            size_t count;
            struct node_ports *all = list_listeners(options, &count);
            if (!node_ports_check(all, count, cluster, met, sizeof met))
                why = met;
            free(all);
        }
        if (why)
            return fail_client_option(error, size, "node-ports", text, why);
    }
    return true;
}

static bool keep_names_of(struct options *options, const char *name)
{
    for (size_t i = 0; i < options->cluster_count; i++) {
        if (strcmp(options->clusters[i].name, name) != 0)
            continue;
        options->cluster_keeps_names[i] = true;
        return true;
    }
    return false;
}

static bool check_kept_clusters(const struct options *options, char *error, size_t size)
{
    for (size_t i = 0; i < options->cluster_count; i++)
        if (options->cluster_keeps_names[i] && options->cluster_ports[i].first != 0) {
            snprintf(error, size,
                     "--node-ports has no effect for %s, whose brokers keep their own ports "
                     "(--keep-names)",
                     options->clusters[i].name);
            return false;
        }
#ifndef __linux__
    if (options->call.command == COMMAND_RUN && options->keeps_names) {
        snprintf(error, size,
                 "run --keep-names needs Linux: elsewhere, start tunnel-client --keep-names, and "
                 "add the lines that `tunnel-client hosts` prints to /etc/hosts");
        return false;
    }
#endif
    return true;
}

/* The command hosts is about names that are kept, whether another one is told to keep them or not.
 */
static bool parse_keep_names(struct options *options, char *error, size_t size)
{
    bool all = options->keep_names ||
               (options->call.command == COMMAND_HOSTS && options->keep_names_of.count == 0);
    const char *why = name_network_parse(options->name_network_text, &options->name_network);

    if (why)
        return fail_client_option(error, size, "name-network", options->name_network_text, why);
    options->cluster_keeps_names =
        memory_new_array(options->cluster_count + 1, sizeof *options->cluster_keeps_names);
    for (size_t i = 0; i < options->cluster_count; i++)
        options->cluster_keeps_names[i] = all;
    for (size_t i = 0; i < options->keep_names_of.count; i++)
        if (!keep_names_of(options, options->keep_names_of.items[i]))
            return fail_client_option(error, size, "keep-names-of", options->keep_names_of.items[i],
                                      "there is no --kafka of that name");
    for (size_t i = 0; i < options->keep_names_in.count; i++) {
        why = kept_names_check_domain(options->keep_names_in.items[i]);
        if (why)
            return fail_client_option(error, size, "keep-names-in", options->keep_names_in.items[i],
                                      why);
    }
    options->keeps_names = (all && options->cluster_count > 0) || options->keep_names_of.count > 0;
    if (all && !options->keeps_names) {
        snprintf(error, size, "--keep-names has no effect without a --kafka");
        return false;
    }
    if (options->keep_names_in.count > 0 && !options->keeps_names) {
        snprintf(error, size, "--keep-names-in has no effect without --keep-names");
        return false;
    }
    return check_kept_clusters(options, error, size);
}

static bool parse_advertise(struct options *options, char *error, size_t size)
{
    const char *why = NULL;

    if (options->advertise)
        why = address_parse_told_host(options->advertise, options->advertise_host);
    return why ? fail_client_option(error, size, "advertise", options->advertise, why) : true;
}

/* The proxy's URL is checked where it is used (http_way_new()); it is never quoted. */
static bool check_resolve(const struct options *options, char *error, size_t size)
{
    for (size_t i = 0; i < options->resolve.count; i++) {
        struct address_override override;
        const char *why = address_parse_override(options->resolve.items[i], &override);
        if (why)
            return fail_client_option(error, size, "resolve", options->resolve.items[i], why);
    }
    return true;
}

bool options_use_snowflake(const struct options *options)
{
    static const char suffix[] = ".snowflakecomputing.app";
    size_t size = address_host_size(options->url.host);

    if (options->auth_scheme != AUTH_AUTO)
        return options->auth_scheme == AUTH_SNOWFLAKE;
    return options->private_key_file ||
           (size >= sizeof suffix - 1 && strncasecmp(options->url.host + size - (sizeof suffix - 1),
                                                     suffix, sizeof suffix - 1) == 0);
}

bool options_is_secret(const char *entry)
{
    return config_is_secret(&options_program, entry);
}

void options_variable(const char *name, const char *suffix, char out[OPTIONS_VARIABLE_MAX])
{
    snprintf(out, OPTIONS_VARIABLE_MAX, "TUNNEL_%s_%s", name, suffix);
    for (char *at = out; *at; at++)
        *at = *at == '-' || *at == '.' ? '_' : (char)toupper((unsigned char)*at);
}

/* Of the client that is waited for: it may be named. */
static bool check_wait(struct options *options, char *error, size_t size)
{
    const char *why = address_parse_listen(options->shared.status, &options->wait_address);

    if (!why && options->wait_address.port == 0)
        why = "you cannot connect to port 0: give the port that the client's log names";
    if (why)
        return fail_client_option(error, size, "status", options->shared.status, why);
    /* What listens everywhere is reached on loopback. */
    if (strcmp(options->wait_address.host, "0.0.0.0") == 0)
        strcpy(options->wait_address.host, "127.0.0.1");
    else if (strcmp(options->wait_address.host, "::") == 0)
        strcpy(options->wait_address.host, "::1");
    return true;
}

/* Two names must not make one variable of the command's environment. */
static bool check_variables(const char *option, const struct address_named *all, size_t count,
                            const char *suffix, char *error, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t other = 0; other < i; other++) {
            char mine[OPTIONS_VARIABLE_MAX], taken[OPTIONS_VARIABLE_MAX];
            options_variable(all[i].name, suffix, mine);
            options_variable(all[other].name, suffix, taken);
            if (strcmp(mine, taken) != 0)
                continue;
            snprintf(error, size, "--%s: the command would find both %s and %s as %s", option,
                     all[other].name, all[i].name, mine);
            return false;
        }
    }
    return true;
}

/* The page shows who uses the tunnel, and may end it: for this machine only. */
static bool check_status(struct options *options, char *error, size_t size)
{
    const char *text = options->shared.status;

    if (options->call.command == COMMAND_DOCTOR)
        return true;
    if (!text) {
        if (options->allow_quit)
            snprintf(error, size, "--allow-quit has no effect without --status");
        return !options->allow_quit;
    }
    if (!pages_parse(text, &options->status_address, error, size))
        return false;
    if (socket_is_loopback(&options->status_address))
        return true;
    return fail_client_option(
        error, size, "status", text,
        "anyone who reaches that address could see who uses the tunnel: give one on loopback");
}

static bool check_client_congestion(const struct options *options, char *error, size_t size)
{
    const char *name = options->shared.congestion_control;
    char why[600];

    return !name || congestion_check(name, why, sizeof why) ||
           fail_client_option(error, size, "congestion-control", name, why);
}

/* ---- TLS on the listeners */

static void choose_listener_tls(struct options *options)
{
    options->listener_tls_mode = (enum listener_tls_mode)options->listener_tls;
    if (options->listener_tls == LISTENER_TLS_UNSET)
        options->listener_tls_mode =
            options->listener_tls_cert ? LISTENER_TLS_AUTO : LISTENER_TLS_OFF;
}

/* What is given must have an effect. */
static bool check_listener_tls(const struct options *options, char *error, size_t size)
{
    const char *idle = options->listener_client_ca        ? "listener-client-ca"
                       : options->listener_name.count > 0 ? "listener-name"
                                                          : NULL;

    if ((options->listener_tls_cert == NULL) != (options->listener_tls_key == NULL)) {
        snprintf(error, size, "--listener-tls-cert and --listener-tls-key must be used together");
        return false;
    }
    if (!shared_check_passphrase("listener-tls-key", options->listener_tls_key,
                                 options->listener_tls_key_passphrase,
                                 options->listener_tls_key_passphrase_file, error, size))
        return false;
    if (options->listener_tls == LISTENER_TLS_UNSET && !options->listener_tls_cert && idle) {
        snprintf(error, size, "--%s has no effect without --listener-tls (or --listener-tls-cert)",
                 idle);
        return false;
    }
    return true;
}

static void add_listener_host(struct options *options, const char *host)
{
    char *copy = options->listener_hosts[options->listener_name_count];

    address_host_undotted(host, copy);
    options->listener_names[options->listener_name_count++] = copy;
}

/* Whoever listens everywhere is known by no address in particular. */
static bool is_particular(const char *host)
{
    return strcmp(host, "0.0.0.0") != 0 && strcmp(host, "::") != 0;
}

static bool name_listeners(struct options *options, char *error, size_t size)
{
    size_t most = options->cluster_count + options->listener_name.count + 1;
    char host[ADDRESS_HOST_MAX + 1];

    options->listener_hosts = memory_new_array(most, sizeof *options->listener_hosts);
    options->listener_names = memory_new_array(most, sizeof *options->listener_names);
    if (options->advertise_host[0])
        add_listener_host(options, options->advertise_host);
    for (size_t i = 0; i < options->cluster_count; i++)
        if (is_particular(options->clusters[i].address.host))
            add_listener_host(options, options->clusters[i].address.host);
    for (size_t i = 0; i < options->listener_name.count; i++) {
        const char *given = options->listener_name.items[i];
        const char *why = address_parse_told_host(given, host);
        if (why)
            return fail_client_option(error, size, "listener-name", given, why);
        add_listener_host(options, host);
    }
    return true;
}

struct listener_tls_settings options_listener_tls(const struct options *options)
{
    return (struct listener_tls_settings){
        .mode = options->listener_tls_mode,
        .files = {.cert_option = "listener-tls-cert",
                  .cert_file = options->listener_tls_cert,
                  .key_option = "listener-tls-key",
                  .key_file = options->listener_tls_key,
                  .passphrase_file = options->listener_tls_key_passphrase_file,
                  .passphrase = options->listener_tls_key_passphrase,
                  .ca_option = "listener-client-ca",
                  .ca_file = options->listener_client_ca,
                  .crl_option = "listener-client-crl",
                  .crl_file = options->listener_client_crl,
                  .policy = &options->tls_policy,
                  .strict = options->shared.strict_files},
        .state_directory = options->state_dir,
        .names = {options->listener_names, options->listener_name_count},
    };
}

static void default_to_one_cluster(struct options *options)
{
    if (options->cluster_count + options->target_count > 0)
        return;
    address_parse_named_listen("9092", ADDRESS_DEFAULT_CLUSTER,
                               &options->clusters[options->cluster_count++]);
}

/* The command listener-ca has no server. */
static bool check_local_ca(struct options *options, char *error, size_t size)
{
    if (options->listener_tls_cert) {
        snprintf(error, size,
                 "--listener-tls-cert %s: the listeners use this certificate and no local CA; "
                 "clients must trust the CA that has issued it",
                 options->listener_tls_cert);
        return false;
    }
    if (!parse_listeners("kafka", &options->kafka, ADDRESS_DEFAULT_CLUSTER, &options->clusters,
                         &options->cluster_count, error, size))
        return false;
    default_to_one_cluster(options);
    return parse_advertise(options, error, size) && name_listeners(options, error, size);
}

static bool choose_client_tls(struct options *options, char *error, size_t size)
{
    char why[300];

    if (options->listener_client_crl && !options->listener_client_ca) {
        snprintf(error, size, "--listener-client-crl has no effect without --listener-client-ca");
        return false;
    }
    if (tls_policy_choose(&options->tls_policy, options->shared.tls_min_version == 1,
                          options->shared.tls_ciphers, why, sizeof why))
        return true;
    snprintf(error, size, "--tls-ciphers %.100s: %s", options->shared.tls_ciphers, why);
    return false;
}

bool options_check(struct options *options, char *error, size_t size)
{
    if (!choose_client_tls(options, error, size))
        return false;
    if (options->call.command == COMMAND_WAIT)
        return check_wait(options, error, size);
    if (options->call.command == COMMAND_LISTENER_CA)
        return check_local_ca(options, error, size);
    const char *why = url_parse(options->server, &options->url);
    if (why) {
        /* The URL may hold a password: it is not repeated. */
        snprintf(error, size, "--server: %s", why);
        return false;
    }
    if (!parse_listeners("kafka", &options->kafka, ADDRESS_DEFAULT_CLUSTER, &options->clusters,
                         &options->cluster_count, error, size) ||
        !parse_listeners("tcp", &options->tcp, NULL, &options->targets, &options->target_count,
                         error, size))
        return false;
    default_to_one_cluster(options);
    choose_listener_tls(options);
    if (options->call.command == COMMAND_RUN &&
        (!check_variables("kafka", options->clusters, options->cluster_count, "BOOTSTRAP_SERVERS",
                          error, size) ||
         !check_variables("tcp", options->targets, options->target_count, "ADDRESS", error, size)))
        return false;
    return parse_node_ports(options, error, size) && parse_keep_names(options, error, size) &&
           parse_advertise(options, error, size) && check_listener_tls(options, error, size) &&
           name_listeners(options, error, size) && check_resolve(options, error, size) &&
           check_status(options, error, size) && check_client_congestion(options, error, size);
}

bool options_has_token(const struct options *options)
{
    return options->token || options->token_file || options->token_command ||
           options->private_key_file;
}

void options_free(struct options *options)
{
    free(options->clusters);
    free(options->cluster_ports);
    free(options->cluster_keeps_names);
    free(options->targets);
    free(options->listener_hosts);
    free(options->listener_names);
}

/* The options that both programs have, so that they are described in one place. */
#pragma once

#include "config/config.h"

struct shared_options {
    uint64_t ping_interval_ms;
    uint64_t resume_window_ms;
    uint64_t stop_delay_ms;
    uint64_t drain_timeout_ms;
    uint64_t memory;
    uint64_t max_frame;
    int64_t max_streams;
    int64_t log_rate;
    int log_format;       /* index into shared_log_formats, which is enum log_format */
    int log_level;        /* index into shared_log_levels, which is enum log_level */
    bool log_level_given; /* it is not the default */
    const char *status;
    const char *congestion_control; /* NULL: the system's */
    int tls_min_version;            /* index into shared_tls_versions */
    const char *tls_ciphers;
    bool strict_files;
    bool core_dumps;
    bool confine;
};

extern const char *const shared_log_formats[];
extern const char *const shared_log_levels[];
extern const char *const shared_tls_versions[]; /* "1.2", "1.3" */

/* What opens the private key of the option key, a string literal; members KEY_passphrase and
 * KEY_passphrase_file. */
#define SHARED_PASSPHRASE_OPTIONS(type, key, member, of_group)                                     \
    {                                                                                              \
        .name = key "-passphrase-file",                                                            \
        .metavar = "FILE",                                                                         \
        .kind = CONFIG_STRING,                                                                     \
        .offset = offsetof(type, member##_passphrase_file),                                        \
        .group = of_group,                                                                         \
        .help = "File whose first line is the passphrase of --" key ", if that is encrypted.",     \
        .flags = CONFIG_SECRET_FILE,                                                               \
    },                                                                                             \
    {                                                                                              \
        .name = key "-passphrase", .metavar = "PASSPHRASE", .kind = CONFIG_STRING,                 \
        .offset = offsetof(type, member##_passphrase), .group = of_group,                          \
        .help =                                                                                    \
            "Passphrase of --" key ". Other users of the machine may see a process's arguments: "  \
            "prefer the environment or --" key "-passphrase-file.",                                \
        .flags = CONFIG_SECRET | CONFIG_QUOTES,                                                    \
    }

/* Whether the options that go with a private key fit together. false: error holds a sentence. */
bool shared_check_passphrase(const char *key_option, const char *key, const char *passphrase,
                             const char *passphrase_file, char *error, size_t size);

/* Rows of a config_option table for a struct type with a member shared; with: the commands. */
#define SHARED_TUNNEL_OPTIONS(type)                                                                \
    {                                                                                              \
        .name = "ping-interval",                                                                   \
        .metavar = "S",                                                                            \
        .kind = CONFIG_DURATION,                                                                   \
        .offset = offsetof(type, shared.ping_interval_ms),                                         \
        .group = "Tunnel",                                                                         \
        .help = "Probe an idle link this often. Keep it well below the idle limit of anything in " \
                "between (an SPCS ingress: 90 s).",                                                \
        .default_value = "20s",                                                                    \
        .min = 1000,                                                                               \
        .max = 3600 * 1000,                                                                        \
    },                                                                                             \
        {                                                                                          \
            .name = "resume-window",                                                               \
            .metavar = "S",                                                                        \
            .kind = CONFIG_DURATION,                                                               \
            .offset = offsetof(type, shared.resume_window_ms),                                     \
            .group = "Tunnel",                                                                     \
            .help = "How long to keep a session that has lost its link, so that a new link can "   \
                    "resume it.",                                                                  \
            .default_value = "120s",                                                               \
            .min = 0,                                                                              \
            .max = 24 * 3600 * 1000,                                                               \
        },                                                                                         \
        {                                                                                          \
            .name = "max-frame",                                                                   \
            .metavar = "SIZE",                                                                     \
            .kind = CONFIG_SIZE,                                                                   \
            .offset = offsetof(type, shared.max_frame),                                            \
            .group = "Tunnel",                                                                     \
            .help = "Send no larger WebSocket frame, and ask the other end for the same: some "    \
                    "ingresses cut the link at larger ones. A limit in between is also found "     \
                    "without this option, after a few lost links.",                                \
            .default_value = "64KiB",                                                              \
            .min = 1024,                                                                           \
            .max = 64 * 1024,                                                                      \
        },                                                                                         \
        {                                                                                          \
            .name = "congestion-control",                                                          \
            .metavar = "NAME",                                                                     \
            .kind = CONFIG_STRING,                                                                 \
            .offset = offsetof(type, shared.congestion_control),                                   \
            .group = "Tunnel",                                                                     \
            .help = "Congestion control of the links, for what this end sends; Linux only. On a "  \
                    "long path that loses packets, bbr is much faster than cubic. Without it, "    \
                    "the system chooses (sysctl net.ipv4.tcp_congestion_control); on loopback, "   \
                    "reno instead of bbr.",                                                        \
        },                                                                                         \
    {                                                                                              \
        .name = "drain-timeout", .metavar = "S", .kind = CONFIG_DURATION,                          \
        .offset = offsetof(type, shared.drain_timeout_ms), .group = "Tunnel",                      \
        .help = "After SIGTERM, how long requests that are under way may take before connections " \
                "are cut. A second signal cuts them at once.",                                     \
        .default_value = "25s", .min = 0, .max = 3600 * 1000,                                      \
    }

#define SHARED_STOP_DELAY_OPTION(type, with)                                                       \
    {                                                                                              \
        .name = "stop-delay", .metavar = "S", .kind = CONFIG_DURATION,                             \
        .offset = offsetof(type, shared.stop_delay_ms), .group = "Tunnel", .commands = with,       \
        .help = "After SIGTERM, keep serving for this long, also new connections, with /readyz "   \
                "at 503; "                                                                         \
                "then drain. For applications that are told to stop at the same moment, and for "  \
                "load balancers. A second signal ends the delay.",                                 \
        .default_value = "0s", .min = 0, .max = 3600 * 1000,                                       \
    }

#define SHARED_LIMIT_OPTIONS(type)                                                                 \
    {                                                                                              \
        .name = "memory",                                                                          \
        .metavar = "SIZE",                                                                         \
        .kind = CONFIG_SIZE,                                                                       \
        .offset = offsetof(type, shared.memory),                                                   \
        .group = "Limits",                                                                         \
        .help = "Maximum memory for the buffers of all streams together.",                         \
        .default_value = "256MiB",                                                                 \
        .min = 16 << 20,                                                                           \
        .max = (int64_t)1 << 40,                                                                   \
    },                                                                                             \
    {                                                                                              \
        .name = "max-streams", .metavar = "N", .kind = CONFIG_INTEGER,                             \
        .offset = offsetof(type, shared.max_streams), .group = "Limits",                           \
        .help = "Maximum number of connections that one session may have open at a time.",         \
        .default_value = "2000", .min = 1, .max = 1000000, .unit = "connections",                  \
    }

#define SHARED_SECRECY_OPTIONS(type)                                                               \
    {                                                                                              \
        .name = "tls-min-version",                                                                 \
        .metavar = "1.2|1.3",                                                                      \
        .kind = CONFIG_ENUM,                                                                       \
        .offset = offsetof(type, shared.tls_min_version),                                          \
        .group = "TLS and secrets",                                                                \
        .help = "The oldest version of TLS that the program speaks, on all of its connections.",   \
        .default_value = "1.2",                                                                    \
        .values = shared_tls_versions,                                                             \
    },                                                                                             \
        {                                                                                          \
            .name = "tls-ciphers",                                                                 \
            .metavar = "LIST",                                                                     \
            .kind = CONFIG_STRING,                                                                 \
            .offset = offsetof(type, shared.tls_ciphers),                                          \
            .group = "TLS and secrets",                                                            \
            .help =                                                                                \
                "The ciphers that the program uses, on all of its TLS connections, the best one "  \
                "first: names of OpenSSL with colons between them, of TLS 1.3 and of TLS 1.2. A "  \
                "version of which none is named is not spoken. Only some of the usual ciphers "    \
                "can be chosen.",                                                                  \
        },                                                                                         \
        {                                                                                          \
            .name = "strict-files",                                                                \
            .kind = CONFIG_BOOL,                                                                   \
            .offset = offsetof(type, shared.strict_files),                                         \
            .group = "TLS and secrets",                                                            \
            .help =                                                                                \
                "Refuse files with tokens, keys, passwords or other secrets that every user of "   \
                "the machine may read or write. Without it, such a file is worth a warning.",      \
        },                                                                                         \
    {                                                                                              \
        .name = "core-dumps", .kind = CONFIG_BOOL, .offset = offsetof(type, shared.core_dumps),    \
        .group = "TLS and secrets",                                                                \
        .help = "Let the system write a core dump if the program crashes; it contains secrets. "   \
                "On Linux, other processes of the same user may then also look into this one.",    \
    }

/* what: what it gives up, as a list; except: where that is not so, as sentences. */
#define SHARED_CONFINE_OPTION(type, what, except, with)                                            \
    {                                                                                              \
        .name = "confine", .kind = CONFIG_BOOL, .offset = offsetof(type, shared.confine),          \
        .group = "TLS and secrets", .commands = with,                                              \
        .help =                                                                                    \
            "Give up what the program does not need, for as long as it runs: new privileges; "     \
            "where the kernel has Landlock, " what "; where it has seccomp, system calls. " except \
            " Linux only; with --core-dumps, files stay as they are.",                             \
        .default_value = "true",                                                                   \
    }

#define SHARED_STATUS_OPTION(type, with)                                                           \
    {                                                                                              \
        .name = "status", .metavar = "ADDR:PORT", .kind = CONFIG_STRING,                           \
        .offset = offsetof(type, shared.status), .group = "Status", .commands = with,              \
        .brief = "status page, /metrics and probes",                                               \
        .help = "Where pages for people and monitoring are served over plain HTTP: /, "            \
                "/status.json, /metrics, /healthz, /readyz, /startupz. Off if not given; port 0 "  \
                "picks a free port, and the log says which (status_page).",                        \
    }

#define SHARED_LOG_OPTIONS(type)                                                                   \
    {                                                                                              \
        .name = "log-format",                                                                      \
        .metavar = "text|json",                                                                    \
        .kind = CONFIG_ENUM,                                                                       \
        .offset = offsetof(type, shared.log_format),                                               \
        .group = "Log",                                                                            \
        .help = "How the log, on standard error, is written.",                                     \
        .default_value = "text",                                                                   \
        .values = shared_log_formats,                                                              \
    },                                                                                             \
        {                                                                                          \
            .name = "log-level",                                                                   \
            .metavar = "error|warning|info|debug",                                                 \
            .kind = CONFIG_ENUM,                                                                   \
            .offset = offsetof(type, shared.log_level),                                            \
            .group = "Log",                                                                        \
            .help = "The least important lines to log.",                                           \
            .default_value = "info",                                                               \
            .values = shared_log_levels,                                                           \
        },                                                                                         \
    {                                                                                              \
        .name = "log-rate", .metavar = "N", .kind = CONFIG_INTEGER,                                \
        .offset = offsetof(type, shared.log_rate), .group = "Log",                                 \
        .help = "Maximum lines per second of one event. Lines that are left out are counted, and " \
                "the count is logged.",                                                            \
        .default_value = "100", .min = 1, .max = 1000000, .unit = "lines",                         \
    }

/* The table of all metrics: what each is called and means, which labels it has, who has it. */
#pragma once

#include <stdbool.h>

#define METRIC_LABELS_MAX 2

enum metric_id {
    METRIC_BUILD_INFO,
    METRIC_LINKS,
    METRIC_LINKS_BY_ROLE,
    METRIC_LINKS_WANTED,
    METRIC_LINK_JOINS,
    METRIC_LINK_SENT_BYTES,
    METRIC_RESENT_BYTES,
    METRIC_OUT_OF_ORDER_BYTES,
    METRIC_RETRANSMITTED_SEGMENTS,
    METRIC_LINKS_OPENED,
    METRIC_LINK_ENDS,
    METRIC_DIALS,
    METRIC_DIAL_FAILURES,
    METRIC_DIAL_DURATION,
    METRIC_HANDSHAKE_DURATION,
    METRIC_RTT,
    METRIC_HANDSHAKES,
    METRIC_HANDSHAKES_ENDED,
    METRIC_SESSIONS,
    METRIC_SESSIONS_OPENED,
    METRIC_SESSION_RESUMES,
    METRIC_SESSIONS_LOST,
    METRIC_STREAMS,
    METRIC_STREAMS_OPENED,
    METRIC_STREAMS_ENDED,
    METRIC_STREAM_BYTES,
    METRIC_WINDOW_STALLS,
    METRIC_MEMORY_STALLS,
    METRIC_RETAINED_BYTES,
    METRIC_GRANTED_BYTES,
    METRIC_MEMORY_LIMIT,
    METRIC_LIMITED,
    METRIC_RATE_PAUSES,
    METRIC_LISTENERS,
    METRIC_LISTENER_REFUSALS,
    METRIC_WAITING_CONNECTIONS,
    METRIC_CLUSTER_REACHABLE,
    METRIC_BOOTSTRAP_BROKER,
    METRIC_CLUSTER_NODES,
    METRIC_KAFKA_REQUESTS,
    METRIC_KAFKA_LATENCY,
    METRIC_KAFKA_DENIED,
    METRIC_ADDRESSES_REWRITTEN,
    METRIC_ADDRESSES_ERASED,
    METRIC_NODES_UNUSABLE,
    METRIC_BROKER_LOGINS,
    METRIC_PROBLEMS,
    METRIC_LOG_LINES,
    METRIC_LOG_SUPPRESSED,
    METRIC_LOG_LOST,
    METRIC_AUDIT_WORKING,
    METRIC_AUDIT_RECORDS,
    METRIC_AUDIT_WAITING,
    METRIC_AUDIT_LOST,
    METRIC_AUDIT_FAILURES,
    METRIC_PROCESS_START,
    METRIC_PROCESS_CPU,
    METRIC_PROCESS_MEMORY,
    METRIC_PROCESS_FDS,
    METRIC_PROCESS_MAX_FDS,
    METRICS
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* How the values are kept; the page has base units. */
enum metric_unit {
    METRIC_COUNT,
    METRIC_BYTES,
    METRIC_SECONDS, /* kept in microseconds */
};

/* Which program has the metric; a mask. */
enum metric_place { METRIC_CLIENT = 1, METRIC_SERVER = 2, METRIC_BOTH = 3 };

/* The sets that labels come from; METRICS_NO_SET for labels that are not there. */
enum metrics_set {
    METRICS_NO_SET,
    METRICS_RELEASE,      /* the program's version */
    METRICS_LINK_END,     /* enum link_end */
    METRICS_LINK_ROLE,    /* enum link_role */
    METRICS_JOIN,         /* enum metrics_join */
    METRICS_HOP,          /* where a dial failed: enum http_hop, "tunnel" */
    METRICS_DOOR,         /* how a connection left the door: enum http_server_end */
    METRICS_CLUSTER,      /* of the configuration */
    METRICS_BROKER,       /* bootstrap brokers of the configuration */
    METRICS_BROKER_STATE, /* of a bootstrap broker */
    METRICS_TARGET,       /* clusters, then raw targets, of the configuration */
    METRICS_DIRECTION,    /* enum metrics_direction */
    METRICS_RESULT,       /* "complete", then enum mux_code */
    METRICS_API,          /* Kafka API keys */
    METRICS_VERSION,      /* Kafka API versions */
    METRICS_LATENCY,      /* enum metrics_latency */
    METRICS_LOGIN,        /* enum metrics_login */
    METRICS_EVENT,        /* warnings and errors of the log */
    METRICS_LEVEL,        /* enum log_level */
    METRICS_LIMIT,        /* enum metrics_limit */
    METRICS_REFUSAL,      /* enum metrics_refusal */
    METRICS_SETS
};

enum metrics_direction {
    METRICS_UP,   /* towards brokers and targets */
    METRICS_DOWN, /* towards Kafka clients */
};

/* Limits that something was refused for, or ended. */
enum metrics_limit {
    METRICS_LIMIT_SESSIONS,     /* of the server */
    METRICS_LIMIT_SESSIONS_OF,  /* of an identity */
    METRICS_LIMIT_STREAMS,      /* of the server */
    METRICS_LIMIT_STREAMS_OF,   /* of an identity */
    METRICS_LIMIT_STREAMS_EACH, /* of a session */
    METRICS_LIMIT_LINKS,
    METRICS_LIMIT_DIALS,
    METRICS_LIMIT_MEMORY,
    METRICS_LIMIT_GAVE_WAY, /* ended, for somebody who had less */
    METRICS_LIMIT_AUDIT,    /* audit records cannot be written */
    METRICS_LIMIT_LINKS_OF, /* of an identity */
    METRICS_LIMIT_NEW_LINKS,
};
#define METRICS_LIMITS 12

/* Why a local listener has turned a connection away. */
enum metrics_refusal {
    METRICS_REFUSAL_PLAINTEXT,      /* it takes TLS only */
    METRICS_REFUSAL_HANDSHAKE,      /* TLS failed, or was broken off */
    METRICS_REFUSAL_CLIENT_REFUSED, /* the client did not take the listener's certificate */
    METRICS_REFUSAL_CERTIFICATE,    /* the client's, or that it has none */
    METRICS_REFUSAL_TIMEOUT,        /* of the TLS handshake */
    METRICS_REFUSAL_SILENT,         /* nothing came that would say whether it is TLS */
    METRICS_REFUSAL_CROWDED,        /* too many that are silent or in their handshake */
    METRICS_REFUSAL_USER,           /* --allow-users */
    METRICS_REFUSAL_LIMIT,          /* too many connections, or no memory */
    METRICS_REFUSAL_NO_LINK,        /* none came in time, or too many wait for one */
};
#define METRICS_REFUSALS 10

/* What became of an attempt to add a link. */
enum metrics_join {
    METRICS_JOIN_JOINED,
    METRICS_JOIN_LIMIT,
    METRICS_JOIN_UNKNOWN_SESSION,
    METRICS_JOIN_REFUSED,
    METRICS_JOIN_FAILED,
};
#define METRICS_JOINS 5

/* What became of a login of the server's at a broker. */
enum metrics_login {
    METRICS_LOGIN_DONE,
    METRICS_LOGIN_AGAIN,        /* on the same connection */
    METRICS_LOGIN_AGAIN_FAILED, /* the same, and the connection ended */
    METRICS_LOGIN_REFUSED,
    METRICS_LOGIN_UNTRUSTED, /* no broker that knows the password, or one that breaks the rules */
    METRICS_LOGIN_BROKEN_OFF,
    METRICS_LOGIN_SILENT,
    METRICS_LOGIN_HELD, /* not tried, for it was refused a moment ago */
};
#define METRICS_LOGINS 8

enum metrics_latency { METRICS_LATENCY_PRODUCE, METRICS_LATENCY_FETCH };

struct metric {
    const char *name; /* without the prefix; process_* has none */
    const char *help; /* a sentence, without its full stop */
    enum metric_kind kind;
    enum metric_unit unit;
    enum metric_place place;
    /* Series whose value is 0 are left out: there may be very many, or the system does not say. */
    bool sparse;
    struct {
        const char *name;
        enum metrics_set set;
    } labels[METRIC_LABELS_MAX];
};

extern const struct metric metrics_table[METRICS];

#define METRICS_PREFIX "kafka_tunnel_"

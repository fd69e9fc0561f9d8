/*
 * A client's session on the server: its streams to brokers and targets (broker_stream.h), and which
 * listeners the client has for which nodes (node_listeners.h). It outlives its links for the resume
 * window.
 */
#pragma once

#include "audit/audit.h"
#include "authorization/stream_guard.h"
#include "base/json.h"
#include "base/list.h"
#include "broker_login/logins.h"
#include "brokers/cluster.h"
#include "monitoring/telemetry.h"
#include "options.h"
#include "session_table.h"
#include "tenants/tenant.h"
#include "tunnel/link.h"

struct session;

/* Part of something that refers to a session, if only because it has carried it: a link. */
struct session_ref {
    struct list node;        /* in the session's list of them; begins with list_init() */
    struct session *session; /* NULL: none, or it has ended */
    size_t others;           /* workers that are asked if this one has no place for a session */
};

/* What the sessions of a worker share; it belongs to the server, which fills it in. */
struct session_host {
    struct worker *worker;
    const struct options *options;
    struct cluster *clusters; /* options->cluster_count */
    struct logins *logins;
    struct tenants *tenants;
    struct audit *audit;
    const struct access_in_force *access;
    struct topic_names *topics; /* options->cluster_count */
    struct mux_text offers;     /* what WELCOME lists where everything is allowed: stays the same */
    uint16_t offer_count;
    size_t place;                /* the worker's */
    struct session_table *table; /* of all workers' sessions, by their ids */
    bool draining;               /* the server is about to stop: no new sessions */
    bool stopping;               /* it stops now: no session is kept for its client to come back */
    struct list sessions;        /* struct session, by its node */
    size_t session_count;
};

/* Fill in the rest of the host before. */
void session_host_init(struct session_host *host);

/* A link has sent HELLO, for a new session or one that there is, to which ref refers from then on;
 * NULL: *reject says why not. One that joins others takes a place of TENANT_JOINS, which the caller
 * gives back. */
struct mux_link *session_hello(struct session_host *host, struct link *link, struct tenant *tenant,
                               const char *identity, const char *peer,
                               const struct mux_hello *hello, struct mux_reject *reject,
                               struct session_ref *ref);
/* Whether the worker has a session of that id, whoever began it. */
bool session_exists(const struct session_host *host, const uint8_t id[MUX_SESSION_ID_SIZE]);
/* Other rules of who may do what are in force: cuts what they do not allow any more. */
void session_access_changed(struct session_host *host);
/* A link of the session is gone; one that carries it, or one that was replaced. */
void session_link_lost(struct session *session, struct link *link, enum link_end end,
                       const char *reason);
/* Ends a session of the tenant's, the one that is least missed; false: it has none. */
bool session_give_way(struct tenant *tenant);
/* Cuts its newest stream, or the one that is charged most for memory. */
bool session_give_way_stream(struct tenant *tenant);
bool session_give_way_memory(struct tenant *tenant, enum memory_way way);
/* How many links the session has, if it can do without this one, which has joined it; 0: it cannot.
 */
unsigned session_spares(const struct session *session, const struct link *link);
/* The link, which is to be closed, carries the session no longer. */
void session_spare(struct session *session, const struct link *link);
/* Closes a link of the session's that is not allowed to carry it any more, or has carried it. If no
 * other does, the session is kept for its client to come back, or ends, with its streams. */
void session_dismiss(struct session *session, struct link *link, uint16_t code, const char *reason,
                     bool keep);
/* Tells all clients that the server is about to stop, and drains their streams: a client leaves
 * when it has none left. */
void session_drain_all(struct session_host *host);
/* How many of each /status.json shows. */
struct session_shown {
    size_t sessions;
    size_t streams;
};
#define SESSION_SHOWN ((struct session_shown){.sessions = 500, .streams = 1000})
/* Elements of the array "sessions" of /status.json, as far as there is room left. */
void session_write_all(const struct session_host *host, struct json_writer *json,
                       struct session_shown *left);
/* Adds all sessions. */
void session_sum_up(const struct session_host *host, struct telemetry_sessions *sum);
/* Ends all sessions: what streams they have are reset. */
void session_stop_all(struct session_host *host);

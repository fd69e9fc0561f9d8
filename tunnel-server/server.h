/* The server: what is configured, who is connected. */
#pragma once

#include "audit/audit.h"
#include "authentication/access.h"
#include "broker_login/login_file.h"
#include "brokers/probes.h"
#include "http/server.h"
#include "io/listener.h"
#include "io/tls_keeper.h"
#include "monitoring/telemetry.h"
#include "options.h"
#include "program/program.h"
#include "shard.h"

/* The answer of /readyz to strangers; lines beyond it are left out. */
#define SERVER_READINESS_MAX 600

struct server {
    struct worker *worker; /* home: the door, logins, other instances, pages, files */
    struct notify *notify; /* of the program; NULL: there is no service manager */
    const struct options *options;
    struct telemetry *telemetry;
    struct access *access;
    struct access_file *rules;     /* of --access; NULL: everything is allowed */
    struct access_rules *limiting; /* those that the ledger asks for limits, with a reference */
    char denied[320];              /* the answer to an identity that no rule is for */
    struct audit *audit;
    struct http_server *http;
    struct listener *listener;
    struct tls_keeper *files;      /* of the door; NULL: it speaks plain HTTP */
    struct tls_files broker_files; /* all zero: brokers do not speak TLS */
    struct tls_keeper *broker_keeper;
    SSL_CTX *first_broker_tls; /* until shards have it */
    struct login_file *logins; /* NULL: without --kafka-login */
    struct ledger ledger;
    struct session_table table;
    struct crew *crew;
    struct shard *shards;           /* of the crew */
    uint8_t offers[MUX_OFFERS_MAX]; /* in the hosts' offers */
    struct peers *peers;            /* NULL: this is the only instance */
    bool leaving;                   /* it will stop soon */
    struct probes *probes;
    struct timer *look;  /* while it drains: whether other workers still have something */
    char **broker_names; /* for the metrics: broker_count */
    size_t broker_count;
    char readiness[SERVER_READINESS_MAX]; /* what /readyz said last */
    char refusal[200];                    /* what a link that a limit stopped was told last */
};

/* Runs see while no worker does anything else. false: one of them did not come to a stop; nothing
 * was run. */
bool server_survey(const struct server *server, void (*see)(void *context), void *context);
/* Whether it can serve: a bootstrap broker of every cluster answers. */
bool server_is_ready(const struct server *server);
/* The same with text, of size bytes: a line that says so or why not, then one for each bootstrap
 * broker that is not up; to strangers without addresses. */
bool server_tell_readiness(const struct server *server, bool for_strangers, char *text,
                           size_t size);
/* Whether the server has to execute programs, as files say that options name: to be asked before
 * the process gives that up. */
bool server_runs_commands(const struct options *options);
/* Opens the listener. may_execute: the process has not given up executing programs. If it does not
 * go, error holds a sentence. */
enum program_start server_open(struct server *server, const struct program_context *context,
                               const struct options *options, bool may_execute, char *error,
                               size_t size);
/* Looks after the bootstrap brokers from now on, and says that it is there. */
void server_begin(struct server *server);
/* Reads again the files that options name. */
void server_reload(struct server *server, struct reload *reload);
/* Will stop soon: not ready any more, but serves on. */
void server_leave(struct server *server);
/* Asks all clients to go elsewhere, and lets what is under way come to its end. */
void server_drain(struct server *server);
/* Cuts what is left and says goodbye to everybody; the loop should run on for a moment. */
void server_stop(struct server *server);
/* Whether nothing is left: no link, and no session that a client may come back for. */
bool server_stopped(const struct server *server);
void server_free(struct server *server);

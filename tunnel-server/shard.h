/*
 * A worker's part of the server: its links and sessions, with their views of the clusters and of
 * who uses the server.
 *
 * Links come to the first one, home (server.h). When HELLO says which session a link is for, it
 * goes to the worker of that session, and stays there; a new session begins at the worker that has
 * the fewest.
 */
#pragma once

#include <stdatomic.h>

#include "authentication/grant.h"
#include "io/crew.h"
#include "options.h"
#include "peers/peers.h"
#include "session.h"

struct shard;

/* A bootstrap broker that home should look at. */
struct shard_doubt {
    struct shard *shard;
    size_t cluster;
};

/* A broker has refused what the rule at that place of the book has for a secret. */
typedef void (*shard_secret_refused)(void *context, const struct login_book *book, size_t rule);

struct shard {
    struct worker *worker;
    size_t place; /* 0: home */
    const struct options *options;
    struct crew *crew;
    struct shard *all;          /* of the crew, by place */
    SSL_CTX *broker_tls;        /* NULL: brokers speak plaintext */
    struct cluster *clusters;   /* options->cluster_count */
    struct shard_doubt *doubts; /* the same */
    struct logins logins;
    shard_secret_refused secret_refused; /* home's; NULL: nobody wants to know */
    void *secret_context;
    struct access_in_force access; /* rules is NULL without --access */
    struct topic_names *topics;    /* options->cluster_count */
    struct tenants tenants;
    struct audit *audit;
    struct session_host host;
    struct list links;       /* upgraded connections, with or without a session */
    struct peers *peers;     /* home's; NULL: there is no other instance, or this is not home */
    _Atomic size_t arriving; /* links on their way from other workers */
};

/* Zeroed before; crew, all, place and audit are filled in. first: home's, already initialised;
 * NULL: this is it. */
void shard_init(struct shard *shard, const struct options *options, struct ledger *ledger,
                struct session_table *table, struct shard *first);
/* When its thread does not run any more: the links of all shards, then the rest of each, home's
 * last. */
void shard_clear_links(struct shard *shard);
void shard_clear(struct shard *shard);
/* At home: calls refused from now on, whichever shard's broker it was. */
void shard_on_secret_refused(struct shard *home, shard_secret_refused refused, void *context);
/* At home: whether an identity may have one more link, which counts as one; NULL, or why not. */
const char *shard_obstacle_to_link(struct shard *shard, const char *identity, const char *peer);
/* At home: takes an upgraded connection, or one that another instance hands on; and what let it in,
 * or NULL. */
void shard_add_link(struct shard *shard, struct transport *transport, const char *identity,
                    const char *peer, struct grant *grant, bool handed_on);

/* ---- from home's thread, about any shard */

/* For connections to brokers from now on; takes a reference of its own. */
void shard_use_broker_tls(struct shard *shard, SSL_CTX *context);
/* Closes the links whose grants are not good any more. */
void shard_dismiss(struct shard *shard);
/* Logins at brokers from now on; takes a reference of its own. */
void shard_use_logins(struct shard *shard, struct login_book *book);
/* Rules of who may do what from now on; takes a reference of its own. */
void shard_use_access(struct shard *shard, struct access_rules *rules);
/* As server_drain() and server_stop(). */
void shard_drain(struct shard *shard);
void shard_stop(struct shard *shard);
/* Whether it has neither a link nor a session. */
bool shard_is_empty(const struct shard *shard);

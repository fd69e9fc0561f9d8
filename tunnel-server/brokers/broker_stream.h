/*
 * A session's streams: each is a client's connection to a broker or raw target. A broker's
 * responses go through a Kafka filter, which asks the client's listeners for the addresses to
 * write.
 *
 * A stream frees itself when its relay ends, and leaves the list.
 */
#pragma once

#include "audit/audit.h"
#include "authorization/stream_guard.h"
#include "broker_login/logins.h"
#include "brokers/cluster.h"
#include "brokers/node_listeners.h"
#include "options.h"
#include "tenants/tenant.h"

/* The streams, and what they use of their session and server; filled in by the session. */
struct broker_streams {
    struct worker *worker;
    const struct options *options;
    struct cluster *clusters; /* options->cluster_count */
    struct logins *logins;
    struct node_listeners *listeners;
    struct tenant *tenant; /* whose they are */
    struct audit *audit;
    const struct access_in_force *access; /* rules is NULL without --access */
    struct topic_names *topics;           /* by cluster */
    const char *session;                  /* its id, for the log */
    const char *identity;                 /* of who began it */
    const char *peer;                     /* where its client is now */
    struct list all;                      /* struct broker_stream */
    uint64_t opened;                      /* so far */
    uint64_t bytes_up;                    /* of those that have ended */
    uint64_t bytes_down;
    /* By cluster, a bit for each bootstrap broker: the client has been told that it fails. */
    uint64_t *told;
    bool draining; /* no more are opened */
};

/* The client opens a stream (the session's open()): connects to what it asks for, or refuses. */
void broker_stream_open(struct broker_streams *streams, struct mux_stream *mux,
                        const struct mux_target *target, struct mux_text peer);
/* The session's limited(): it has refused or reset a stream. */
void broker_stream_limited(struct broker_streams *streams, uint32_t stream, enum mux_limit limit,
                           const char *reason);
/* Other rules of who may do what are in force: cuts the streams to what they do not allow. */
void broker_streams_access_changed(struct broker_streams *streams);
/* Others are entitled to what these have: cuts the newest; false: there is none. */
bool broker_streams_cut_newest(struct broker_streams *streams, const char *reason);
/* The same for the one that is charged most for memory. */
bool broker_streams_cut_largest(struct broker_streams *streams, enum memory_way way,
                                const char *reason);
/* The array "streams" of a session in /status.json; *left says how many more may be written. */
void broker_streams_write(const struct broker_streams *streams, struct json_writer *json,
                          size_t *left);
/* Bytes of all streams, those that have ended and the others. */
void broker_streams_bytes(const struct broker_streams *streams, uint64_t *up, uint64_t *down);
/* Client or server stop: Kafka connections end when they are between requests (relay_drain()). */
void broker_streams_drain(struct broker_streams *streams);

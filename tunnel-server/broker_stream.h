/*
 * A session's streams: each is a client's connection to a broker or raw target. A broker's
 * responses go through a Kafka filter, which asks the client's listeners for the addresses to
 * write.
 *
 * A stream frees itself when its relay ends, and leaves the list.
 */
#pragma once

#include "cluster.h"
#include "node_listeners.h"
#include "options.h"

/* The streams, and what they use of their session and server; filled in by the session. */
struct broker_streams {
    struct worker *worker;
    const struct options *options;
    struct cluster *clusters; /* options->cluster_count */
    struct node_listeners *listeners;
    const char *session; /* its id, for the log */
    struct list all;     /* struct broker_stream */
    uint64_t opened;     /* so far */
    bool draining;       /* no more are opened */
};

/* The client opens a stream (mux_callbacks' open()): connects to what it asks for, or refuses. */
void broker_stream_open(struct broker_streams *streams, struct mux_stream *mux,
                        const struct mux_target *target, struct mux_text peer);
/* Client or server stop: Kafka connections end when they are between requests (relay_drain()). */
void broker_streams_drain(struct broker_streams *streams);

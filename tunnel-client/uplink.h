/*
 * The client's way to the server: dials, keeps a link, or several where they help, carries the
 * session over from one link to the next, backs off. When the server says that it is about to stop,
 * new streams go over a new session, and the old one ends with its last stream.
 */
#pragma once

#include "carrier.h"
#include "http/client.h"
#include "io/reload.h"
#include "io/worker.h"
#include "journal.h"
#include "monitoring/telemetry.h"
#include "options.h"
#include "tunnel/link.h"

struct uplink;

struct uplink_owner {
    /* A dial has ended, well or not, before anything else is made of it; not one for one more link.
     * NULL: nobody wants to know. */
    void (*dialled)(void *context, const struct http_dial_result *result);
    /* An EXPOSE or later message; answers go to the same session. */
    void (*message)(void *context, struct mux_session *session, uint8_t type,
                    const uint8_t *payload, size_t size);
    /* A new session is up: streams can be opened. */
    void (*up)(void *context, const struct mux_welcome *welcome);
    /* Another link is dialled, for this one is lost, or its server stops and has announced it. */
    void (*lost)(void *context, bool announced);
    /* A dial has failed; refused: because of who dials, so that the next one will too. true: the
     * owner says so to whom it concerns, a warning is not needed. */
    bool (*failed)(void *context, const char *hop, const char *reason, bool refused);
};

/* NULL: error holds a sentence about a file. */
struct uplink *uplink_new(struct worker *worker, const struct options *options,
                          const struct uplink_owner *owner, void *context, char *error,
                          size_t size);
void uplink_free(struct uplink *uplink);
void uplink_start(struct uplink *uplink);
/* Reads files again; a dial that waits is made at once. */
void uplink_reload(struct uplink *uplink, struct reload *reload);
/* Lets what is under way come to its end; uplink_stopped() tells when nothing is left. */
void uplink_drain(struct uplink *uplink);
/* Resets all streams and says goodbye; uplink_stopped() tells when that is done. */
void uplink_stop(struct uplink *uplink);
bool uplink_stopped(const struct uplink *uplink);
/* What there is to see. Texts are valid until the loop runs on. */
struct uplink_view {
    const char *state;      /* "up", "connecting", "waiting" for the next dial, "stopping" */
    uint64_t since_us;      /* up, or down: since the epoch */
    const char *protection; /* of the link; "": it is not up */
    const char *software;   /* the server's */
    uint64_t rtt_us;        /* 0: not measured yet */
    uint64_t rtt_age_us;
    unsigned failures;     /* in a row: dials, and links that carried nothing */
    uint64_t retry_ms;     /* until the next dial; 0: none waits */
    size_t frame_max;      /* the largest WebSocket frame that is sent */
    size_t sessions;       /* two while a server that stops ends connections */
    size_t links;          /* that are up */
    unsigned links_wanted; /* of the session that new streams are opened on: so many would help */
    const char *join_failure; /* why there are not so many; "": no dial for one more has failed */
    bool is_spread;           /* it is that the ingress spreads links over several instances */
    uint64_t join_retry_ms;   /* until the next dial for one more; 0: none waits */
    const struct journal *journal;
    const struct link_history *history;
    const struct carrier *current; /* the session of new streams, with its links */
    const struct list *leaving;    /* struct carrier: others, which end with their streams */
};
void uplink_view(const struct uplink *uplink, struct uplink_view *view);
/* Adds its sessions. */
void uplink_sum_up(const struct uplink *uplink, struct telemetry_sessions *sum);
/* Has the round trip measured, if that was not done lately: somebody looks. */
void uplink_measure(struct uplink *uplink);
/* The session, when streams can be opened: it has been up before and has a link; else NULL. */
struct mux_session *uplink_session(struct uplink *uplink);
/* Sends a message in all sessions that a server knows: that one, and those that servers which stop
 * still carry. */
void uplink_tell_all(struct uplink *uplink, uint8_t type, const uint8_t *payload, size_t size);
/* A link of the session, by its number there; NULL: it is gone. */
struct link *uplink_link(const struct uplink *uplink, uint32_t number);
/* So many links are wanted now, whatever the path needs. */
void uplink_want_links(struct uplink *uplink, unsigned links);
/* How the present link is protected ("TLSv1.3 ..."); "" if there is none. */
const char *uplink_protection(const struct uplink *uplink);

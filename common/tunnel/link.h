/*
 * The room tunnel/ joins sessions (mux/) to bytes on both sides: links below them, relays above.
 *
 * A link: one upgraded WebSocket connection, one link of a session.
 *
 *     transport -> WebSocket decoder -> session -> relays
 *     session's frames -> WebSocket frame (masked by a client) -> transport
 *
 * On a server the link first waits, for a bounded time, for the HELLO that says which session it is
 * for. When another instance of the server has that session, the link is forwarded: what comes is
 * handed on as it is, over a plain connection on which the other instance has a link without
 * WebSocket frames.
 */
#pragma once

#include "io/congestion.h"
#include "io/path.h"
#include "io/transport.h"
#include "io/worker.h"
#include "mux/link.h"
#include "mux/session.h"
#include "tunnel/frame_limit.h"

struct link;

enum link_end {
    LINK_END_CLOSED,   /* the peer closed in good order */
    LINK_END_LOST,     /* the connection broke, or was closed without a close frame */
    LINK_END_DEAD,     /* silence for too long */
    LINK_END_GARBLED,  /* no WebSocket frame came; something between the ends may have written it */
    LINK_END_PROTOCOL, /* the peer broke the tunnel protocol */
    LINK_END_REJECTED, /* the server refused the session, or the link: link_rejection() */
};

#define LINK_ENDS 6
/* "closed", "lost", ...: for figures and records. */
const char *link_end_name(enum link_end end);

/* What a link is to its session at the moment. */
enum link_role {
    LINK_ROLE_LEAD, /* carries what is small, and the session's own messages */
    LINK_ROLE_OTHER,
    LINK_ROLE_SUSPECT, /* does not answer, and carries nothing until it does */
};

#define LINK_ROLES 3
/* "lead", "other", "suspect". */
const char *link_role_name(enum link_role role);
enum link_role link_role(const struct mux_link *link);

/* Where links count beside their records; all live as long as the worker. */
struct link_counters {
    uint64_t *sent[LINK_ROLES]; /* bytes, by what the link was then */
    uint64_t *sent_again;       /* bytes of streams that went over a link a second time */
    uint64_t *retransmitted;    /* segments that the kernel sent again, where it tells */
};

struct link_owner {
    /*
     * Server: HELLO has come. The owner finds or makes the session, accepts the link for it
     * (mux_link_accept()) and returns what that gave; or fills in *reject and returns NULL. With
     * MUX_CODE_NONE in it the answer comes later: link_forward() or link_reject(). Or it says that
     * the link is another worker's: link_depart().
     */
    struct mux_link *(*hello)(void *context, struct link *link, const struct mux_hello *hello,
                              struct mux_reject *reject);
    /* The link is gone (freed after this call), and detached from its session. reason is for the
     * log. */
    void (*ended)(void *context, struct link *link, enum link_end end, const char *reason);
    /* After link_depart(): the link has nothing of its worker any more. The owner brings it to the
     * other one. NULL: no link ever departs. */
    void (*departed)(void *context, struct link *link);
};

/* Client: for a session that link_start() attaches. Takes the transport. */
struct link *link_new_client(struct worker *worker, struct transport *transport,
                             struct mux_session *session, const struct link_owner *owner,
                             void *context);
/* Attaches the session. */
void link_start(struct link *link);
struct link *link_new_server(struct worker *worker, struct transport *transport,
                             const struct link_owner *owner, void *context);
/* The same for a connection from another instance, without WebSocket frames. */
struct link *link_new_handed_on(struct worker *worker, struct transport *transport,
                                const struct link_owner *owner, void *context);
/* Another instance has the session: everything that came and comes goes to it over transport,
 * which is the link's from now on, and back (forward.h). */
void link_forward(struct link *link, struct transport *transport);
/*
 * From within hello(), which returns NULL then: another worker of this process has the session, or
 * is to have it. What has come is kept, HELLO above all, and no more is read. departed() is called
 * when no call of the link is on the stack. There, in the other worker's thread, link_arrive()
 * makes it go on: hello() is called again. The owner gives it its counters before (link_count()).
 */
void link_depart(struct link *link);
void link_arrive(struct link *link, struct worker *worker, void *context);
/* There is no such session anywhere. */
void link_reject(struct link *link, const struct mux_reject *rejection);
/* Lets go of the session and says goodbye (a WebSocket close frame); ended() is called when that is
 * done. */
void link_close(struct link *link, uint16_t code, const char *reason);

/* Frees at once; ended() is not called. */
void link_abort(struct link *link);

/* For links that are lost as well. */
void link_count(struct link *link, const struct link_counters *counters);

/* The link may be dead without a sign of it: probes it, and gives it up after a short silence. */
void link_probe(struct link *link);

/* What the session is given with mux_link_accept(): how the link hears of output. */
struct mux_output link_output(struct link *link);
/* Its link of the session; NULL: it has none yet, or has let go of it. */
struct mux_link *link_mux(const struct link *link);
/* Client, after LINK_END_REJECTED: what the server said. */
const struct mux_reject *link_rejection(const struct link *link);
const char *link_protection(const struct link *link);
/* As congestion_name() (io/congestion.h). */
void link_congestion_control(const struct link *link, char name[CONGESTION_NAME_SIZE]);
/* When it was made: upgraded, or handed on. */
uint64_t link_since_us(const struct link *link);
/* What the kernel knows of its path now; all 0: nothing. */
struct path_sample link_path(const struct link *link);
/* Sends no larger WebSocket frame from here on; of several limits the smallest counts, 0 is none.
 * On a server, the one in HELLO is obeyed without this. */
void link_limit_frames(struct link *link, size_t max);

/* What a link has done: whoever decides about the next one asks, in ended() at the latest. */
struct link_record {
    uint64_t progress; /* as in struct mux_link_facts: what it has carried for sure */
    bool answered;     /* the peer has answered a ping */
    bool going_away;   /* the peer has closed because it stops: 1001 (RFC 6455, 7.4.1) */
    struct frame_record frames;
};
struct link_record link_record(const struct link *link);

/*
 * One link of a session, and its four verbs. A link is a reliable byte stream each way, as long as
 * it lives; nothing in here knows what it is made of.
 *
 *     mux_link_receive()   bytes from the link in; all of them are taken
 *     mux_link_pull()      bytes for the link out; mux_link_gather() says where they are instead
 *     mux_link_deadline()  when tick wants to be called, at the latest
 *     mux_link_tick()      time has passed
 *
 * A session has one link, or several when both ends speak version 2 of the protocol: then any of
 * them carries any frame, and which one does is decided when it is pulled (mux/scheduler.h).
 *
 * Errors: a verb that returns a negative enum mux_error ends the link; mux_link_reason() says why,
 * for the log, and the caller detaches it. After MUX_ERROR_DEAD, and after MUX_ERROR_REJECTED of a
 * link that was to join, the session goes on over its other links, or is resumed over a new one.
 * After MUX_ERROR_PROTOCOL, and MUX_ERROR_REJECTED of any other link, it cannot go on: what the
 * two ends believe of each other may differ, so its owner resets the streams and frees it.
 *
 * mux/session.h says when callbacks come and what they may call. Times are microseconds of any
 * monotonic clock, the same for all calls.
 */
#pragma once

#include <sys/uio.h>

#include "mux/types.h"

struct mux_session;
struct mux_link;

/*
 * Client: a link is there. HELLO is the first thing that pull yields. output is told until
 * mux_link_detach(). The first link begins the session; one that comes while the session has no
 * other resumes it; one that comes while another is up joins it, which needs
 * mux_session_may_join().
 */
struct mux_link *mux_link_attach(struct mux_session *session, struct mux_output output,
                                 uint64_t now_us);
/*
 * Server: a link with this HELLO belongs to the session (the caller has compared keys, and has
 * asked mux_session_is_newer()). offers is what WELCOME lists (mux_offer_write()); it must live as
 * long as the session. Before a resume the caller detaches all links that the session had. NULL: it
 * cannot be; mux_session_reason() says why, and nothing has changed.
 */
struct mux_link *mux_link_accept(struct mux_session *session, const struct mux_hello *hello,
                                 uint16_t offer_count, struct mux_text offers,
                                 struct mux_output output, uint64_t now_us);
/* The link is gone; frees it. Streams stay as they are; what it had not delivered goes over others.
 */
void mux_link_detach(struct mux_link *link);

int mux_link_receive(struct mux_link *link, const uint8_t *bytes, size_t size, uint64_t now_us);
/* Writes whole frames into buffer (at least MUX_PULL_MIN bytes); 0: nothing to send now. */
#define MUX_PULL_MIN (MUX_FRAME_HEADER + MUX_FRAME_PAYLOAD_MAX)
size_t mux_link_pull(struct mux_link *link, uint8_t *buffer, size_t size, uint64_t now_us);
/* How much, at most, is good to be pulled or received before others have had their turn
 * (mux/portion.h). SIZE_MAX: any amount. */
size_t mux_link_portion(const struct mux_link *link);
/*
 * The same without a copy of what is long: buffer gets whatever is short, and spans point, in
 * order, at that and at bytes of streams where they are kept. Those stay as they are, in case they
 * have to be sent again, and can be read until the session's next verb. Returns the size of all, at
 * most size.
 */
#define MUX_GATHERED_MAX 32
struct mux_gathered {
    struct iovec spans[MUX_GATHERED_MAX];
    size_t count;
};
size_t mux_link_gather(struct mux_link *link, uint8_t *buffer, size_t size,
                       struct mux_gathered *gathered, uint64_t now_us);
/* Whether the next pull has something to send. */
bool mux_link_wants_output(const struct mux_link *link);
/* UINT64_MAX: never. */
uint64_t mux_link_deadline(const struct mux_link *link);
int mux_link_tick(struct mux_link *link, uint64_t now_us);

const char *mux_link_reason(const struct mux_link *link);
const struct mux_reject *mux_link_rejection(const struct mux_link *link);
/* HELLO and WELCOME are exchanged, and positions if they had to be. */
bool mux_link_is_up(const struct mux_link *link);
enum mux_entry mux_link_entry(const struct mux_link *link);
/* The number that the client has given the link: both ends know it by this. */
uint32_t mux_link_attempt(const struct mux_link *link);
struct mux_pings mux_link_pings(const struct mux_link *link);
/* Probes the link at once. */
void mux_link_ping(struct mux_link *link, uint64_t now_us);
/* The same, when there is reason to think that the link is dead: it is after this long a silence.
 */
void mux_link_probe(struct mux_link *link, uint64_t now_us, uint64_t dead_after_us);
/* Sends so many bytes that mean nothing, behind whatever else there is, instead of what is left of
 * those before: to measure the path. A ping that is asked for later is answered when what of them
 * has left has arrived. */
void mux_link_pad(struct mux_link *link, uint64_t bytes);
/* What the kernel says of the link's path; worth telling every 10 ms or so while it sends. */
void mux_link_observe(struct mux_link *link, const struct mux_path *path, uint64_t now_us);

struct mux_link_facts {
    bool up;
    bool lead;           /* carries what is small, and the session's own messages */
    bool suspect;        /* has not answered for longer than is usual */
    uint64_t rtt_us;     /* the latest round trip; 0: none was measured */
    uint64_t rtt_at_us;  /* when it was measured */
    uint64_t progress;   /* bytes of streams that it has carried for sure: that the peer has
                            acknowledged, or that came */
    uint64_t in_flight;  /* bytes of streams that are on their way to the peer */
    uint64_t sent_again; /* bytes of streams that went over it a second time */
    uint64_t padding;    /* bytes of mux_link_pad() that are still to be sent */
};
struct mux_link_facts mux_link_facts(const struct mux_link *link);

/*
 * How large a WebSocket frame may be, header included. What is in between may cut a link at each
 * frame above a size of its own: some ingresses take 32 or 64 KiB. That shows: link after link ends
 * with a large frame on its way that the peer never answered, while smaller ones get through. Each
 * end learns it for the frames that it sends, and tells the other one (message_max in HELLO and
 * WELCOME).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What --max-frame takes; a peer's wish is held to it as well. */
#define FRAME_LIMIT_LEAST ((size_t)1024)
#define FRAME_LIMIT_MOST ((size_t)64 * 1024)
/* What is learnt is no less than this. */
#define FRAME_LIMIT_LEARNT_LEAST ((size_t)4 * 1024)

/* How a link's frames fared. */
struct frame_record {
    size_t largest_sent;
    size_t largest_answered; /* the peer has answered what came after a frame of this size */
    bool refused;            /* closed with 1009, message too big (RFC 6455, 7.4.1) */
};

struct frame_limit {
    size_t max;
    unsigned cuts;    /* links in a row that ended with their largest frame on its way */
    bool provisional; /* max has just been lowered: nothing near it has got through yet */
};

void frame_limit_init(struct frame_limit *limit, size_t max);
/* Makes max smaller if it is larger, as the peer wishes. true: it was. 0 is no wish. */
bool frame_limit_lower(struct frame_limit *limit, size_t max);
/* A link has ended, and not because this end wanted it to. true: max is smaller now, for it looks
 * as if something cuts large frames. */
bool frame_limit_learn(struct frame_limit *limit, const struct frame_record *record);

/*
 * The simulation of the tunnel protocol: two real sessions, a network that delays, cuts and loses,
 * and owners that write, read, dawdle, finish and reset, all under virtual time. One seed decides
 * everything, so a failing seed replays.
 *
 *     main.c     the command line and the totals
 *     world.c    one seed: the plan, the events in order of time, links lost and made anew
 *     network.c  links: delay, bandwidth, bytes in flight, cuts at any byte
 *     owner.c    what a relay would do with streams, and what it must see
 *     check.c    the invariants over both sessions, looked at after every event
 *     hostile.c  one real session whose peer sends random valid and invalid frames
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "mux/link.h"
#include "mux/session.h"
#include "mux/session_control.h"
#include "mux/session_core.h"

struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *r)
{
    uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 to bound - 1. */
static inline uint64_t random_below(struct random *r, uint64_t bound)
{
    return bound ? random_next(r) % bound : 0;
}

/* low to high, small values as likely as large ones. */
static inline uint64_t random_scaled(struct random *r, uint64_t low, uint64_t high)
{
    uint64_t span = high - low + 1;
    unsigned bits = 0;

    while (bits < 63 && span >> bits)
        bits++;
    uint64_t cap = (UINT64_C(1) << random_below(r, bits + 1));
    return low + random_below(r, cap < span ? cap : span);
}

static inline bool random_chance(struct random *r, unsigned in_thousand)
{
    return random_below(r, 1000) < in_thousand;
}

enum { CLIENT = 0, SERVER = 1, ENDS = 2 };
enum { MAX_STREAMS = 96, MAX_LINKS = 24, GREETING_MAX = 1024, REST_MAX = 16 * 1024 };
#define NEVER UINT64_MAX

struct packet {
    struct packet *next;
    uint64_t at_us;
    size_t size;
    uint8_t bytes[];
};

/* One direction of a link. */
struct pipe {
    struct packet *first;
    struct packet **last;
    size_t in_flight;
    uint64_t busy_until_us;
    uint64_t carried;
    uint64_t cut_after;        /* the link is lost when so many bytes have arrived */
    uint64_t stalled_until_us; /* nothing arrives before; NEVER: nothing ever will */
};

/* What one end has of a link. */
struct side {
    struct end *end;
    struct link *link;
    struct mux_link *mux; /* NULL: none yet, or no longer */
    bool wants_pull;
    bool attended; /* attend() was called */
    /* As a program has it: looked at after each verb of this link, not of others. */
    uint64_t timer_us;
    uint64_t greeted_us; /* hostile: when the link began */
};

struct link {
    struct pipe to[ENDS]; /* towards that end */
    struct side sides[ENDS];
    bool open[ENDS];          /* the end still holds it */
    uint64_t learns_us[ENDS]; /* when the end hears that the link is gone; NEVER: it does not */
    uint64_t delay_us;
    uint64_t jitter_us;
    uint64_t bytes_per_ms;
    uint64_t retransmitted; /* segments, as a kernel would tell */
    bool cut;
    bool greeted; /* the server has seen HELLO */
    bool spoil_version;
    uint8_t greeting[GREETING_MAX];
    size_t greeting_fill;
    uint8_t rest[REST_MAX]; /* hostile: of frames that were cut, to be sent later */
    size_t rest_fill;
};

/* One end's view of one stream. */
struct app {
    struct mux_stream *stream;
    struct end *end;
    uint32_t id;
    bool exists; /* opened here, or open() was called */
    bool live;   /* the handle is valid */
    bool answered;
    bool finished;    /* mux_stream_finish() was called */
    bool told_finish; /* finish() came */
    bool told_over;
    bool was_reset; /* by its own owner, or refused */
    bool no_memory; /* it was reset because of that */
    enum mux_reset_mode mode;
    uint64_t reset_us;
    uint64_t target; /* bytes to write */
    uint64_t written;
    uint64_t received;
    uint64_t consumed;
    uint64_t pace; /* bytes that the reader takes at a time */
    uint64_t stalled_until_us;
    uint64_t stand; /* changes when the stream moves; since when it has not while it could */
    uint64_t stands_us;
    uint64_t stuck_us; /* since when it has waited for a link that does not answer */
};

struct end {
    struct world *world;
    unsigned which;
    struct mux_settings settings;
    struct mux_session *session;
    struct chunk_pool pool;
    struct memory_budget budget;
    struct memory_share share;
    struct memory_share others; /* hostile: of somebody who wants no more than a part */
    uint64_t control_stand;     /* changes when the control stream moves; since when it has not */
    uint64_t control_stands_us;
    unsigned wanted; /* links, as links_wanted() said */
    bool idle;       /* no stream has been opened since idle() */
    uint32_t messages_sent;
    uint32_t messages_seen;
    bool withholds;               /* and the peer never ends its positions */
    bool crumbles;                /* hostile: the peer sends as many pieces as it can */
    uint32_t last_open;           /* hostile: id of the last stream that open() was called for */
    struct app apps[MAX_STREAMS]; /* by place_of() the stream */
};

struct plan {
    unsigned streams;      /* to be opened in all */
    unsigned concurrent;   /* at a time */
    uint64_t bytes_max;    /* a stream and direction */
    uint32_t messages;     /* each way */
    unsigned reset_chance; /* in a thousand, each time an owner acts */
    unsigned refuse_chance;
    unsigned stall_chance;
    unsigned silent_chance;  /* that an end does not hear of a lost link */
    unsigned late_chance;    /* that a link takes very long to get through */
    unsigned cuts;           /* links that get lost */
    unsigned links;          /* that a session may have at a time */
    unsigned join_chance;    /* each time the owners act, that the client makes another one */
    unsigned part_chance;    /* that an end lets go of one that works */
    bool heeds;              /* the client makes as many as links_wanted() says */
    bool waits;              /* a client without a link waits for those that are to join */
    unsigned uneven;         /* links are so many times slower and farther than others */
    unsigned freezes;        /* times that a link carries nothing for a while */
    unsigned freeze_chance;  /* each time the owners act */
    unsigned forever_chance; /* that a frozen link stays so */
    unsigned loss_chance;    /* that a link's kernel says it has sent something again */
    bool hidden;             /* each link's kernel sees only the way to something in between */
    uint64_t cut_bytes_max;
    uint64_t delay_us;
    uint64_t jitter_us;
    uint64_t bytes_per_ms;
    size_t in_flight_max;
    size_t packet_max;
    uint64_t pause_us; /* between two turns of the owners */
    bool lose_session; /* the server forgets the session once */
    uint32_t ids_left; /* a session has so many ids of streams; 0: all */
    bool spoil_version;
    bool version_1; /* the client speaks no later one */
};

struct totals {
    uint64_t seeds;
    uint64_t frames;
    uint64_t bytes;
    uint64_t losses;
    uint64_t resumes;
    uint64_t joins;
    uint64_t refused_joins;
    uint64_t freezes;
    uint64_t sent_again;   /* bytes */
    uint64_t out_of_order; /* most bytes that an end has held at a time */
    uint64_t sessions_lost;
    uint64_t streams;
    uint64_t errors; /* protocol errors that a hostile peer earned */
    uint64_t cut;    /* streams that there was no memory for */
    uint64_t violations;
    uint64_t virtual_us;
};

struct world {
    uint64_t seed;
    struct random random;
    struct plan plan;
    struct totals *totals;
    uint64_t now_us;
    uint64_t wake_us;
    uint64_t dial_us; /* when the client makes the next link */
    uint64_t progress_us;
    uint64_t ticks; /* of links */
    struct end ends[ENDS];
    struct link links[MAX_LINKS];
    uint32_t id_base;       /* the id before a session's first stream */
    unsigned opened;        /* in this session */
    unsigned opened_before; /* in earlier ones */
    bool losing;            /* a lost session's streams are being reset */
    bool trace;
    char violation[240];
};

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void violate(struct world *world, const char *format, ...);
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void trace(struct world *world, const char *format, ...);
void progress(struct world *world);

/* Where a stream is in struct end's apps. */
static inline unsigned place_of(const struct world *world, uint32_t id)
{
    return id - world->id_base - 1;
}

/* network.c */
void link_open(struct world *world, struct link *link);
void link_close(struct world *world, struct link *link, unsigned by);
void link_clear(struct link *link);
bool link_room(const struct world *world, const struct link *link, unsigned from);
void link_send(struct world *world, struct link *link, unsigned from, const uint8_t *bytes,
               size_t size);
/* Time of the next arrival towards end, NEVER if nothing is under way. */
uint64_t link_next(const struct link *link, unsigned towards);
/* Takes what arrives now; the caller frees it. NULL: nothing, or the link was lost with it. */
struct packet *link_arrive(struct world *world, struct link *link, unsigned towards);
/* One direction, or both, carry nothing for a while, or for ever. */
void link_freeze(struct world *world, struct link *link);

/* owner.c */
extern const struct mux_session_callbacks owner_callbacks;
struct mux_output owner_output(struct side *side);
void owner_act(struct end *end);
void owner_new_session(struct end *end);
void content_init(void);

/* check.c */
void check_world(struct world *world);
void check_idle(void *context);
void check_session(struct world *world, const struct end *end);
void check_quiet(struct world *world, const struct end *end);
void check_empty(struct world *world, struct end *end);
bool all_over(const struct world *world);

/* world.c, hostile.c: false when an invariant was broken; world->violation says which. */
bool world_run(struct world *world, uint64_t seed, bool trace_on, struct totals *totals);
bool hostile_run(struct world *world, uint64_t seed, bool trace_on, struct totals *totals);

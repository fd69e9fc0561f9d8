/*
 * How many links a session wants for what it sends. More than one helps where one link is one
 * congestion window and one line to wait in: on a long path, or one that loses. On loopback and in
 * a clean LAN it never asks for another.
 *
 *   - As soon as something is sent over a long or lossy path, a second link is worth having: it
 *     stands by when the first one stalls or is lost.
 *   - While bytes wait and no link is free, more are asked for: twice as many where segments get
 *     lost, or may get lost unseen, since there each link has its own share; one at a time
 *     otherwise, and none any more for a while when the last one has not helped.
 *   - When little was sent for a minute, the second one stays and the others go. When it has not
 *     been so for a minute that more than one helps, they all go but one: a busy machine can make a
 *     short path look long.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A path is long from here on: a round trip of a LAN is shorter. */
#define MUX_GROWTH_LONG_US 3000
/* So many pings say the same before it is believed. */
#define MUX_GROWTH_PINGS 5

struct mux_growth {
    unsigned wanted;      /* links, 1 at least */
    uint64_t looked_us;   /* when the present look began; 0: there was none */
    uint64_t helped_us;   /* when the path was long, or lost something, last */
    uint64_t busy_us;     /* when more than a little was sent last */
    uint64_t pressed_us;  /* since when bytes wait and no link is free; 0: not now */
    uint64_t waited_us;   /* how long they did, in this look */
    uint64_t sent;        /* bytes, in this look */
    uint64_t rate_before; /* bytes/s before the link that is on trial */
    uint64_t trial_us;    /* when that came; 0: none is on trial */
    uint64_t content_us;  /* no more are asked for before this, unless something is lost */
};

/* What a look goes by. */
struct mux_growth_facts {
    uint64_t now_us;
    uint64_t rtt_us;        /* the shortest of any link; 0: not known well */
    bool lossy;             /* segments were sent again lately */
    bool hidden;            /* TCP ends on the way: nobody here sees what gets lost behind that */
    uint64_t retransmitted; /* segments, in this look */
    unsigned links;         /* that are up */
    unsigned most;          /* that are allowed */
};

void mux_growth_init(struct mux_growth *growth);
/* Bytes of streams go out; pressed: more of them wait than the link took. */
void mux_growth_sent(struct mux_growth *growth, uint64_t bytes);
/* Bytes wait although every link has been told of them; or not. */
void mux_growth_press(struct mux_growth *growth, bool pressed, uint64_t now_us);
/* When the next look is due; UINT64_MAX: nothing is to be decided. */
uint64_t mux_growth_deadline(const struct mux_growth *growth);
/* Looks; returns whether wanted has changed. */
bool mux_growth_look(struct mux_growth *growth, const struct mux_growth_facts *facts);

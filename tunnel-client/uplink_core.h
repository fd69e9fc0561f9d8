/*
 * What the files behind uplink.h share: the state of an uplink, and what uplink_join.c asks of
 * uplink.c. For these files alone.
 *
 *     uplink_view.c    what there is to see; asks only
 *     uplink.c         sessions, dials, pauses, what becomes of links
 *     uplink_join.c    one more link, or one less, of a session that has some
 */
#pragma once

#include "carrier.h"
#include "joining.h"
#include "journal.h"
#include "link_history.h"
#include "tunnel/frame_limit.h"

struct uplink {
    struct worker *worker;
    const struct options *options;
    const struct uplink_owner *owner;
    void *context;
    struct http_way *way;
    struct http_client *http;
    struct credentials *credentials;
    struct carrier *current; /* what new streams are opened on */
    struct list leaving;     /* struct carrier: the rest of what a server that stops has to do */
    struct timer *redial;
    struct timer *look; /* runs while the redial waits for better credentials */
    struct timer
        *join; /* looks whether there should be more links, or fewer, outside of callbacks */
    struct joining joining;
    enum link_cause join_cause; /* of the dial for one more link that is under way */
    bool replaces;              /* that a link was lost is why there are too few */
    struct wake *wake;
    unsigned failures; /* dials in a row that did not lead to a link that worked */
    struct frame_limit frames;
    uint32_t resume_window_ms;
    char said[200]; /* the last failure that was logged as a warning */
    uint64_t said_us;
    uint64_t stops_us; /* when the server has said that it stops; 0: it has not, or another is up */
    unsigned pause_ms; /* before the next dial */
    uint64_t redial_us; /* when that is, while redial runs */
    bool pause_stays;   /* the server wants it, or it has refused us: no network takes it away */
    bool dialling;      /* asking for a token included */
    uint64_t asked_us;  /* when the last dial began, with the question for a token */
    uint64_t dial_us;   /* when it went on to the server */
    uint64_t since_us;  /* by the wall clock: up or down since */
    uint64_t measure_us;
    char software[64]; /* the server's */
    struct journal journal;
    struct link_history history;
    bool draining; /* the program is about to stop: streams end one by one */
    bool stopping; /* it stops now */
};

/* Asks for a token and dials. Nothing else is under way. */
void uplink_dial(struct uplink *uplink);
/* For the journal. */
void uplink_note(struct uplink *uplink, enum journal_kind kind, const char *reason, uint64_t ms);
/* Less than bound, which is not 0. */
unsigned uplink_random_below(unsigned bound);

/*
 * A session of the client's and the links that carry it: one, or several. uplink.c decides which
 * there are, and hears what becomes of them.
 */
#pragma once

#include "base/list.h"
#include "io/worker.h"
#include "link_history.h"
#include "tunnel/link.h"

struct carrier;

/* One of its links, from the upgrade until the WebSocket has ended. */
struct carrier_link {
    struct list node; /* in carrier->links */
    struct carrier *carrier;
    struct link *link;
    uint64_t since_us; /* of the upgrade */
    enum mux_entry entry;
    uint32_t number; /* in its session */
    enum link_cause cause;
    bool welcomed;  /* WELCOME has come */
    bool dismissed; /* closed by this end: it carries nothing, and its end is no news */
};

struct carrier {
    struct list node; /* in uplink->leaving, once the server has said that it stops */
    struct uplink *uplink;
    struct mux_session *session;
    struct list links;    /* struct carrier_link */
    struct timer *resume; /* the server forgets the session when this fires */
    struct timer *sweep;  /* looks whether the last stream has gone, outside of callbacks */
    unsigned wanted;      /* so many links would help */
    bool known;           /* a WELCOME has come: streams may exist */
    bool worked;  /* a link that is gone has, since the session is up: it was worth its dial */
    bool leaving; /* it ends with its last stream */
};

/* Takes the transport; the link says HELLO. owner's context is the struct carrier_link, which is to
 * be freed with carrier_link_free() when that ends. cause: of a link that joins others. */
struct carrier_link *carrier_add(struct carrier *carrier, struct worker *worker,
                                 struct transport *transport, const struct link_owner *owner,
                                 size_t frame_max, enum link_cause cause);
void carrier_link_free(struct carrier_link *at);
/* Frees the links that are left, without a word. */
void carrier_abort_links(struct carrier *carrier);

/* Closes it; what was on its way goes over the others. */
void carrier_dismiss(struct carrier_link *at, uint16_t code, const char *reason);
void carrier_dismiss_all(struct carrier *carrier, uint16_t code, const char *reason);
/* The one to close when there are too many: not the lead, and with the least on its way. NULL:
 * there is none that others could stand in for. */
struct carrier_link *carrier_surplus(const struct carrier *carrier);

/* Has a link, or one that is saying HELLO. */
bool carrier_is_linked(const struct carrier *carrier);
/* A link is saying HELLO; NULL: none is. */
struct carrier_link *carrier_greeting(const struct carrier *carrier);
/* Links that have come as far as WELCOME, and not to their end. */
unsigned carrier_welcomed(const struct carrier *carrier);
struct carrier_link *carrier_find(const struct carrier *carrier, const struct mux_link *mux);
/* The session's lead, or while there is none, another link; NULL: there are none. */
struct link *carrier_lead(const struct carrier *carrier);
void carrier_limit_frames(const struct carrier *carrier, size_t max);
void carrier_probe(const struct carrier *carrier);

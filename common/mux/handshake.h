/*
 * The first frames of a link. HELLO comes from the client; the server answers WELCOME or REJECT.
 * Both are decoded without a session, since it is HELLO that says which session a link belongs to.
 * Bytes after the known fields of a payload are ignored: later versions add theirs there.
 */
#pragma once

#include "base/bytes.h"
#include "mux/message.h"
#include "mux/protocol.h"

struct mux_session_key {
    uint8_t id[MUX_SESSION_ID_SIZE];
    uint8_t secret[MUX_SESSION_SECRET_SIZE]; /* never logged; compared in constant time */
};

struct mux_hello {
    uint16_t version_min;
    uint16_t version_max;
    bool resume;             /* key names a session that this link is to carry on */
    bool join;               /* key names one that has links; this is another one */
    uint32_t attempt;        /* counts the links that the client has made for the session, from 1 */
    uint32_t initial_window; /* credit of a stream before the first WINDOW, bytes */
    struct mux_session_key key;
    struct mux_text software;
    uint32_t message_max; /* the client sends no larger message of the link; 0: it does not say */
};

struct mux_welcome {
    uint16_t version;
    bool resumed;
    bool joined;
    bool tells_names; /* the server answers KEEP, and knows MUX_TARGET_BOOTSTRAP */
    uint32_t initial_window;
    uint32_t resume_window_ms; /* how long the server keeps the session without a link */
    struct mux_session_key key;
    struct mux_text software;
    /* What the server offers: entries of kind u8 (MUX_TARGET_CLUSTER or _TCP) and name (u8 size,
     * bytes). */
    uint16_t offer_count;
    struct mux_text offers;
    struct mux_text identity; /* who the server says that the client is */
    uint32_t message_max;     /* as in HELLO, of the server */
    struct mux_text rights;   /* what the client may do, for people; empty: everything on offer */
};

struct mux_reject {
    uint16_t code; /* enum mux_code */
    uint32_t retry_after_ms;
    struct mux_text reason;
};

void mux_hello_encode(struct byte_writer *w, const struct mux_hello *hello);
void mux_welcome_encode(struct byte_writer *w, const struct mux_welcome *welcome);
void mux_reject_encode(struct byte_writer *w, const struct mux_reject *reject);

/* Payload decoders; false: malformed. */
bool mux_hello_decode(const uint8_t *payload, size_t size, struct mux_hello *hello);
bool mux_welcome_decode(const uint8_t *payload, size_t size, struct mux_welcome *welcome);
bool mux_reject_decode(const uint8_t *payload, size_t size, struct mux_reject *reject);

enum mux_hello_result { MUX_HELLO_NEED_MORE = 1, MUX_HELLO_MALFORMED = -1 };
/*
 * For a server that has no session yet: looks for a whole HELLO frame at the beginning of bytes.
 * 0: *hello is filled in (pointing into bytes) and *consumed says how many bytes it took; or an
 * enum mux_hello_result, with *reason for the log when it is malformed.
 */
int mux_hello_receive(const uint8_t *bytes, size_t size, struct mux_hello *hello, size_t *consumed,
                      const char **reason);

/* The highest version both sides speak, 0 if there is none. */
uint16_t mux_version_choose(uint16_t peer_min, uint16_t peer_max);

/* Walks the offers of a WELCOME: start with *rest = welcome->offers; false at the end or when
 * malformed. */
bool mux_offer_next(struct mux_text *rest, enum mux_target_kind *kind, struct mux_text *name);
/* Bound of a server's offers, encoded. */
#define MUX_OFFERS_MAX 8192u
/* Appends an offer for struct mux_welcome.offers. */
void mux_offer_write(struct byte_writer *w, enum mux_target_kind kind, struct mux_text name);

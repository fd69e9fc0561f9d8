/*
 * The requests in flight on one connection, in the order they were sent.
 *
 * Brokers answer in order, so the oldest is the usual match. The first response that is of another
 * one, while many are in flight, makes an index of their correlation ids, which is kept until all
 * are answered: finding a request costs the same however many there are and whatever ids they have.
 * Correlation ids may start anywhere, repeat over time and jump: they are only compared. Of two in
 * flight with the same id the older one is answered first.
 *
 * A Produce request with acks=0 has no response, except from some brokers (Azure Event Hubs): it is
 * entered as optional, and dropped when a later request is answered. Runs of optional requests with
 * ascending ids share one entry, so that a producer that never gets an answer costs nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

enum kafka_request_type {
    KAFKA_REQUEST_ANSWERED, /* has exactly one response */
    KAFKA_REQUEST_OPTIONAL, /* may have one */
    KAFKA_REQUEST_OWN,      /* not the client's: has exactly one response, which is not for it */
    KAFKA_REQUEST_TOKEN,    /* a raw SASL token (SaslHandshake v0): answered by a raw token */
    KAFKA_REQUEST_DENIED,   /* the broker does not have it: its note is the answer */
};

struct kafka_request {
    struct kafka_note *note; /* malloc()ed, owned; NULL for most */
    uint64_t mark;           /* the caller's own, see kafka_filter_callbacks.asked() */
    uint64_t rules;          /* by which a guard has let it pass: its generation */
    uint64_t share;          /* the share session that it begins, see guard_requests.h; 0: none */
    int32_t correlation_id;  /* of the first, in a run of optional ones */
    uint32_t run;            /* how many requests this entry stands for */
    int16_t api_key;
    int16_t version;
    uint8_t type;
};

/* What is known of a request until it is answered. */
struct kafka_note {
    size_t size;
    uint8_t bytes[];
};

struct kafka_requests_entry;
struct kafka_requests_link;

/* Entries in the order they came, by their places. */
struct kafka_requests_line {
    uint32_t first; /* UINT32_MAX: none */
    uint32_t last;
};

struct kafka_requests {
    struct kafka_requests_entry *entries;
    uint32_t capacity; /* a power of two, or 0 */
    uint32_t used;     /* places from here on have never been taken */
    uint32_t vacant;   /* the first of those that are free again; UINT32_MAX: none */
    uint32_t count;
    uint32_t max;                    /* entries */
    uint64_t order;                  /* of the next entry */
    struct kafka_requests_line owed; /* those that must be answered, tokens among them */
    struct kafka_requests_line optional;
    uint32_t owed_count;
    uint32_t token_count;
    size_t note_bytes;                 /* of all entries' notes */
    uint32_t bucket_count;             /* of the index, a power of two; 0: there is none */
    uint32_t *buckets;                 /* room for as many as capacity; NULL: never needed yet */
    struct kafka_requests_link *links; /* one a place; of those with a correlation id */
    const struct hash_key *key;
    uint64_t looks; /* entries looked at so far: what all answers have cost */
};

/* key must live as long. */
void kafka_requests_init(struct kafka_requests *q, uint32_t max, const struct hash_key *key);
void kafka_requests_free(struct kafka_requests *q);

enum { KAFKA_REQUESTS_EFULL = -1, KAFKA_REQUESTS_EMEMORY = -2 };
int kafka_requests_push(struct kafka_requests *q, const struct kafka_request *request);

/* The next entry to be answered by a raw token? */
bool kafka_requests_front_is_token(const struct kafka_requests *q);
void kafka_requests_pop_token(struct kafka_requests *q);
/* The next entry to be answered is one of those that the broker does not have? */
bool kafka_requests_front_is_denied(const struct kafka_requests *q);
/* Takes it out of the queue. */
void kafka_requests_pop_denied(struct kafka_requests *q, struct kafka_request *request);
/* Forgets the tokens that got no answer: GSSAPI's last one never does. */
void kafka_requests_drop_tokens(struct kafka_requests *q);

enum kafka_requests_match {
    KAFKA_REQUESTS_UNKNOWN, /* no such request */
    KAFKA_REQUESTS_IN_ORDER,
    KAFKA_REQUESTS_OUT_OF_ORDER, /* earlier ones that must be answered are still waiting */
};
/* Takes the request that a response with this id belongs to out of the queue, with its note. */
enum kafka_requests_match kafka_requests_match(struct kafka_requests *q, int32_t correlation_id,
                                               struct kafka_request *request);

/* Bytes that it has allocated, and those of the notes, which are its own. */
size_t kafka_requests_memory(const struct kafka_requests *q);
/* Of these, the notes'. */
size_t kafka_requests_note_bytes(const struct kafka_requests *q);
/* How many requests and tokens wait for a response that must come. */
size_t kafka_requests_owed(const struct kafka_requests *q);

/*
 * The guard's part of the request direction: judges one request at a time as its bytes come, and
 * makes the answer to one that is denied.
 *
 *     begin() --PASS--> the request goes to the broker
 *             --MORE--> walk() its body until it says PASS or DENIED; end() at its end
 *             --REWRITE-> held whole: see guard_metadata.h
 *             --DENIED--> collect() its body from the beginning, then answer()
 *
 * Topics stand before their records, so a Produce request for one topic is judged by its first
 * bytes.
 */
#pragma once

#include "kafka/buffer.h"
#include "kafka/guard.h"
#include "kafka/requests.h"
#include "kafka/shape_walk.h"

/* The API that other requests need as well when they make topics: Metadata, StreamsGroupHeartbeat.
 */
enum { KAFKA_GUARD_CREATE_TOPICS = 19 };

enum {
    KAFKA_GUARD_NAME = 128,          /* characters of a denied name that are kept for the record */
    KAFKA_GUARD_SESSIONS = 8,        /* sessions of a connection that are known, of each kind */
    KAFKA_GUARD_COLLECTED = 1 << 20, /* bytes that an answer repeats of its request, at most */
};

enum kafka_guard_verdict {
    KAFKA_GUARD_PASS = 0,
    KAFKA_GUARD_MORE,
    KAFKA_GUARD_DENIED,
    KAFKA_GUARD_REWRITE,
    /* negative: KAFKA_FILTER_E..., reason says why: the connection closes */
};

struct kafka_guard_requests {
    const struct kafka_guard *guard;
    void *context;
    struct kafka_request request; /* the one at hand */
    const struct kafka_shapes *shapes;
    struct kafka_shape_walk walk;
    uint32_t roles;  /* that are looked at */
    unsigned checks; /* resources with names that are denied; bits */
    unsigned named;  /* resources that the request names; bits */
    int8_t type;     /* of the key or resource at hand */
    int32_t session;
    uint64_t share;      /* the share session: a keyed hash of its group and member */
    uint64_t begins;     /* the one that the request begins; 0: none */
    uint64_t generation; /* of what is allowed */
    bool pending;        /* the key in key, whose type comes behind it */
    bool denied;
    bool tagged;  /* tags have come */
    bool by_api;  /* the API as such is denied */
    uint8_t kind; /* enum kafka_denial_kind */
    enum kafka_resource resource;
    char name[KAFKA_GUARD_NAME + 1];
    uint8_t key[KAFKA_SHAPE_TEXT_MAX];
    size_t key_size;
    struct kafka_buffer collected;  /* see guard_answer.c */
    size_t open[KAFKA_SHAPE_DEPTH]; /* elements that have begun: where, in collected */
    unsigned depth;
    bool overflow;
    const struct hash_key *hash_key;
    int32_t sessions[KAFKA_GUARD_SESSIONS]; /* of Fetch, that brokers have given this connection */
    unsigned session_count;                 /* so far */
    uint64_t shares[KAFKA_GUARD_SESSIONS];  /* share sessions that it has begun */
    unsigned share_count;                   /* so far */
    const char *reason;
};

/* body_size: bytes behind the client id. */
int kafka_guard_begin(struct kafka_guard_requests *g, const struct kafka_request *request,
                      uint64_t body_size);
int kafka_guard_walk(struct kafka_guard_requests *g, const uint8_t *bytes, size_t size);

/* Other rules have come into force since the request at hand began: it must begin again. */
bool kafka_guard_is_stale(const struct kafka_guard_requests *g);
/* What is to be known of the request when its answer comes. */
void kafka_guard_enter(const struct kafka_guard_requests *g, struct kafka_request *request);

/* The same again from the first byte of the body, for the answer. */
void kafka_guard_collect_start(struct kafka_guard_requests *g, uint64_t body_size);
/* 0, or negative. */
int kafka_guard_collect(struct kafka_guard_requests *g, const uint8_t *bytes, size_t size);
/* The whole answer, with its length. 0, or negative. */
int kafka_guard_answer(struct kafka_guard_requests *g, struct kafka_buffer *out);

/* A part of the request is denied, of which the response will tell. */
void kafka_guard_note_topic(struct kafka_guard_requests *g, const uint8_t *name, size_t size);
/* What the caller's denied() is told. */
void kafka_guard_report(const struct kafka_guard_requests *g, const char *client_id);

/* The first bytes of the body of a response that says which session there is. */
bool kafka_guard_tells_session(const struct kafka_request *request);
void kafka_guard_see_session(struct kafka_guard_requests *g, const struct kafka_request *request,
                             const uint8_t *bytes, size_t size);
enum { KAFKA_GUARD_SESSION_HEAD = 1 + 4 + 2 + 4 };
/* Of an enum kafka_denial_kind. */
int16_t kafka_guard_code(unsigned kind);

/* An error code, or 0 if what the field names is allowed. type: of a key or a resource. */
int16_t kafka_guard_judge(const struct kafka_guard_requests *g, enum kafka_role role,
                          const uint8_t *bytes, size_t size, int8_t type);
void kafka_guard_free(struct kafka_guard_requests *g);

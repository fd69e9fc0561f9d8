/*
 * A byte-fed walk over a request's body: tells about the fields that have a role, in any split, and
 * holds no more than the one at hand. Records and the like are counted, not looked at. Every length
 * is checked against the bytes that the frame has left before it is believed.
 */
#pragma once

#include "kafka/shapes.h"
#include "kafka/taker.h"

enum {
    KAFKA_SHAPE_DEPTH = 8,
    KAFKA_SHAPE_TEXT_MAX = 1024, /* bytes of a field with a role; a longer one fails the walk */
};

struct kafka_shape_sink {
    /* bytes are valid during the call; NULL: the field is null. */
    void (*field)(void *context, enum kafka_role role, const uint8_t *bytes, size_t size);
    /* An element of an array with a role begins, or ends. */
    void (*element)(void *context, enum kafka_role role, bool begins);
    /* Tags come next; NULL: they are skipped. */
    void (*tags)(void *context);
};

struct kafka_shape_walk {
    const struct kafka_shape *row;
    const struct kafka_shape *end; /* behind the last row */
    int16_t version;
    bool flexible;
    bool over;
    bool stop; /* the sink sets it: the walk ends where it is */
    struct kafka_taker taker;
    bool in_header;
    bool gathering; /* the field at hand goes to text */
    size_t text_left;
    size_t text_size;
    unsigned depth;
    struct {
        const struct kafka_shape *row; /* of the array or struct */
        uint32_t count;                /* elements to come, the one at hand included */
    } loop[KAFKA_SHAPE_DEPTH];
    uint8_t text[KAFKA_SHAPE_TEXT_MAX];
};

/* size: bytes from behind the client id to the end of the frame. */
void kafka_shape_walk_start(struct kafka_shape_walk *w, const struct kafka_shape *rows,
                            int16_t version, bool flexible, uint64_t size);
/* Takes all bytes, which must be of the frame, unless it fails. DONE: all fields have come, or the
 * sink has stopped it. */
enum kafka_walk_result kafka_shape_walk_run(struct kafka_shape_walk *w, const uint8_t *bytes,
                                            size_t size, const struct kafka_shape_sink *sink,
                                            void *context);
/* Whether a field with one of these roles (bits) may still come. */
bool kafka_shape_walk_expects(const struct kafka_shape_walk *w, uint32_t roles);

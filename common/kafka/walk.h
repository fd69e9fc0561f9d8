/*
 * A byte-fed walk over a message body: finds where a field begins without holding what is before
 * it.
 *
 * A layout is a list of steps. The walker takes bytes in any split, keeps a 64-bit counter for what
 * it may skip, and never looks at skipped bytes, so records cost nothing. Every length is checked
 * against the bytes that the frame has left before it is believed.
 */
#pragma once

#include "kafka/taker.h"

enum kafka_step_type {
    KAFKA_STEP_END = 0,  /* the walk is over: the next byte is the field that was looked for */
    KAFKA_STEP_FIXED,    /* size bytes */
    KAFKA_STEP_STRING16, /* INT16 length, -1 = null */
    KAFKA_STEP_STRING,   /* UVARINT length + 1, 0 = null; bytes and records as well */
    KAFKA_STEP_ARRAY32,  /* INT32 count, -1 = null; elements are the steps up to CLOSE */
    KAFKA_STEP_ARRAY,    /* UVARINT count + 1, 0 = null */
    KAFKA_STEP_CLOSE,
    KAFKA_STEP_TAGS, /* a tag section */
};

/* Every array element has at least one byte, so that a walk cannot spin. */
struct kafka_step {
    uint8_t type;
    uint8_t size;
};

enum { KAFKA_WALK_DEPTH = 4 };

struct kafka_walk {
    const struct kafka_step *step;
    struct kafka_taker taker;
    unsigned depth; /* arrays that the walk is in: loop[0] to loop[depth - 1] */
    struct {
        const struct kafka_step *body; /* the step behind ARRAY */
        uint32_t count;                /* elements to come, the one at hand included */
    } loop[KAFKA_WALK_DEPTH];
};

/* size: bytes from here to the end of the frame. */
void kafka_walk_start(struct kafka_walk *w, const struct kafka_step *layout, uint64_t size);

/* DONE: *used bytes were before the field; w->taker.left are the rest. */
enum kafka_walk_result kafka_walk_run(struct kafka_walk *w, const uint8_t *bytes, size_t size,
                                      size_t *used);

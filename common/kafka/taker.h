/*
 * The primitive encodings of a frame that comes in any split: what both walks (walk.h,
 * shape_walk.h) take a number, a length or a tag section with, a byte at a time. Nothing is held
 * but the number at hand. Every length is checked against the bytes that the frame has left before
 * it is believed.
 *
 * In the header, as a walk takes each byte of a length through it.
 */
#pragma once

#include "kafka/wire.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kafka_walk_result {
    KAFKA_WALK_FAILED = -1, /* the taker's reason says why */
    KAFKA_WALK_MORE = 0,    /* all bytes were used */
    KAFKA_WALK_DONE = 1,
};

/* Bytes that came; those before 'at' were used. */
struct kafka_input {
    const uint8_t *bytes;
    size_t size;
    size_t at;
};

/* In a tag section: what its next number is. */
enum kafka_tag_phase { KAFKA_TAG_COUNT, KAFKA_TAG_NUMBER, KAFKA_TAG_SIZE };

struct kafka_taker {
    uint64_t left;        /* bytes of the frame that were not taken yet */
    uint64_t skip;        /* of these, how many belong to what is not looked at */
    uint64_t number;      /* the length, count or tag that is being read */
    unsigned number_size; /* bytes of it so far */
    enum kafka_tag_phase tag_phase;
    uint32_t tags;      /* of the section at hand, still to come */
    const char *reason; /* static text, after a failure */
};

static inline enum kafka_walk_result kafka_take_failed(struct kafka_taker *t, const char *reason)
{
    t->reason = reason;
    return KAFKA_WALK_FAILED;
}

static inline enum kafka_walk_result kafka_take_byte(struct kafka_taker *t, struct kafka_input *in,
                                                     uint8_t *byte)
{
    if (t->left == 0)
        return kafka_take_failed(t, "ends in the middle of a field");
    if (in->at == in->size)
        return KAFKA_WALK_MORE;
    *byte = in->bytes[in->at++];
    t->left--;
    return KAFKA_WALK_DONE;
}

/* The number that was read; the next one begins. */
static inline uint64_t kafka_take_number(struct kafka_taker *t)
{
    uint64_t number = t->number;

    t->number = 0;
    t->number_size = 0;
    return number;
}

/* Gathers a big-endian integer of size bytes, over as many calls as it takes. */
static inline enum kafka_walk_result kafka_take_int(struct kafka_taker *t, struct kafka_input *in,
                                                    unsigned size)
{
    while (t->number_size < size) {
        uint8_t byte;
        enum kafka_walk_result result = kafka_take_byte(t, in, &byte);
        if (result != KAFKA_WALK_DONE)
            return result;
        t->number = t->number << 8 | byte;
        t->number_size++;
    }
    return KAFKA_WALK_DONE;
}

static inline enum kafka_walk_result kafka_take_uvarint(struct kafka_taker *t,
                                                        struct kafka_input *in)
{
    uint8_t byte;

    do {
        if (t->number_size == KAFKA_UVARINT_MAX)
            return kafka_take_failed(t, "has a varint of more than 5 bytes");
        enum kafka_walk_result result = kafka_take_byte(t, in, &byte);
        if (result != KAFKA_WALK_DONE)
            return result;
        t->number |= (uint64_t)(byte & 0x7f) << (7 * t->number_size++);
    } while (byte & 0x80);
    if (t->number > UINT32_MAX)
        return kafka_take_failed(t, "has a varint of more than 32 bits");
    return KAFKA_WALK_DONE;
}

/* A length or a count: length + 1 as a varint where flexible, or a signed integer of width (2 or 4)
 * bytes. -1: null. */
static inline enum kafka_walk_result kafka_take_length(struct kafka_taker *t,
                                                       struct kafka_input *in, bool flexible,
                                                       unsigned width, int64_t *length)
{
    enum kafka_walk_result result =
        flexible ? kafka_take_uvarint(t, in) : kafka_take_int(t, in, width);

    if (result != KAFKA_WALK_DONE)
        return result;
    uint64_t number = kafka_take_number(t);
    if (flexible)
        *length = (int64_t)number - 1;
    else
        *length = width == 2 ? (int16_t)number : (int32_t)number;
    return *length < -1 ? kafka_take_failed(t, "has a negative length") : KAFKA_WALK_DONE;
}

/* The next size bytes are not looked at: kafka_take_skipped(). */
static inline enum kafka_walk_result kafka_take_skip(struct kafka_taker *t, uint64_t size)
{
    if (size > t->left)
        return kafka_take_failed(t, "has a field that extends beyond the frame");
    t->skip = size;
    return KAFKA_WALK_DONE;
}

static inline enum kafka_walk_result kafka_take_skipped(struct kafka_taker *t,
                                                        struct kafka_input *in)
{
    uint64_t some = in->size - in->at < t->skip ? in->size - in->at : t->skip;

    in->at += (size_t)some;
    t->skip -= some;
    t->left -= some;
    return t->skip > 0 ? KAFKA_WALK_MORE : KAFKA_WALK_DONE;
}

/* One number of a tag section (KIP-482), whose tags are skipped. ended: the section is over, and
 * nothing was taken. */
static inline enum kafka_walk_result kafka_take_tag(struct kafka_taker *t, struct kafka_input *in,
                                                    bool *ended)
{
    *ended = t->tag_phase == KAFKA_TAG_NUMBER && t->tags == 0;
    if (*ended) {
        t->tag_phase = KAFKA_TAG_COUNT;
        return KAFKA_WALK_DONE;
    }
    enum kafka_walk_result result = kafka_take_uvarint(t, in);
    if (result != KAFKA_WALK_DONE)
        return result;
    uint64_t number = kafka_take_number(t);
    switch (t->tag_phase) {
    case KAFKA_TAG_COUNT:
        if (number > t->left)
            return kafka_take_failed(t, "has more tags than the frame can hold");
        t->tags = (uint32_t)number;
        t->tag_phase = KAFKA_TAG_NUMBER;
        return KAFKA_WALK_DONE;
    case KAFKA_TAG_NUMBER:
        t->tag_phase = KAFKA_TAG_SIZE;
        return KAFKA_WALK_DONE;
    default:
        t->tags--;
        t->tag_phase = KAFKA_TAG_NUMBER;
        return kafka_take_skip(t, number);
    }
}

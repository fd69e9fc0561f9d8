#include "kafka/walk.h"

#include "kafka/wire.h"

#include <assert.h>

struct input {
    const uint8_t *bytes;
    size_t size;
    size_t at;
};

void kafka_walk_start(struct kafka_walk *w, const struct kafka_step *layout, uint64_t size)
{
    *w = (struct kafka_walk){.step = layout, .left = size};
}

static enum kafka_walk_result fail_walk(struct kafka_walk *w, const char *reason)
{
    w->reason = reason;
    return KAFKA_WALK_FAILED;
}

static enum kafka_walk_result take_walked_byte(struct kafka_walk *w, struct input *in,
                                               uint8_t *byte)
{
    if (w->left == 0)
        return fail_walk(w, "ends in the middle of a field");
    if (in->at == in->size)
        return KAFKA_WALK_MORE;
    *byte = in->bytes[in->at++];
    w->left--;
    return KAFKA_WALK_DONE;
}

/* Gathers a big-endian integer of size bytes, over as many calls as it takes. */
static enum kafka_walk_result take_int(struct kafka_walk *w, struct input *in, unsigned size)
{
    while (w->number_size < size) {
        uint8_t byte;
        enum kafka_walk_result result = take_walked_byte(w, in, &byte);
        if (result != KAFKA_WALK_DONE)
            return result;
        w->number = w->number << 8 | byte;
        w->number_size++;
    }
    return KAFKA_WALK_DONE;
}

static enum kafka_walk_result take_uvarint(struct kafka_walk *w, struct input *in)
{
    uint8_t byte;

    do {
        if (w->number_size == KAFKA_UVARINT_MAX)
            return fail_walk(w, "has a varint of more than 5 bytes");
        enum kafka_walk_result result = take_walked_byte(w, in, &byte);
        if (result != KAFKA_WALK_DONE)
            return result;
        w->number |= (uint64_t)(byte & 0x7f) << (7 * w->number_size++);
    } while (byte & 0x80);
    if (w->number > UINT32_MAX)
        return fail_walk(w, "has a varint of more than 32 bits");
    return KAFKA_WALK_DONE;
}

static uint64_t take_number(struct kafka_walk *w)
{
    uint64_t number = w->number;

    w->number = 0;
    w->number_size = 0;
    return number;
}

static enum kafka_walk_result skip(struct kafka_walk *w, uint64_t size)
{
    if (size > w->left)
        return fail_walk(w, "has a field that extends beyond the frame");
    w->skip = size;
    return KAFKA_WALK_DONE;
}

/* Lengths and counts of both encodings: null reads as 0. */
static enum kafka_walk_result take_length(struct kafka_walk *w, struct input *in, uint64_t *length)
{
    enum kafka_walk_result result;
    int64_t number;

    switch (w->step->type) {
    case KAFKA_STEP_STRING16:
        if ((result = take_int(w, in, 2)) != KAFKA_WALK_DONE)
            return result;
        number = (int16_t)take_number(w);
        break;
    case KAFKA_STEP_ARRAY32:
        if ((result = take_int(w, in, 4)) != KAFKA_WALK_DONE)
            return result;
        number = (int32_t)take_number(w);
        break;
    default:
        if ((result = take_uvarint(w, in)) != KAFKA_WALK_DONE)
            return result;
        number = (int64_t)take_number(w) - 1;
    }
    if (number < -1)
        return fail_walk(w, "has a negative length");
    *length = number > 0 ? (uint64_t)number : 0;
    return KAFKA_WALK_DONE;
}

static const struct kafka_step *after_close(const struct kafka_step *array)
{
    unsigned open = 0;

    for (const struct kafka_step *step = array;; step++) {
        if (step->type == KAFKA_STEP_ARRAY || step->type == KAFKA_STEP_ARRAY32)
            open++;
        if (step->type == KAFKA_STEP_CLOSE && --open == 0)
            return step + 1;
    }
}

static enum kafka_walk_result open_array(struct kafka_walk *w, struct input *in)
{
    uint64_t count;
    enum kafka_walk_result result = take_length(w, in, &count);

    if (result != KAFKA_WALK_DONE)
        return result;
    if (count > w->left)
        return fail_walk(w, "has an array that the frame cannot hold");
    if (count == 0) {
        w->step = after_close(w->step);
        return KAFKA_WALK_DONE;
    }
    assert(w->depth < KAFKA_WALK_DEPTH);
    w->loop[w->depth].body = ++w->step;
    w->loop[w->depth++].count = (uint32_t)count;
    return KAFKA_WALK_DONE;
}

static void close_element(struct kafka_walk *w)
{
    if (--w->loop[w->depth - 1].count > 0) {
        w->step = w->loop[w->depth - 1].body;
    } else {
        w->depth--;
        w->step++;
    }
}

enum { TAG_COUNT, TAG_NUMBER, TAG_SIZE };

static enum kafka_walk_result walk_tags(struct kafka_walk *w, struct input *in)
{
    enum kafka_walk_result result;

    if (w->tag_phase == TAG_NUMBER && w->tags == 0) {
        w->tag_phase = TAG_COUNT;
        w->step++;
        return KAFKA_WALK_DONE;
    }
    if ((result = take_uvarint(w, in)) != KAFKA_WALK_DONE)
        return result;
    uint64_t number = take_number(w);
    switch (w->tag_phase) {
    case TAG_COUNT:
        if (number > w->left)
            return fail_walk(w, "has more tags than the frame can hold");
        w->tags = (uint32_t)number;
        w->tag_phase = TAG_NUMBER;
        return KAFKA_WALK_DONE;
    case TAG_NUMBER:
        w->tag_phase = TAG_SIZE;
        return KAFKA_WALK_DONE;
    default:
        w->tags--;
        w->tag_phase = TAG_NUMBER;
        return skip(w, number);
    }
}

static enum kafka_walk_result walk_step(struct kafka_walk *w, struct input *in)
{
    enum kafka_walk_result result;
    uint64_t length;

    switch (w->step->type) {
    case KAFKA_STEP_FIXED:
        length = w->step++->size;
        return skip(w, length);
    case KAFKA_STEP_STRING16:
    case KAFKA_STEP_STRING:
        if ((result = take_length(w, in, &length)) != KAFKA_WALK_DONE)
            return result;
        w->step++;
        return skip(w, length);
    case KAFKA_STEP_ARRAY32:
    case KAFKA_STEP_ARRAY:
        return open_array(w, in);
    case KAFKA_STEP_CLOSE:
        close_element(w);
        return KAFKA_WALK_DONE;
    default:
        return walk_tags(w, in);
    }
}

enum kafka_walk_result kafka_walk_run(struct kafka_walk *w, const uint8_t *bytes, size_t size,
                                      size_t *used)
{
    struct input in = {bytes, size, 0};
    enum kafka_walk_result result = KAFKA_WALK_DONE;

    while (result == KAFKA_WALK_DONE) {
        if (w->skip > 0) {
            uint64_t some = in.size - in.at < w->skip ? in.size - in.at : w->skip;
            in.at += (size_t)some;
            w->skip -= some;
            w->left -= some;
            if (w->skip > 0)
                result = KAFKA_WALK_MORE;
        } else if (w->step->type == KAFKA_STEP_END) {
            break;
        } else {
            result = walk_step(w, &in);
        }
    }
    *used = in.at;
    return result;
}

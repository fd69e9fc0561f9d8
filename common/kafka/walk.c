#include "kafka/walk.h"

#include <assert.h>

void kafka_walk_start(struct kafka_walk *w, const struct kafka_step *layout, uint64_t size)
{
    *w = (struct kafka_walk){.step = layout, .taker.left = size};
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

static enum kafka_walk_result open_array(struct kafka_walk *w, struct kafka_input *in)
{
    int64_t count; /* null is as empty */
    enum kafka_walk_result result =
        kafka_take_length(&w->taker, in, w->step->type == KAFKA_STEP_ARRAY, 4, &count);

    if (result != KAFKA_WALK_DONE)
        return result;
    if (count > 0 && (uint64_t)count > w->taker.left)
        return kafka_take_failed(&w->taker, "has an array that the frame cannot hold");
    if (count <= 0) {
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

static enum kafka_walk_result walk_tags(struct kafka_walk *w, struct kafka_input *in)
{
    bool ended;
    enum kafka_walk_result result = kafka_take_tag(&w->taker, in, &ended);

    if (ended)
        w->step++;
    return result;
}

static enum kafka_walk_result walk_step(struct kafka_walk *w, struct kafka_input *in)
{
    enum kafka_walk_result result;
    int64_t length;

    switch (w->step->type) {
    case KAFKA_STEP_FIXED:
        return kafka_take_skip(&w->taker, w->step++->size);
    case KAFKA_STEP_STRING16:
    case KAFKA_STEP_STRING:
        result = kafka_take_length(&w->taker, in, w->step->type == KAFKA_STEP_STRING, 2, &length);
        if (result != KAFKA_WALK_DONE)
            return result;
        w->step++;
        return kafka_take_skip(&w->taker, length > 0 ? (uint64_t)length : 0);
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
    struct kafka_input in = {bytes, size, 0};
    enum kafka_walk_result result = KAFKA_WALK_DONE;

    while (result == KAFKA_WALK_DONE) {
        if (w->taker.skip > 0)
            result = kafka_take_skipped(&w->taker, &in);
        else if (w->step->type == KAFKA_STEP_END)
            break;
        else
            result = walk_step(w, &in);
    }
    *used = in.at;
    return result;
}

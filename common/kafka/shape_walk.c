#include "kafka/shape_walk.h"

#include <string.h>

struct shape_input {
    struct kafka_input bytes;
    const struct kafka_shape_sink *sink;
    void *context;
};

void kafka_shape_walk_start(struct kafka_shape_walk *w, const struct kafka_shape *rows,
                            int16_t version, bool flexible, uint64_t size)
{
    const struct kafka_shape *end = rows;

    while (end->type != KAFKA_SHAPE_END)
        end = kafka_shape_after(end);
    /* Not the text. */
    memset(w, 0, offsetof(struct kafka_shape_walk, text));
    w->row = rows;
    w->end = end + 1;
    w->version = version;
    w->flexible = flexible;
    w->taker.left = size;
    w->in_header = flexible;
}

/* A length or a count; -1: null. width: of the classic encoding. */
static enum kafka_walk_result take_shape_length(struct kafka_shape_walk *w, struct shape_input *in,
                                                unsigned width, int64_t *length)
{
    enum kafka_walk_result result =
        kafka_take_length(&w->taker, &in->bytes, w->flexible, width, length);

    if (result == KAFKA_WALK_DONE && *length > 0 && (uint64_t)*length > w->taker.left)
        return kafka_take_failed(&w->taker, "has a field that extends beyond the frame");
    return result;
}

/* ---- fields */

static enum kafka_walk_result begin_field(struct kafka_shape_walk *w, size_t size)
{
    if (w->row->role == KAFKA_ROLE_NONE) {
        w->row++;
        return kafka_take_skip(&w->taker, size);
    }
    if (size > w->taker.left)
        return kafka_take_failed(&w->taker, "has a field that extends beyond the frame");
    if (size > KAFKA_SHAPE_TEXT_MAX)
        return kafka_take_failed(&w->taker, "has a name of more than 1024 bytes");
    w->gathering = true;
    w->text_left = size;
    w->text_size = 0;
    return KAFKA_WALK_DONE;
}

static enum kafka_walk_result gather_field(struct kafka_shape_walk *w, struct shape_input *in)
{
    size_t some = bytes_at_most(w->text_left, in->bytes.size - in->bytes.at);
    const uint8_t *bytes = w->text;

    if (w->text_size == 0 && some == w->text_left)
        bytes = in->bytes.bytes + in->bytes.at;
    else if (some > 0)
        memcpy(w->text + w->text_size, in->bytes.bytes + in->bytes.at, some);
    in->bytes.at += some;
    w->taker.left -= some;
    w->text_size += some;
    w->text_left -= some;
    if (w->text_left > 0)
        return KAFKA_WALK_MORE;
    w->gathering = false;
    enum kafka_role role = (enum kafka_role)w->row->role;
    w->row++;
    in->sink->field(in->context, role, bytes, w->text_size);
    return KAFKA_WALK_DONE;
}

static enum kafka_walk_result walk_text(struct kafka_shape_walk *w, struct shape_input *in)
{
    int64_t length;
    enum kafka_walk_result result =
        take_shape_length(w, in, w->row->type == KAFKA_SHAPE_STRING ? 2 : 4, &length);

    if (result != KAFKA_WALK_DONE)
        return result;
    if (length >= 0)
        return begin_field(w, (size_t)length);
    if (w->row->role != KAFKA_ROLE_NONE)
        in->sink->field(in->context, (enum kafka_role)w->row->role, NULL, 0);
    w->row++;
    return KAFKA_WALK_DONE;
}

/* ---- arrays and structs */

static void tell_element(const struct kafka_shape *row, struct shape_input *in, bool begins)
{
    if (row->role != KAFKA_ROLE_NONE)
        in->sink->element(in->context, (enum kafka_role)row->role, begins);
}

static enum kafka_walk_result enter_rows(struct kafka_shape_walk *w, struct shape_input *in,
                                         uint32_t count)
{
    const struct kafka_shape *row = w->row;

    if (count == 0) {
        w->row = kafka_shape_after(row);
        return KAFKA_WALK_DONE;
    }
    if (row->type == KAFKA_SHAPE_LIST && row[1].type == KAFKA_SHAPE_FIXED &&
        row[1].role == KAFKA_ROLE_NONE) {
        if ((uint64_t)count * row[1].size > w->taker.left)
            return kafka_take_failed(&w->taker, "has an array that the frame cannot hold");
        w->taker.skip = (uint64_t)count * row[1].size;
        w->row = kafka_shape_after(row);
        return KAFKA_WALK_DONE;
    }
    if (w->depth == KAFKA_SHAPE_DEPTH)
        return kafka_take_failed(&w->taker, "is nested too deeply");
    w->loop[w->depth].row = row;
    w->loop[w->depth++].count = count;
    w->row++;
    tell_element(row, in, true);
    return KAFKA_WALK_DONE;
}

static enum kafka_walk_result walk_array(struct kafka_shape_walk *w, struct shape_input *in)
{
    int64_t count;
    enum kafka_walk_result result = take_shape_length(w, in, 4, &count);

    if (result != KAFKA_WALK_DONE)
        return result;
    return enter_rows(w, in, count > 0 ? (uint32_t)count : 0);
}

static enum kafka_walk_result walk_struct(struct kafka_shape_walk *w, struct shape_input *in)
{
    if (!kafka_shape_may_be_null(w->row, w->version))
        return enter_rows(w, in, 1);
    uint8_t present;
    enum kafka_walk_result result = kafka_take_byte(&w->taker, &in->bytes, &present);
    if (result != KAFKA_WALK_DONE)
        return result;
    return enter_rows(w, in, (int8_t)present >= 0);
}

static void leave_rows(struct kafka_shape_walk *w, struct shape_input *in)
{
    if (w->depth == 0) {
        w->over = true;
        return;
    }
    const struct kafka_shape *row = w->loop[w->depth - 1].row;
    tell_element(row, in, false);
    if (--w->loop[w->depth - 1].count > 0) {
        w->row = row + 1;
        tell_element(row, in, true);
    } else {
        w->depth--;
        w->row = kafka_shape_after(row);
    }
}

/* A section of tags, up to its end. */
static enum kafka_walk_result walk_shape_tags(struct kafka_shape_walk *w, struct shape_input *in,
                                              bool *ended)
{
    enum kafka_walk_result result = kafka_take_tag(&w->taker, &in->bytes, ended);

    if (result == KAFKA_WALK_DONE && w->taker.tags > 0 && in->sink->tags)
        in->sink->tags(in->context);
    return result;
}

static enum kafka_walk_result walk_end(struct kafka_shape_walk *w, struct shape_input *in)
{
    bool tagged =
        w->flexible && (w->depth == 0 || w->loop[w->depth - 1].row->type != KAFKA_SHAPE_LIST);
    bool ended = true;
    enum kafka_walk_result result = tagged ? walk_shape_tags(w, in, &ended) : KAFKA_WALK_DONE;

    if (result == KAFKA_WALK_DONE && ended)
        leave_rows(w, in);
    return result;
}

static enum kafka_walk_result walk_header(struct kafka_shape_walk *w, struct shape_input *in)
{
    bool ended;
    enum kafka_walk_result result = walk_shape_tags(w, in, &ended);

    if (result == KAFKA_WALK_DONE && ended)
        w->in_header = false;
    return result;
}

static enum kafka_walk_result walk_row(struct kafka_shape_walk *w, struct shape_input *in)
{
    if (w->in_header)
        return walk_header(w, in);
    if (w->gathering)
        return gather_field(w, in);
    if (w->row->type != KAFKA_SHAPE_END && !kafka_shape_is_in(w->row, w->version)) {
        w->row = kafka_shape_after(w->row);
        return KAFKA_WALK_DONE;
    }
    switch (w->row->type) {
    case KAFKA_SHAPE_END:
        return walk_end(w, in);
    case KAFKA_SHAPE_FIXED:
        return begin_field(w, w->row->size);
    case KAFKA_SHAPE_STRUCT:
        return walk_struct(w, in);
    case KAFKA_SHAPE_ARRAY:
    case KAFKA_SHAPE_LIST:
        return walk_array(w, in);
    default:
        return walk_text(w, in);
    }
}

enum kafka_walk_result kafka_shape_walk_run(struct kafka_shape_walk *w, const uint8_t *bytes,
                                            size_t size, const struct kafka_shape_sink *sink,
                                            void *context)
{
    struct shape_input in = {{bytes, size, 0}, sink, context};
    enum kafka_walk_result result = KAFKA_WALK_DONE;

    while (result == KAFKA_WALK_DONE && !w->over && !w->stop)
        result = w->taker.skip > 0 ? kafka_take_skipped(&w->taker, &in.bytes) : walk_row(w, &in);
    if (result == KAFKA_WALK_DONE && !w->stop && (in.bytes.at < in.bytes.size || w->taker.left > 0))
        return kafka_take_failed(&w->taker, "has bytes after its last field");
    return result;
}

static bool has_role(const struct kafka_shape *row, const struct kafka_shape *end, int16_t version,
                     uint32_t roles)
{
    for (; row < end; row++)
        if ((roles >> row->role & 1) != 0 && kafka_shape_is_in(row, version))
            return true;
    return false;
}

bool kafka_shape_walk_expects(const struct kafka_shape_walk *w, uint32_t roles)
{
    if (w->over)
        return false;
    for (unsigned i = 0; i < w->depth; i++)
        if (w->loop[i].count > 1 &&
            has_role(w->loop[i].row, kafka_shape_after(w->loop[i].row), w->version, roles))
            return true;
    return has_role(w->row, w->end, w->version, roles);
}

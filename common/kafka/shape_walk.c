#include "kafka/shape_walk.h"

#include "kafka/wire.h"

#include <string.h>

struct shape_input {
    const uint8_t *bytes;
    size_t size;
    size_t at;
    const struct kafka_shape_sink *sink;
    void *context;
};

enum { TAG_COUNT, TAG_NUMBER, TAG_SIZE };

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
    w->left = size;
    w->in_header = flexible;
}

static enum kafka_walk_result fail_shape(struct kafka_shape_walk *w, const char *reason)
{
    w->reason = reason;
    return KAFKA_WALK_FAILED;
}

static enum kafka_walk_result take_shape_byte(struct kafka_shape_walk *w, struct shape_input *in,
                                              uint8_t *byte)
{
    if (w->left == 0)
        return fail_shape(w, "ends in the middle of a field");
    if (in->at == in->size)
        return KAFKA_WALK_MORE;
    *byte = in->bytes[in->at++];
    w->left--;
    return KAFKA_WALK_DONE;
}

static enum kafka_walk_result take_shape_int(struct kafka_shape_walk *w, struct shape_input *in,
                                             unsigned size)
{
    while (w->number_size < size) {
        uint8_t byte;
        enum kafka_walk_result result = take_shape_byte(w, in, &byte);
        if (result != KAFKA_WALK_DONE)
            return result;
        w->number = w->number << 8 | byte;
        w->number_size++;
    }
    return KAFKA_WALK_DONE;
}

static enum kafka_walk_result take_shape_uvarint(struct kafka_shape_walk *w, struct shape_input *in)
{
    uint8_t byte;

    do {
        if (w->number_size == KAFKA_UVARINT_MAX)
            return fail_shape(w, "has a varint of more than 5 bytes");
        enum kafka_walk_result result = take_shape_byte(w, in, &byte);
        if (result != KAFKA_WALK_DONE)
            return result;
        w->number |= (uint64_t)(byte & 0x7f) << (7 * w->number_size++);
    } while (byte & 0x80);
    if (w->number > UINT32_MAX)
        return fail_shape(w, "has a varint of more than 32 bits");
    return KAFKA_WALK_DONE;
}

static uint64_t take_shape_number(struct kafka_shape_walk *w)
{
    uint64_t number = w->number;

    w->number = 0;
    w->number_size = 0;
    return number;
}

/* A length or a count; -1: null. width: of the classic encoding. */
static enum kafka_walk_result take_shape_length(struct kafka_shape_walk *w, struct shape_input *in,
                                                unsigned width, int64_t *length)
{
    enum kafka_walk_result result =
        w->flexible ? take_shape_uvarint(w, in) : take_shape_int(w, in, width);

    if (result != KAFKA_WALK_DONE)
        return result;
    uint64_t number = take_shape_number(w);
    if (w->flexible)
        *length = (int64_t)number - 1;
    else
        *length = width == 2 ? (int16_t)number : (int32_t)number;
    if (*length < -1)
        return fail_shape(w, "has a negative length");
    if (*length > 0 && (uint64_t)*length > w->left)
        return fail_shape(w, "has a field that extends beyond the frame");
    return KAFKA_WALK_DONE;
}

/* ---- fields */

static enum kafka_walk_result begin_field(struct kafka_shape_walk *w, size_t size)
{
    if (size > w->left)
        return fail_shape(w, "has a field that extends beyond the frame");
    if (w->row->role == KAFKA_ROLE_NONE) {
        w->skip = size;
        w->row++;
        return KAFKA_WALK_DONE;
    }
    if (size > KAFKA_SHAPE_TEXT_MAX)
        return fail_shape(w, "has a name of more than 1024 bytes");
    w->gathering = true;
    w->text_left = size;
    w->text_size = 0;
    return KAFKA_WALK_DONE;
}

static enum kafka_walk_result gather_field(struct kafka_shape_walk *w, struct shape_input *in)
{
    size_t some = bytes_at_most(w->text_left, in->size - in->at);
    const uint8_t *bytes = w->text;

    if (w->text_size == 0 && some == w->text_left)
        bytes = in->bytes + in->at;
    else if (some > 0)
        memcpy(w->text + w->text_size, in->bytes + in->at, some);
    in->at += some;
    w->left -= some;
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
        if ((uint64_t)count * row[1].size > w->left)
            return fail_shape(w, "has an array that the frame cannot hold");
        w->skip = (uint64_t)count * row[1].size;
        w->row = kafka_shape_after(row);
        return KAFKA_WALK_DONE;
    }
    if (w->depth == KAFKA_SHAPE_DEPTH)
        return fail_shape(w, "is nested too deeply");
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
    enum kafka_walk_result result = take_shape_byte(w, in, &present);
    if (result != KAFKA_WALK_DONE)
        return result;
    return enter_rows(w, in, (int8_t)present >= 0);
}

/* The tag section of what ends. */
static enum kafka_walk_result walk_shape_tags(struct kafka_shape_walk *w, struct shape_input *in,
                                              bool *ended)
{
    *ended = w->tag_phase == TAG_NUMBER && w->tags == 0;
    if (*ended) {
        w->tag_phase = TAG_COUNT;
        return KAFKA_WALK_DONE;
    }
    enum kafka_walk_result result = take_shape_uvarint(w, in);
    if (result != KAFKA_WALK_DONE)
        return result;
    uint64_t number = take_shape_number(w);
    if (w->tag_phase == TAG_NUMBER) {
        w->tag_phase = TAG_SIZE;
        return KAFKA_WALK_DONE;
    }
    if (number > w->left)
        return fail_shape(w, "has tags that extend beyond the frame");
    if (w->tag_phase == TAG_COUNT) {
        w->tags = (uint32_t)number;
    } else {
        w->tags--;
        w->skip = number;
    }
    w->tag_phase = TAG_NUMBER;
    return KAFKA_WALK_DONE;
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
    struct shape_input in = {bytes, size, 0, sink, context};
    enum kafka_walk_result result = KAFKA_WALK_DONE;

    while (result == KAFKA_WALK_DONE && !w->over && !w->stop) {
        if (w->skip > 0) {
            uint64_t some = in.size - in.at < w->skip ? in.size - in.at : w->skip;
            in.at += (size_t)some;
            w->skip -= some;
            w->left -= some;
            if (w->skip > 0)
                result = KAFKA_WALK_MORE;
        } else {
            result = walk_row(w, &in);
        }
    }
    if (result == KAFKA_WALK_DONE && !w->stop && (in.at < in.size || w->left > 0))
        return fail_shape(w, "has bytes after its last field");
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

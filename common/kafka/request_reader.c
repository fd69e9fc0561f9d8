#include "kafka/request_reader.h"

#include "kafka/api.h"
#include "kafka/sniff.h"
#include "kafka/wire.h"

#include <string.h>

enum state {
    HEAD = 0,  /* length, key, version, correlation id, client id's length */
    CLIENT_ID, /* the string at hand is the client id */
    PRODUCE,   /* walks up to acks */
    ACKS,
    MECHANISM_SIZE,
    MECHANISM,
    BODY, /* the rest is skipped */
};

enum { HEADER_MIN = 8 }; /* key, version, correlation id */

bool kafka_request_reader_idle(const struct kafka_request_reader *r)
{
    return r->state == HEAD && r->head_size == 0;
}

void kafka_request_reader_init(struct kafka_request_reader *r)
{
    *r = (struct kafka_request_reader){0};
}

static enum kafka_request_result fail_request(struct kafka_request_reader *r, const char *reason)
{
    r->reason = reason;
    return KAFKA_REQUEST_EFRAME;
}

/* Up to size bytes of the frame into place, over as many calls as it takes; false: more to come. */
static bool gather(struct kafka_request_reader *r, struct kafka_input *in, uint8_t *to,
                   unsigned *have, unsigned size)
{
    size_t some = bytes_at_most(size - *have, in->size - in->at);

    if (some > 0)
        memcpy(to + *have, in->bytes + in->at, some);
    in->at += some;
    *have += (unsigned)some;
    r->left -= some;
    return *have == size;
}

/* What is not printable becomes '?': the text is for the log. */
static bool gather_text(struct kafka_request_reader *r, struct kafka_input *in)
{
    size_t some = bytes_at_most(r->text_left, in->size - in->at);

    for (size_t i = 0; r->text && i < some && r->text_size < r->text_max; i++) {
        r->text[r->text_size++] = kafka_wire_plain(in->bytes[in->at + i]);
        r->text[r->text_size] = '\0';
    }
    in->at += some;
    r->text_left -= some;
    r->left -= some;
    return r->text_left == 0;
}

static void expect_text(struct kafka_request_reader *r, uint64_t size, char *text, unsigned max)
{
    r->text_left = size;
    r->text = text;
    r->text_size = 0;
    r->text_max = max;
}

static enum kafka_request_result ready(struct kafka_request_reader *r)
{
    r->state = r->left > 0 ? BODY : HEAD;
    r->head_size = 0;
    return KAFKA_REQUEST_READY;
}

/* The length is there, and as much of the frame as it takes to know what it is. */
static enum kafka_request_result begin_request_frame(struct kafka_request_reader *r,
                                                     struct kafka_sasl *sasl)
{
    bool first = !r->any;
    r->any = true;

    if (kafka_sasl_is_token(sasl, r->head + 4, r->length, first, &r->drops_tokens)) {
        r->request = (struct kafka_request){.type = KAFKA_REQUEST_TOKEN, .api_key = -1};
        if (sasl->client_tokens == 1) {
            kafka_login_user_begin(&r->user, sasl->mechanism, 0);
            kafka_login_user_feed(&r->user, r->head + 4, r->head_size - 4);
        }
        return ready(r);
    }
    if (r->length < HEADER_MIN)
        return fail_request(r, "is too short for a request");
    r->request = (struct kafka_request){
        .type = KAFKA_REQUEST_ANSWERED,
        .api_key = (int16_t)byte_load_u16(r->head + 4),
        .version = (int16_t)byte_load_u16(r->head + 6),
        .correlation_id = (int32_t)byte_load_u32(r->head + 8),
    };
    int16_t client_id =
        r->length >= KAFKA_SASL_LOOK ? (int16_t)byte_load_u16(r->head + 12) : (int16_t)-1;
    bool fits = client_id >= -1 && (client_id <= 0 || (uint64_t)client_id <= r->left);
    bool looked_into =
        r->request.api_key == KAFKA_KEY_PRODUCE || r->request.api_key == KAFKA_KEY_SASL_HANDSHAKE;
    if (!fits && looked_into)
        return fail_request(r, "has a client id that extends beyond its end");
    expect_text(r, fits && client_id > 0 ? (uint64_t)client_id : 0,
                r->client_id[0] == '\0' ? r->client_id : NULL, KAFKA_CLIENT_ID_MAX);
    r->state = CLIENT_ID;
    return KAFKA_REQUEST_MORE;
}

static enum kafka_request_result run_request_head(struct kafka_request_reader *r,
                                                  struct kafka_sasl *sasl, struct kafka_input *in)
{
    if (r->head_size < 4) {
        r->left = 4;
        bool whole = gather(r, in, r->head, &r->head_size, 4);
        enum kafka_sniff sniffed = r->any ? KAFKA_SNIFF_KAFKA : kafka_sniff(r->head, r->head_size);
        if (sniffed != KAFKA_SNIFF_KAFKA && sniffed != KAFKA_SNIFF_MORE) {
            r->reason = kafka_sniff_client_advice(sniffed);
            return KAFKA_REQUEST_EPROTOCOL;
        }
        if (!whole)
            return KAFKA_REQUEST_MORE;
        r->length = (int32_t)byte_load_u32(r->head);
        r->request = (struct kafka_request){.api_key = -1};
        if (r->length < 0)
            return fail_request(r, "has a negative length");
        r->left = (uint64_t)r->length;
    }
    unsigned look = r->length < KAFKA_SASL_LOOK ? (unsigned)r->length : KAFKA_SASL_LOOK;
    if (!gather(r, in, r->head, &r->head_size, 4 + look))
        return KAFKA_REQUEST_MORE;
    return begin_request_frame(r, sasl);
}

/* acks stands after the header's tags (v9+) and the transactional id (v3+). */
static const struct kafka_step produce_0[] = {{KAFKA_STEP_END, 0}};
static const struct kafka_step produce_3[] = {{KAFKA_STEP_STRING16, 0}, {KAFKA_STEP_END, 0}};
static const struct kafka_step produce_9[] = {
    {KAFKA_STEP_TAGS, 0}, {KAFKA_STEP_STRING, 0}, {KAFKA_STEP_END, 0}};

/* Of the first of a login's messages. Before it stand an INT32, or tags and a varint, of which
 * clients send one byte and one or two. */
static void begin_user(struct kafka_request_reader *r)
{
    kafka_login_user_begin(&r->user, r->mechanism,
                           r->request.version < 2 ? 4
                           : r->left > 129        ? 3
                                                  : 2);
    r->mechanism[0] = '\0';
}

static enum kafka_request_result after_client_id(struct kafka_request_reader *r)
{
    int16_t version = r->request.version;

    r->number_size = 0;
    if (r->request.api_key == KAFKA_KEY_PRODUCE) {
        const struct kafka_step *layout = version >= 3 ? produce_3 : produce_0;
        kafka_walk_start(&r->walk, version >= 9 ? produce_9 : layout, r->left);
        r->state = PRODUCE;
        return KAFKA_REQUEST_MORE;
    }
    if (r->request.api_key == KAFKA_KEY_SASL_HANDSHAKE && version <= 1) {
        r->state = MECHANISM_SIZE;
        return r->left < 2 ? fail_request(r, "ends before the mechanism") : KAFKA_REQUEST_MORE;
    }
    if (r->request.api_key == KAFKA_KEY_SASL_AUTHENTICATE && r->mechanism[0] != '\0')
        begin_user(r);
    return ready(r);
}

static enum kafka_request_result run_produce(struct kafka_request_reader *r, struct kafka_input *in)
{
    size_t used;
    enum kafka_walk_result result =
        kafka_walk_run(&r->walk, in->bytes + in->at, in->size - in->at, &used);

    in->at += used;
    r->left -= used;
    if (result == KAFKA_WALK_FAILED)
        return fail_request(r, r->walk.taker.reason);
    if (result == KAFKA_WALK_DONE) {
        r->state = ACKS;
        if (r->left < 2)
            return fail_request(r, "ends before acks");
    }
    return KAFKA_REQUEST_MORE;
}

static enum kafka_request_result run_number(struct kafka_request_reader *r, struct kafka_input *in)
{
    if (!gather(r, in, r->number, &r->number_size, 2))
        return KAFKA_REQUEST_MORE;
    int16_t number = (int16_t)byte_load_u16(r->number);
    if (r->state == ACKS) {
        if (number == 0)
            r->request.type = KAFKA_REQUEST_OPTIONAL;
        return ready(r);
    }
    if (number < 0 || (uint64_t)number > r->left)
        return fail_request(r, "has a mechanism that extends beyond its end");
    r->mechanism[0] = '\0';
    expect_text(r, (uint64_t)number, r->mechanism, sizeof r->mechanism - 1);
    r->state = MECHANISM;
    return KAFKA_REQUEST_MORE;
}

static enum kafka_request_result run_state(struct kafka_request_reader *r, struct kafka_sasl *sasl,
                                           struct kafka_input *in)
{
    switch (r->state) {
    case HEAD:
        return run_request_head(r, sasl, in);
    case CLIENT_ID:
        return gather_text(r, in) ? after_client_id(r) : KAFKA_REQUEST_MORE;
    case PRODUCE:
        return run_produce(r, in);
    case ACKS:
    case MECHANISM_SIZE:
        return run_number(r, in);
    case MECHANISM:
        if (!gather_text(r, in))
            return KAFKA_REQUEST_MORE;
        if (r->request.version == 0)
            kafka_sasl_asked(sasl, r->mechanism);
        return ready(r);
    default: {
        size_t some = bytes_at_most(r->left, in->size - in->at);
        if (r->user.look != KAFKA_LOGIN_LOOK_NOT)
            kafka_login_user_feed(&r->user, in->bytes + in->at, some);
        in->at += some;
        r->left -= some;
        if (r->left == 0) {
            kafka_login_user_end(&r->user);
            r->state = HEAD;
        }
        return KAFKA_REQUEST_MORE;
    }
    }
}

enum kafka_request_result kafka_request_reader_run(struct kafka_request_reader *r,
                                                   struct kafka_sasl *sasl, const uint8_t *bytes,
                                                   size_t size, size_t *used)
{
    struct kafka_input in = {bytes, size, 0};
    enum kafka_request_result result = KAFKA_REQUEST_MORE;
    unsigned before;

    /* A state may be over without bytes of its own (an empty string), so go on until nothing
     * changes. */
    do {
        before = r->state;
        result = run_state(r, sasl, &in);
    } while (result == KAFKA_REQUEST_MORE && !(before != HEAD && r->state == HEAD) &&
             (in.at < in.size || r->state != before));
    *used = in.at;
    return result;
}

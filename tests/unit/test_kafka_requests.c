/* The requests in flight, and how they are read out of the client's bytes. */
#include "test_kafka_support.h"

#include "kafka/requests.h"

static struct kafka_requests *new_queue(uint32_t max)
{
    static struct kafka_requests q;
    static const struct hash_key hash_key = {{1, 2}};
    kafka_requests_init(&q, max, &hash_key);
    return &q;
}

static int push(struct kafka_requests *q, int32_t id, int16_t key, enum kafka_request_type type)
{
    struct kafka_request r = {.correlation_id = id, .api_key = key, .version = 9, .type = type};
    return kafka_requests_push(q, &r);
}

static enum kafka_requests_match match(struct kafka_requests *q, int32_t id, int16_t *key)
{
    struct kafka_request r = {.api_key = -1};
    enum kafka_requests_match result = kafka_requests_match(q, id, &r);
    *key = r.api_key;
    return result;
}

/* Room for a crowd is not kept, room for a few is. */
static void memory_is_given_back(void **state)
{
    (void)state;
    struct kafka_requests *q = new_queue(65536);
    int16_t key;

    assert_int_equal(kafka_requests_memory(q), 0);
    for (int32_t round = 0; round < 3; round++) {
        for (int32_t i = 0; i < 60000; i++)
            assert_int_equal(push(q, i, 3, KAFKA_REQUEST_ANSWERED), 0);
        assert_true(kafka_requests_memory(q) > 60000 * 32);
        for (int32_t i = 60000; i-- > 0;)
            assert_true(match(q, i, &key) != KAFKA_REQUESTS_UNKNOWN);
        assert_int_equal(kafka_requests_memory(q), 0);
    }
    push(q, 1, 3, KAFKA_REQUEST_ANSWERED);
    size_t few = kafka_requests_memory(q);
    assert_int_equal(match(q, 1, &key), KAFKA_REQUESTS_IN_ORDER);
    assert_true(few > 0 && kafka_requests_memory(q) == few);
    kafka_requests_free(q);
}

static void any_ids_in_order(void **state)
{
    (void)state;
    static const int32_t ids[] = {INT32_MAX - 1, INT32_MAX, INT32_MIN, -1, 0, 0, 5, 5, 3};
    struct kafka_requests *q = new_queue(64);
    int16_t key;

    for (unsigned round = 0; round < 10; round++) {
        for (size_t i = 0; i < 9; i++)
            assert_int_equal(push(q, ids[i], (int16_t)i, KAFKA_REQUEST_ANSWERED), 0);
        assert_int_equal(kafka_requests_owed(q), 9);
        for (size_t i = 0; i < 9; i++) {
            assert_int_equal(match(q, ids[i], &key), KAFKA_REQUESTS_IN_ORDER);
            assert_int_equal(key, i);
        }
        assert_int_equal(match(q, 5, &key), KAFKA_REQUESTS_UNKNOWN);
    }
    kafka_requests_free(q);
}

static void out_of_order_is_found(void **state)
{
    (void)state;
    struct kafka_requests *q = new_queue(64);
    int16_t key;

    for (int16_t i = 0; i < 5; i++)
        push(q, i, i, KAFKA_REQUEST_ANSWERED);
    assert_int_equal(match(q, 3, &key), KAFKA_REQUESTS_OUT_OF_ORDER);
    assert_int_equal(key, 3);
    assert_int_equal(match(q, 3, &key), KAFKA_REQUESTS_UNKNOWN);
    for (int16_t i = 0; i < 5; i++) {
        if (i == 3)
            continue;
        assert_int_equal(match(q, i, &key), KAFKA_REQUESTS_IN_ORDER);
        assert_int_equal(key, i);
    }
    assert_int_equal(q->count, 0);
    kafka_requests_free(q);
}

static void optional_ones_cost_nothing(void **state)
{
    (void)state;
    struct kafka_requests *q = new_queue(64);
    int16_t key;

    for (uint32_t i = 0; i < 1000000; i++)
        assert_int_equal(push(q, (int32_t)(i + INT32_MAX - 10), 0, KAFKA_REQUEST_OPTIONAL), 0);
    assert_int_equal(q->count, 1);
    assert_int_equal(kafka_requests_owed(q), 0);
    push(q, 7, 3, KAFKA_REQUEST_ANSWERED);
    assert_int_equal(match(q, 7, &key), KAFKA_REQUESTS_IN_ORDER);
    assert_int_equal(key, 3);
    assert_int_equal(q->count, 0);
    kafka_requests_free(q);
}

static void optional_ones_may_be_answered(void **state)
{
    (void)state;
    struct kafka_requests *q = new_queue(64);
    int16_t key;

    for (int32_t i = 0; i < 10; i++)
        push(q, i, 0, KAFKA_REQUEST_OPTIONAL);
    push(q, 10, 3, KAFKA_REQUEST_ANSWERED);
    push(q, 11, 0, KAFKA_REQUEST_OPTIONAL);
    assert_int_equal(match(q, 4, &key), KAFKA_REQUESTS_IN_ORDER);
    assert_int_equal(match(q, 4, &key), KAFKA_REQUESTS_UNKNOWN);
    assert_int_equal(match(q, 5, &key), KAFKA_REQUESTS_IN_ORDER);
    assert_int_equal(match(q, 9, &key), KAFKA_REQUESTS_IN_ORDER);
    assert_int_equal(match(q, 10, &key), KAFKA_REQUESTS_IN_ORDER);
    assert_int_equal(key, 3);
    assert_int_equal(match(q, 11, &key), KAFKA_REQUESTS_IN_ORDER);
    assert_int_equal(key, 0);
    kafka_requests_free(q);
}

/* Or the answer to the second would be taken for one without addresses, and pass. */
static void one_id_for_all_means_the_one_that_must_be_answered(void **state)
{
    (void)state;
    struct kafka_requests *q = new_queue(64);
    int16_t key;

    push(q, 1, 0, KAFKA_REQUEST_OPTIONAL);
    push(q, 1, 3, KAFKA_REQUEST_ANSWERED);
    assert_int_equal(match(q, 1, &key), KAFKA_REQUESTS_IN_ORDER);
    assert_int_equal(key, 3);
    kafka_requests_free(q);
}

static void the_queue_is_bounded(void **state)
{
    (void)state;
    struct kafka_requests *q = new_queue(64);
    int16_t key;

    /* Optional ones without a run are forgotten, the oldest first. */
    for (int32_t i = 0; i < 1000; i++)
        assert_int_equal(push(q, i * 2, 0, KAFKA_REQUEST_OPTIONAL), 0);
    assert_int_equal(q->count, 64);
    assert_int_equal(match(q, 2, &key), KAFKA_REQUESTS_UNKNOWN);
    for (int32_t i = 0; i < 64; i++)
        assert_int_equal(push(q, i, 3, KAFKA_REQUEST_ANSWERED), 0);
    assert_int_equal(push(q, 64, 3, KAFKA_REQUEST_ANSWERED), KAFKA_REQUESTS_EFULL);
    kafka_requests_free(q);
}

static void tokens_stand_in_line(void **state)
{
    (void)state;
    struct kafka_requests *q = new_queue(64);
    int16_t key;

    push(q, 1, 17, KAFKA_REQUEST_ANSWERED);
    push(q, 0, -1, KAFKA_REQUEST_TOKEN);
    push(q, 0, -1, KAFKA_REQUEST_TOKEN);
    assert_false(kafka_requests_front_is_token(q));
    assert_int_equal(match(q, 0, &key), KAFKA_REQUESTS_UNKNOWN);
    assert_int_equal(match(q, 1, &key), KAFKA_REQUESTS_IN_ORDER);
    assert_true(kafka_requests_front_is_token(q));
    kafka_requests_pop_token(q);
    push(q, 2, 3, KAFKA_REQUEST_ANSWERED);
    kafka_requests_drop_tokens(q);
    assert_int_equal(q->count, 1);
    assert_int_equal(match(q, 2, &key), KAFKA_REQUESTS_IN_ORDER);
    kafka_requests_free(q);
}

/* What an answer may cost on average, in entries looked at, however a peer arranges things. */
enum { MANY = 60000, LOOKS = 12 };

static void any_order_costs_the_same(void **state)
{
    (void)state;
    int16_t key;

    /* Last first; every second one; as if drawn by lot (MANY is no multiple of 7919). */
    for (unsigned kind = 0; kind < 3; kind++) {
        struct kafka_requests *q = new_queue(65536);
        for (uint32_t i = 0; i < MANY; i++)
            push(q, (int32_t)(i << 15), 3, KAFKA_REQUEST_ANSWERED);
        for (uint32_t i = 0; i < MANY; i++) {
            uint32_t second = i < MANY / 2 ? 2 * i + 1 : 2 * (i - MANY / 2);
            uint32_t n = kind == 0 ? MANY - 1 - i : kind == 1 ? second : i * 7919 % MANY;
            assert_int_not_equal(match(q, (int32_t)(n << 15), &key), KAFKA_REQUESTS_UNKNOWN);
        }
        assert_int_equal(q->count, 0);
        assert_true(q->looks < (uint64_t)MANY * LOOKS);
        kafka_requests_free(q);
    }
}

/* An index of a few must not cost what one of the many before them did. */
static void a_small_crowd_after_a_large_one_is_cheap(void **state)
{
    (void)state;
    struct kafka_requests *q = new_queue(65536);
    int16_t key;

    for (int32_t i = 0; i < MANY; i++)
        push(q, i, 3, KAFKA_REQUEST_ANSWERED);
    for (int32_t i = MANY - 1; i >= 0; i--)
        match(q, i, &key);
    q->looks = 0;
    for (unsigned round = 0; round < 100; round++) {
        for (int32_t i = 0; i < 33; i++)
            push(q, i, 3, KAFKA_REQUEST_ANSWERED);
        for (int32_t i = 32; i >= 0; i--) {
            assert_int_not_equal(match(q, i, &key), KAFKA_REQUESTS_UNKNOWN);
            assert_true(q->bucket_count <= 128);
        }
    }
    assert_true(q->looks < (uint64_t)100 * 33 * LOOKS);
    kafka_requests_free(q);
}

static void one_id_for_many_hides_no_other(void **state)
{
    (void)state;
    struct kafka_requests *q = new_queue(65536);
    int16_t key;

    push(q, -1, 1, KAFKA_REQUEST_ANSWERED);
    for (int32_t i = 0; i < MANY / 2; i++) {
        push(q, 7, (int16_t)(i & 0x7fff), KAFKA_REQUEST_ANSWERED);
        push(q, 1000 + i, 2, KAFKA_REQUEST_ANSWERED);
    }
    for (int32_t i = 0; i < MANY / 2; i++) {
        assert_int_equal(match(q, 7, &key), KAFKA_REQUESTS_OUT_OF_ORDER);
        assert_int_equal(key, i & 0x7fff);
        assert_int_equal(match(q, 1000 + MANY / 2 - 1 - i, &key), KAFKA_REQUESTS_OUT_OF_ORDER);
        assert_int_equal(key, 2);
    }
    assert_int_equal(match(q, 7, &key), KAFKA_REQUESTS_UNKNOWN);
    assert_int_equal(match(q, -1, &key), KAFKA_REQUESTS_IN_ORDER);
    assert_true(q->looks < (uint64_t)MANY * LOOKS);
    kafka_requests_free(q);
}

/* Ids with gaps, so that there are no runs, behind one that nobody answers. */
static void optional_ones_cost_the_same_too(void **state)
{
    (void)state;
    struct kafka_requests *q = new_queue(65536);
    int16_t key;

    push(q, -1, 3, KAFKA_REQUEST_ANSWERED);
    for (int32_t i = 0; i < MANY; i++)
        push(q, 2 * i, 0, KAFKA_REQUEST_OPTIONAL);
    for (int32_t i = 0; i < MANY; i += 3) {
        assert_false(kafka_requests_front_is_token(q));
        assert_int_equal(match(q, 2 * i, &key), KAFKA_REQUESTS_OUT_OF_ORDER);
    }
    assert_int_equal(match(q, 0, &key), KAFKA_REQUESTS_UNKNOWN);
    assert_true(q->looks < (uint64_t)MANY * LOOKS);
    kafka_requests_free(q);
}

/* The broker answers none of them, whatever ids it says. */
static void denied_ones_stand_in_line(void **state)
{
    (void)state;
    struct kafka_requests *q = new_queue(64);
    struct kafka_request request;
    int16_t key;

    push(q, 1, 3, KAFKA_REQUEST_ANSWERED);
    push(q, 2, 0, KAFKA_REQUEST_DENIED);
    push(q, 3, 3, KAFKA_REQUEST_ANSWERED);
    assert_false(kafka_requests_front_is_denied(q));
    assert_int_equal(match(q, 2, &key), KAFKA_REQUESTS_UNKNOWN);
    assert_int_equal(match(q, 1, &key), KAFKA_REQUESTS_IN_ORDER);
    assert_true(kafka_requests_front_is_denied(q));
    assert_int_equal(match(q, 2, &key), KAFKA_REQUESTS_UNKNOWN);
    kafka_requests_pop_denied(q, &request);
    assert_int_equal(request.correlation_id, 2);
    assert_int_equal(match(q, 3, &key), KAFKA_REQUESTS_IN_ORDER);
    assert_int_equal(kafka_requests_owed(q), 0);
    kafka_requests_free(q);
}

/* Requests of the tunnel's own are found like others, also by the index. */
static void own_ones_are_found_among_many(void **state)
{
    (void)state;
    struct kafka_requests *q = new_queue(65536);
    int16_t key;

    for (int32_t i = 0; i < 1000; i++)
        push(q, i, 3, KAFKA_REQUEST_ANSWERED);
    assert_int_equal(match(q, 500, &key), KAFKA_REQUESTS_OUT_OF_ORDER); /* makes the index */
    push(q, 5000, 36, KAFKA_REQUEST_OWN);
    push(q, 5001, 3, KAFKA_REQUEST_DENIED);
    assert_int_equal(match(q, 5001, &key), KAFKA_REQUESTS_UNKNOWN);
    assert_int_equal(match(q, 5000, &key), KAFKA_REQUESTS_OUT_OF_ORDER);
    assert_int_equal(key, 36);
    for (int32_t i = 0; i < 1000; i++)
        if (i != 500)
            assert_int_equal(match(q, i, &key), KAFKA_REQUESTS_IN_ORDER);
    assert_true(kafka_requests_front_is_denied(q));
    kafka_requests_free(q);
}

static void dropping_tokens_costs_what_they_are(void **state)
{
    (void)state;
    struct kafka_requests *q = new_queue(65536);
    int16_t key;

    for (int32_t i = 0; i < MANY; i++)
        push(q, i, 3, KAFKA_REQUEST_ANSWERED);
    for (int32_t i = 0; i < 5000; i++) {
        push(q, 0, -1, KAFKA_REQUEST_TOKEN);
        kafka_requests_drop_tokens(q);
        kafka_requests_drop_tokens(q);
        push(q, MANY + i, 3, KAFKA_REQUEST_ANSWERED);
    }
    assert_int_equal(kafka_requests_owed(q), MANY + 5000);
    assert_int_equal(match(q, 0, &key), KAFKA_REQUESTS_IN_ORDER);
    assert_true(q->looks < (uint64_t)5000 * LOOKS);
    kafka_requests_free(q);
}

/* ---- the same as a plain array does */

enum { MODEL_MAX = 200 };

struct model {
    struct kafka_request at[MODEL_MAX];
    size_t count;
};

static void model_remove(struct model *m, size_t at)
{
    m->count--;
    memmove(&m->at[at], &m->at[at + 1], (m->count - at) * sizeof m->at[0]);
}

static bool model_optional(const struct model *m, size_t at)
{
    return m->at[at].type == KAFKA_REQUEST_OPTIONAL;
}

static bool model_late(const struct model *m, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (!model_optional(m, i))
            return true;
    return false;
}

/* Every run is of one here: ids of optional ones are even. */
static enum kafka_requests_match model_match(struct model *m, int32_t id, int16_t *key)
{
    for (int optional = 0; optional < 2; optional++) {
        for (size_t i = 0; i < m->count; i++) {
            if (m->at[i].correlation_id != id || m->at[i].type == KAFKA_REQUEST_TOKEN ||
                model_optional(m, i) != (optional == 1))
                continue;
            bool late = model_late(m, i);
            *key = m->at[i].api_key;
            model_remove(m, i);
            /* Optional ones: all before it, or those at the very front before it. */
            for (size_t at = 0; at < i && (optional || model_optional(m, at));) {
                if (model_optional(m, at)) {
                    model_remove(m, at);
                    i--;
                } else {
                    at++;
                }
            }
            return late ? KAFKA_REQUESTS_OUT_OF_ORDER : KAFKA_REQUESTS_IN_ORDER;
        }
    }
    return KAFKA_REQUESTS_UNKNOWN;
}

static void model_drop_tokens(struct model *m)
{
    for (size_t i = 0; i < m->count;)
        if (m->at[i].type == KAFKA_REQUEST_TOKEN)
            model_remove(m, i);
        else
            i++;
}

static bool model_pop_token(struct model *m)
{
    size_t first = 0;

    while (first < m->count && model_optional(m, first))
        first++;
    if (first == m->count || m->at[first].type != KAFKA_REQUEST_TOKEN)
        return false;
    for (size_t i = 0; i <= first; i++)
        model_remove(m, 0);
    return true;
}

static void model_push(struct model *m, int32_t id, int16_t key, enum kafka_request_type type)
{
    m->at[m->count++] =
        (struct kafka_request){.correlation_id = id, .api_key = key, .type = (uint8_t)type};
}

static void one_step(struct kafka_requests *q, struct model *m, uint32_t *seed, int16_t number)
{
    uint32_t what = next_random(seed) % 100;
    int32_t id = (int32_t)(next_random(seed) % 40);
    int16_t key = -2;
    int16_t due = -2;

    if (what < 50 && m->count < MODEL_MAX) {
        enum kafka_request_type type = what < 34   ? KAFKA_REQUEST_ANSWERED
                                       : what < 48 ? KAFKA_REQUEST_OPTIONAL
                                                   : KAFKA_REQUEST_TOKEN;
        if (type == KAFKA_REQUEST_OPTIONAL)
            id &= ~1;
        model_push(m, id, number, type);
        assert_int_equal(push(q, id, number, type), 0);
    } else if (what < 96) {
        enum kafka_requests_match result = model_match(m, id, &due);
        assert_int_equal(match(q, id, &key), result);
        if (result != KAFKA_REQUESTS_UNKNOWN)
            assert_int_equal(key, due);
    } else if (what < 98) {
        bool token = kafka_requests_front_is_token(q);
        assert_int_equal(model_pop_token(m), token);
        if (token)
            kafka_requests_pop_token(q);
    } else {
        model_drop_tokens(m);
        kafka_requests_drop_tokens(q);
    }
    assert_int_equal(q->count, m->count);
}

static void behaves_like_an_array(void **state)
{
    (void)state;

    for (uint32_t seed = 1; seed < 200; seed++) {
        struct kafka_requests *q = new_queue(MODEL_MAX);
        struct model m = {.count = 0};
        uint32_t random = seed;
        for (int16_t i = 0; i < 1000; i++)
            one_step(q, &m, &random, i);
        size_t owed = 0;
        for (size_t i = 0; i < m.count; i++)
            owed += !model_optional(&m, i);
        assert_int_equal(kafka_requests_owed(q), owed);
        kafka_requests_free(q);
    }
}

static void add_produce(struct bytes *b, int16_t version, int32_t id, int16_t acks,
                        const char *transaction)
{
    size_t start = frame_begin(b);
    size_t size = transaction ? strlen(transaction) : 0;

    add_header(b, KAFKA_KEY_PRODUCE, version, id);
    if (version >= 9) {
        bytes_hex(b, "020003414243810001ff"); /* tags of the header: 0 = ABC, 129 = ff */
        bytes_uvarint(b, transaction ? (uint32_t)size + 1 : 0);
    } else if (version >= 3) {
        bytes_u16(b, transaction ? (uint16_t)size : 0xffff);
    }
    if (version >= 3)
        bytes_add(b, transaction, size);
    bytes_u16(b, (uint16_t)acks);
    for (unsigned i = 0; i < 300; i++)
        bytes_u8(b, (uint8_t)i);
    frame_end(b, start);
}

static void send_split(struct kafka_filter *f, const struct bytes *b, uint32_t split)
{
    uint32_t seed = split;

    for (size_t at = 0, some; at < b->size; at += some) {
        some = split == SPLIT_WHOLE ? b->size : split == 1 ? 1 : next_random(&seed) % 50;
        if (some > b->size - at)
            some = b->size - at;
        uint8_t *copy = malloc(some > 0 ? some : 1);
        assert_non_null(copy);
        if (some > 0)
            memcpy(copy, b->at + at, some);
        assert_int_equal(kafka_filter_requests(f, copy, some), 0);
        free(copy);
    }
}

static void acks_is_found_in_every_layout(void **state)
{
    (void)state;
    static const char long_id[] =
        "a transactional id of more than 127 bytes, so that its length takes two bytes in the "
        "compact encoding, which no producer with acks=0 has, but who knows what comes";
    static const char *const transactions[] = {NULL, "", "x", long_id};

    for (int16_t version = 0; version <= 13; version++) {
        for (uint32_t split = 0; split < 60; split++) {
            struct book book;
            struct kafka_filter *f = new_filter(&book, NULL);
            struct bytes requests = {0}, output = {0};
            for (size_t i = 0; i < 4; i++) {
                add_produce(&requests, version, 2 * (int32_t)i, 0, transactions[i]);
                add_produce(&requests, version, 2 * (int32_t)i + 1, i % 2 ? 1 : -1,
                            transactions[i]);
            }
            send_split(f, &requests, split);
            assert_int_equal(book.requests, 8);
            assert_int_equal(kafka_filter_in_flight(f), 4);
            assert_string_equal(kafka_filter_client_id(f), "test");
            bytes_free(&requests);
            bytes_free(&output);
            kafka_filter_free(f);
        }
    }
}

static void the_client_id_is_made_printable_and_short(void **state)
{
    (void)state;
    struct book book;
    struct kafka_filter *f = new_filter(&book, NULL);
    struct bytes requests = {0};
    size_t start = frame_begin(&requests);

    bytes_hex(&requests, "00120000"
                         "00000001"
                         "ffff"); /* null */
    frame_end(&requests, start);
    start = frame_begin(&requests);
    bytes_hex(&requests, "00120000"
                         "00000001"
                         "00c8"
                         "410a2242e282ac1b5b");
    for (size_t i = 9; i < 200; i++)
        bytes_u8(&requests, 'x');
    frame_end(&requests, start);
    send_split(f, &requests, 1);
    assert_int_equal(strlen(kafka_filter_client_id(f)), 64);
    assert_memory_equal(kafka_filter_client_id(f), "A??B????[xxx", 12);
    bytes_free(&requests);
    kafka_filter_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_given_back),
        cmocka_unit_test(any_ids_in_order),
        cmocka_unit_test(out_of_order_is_found),
        cmocka_unit_test(optional_ones_cost_nothing),
        cmocka_unit_test(optional_ones_may_be_answered),
        cmocka_unit_test(one_id_for_all_means_the_one_that_must_be_answered),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(tokens_stand_in_line),
        cmocka_unit_test(denied_ones_stand_in_line),
        cmocka_unit_test(own_ones_are_found_among_many),
        cmocka_unit_test(any_order_costs_the_same),
        cmocka_unit_test(a_small_crowd_after_a_large_one_is_cheap),
        cmocka_unit_test(one_id_for_many_hides_no_other),
        cmocka_unit_test(optional_ones_cost_the_same_too),
        cmocka_unit_test(dropping_tokens_costs_what_they_are),
        cmocka_unit_test(behaves_like_an_array),
        cmocka_unit_test(acks_is_found_in_every_layout),
        cmocka_unit_test(the_client_id_is_made_printable_and_short),
    };
    return cmocka_run_group_tests_name("kafka_requests", tests, NULL, NULL);
}

/*
 * Every API and version against tests/vectors/kafka-responses.txt, in any split.
 *
 * The filter makes REWRITE of Metadata, FindCoordinator, DescribeCluster and Produce, and of Fetch
 * before v16 (which has nothing to rewrite); it makes NEUTRAL of Fetch v16+ and the share APIs. The
 * other kind of a line is only checked to be taken for the same input: the output is the frame of
 * the kind that the filter makes.
 */
#include "test_kafka_support.h"

#ifndef VECTORS
#error "VECTORS is the directory of the vectors"
#endif

enum { VECTORS_MAX = 128, SPLITS = 1000 };

struct vector {
    char name[64];
    const struct kafka_api *api;
    int16_t version;
    bool neutral;
    struct bytes input;
    struct bytes expected;
};

struct vectors {
    struct vector all[VECTORS_MAX];
    unsigned count;
};

static const struct kafka_api *find_api(const char *response)
{
    size_t size = strlen(response) - strlen("Response");

    for (int16_t key = 0; kafka_api_find(key); key++) {
        const char *name = kafka_api_name(key);
        if (strlen(name) == size && strncmp(name, response, size) == 0)
            return kafka_api_find(key);
    }
    return NULL;
}

static int load(void **state)
{
    static char line[16384], input[8000], expected[8000];
    struct vectors *v = calloc(1, sizeof *v);
    FILE *file = fopen(VECTORS "/kafka-responses.txt", "r");

    assert_non_null(v);
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        struct vector *vector = &v->all[v->count];
        char kind[16];
        int version;
        if (line[0] == '#')
            continue;
        assert_true(v->count < VECTORS_MAX);
        assert_int_equal(sscanf(line, "%63s %d %15s %7999s %7999s", vector->name, &version, kind,
                                input, expected),
                         5);
        vector->api = find_api(vector->name);
        assert_non_null(vector->api);
        vector->version = (int16_t)version;
        vector->neutral = strcmp(kind, "NEUTRAL") == 0;
        bytes_hex(&vector->input, input);
        bytes_hex(&vector->expected, expected);
        v->count++;
    }
    fclose(file);
    *state = v;
    return 0;
}

static int unload(void **state)
{
    struct vectors *v = *state;

    for (unsigned i = 0; i < v->count; i++) {
        bytes_free(&v->all[i].input);
        bytes_free(&v->all[i].expected);
    }
    free(v);
    return 0;
}

static bool neutralised(const struct vector *v)
{
    switch (v->api->key) {
    case KAFKA_KEY_FETCH:
        return v->version >= 16;
    case KAFKA_KEY_SHARE_FETCH:
    case KAFKA_KEY_SHARE_ACKNOWLEDGE:
        return true;
    default:
        return false;
    }
}

static bool is_product(const struct vector *v)
{
    return v->neutral == neutralised(v);
}

static bool contains(const struct bytes *b, const char *text)
{
    for (size_t i = 0; i + strlen(text) <= b->size; i++) {
        if (memcmp(b->at + i, text, strlen(text)) == 0)
            return true;
    }
    return false;
}

static void run(const struct vector *v, uint32_t split, struct bytes *output)
{
    struct book book;
    struct kafka_filter *f = new_filter(&book, NULL);
    struct bytes requests = {0};

    add_request(&requests, v->api->key, v->version, 42);
    send_requests(f, &requests);
    assert_int_equal(kafka_filter_in_flight(f), 1);
    output->size = 0;
    assert_int_equal(feed_split(f, v->input.at, v->input.size, split, output), 0);
    assert_true(kafka_filter_between_responses(f));
    assert_int_equal(kafka_filter_in_flight(f), 0);
    if (neutralised(v))
        assert_true(book.seen > 0);
    bytes_free(&requests);
    kafka_filter_free(f);
}

static void all_vectors_are_there(void **state)
{
    struct vectors *v = *state;
    unsigned products = 0;

    for (unsigned i = 0; i < v->count; i++)
        products += is_product(&v->all[i]);
    assert_int_equal(v->count, 76);
    assert_int_equal(products, 63);
}

static void each_comes_out_as_expected_in_any_split(void **state)
{
    struct vectors *v = *state;
    struct bytes output = {0};

    for (unsigned i = 0; i < v->count; i++) {
        const struct vector *vector = &v->all[i];
        if (!is_product(vector))
            continue;
        for (uint32_t split = 0; split < 2 + SPLITS; split++) {
            run(vector, split, &output);
            if (output.size != vector->expected.size ||
                memcmp(output.at, vector->expected.at, output.size) != 0)
                fail_msg("%s v%d, split %u", vector->name, vector->version, split);
        }
        assert_false(contains(&output, ".example"));
    }
    bytes_free(&output);
}

static void the_other_kind_has_the_same_input(void **state)
{
    struct vectors *v = *state;
    struct bytes output = {0};

    for (unsigned i = 0; i < v->count; i++) {
        const struct vector *vector = &v->all[i];
        if (is_product(vector))
            continue;
        run(vector, SPLIT_WHOLE, &output);
        if (neutralised(vector))
            assert_int_equal(output.size, vector->input.size);
        else
            assert_int_equal(output.size, vector->input.size - 1); /* 127.0.0.1, b2.example */
        assert_false(contains(&output, ".example"));
    }
    bytes_free(&output);
}

/* All on one connection, all with the same correlation id. */
static void one_after_the_other_in_any_split(void **state)
{
    struct vectors *v = *state;
    struct bytes requests = {0}, input = {0}, expected = {0}, output = {0};

    for (unsigned i = 0; i < v->count; i++) {
        if (!is_product(&v->all[i]))
            continue;
        add_request(&requests, v->all[i].api->key, v->all[i].version, 42);
        bytes_add(&input, v->all[i].input.at, v->all[i].input.size);
        bytes_add(&expected, v->all[i].expected.at, v->all[i].expected.size);
    }
    for (uint32_t split = 0; split < 2 + SPLITS; split++) {
        struct book book;
        struct kafka_filter *f = new_filter(&book, NULL);
        send_requests(f, &requests);
        output.size = 0;
        assert_int_equal(feed_split(f, input.at, input.size, split, &output), 0);
        assert_int_equal(output.size, expected.size);
        assert_memory_equal(output.at, expected.at, expected.size);
        assert_int_equal(kafka_filter_in_flight(f), 0);
        assert_int_equal(book.requests, 63);
        assert_int_equal(book.responses, 63);
        assert_int_equal(book.rewritten[KAFKA_KEY_METADATA], 14 * 2);
        assert_int_equal(book.rewritten[KAFKA_KEY_FIND_COORDINATOR], 7);
        assert_int_equal(book.rewritten[KAFKA_KEY_DESCRIBE_CLUSTER], 3);
        assert_int_equal(book.rewritten[KAFKA_KEY_PRODUCE], 4);
        assert_int_equal(book.erased[KAFKA_KEY_FETCH], 3);
        assert_int_equal(book.erased[KAFKA_KEY_SHARE_FETCH], 3);
        assert_int_equal(book.erased[KAFKA_KEY_SHARE_ACKNOWLEDGE], 3);
        assert_int_equal(book.unusable_addresses, 0);
        kafka_filter_free(f);
    }
    bytes_free(&requests);
    bytes_free(&input);
    bytes_free(&expected);
    bytes_free(&output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_vectors_are_there),
        cmocka_unit_test(each_comes_out_as_expected_in_any_split),
        cmocka_unit_test(the_other_kind_has_the_same_input),
        cmocka_unit_test(one_after_the_other_in_any_split),
    };
    return cmocka_run_group_tests_name("kafka_vectors", tests, load, unload);
}

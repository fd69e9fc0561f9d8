#include "test_kafka_support.h"

#include "kafka/bootstrap.h"

struct found {
    unsigned count;
    int32_t nodes[4];
    char hosts[4][32];
    int32_t ports[4];
};

static void note(void *context, int32_t node, const struct kafka_address *address)
{
    struct found *found = context;

    assert_true(found->count < 4);
    found->nodes[found->count] = node;
    found->ports[found->count] = address->port;
    snprintf(found->hosts[found->count++], 32, "%.*s", (int)address->host_size, address->host);
}

/* MetadataResponse v1 of tests/vectors with correlation id 7; a third broker has no host. */
static const char response_hex[] =
    "00000072000000070000000300000001000a62312e6578616d706c65000023840002723100000002000a"
    "62322e6578616d706c6500002385ffff00000003000000000000ffff00000001000000010000000174000000000100"
    "0000000000000000010000000200000001000000020000000100000001";

static void the_request_is_metadata_v1_of_no_topic(void **state)
{
    (void)state;
    uint8_t buffer[KAFKA_BOOTSTRAP_REQUEST_MAX];
    struct bytes expected = {0};

    bytes_hex(&expected, "0000001a000300010000000700"
                         "0c6b61666b612d74756e6e656c00000000");
    assert_int_equal(kafka_bootstrap_request(buffer, 7), expected.size);
    assert_memory_equal(buffer, expected.at, expected.size);
    bytes_free(&expected);
}

static void the_response_is_read_when_it_is_whole(void **state)
{
    (void)state;
    struct bytes response = {0};
    struct found found = {0};
    const char *reason = NULL;

    bytes_hex(&response, response_hex);
    for (size_t size = 0; size < response.size; size++)
        assert_int_equal(kafka_bootstrap_response(response.at, size, 7, note, &found, &reason),
                         KAFKA_BOOTSTRAP_MORE);
    assert_int_equal(found.count, 0);
    assert_int_equal(kafka_bootstrap_response(response.at, response.size, 7, note, &found, &reason),
                     KAFKA_BOOTSTRAP_OK);
    assert_int_equal(found.count, 2);
    assert_int_equal(found.nodes[0], 1);
    assert_string_equal(found.hosts[0], "b1.example");
    assert_int_equal(found.ports[0], 9092);
    assert_int_equal(found.nodes[1], 2);
    assert_string_equal(found.hosts[1], "b2.example");
    assert_int_equal(found.ports[1], 9093);
    bytes_free(&response);
}

static void refuses_what_is_no_answer(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "150303000202", /* a TLS alert */
        "00000003",     /* too short */
        "ffffffff",     /* negative */
        "00100000",     /* more than may be held */
        "0000000800000008"
        "00000000", /* another correlation id */
        "0000000800000007"
        "7fffffff", /* more brokers than fit */
        "0000000c00000007"
        "0000000100000001", /* a broker cut short */
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes response = {0};
        struct found found = {0};
        const char *reason = NULL;
        bytes_hex(&response, cases[i]);
        assert_int_equal(
            kafka_bootstrap_response(response.at, response.size, 7, note, &found, &reason),
            KAFKA_BOOTSTRAP_EFRAME);
        assert_non_null(reason);
        assert_int_equal(found.count, 0);
        bytes_free(&response);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_request_is_metadata_v1_of_no_topic),
        cmocka_unit_test(the_response_is_read_when_it_is_whole),
        cmocka_unit_test(refuses_what_is_no_answer),
    };
    return cmocka_run_group_tests_name("kafka_bootstrap", tests, NULL, NULL);
}

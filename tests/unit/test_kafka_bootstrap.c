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
    assert_int_equal(kafka_bootstrap_request(KAFKA_ENDPOINT_BROKER, buffer, 7), expected.size);
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
        assert_int_equal(kafka_bootstrap_response(KAFKA_ENDPOINT_BROKER, response.at, size, 7, note,
                                                  &found, &reason),
                         KAFKA_BOOTSTRAP_MORE);
    assert_int_equal(found.count, 0);
    assert_int_equal(kafka_bootstrap_response(KAFKA_ENDPOINT_BROKER, response.at, response.size, 7,
                                              note, &found, &reason),
                     KAFKA_BOOTSTRAP_OK);
    assert_int_equal(found.count, 2);
    assert_int_equal(found.nodes[0], 1);
    assert_string_equal(found.hosts[0], "b1.example");
    assert_int_equal(found.ports[0], 9092);
    assert_int_equal(found.nodes[1], 2);
    assert_string_equal(found.hosts[1], "b2.example");
    assert_int_equal(found.ports[1], 9093);
    /* The two others of the list. */
    assert_int_equal(kafka_bootstrap_unusable(KAFKA_ENDPOINT_BROKER, response.at, response.size),
                     byte_load_u32(response.at + 8) - 2);
    bytes_free(&response);
}

/* As the filter leaves it out: neither address book hears of it. */
static void a_host_that_is_none_is_not_told(void **state)
{
    (void)state;
    struct bytes response = {0};
    struct found found = {0};
    const char *reason = NULL;

    bytes_hex(&response, response_hex);
    uint8_t *dot = memchr(response.at, '.', response.size);
    assert_non_null(dot);
    *dot = '\n';
    assert_int_equal(kafka_bootstrap_response(KAFKA_ENDPOINT_BROKER, response.at, response.size, 7,
                                              note, &found, &reason),
                     KAFKA_BOOTSTRAP_OK);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.nodes[0], 2);
    assert_int_equal(kafka_bootstrap_unusable(KAFKA_ENDPOINT_BROKER, response.at, response.size),
                     byte_load_u32(response.at + 8) - 1);
    bytes_free(&response);
}

/* Request and responses as Kafka 4.3.1's own classes write them: controllers 1 at c1.example:9192
 * and 2147483647 at ::1, port 9193; a third one has no host. */
static const char controllers_hex[] =
    "0000004a000000070000000000000000020363310000000204000000010b63312e6578616d706c65000023e8037231"
    "007fffffff043a3a31000023e900000000000301ffffffff00008000000000";

static void the_request_for_controllers_is_describe_cluster_v1(void **state)
{
    (void)state;
    uint8_t buffer[KAFKA_BOOTSTRAP_REQUEST_MAX];
    struct bytes expected = {0};

    bytes_hex(&expected, "0000001a003c000100000007000c6b61666b612d74756e6e656c00000200");
    assert_int_equal(kafka_bootstrap_request(KAFKA_ENDPOINT_CONTROLLER, buffer, 7), expected.size);
    assert_memory_equal(buffer, expected.at, expected.size);
    bytes_free(&expected);
}

static void controllers_are_read_when_the_response_is_whole(void **state)
{
    (void)state;
    struct bytes response = {0};
    struct found found = {0};
    const char *reason = NULL;

    bytes_hex(&response, controllers_hex);
    for (size_t size = 0; size < response.size; size++)
        assert_int_equal(kafka_bootstrap_response(KAFKA_ENDPOINT_CONTROLLER, response.at, size, 7,
                                                  note, &found, &reason),
                         KAFKA_BOOTSTRAP_MORE);
    assert_int_equal(found.count, 0);
    assert_int_equal(kafka_bootstrap_response(KAFKA_ENDPOINT_CONTROLLER, response.at, response.size,
                                              7, note, &found, &reason),
                     KAFKA_BOOTSTRAP_OK);
    assert_int_equal(found.count, 2);
    assert_int_equal(found.nodes[0], 1);
    assert_string_equal(found.hosts[0], "c1.example");
    assert_int_equal(found.ports[0], 9192);
    assert_int_equal(found.nodes[1], INT32_MAX);
    assert_string_equal(found.hosts[1], "::1");
    assert_int_equal(found.ports[1], 9193);
    assert_int_equal(
        kafka_bootstrap_unusable(KAFKA_ENDPOINT_CONTROLLER, response.at, response.size), 1);
    bytes_free(&response);
}

/* Cut anywhere, with a length that fits what is left: an error, and no node is reported. */
static void a_cut_response_about_controllers_is_refused(void **state)
{
    (void)state;
    struct bytes response = {0};

    bytes_hex(&response, controllers_hex);
    for (size_t size = 8; size < response.size; size++) {
        struct found found = {0};
        const char *reason = NULL;
        uint8_t *cut = malloc(size);
        memcpy(cut, response.at, size);
        byte_store_u32(cut, (uint32_t)size - 4);
        enum kafka_bootstrap_result result = kafka_bootstrap_response(
            KAFKA_ENDPOINT_CONTROLLER, cut, size, 7, note, &found, &reason);
        free(cut);
        /* The last fields, behind the nodes, are not read. */
        if (size >= response.size - 5) {
            assert_int_equal(result, KAFKA_BOOTSTRAP_OK);
            continue;
        }
        assert_int_equal(result, KAFKA_BOOTSTRAP_EFRAME);
        assert_non_null(reason);
        assert_int_equal(found.count, 0);
    }
    bytes_free(&response);
}

static void refuses_what_holds_no_controllers(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *why;
    } cases[] = {
        {"00000031000000070000000000000000010363310000000202000000010b63312e6578616d706c65000023e80"
         "3"
         "7231008000000000",
         "something else"},
        {"0000001a0000000700000000000072036e6f010100000002018000000000", "it is a broker"},
        {"0000001a000000070000000000001f036e6f020100000002018000000000", "an error"},
        {"0000001a00000007ffffffffff", "malformed"},                     /* endless tags */
        {"0000001a0000000700000000000000ffffffff0f02", "malformed"},     /* a message of 4 GiB */
        {"0000001b00000007000000000000000002036331000000020fffffffff0f", /* nodes that do not fit */
         "malformed"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes response = {0};
        struct found found = {0};
        const char *reason = NULL;
        bytes_hex(&response, cases[i].hex);
        byte_store_u32(response.at, (uint32_t)response.size - 4);
        assert_int_equal(kafka_bootstrap_response(KAFKA_ENDPOINT_CONTROLLER, response.at,
                                                  response.size, 7, note, &found, &reason),
                         KAFKA_BOOTSTRAP_EFRAME);
        assert_non_null(strstr(reason, cases[i].why));
        assert_int_equal(found.count, 0);
        bytes_free(&response);
    }
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
        assert_int_equal(kafka_bootstrap_response(KAFKA_ENDPOINT_BROKER, response.at, response.size,
                                                  7, note, &found, &reason),
                         KAFKA_BOOTSTRAP_EFRAME);
        assert_non_null(reason);
        assert_int_equal(found.count, 0);
        bytes_free(&response);
    }
}

/* ApiVersions v0: of a broker, of a KRaft controller (no Metadata), of an old broker. */
static void versions_tell_brokers_from_controllers(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        struct kafka_bootstrap_apis apis;
    } cases[] = {
        {"0000001c"
         "00000007"
         "0000"
         "00000003"
         "00030000000d"
         "001200000004"
         "003c00000002",
         {3, true, true}},
        {"0000001c"
         "00000007"
         "0000"
         "00000003"
         "000100040011"
         "001200000004"
         "003c00000002",
         {3, false, true}},
        {"00000010"
         "00000007"
         "0000"
         "00000001"
         "000300000001",
         {1, true, false}},
        {"0000000a"
         "00000007"
         "0000"
         "00000000",
         {0, false, false}},
    };
    struct kafka_bootstrap_apis apis;
    const char *reason;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes response = {0};
        bytes_hex(&response, cases[i].hex);
        assert_int_equal(
            kafka_bootstrap_versions_response(response.at, response.size, 7, &apis, &reason),
            KAFKA_BOOTSTRAP_OK);
        assert_int_equal(apis.count, cases[i].apis.count);
        assert_int_equal(apis.metadata, cases[i].apis.metadata);
        assert_int_equal(apis.describe_cluster, cases[i].apis.describe_cluster);
        bytes_free(&response);
    }
}

/* A broker that reads on in the layout of version 3 finds a name and a version that it accepts. */
static void the_proof_is_an_api_versions_that_no_broker_has(void **state)
{
    (void)state;
    uint8_t buffer[KAFKA_BOOTSTRAP_REQUEST_MAX];
    struct bytes expected = {0};

    bytes_hex(&expected, "00000027"
                         "00127fff5eed0001"
                         "000c6b61666b612d74756e6e656c00"
                         "0d6b61666b612d74756e6e656c"
                         "023100");
    assert_int_equal(kafka_bootstrap_proof_request(buffer, 0x5eed0001), expected.size);
    assert_memory_equal(buffer, expected.at, expected.size);
    bytes_free(&expected);
}

static void what_brokers_answer_to_it_is_a_proof(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "000000105eed00010023000000010012"
        "00000005",                     /* Kafka since 2.4: lists ApiVersions itself */
        "0000000a5eed0001002300000000", /* Kafka before 2.4: lists nothing */
        "000000165eed000100000000000200030000000d001200000005", /* takes any version, answers as 0
                                                                 */
        "0000000a5eed0001002a00000000", /* does not like the request, but has read it */
        "000000115eed0001002301001200000002"
        "00000000",              /* librdkafka's mock brokers: no version's layout */
        "000000405eed0001000003" /* the same, as 3 and later */
        "00030000000d000012000000050000000000020108000000000000000a021a02147472616e73616374696f6e2e"
        "76657273696f6e0002000200",
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes response = {0};
        const char *reason = NULL;
        bytes_hex(&response, cases[i]);
        for (size_t size = 0; size < response.size; size++)
            assert_int_equal(kafka_bootstrap_proof_response(response.at, size, 0x5eed0001, &reason),
                             KAFKA_BOOTSTRAP_MORE);
        assert_int_equal(
            kafka_bootstrap_proof_response(response.at, response.size, 0x5eed0001, &reason),
            KAFKA_BOOTSTRAP_OK);
        bytes_free(&response);
    }
}

static void what_speaks_something_else_proves_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *hex, *why;
    } cases[] = {
        {"2d455252", "invalid length"},                                  /* -ERR */
        {"485454502f312e31", "HTTP"},                                    /* HTTP/1.1 */
        {"15030300020228", "TLS"},                                       /* an alert */
        {"00000001", "invalid length"},                                  /* no room for an id */
        {"00002000", "not an ApiVersions response"},                     /* too long to wait for */
        {"0000000a5eed0002002300000000", "does not match the request"},  /* another id */
        {"0000002700127fff5eed0001000c", "does not match the request"},  /* an echo, cut */
        {"000000045eed0001", "not an ApiVersions response"},             /* nothing behind the id */
        {"0000000a5eed0001414100000000", "not an ApiVersions response"}, /* no error of Kafka's */
        {"0000000a5eed0001000000000001", "not an ApiVersions response"}, /* less than it lists */
        {"0000000a5eed00010000ffffffff", "not an ApiVersions response"}, /* a negative number */
        {"0000000b5eed000100000200120000", "not an ApiVersions response"}, /* an entry cut short */
        {"0000000a5eed00010023000000002b", "more than it was asked"}, /* and something behind */
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes response = {0};
        const char *reason = NULL;
        bytes_hex(&response, cases[i].hex);
        if (byte_load_u32(response.at) == 0x27)
            byte_store_u32(response.at, (uint32_t)response.size - 4);
        assert_int_equal(
            kafka_bootstrap_proof_response(response.at, response.size, 0x5eed0001, &reason),
            KAFKA_BOOTSTRAP_EFRAME);
        assert_non_null(strstr(reason, cases[i].why));
        bytes_free(&response);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_request_is_metadata_v1_of_no_topic),
        cmocka_unit_test(the_response_is_read_when_it_is_whole),
        cmocka_unit_test(a_host_that_is_none_is_not_told),
        cmocka_unit_test(refuses_what_is_no_answer),
        cmocka_unit_test(the_request_for_controllers_is_describe_cluster_v1),
        cmocka_unit_test(controllers_are_read_when_the_response_is_whole),
        cmocka_unit_test(a_cut_response_about_controllers_is_refused),
        cmocka_unit_test(refuses_what_holds_no_controllers),
        cmocka_unit_test(versions_tell_brokers_from_controllers),
        cmocka_unit_test(the_proof_is_an_api_versions_that_no_broker_has),
        cmocka_unit_test(what_brokers_answer_to_it_is_a_proof),
        cmocka_unit_test(what_speaks_something_else_proves_nothing),
    };
    return cmocka_run_group_tests_name("kafka_bootstrap", tests, NULL, NULL);
}

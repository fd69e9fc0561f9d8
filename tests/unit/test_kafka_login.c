/* SaslHandshake and SaslAuthenticate of our own, and what brokers answer. */
#include "test_kafka_support.h"

#include "kafka/login.h"

static enum kafka_login_result handshake(const char *hex, char reason[KAFKA_LOGIN_REASON_MAX])
{
    struct bytes response = {0};

    bytes_hex(&response, hex);
    enum kafka_login_result result =
        kafka_login_handshake_response(response.at, response.size, 7, "SCRAM-SHA-512", reason);
    bytes_free(&response);
    return result;
}

static enum kafka_login_result authenticate(const char *hex, struct kafka_login_answer *answer,
                                            char reason[KAFKA_LOGIN_REASON_MAX])
{
    static struct bytes response;

    bytes_free(&response);
    response = (struct bytes){0};
    bytes_hex(&response, hex);
    return kafka_login_authenticate_response(response.at, response.size, 7, "hunter2", answer,
                                             reason);
}

static void the_requests(void **state)
{
    (void)state;
    uint8_t buffer[KAFKA_LOGIN_HEAD_MAX + 5];
    struct bytes expected = {0};

    /* Key 17, version 1, id 7, client id "kafka-tunnel", "SCRAM-SHA-512". */
    bytes_hex(&expected, "00000025 0011 0001 00000007 000c 6b61666b612d74756e6e656c"
                         "000d 534352414d2d5348412d353132");
    assert_int_equal(kafka_login_handshake_request(buffer, 7, "SCRAM-SHA-512"), expected.size);
    assert_memory_equal(buffer, expected.at, expected.size);
    bytes_free(&expected);
    /* Key 36, version 1, id 8, "hello" behind an INT32 length. */
    expected = (struct bytes){0};
    bytes_hex(&expected, "0000001f 0024 0001 00000008 000c 6b61666b612d74756e6e656c"
                         "00000005 68656c6c6f");
    assert_int_equal(kafka_login_authenticate_request(buffer, 8, (const uint8_t *)"hello", 5),
                     expected.size);
    assert_memory_equal(buffer, expected.at, expected.size);
    bytes_free(&expected);
}

static void a_mechanism_that_the_broker_has(void **state)
{
    (void)state;
    char reason[KAFKA_LOGIN_REASON_MAX];
    struct bytes response = {0};

    bytes_hex(&response, "00000020 00000007 0000 00000002"
                         "0005 504c41494e 000d 534352414d2d5348412d353132");
    for (size_t size = 0; size <= response.size; size++)
        assert_int_equal(
            kafka_login_handshake_response(response.at, size, 7, "SCRAM-SHA-512", reason),
            size < response.size ? KAFKA_LOGIN_MORE : KAFKA_LOGIN_OK);
    bytes_free(&response);
}

static void handshakes_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        const char *reason;
    } refused[] = {
        {"00000021 00000007 0021 00000002 0005 504c41494e 000e 534352414d2d5348412d32351b36",
         "it does not enable SCRAM-SHA-512; it enables PLAIN, SCRAM-SHA-25\\u001b6"},
        {"0000000a 00000007 0021 00000000", "it does not enable SCRAM-SHA-512"},
        {"0000000a 00000007 0021 7fffffff", "it does not enable SCRAM-SHA-512"},
        {"00000006 00000007 0021", "it does not enable SCRAM-SHA-512"},
        {"0000000a 00000007 0022 00000000", "its listener has no SASL (ILLEGAL_SASL_STATE)"},
        {"0000000a 00000007 0023 00000000", "it answered a SaslHandshake request with error 35"},
        {"00000005 00000007 00", "its SaslHandshake response is malformed"},
        {"0000000a 00000008 0000 00000000", "its answer to the login does not match the request"},
        {"0000000a 00000007 0000 00000000 00", "it sent more than it was asked for"},
        {"00000003 000007", "its answer to the login has an invalid length"},
        {"00003ffd 00000007 0000 00000000", "its answer to the login has an invalid length"},
        {"80000000 00000007 0000 00000000", "its answer to the login has an invalid length"},
    };

    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char reason[KAFKA_LOGIN_REASON_MAX] = "";
        assert_int_equal(handshake(refused[i].hex, reason),
                         strstr(refused[i].reason, "ILLEGAL") ||
                                 strstr(refused[i].reason, "enable") ||
                                 strstr(refused[i].reason, "error")
                             ? KAFKA_LOGIN_EREFUSED
                             : KAFKA_LOGIN_EFRAME);
        assert_string_equal(reason, refused[i].reason);
    }
}

/* A list of mechanisms as long as a response may be neither overflows nor costs the reason. */
static void many_mechanisms(void **state)
{
    (void)state;
    static uint8_t response[KAFKA_LOGIN_RESPONSE_MAX];
    char reason[KAFKA_LOGIN_REASON_MAX];
    struct byte_writer w;

    byte_writer_init(&w, response, sizeof response);
    byte_writer_u32(&w, sizeof response - 4);
    byte_writer_u32(&w, 7);
    byte_writer_u16(&w, 33);
    byte_writer_u32(&w, 1000);
    for (size_t i = 0; i < 1000; i++) {
        byte_writer_u16(&w, 8);
        byte_writer_bytes(&w, "\x1b\x1b\x1b\x1b\x1b\x1b\x1b\x1b", 8);
    }
    assert_int_equal(kafka_login_handshake_response(response, sizeof response, 7, "PLAIN", reason),
                     KAFKA_LOGIN_EREFUSED);
    assert_memory_equal(reason, "it does not enable PLAIN; it enables \\u001b", 43);
}

static void answers_that_go_on(void **state)
{
    (void)state;
    char reason[KAFKA_LOGIN_REASON_MAX];
    struct kafka_login_answer answer;

    assert_int_equal(authenticate("00000019 00000007 0000 ffff 00000005 68656c6c6f "
                                  "000000000036ee80",
                                  &answer, reason),
                     KAFKA_LOGIN_OK);
    assert_int_equal(answer.message_size, 5);
    assert_memory_equal(answer.message, "hello", 5);
    assert_int_equal(answer.lifetime_ms, 3600000);
    assert_int_equal(
        authenticate("00000014 00000007 0000 ffff 00000000 0000000000000000", &answer, reason),
        KAFKA_LOGIN_OK);
    assert_int_equal(answer.message_size, 0);
    assert_int_equal(answer.lifetime_ms, 0);
}

static void answers_that_are_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        const char *reason;
    } refused[] = {
        {"00000018 00000007 003a 0004 6e6f1b21 00000000 0000000000000000",
         "it refused: SASL_AUTHENTICATION_FAILED: no !"},
        {"0000001f 00000007 003a 000b 68756e7465723220 6e6f21 00000000 0000000000000000",
         "it refused: SASL_AUTHENTICATION_FAILED: (...) no!"},
        {"00000014 00000007 003a ffff 00000000 0000000000000000",
         "it refused: SASL_AUTHENTICATION_FAILED"},
        {"00000008 00000007 0023 ffff", "it refused: UNSUPPORTED_VERSION"},
        {"00000008 00000007 0022 0000", "it refused: ILLEGAL_SASL_STATE"},
        {"00000008 00000007 ffff ffff", "it refused: error -1"},
        {"00000008 00000007 003a 0010", "its SaslAuthenticate response is malformed"},
        {"00000008 00000007 0000 ffff", "its SaslAuthenticate response is malformed"},
        {"00000014 00000007 0000 ffff 00000001 0000000000000000",
         "its SaslAuthenticate response is malformed"},
        {"00000014 00000007 0000 ffff ffffffff 0000000000000000",
         "its SaslAuthenticate response is malformed"},
        {"00000014 00000007 0000 ffff 00000000 ffffffffffffffff",
         "its SaslAuthenticate response is malformed"},
        {"00000015 00000007 0000 ffff 00000000 0000000000000000 00",
         "its SaslAuthenticate response is malformed"},
        {"00000014 00000006 0000 ffff 00000000 0000000000000000",
         "its answer to the login does not match the request"},
    };

    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char reason[KAFKA_LOGIN_REASON_MAX] = "";
        struct kafka_login_answer answer;
        assert_int_equal(authenticate(refused[i].hex, &answer, reason),
                         strstr(refused[i].reason, "refused") ? KAFKA_LOGIN_EREFUSED
                                                              : KAFKA_LOGIN_EFRAME);
        assert_string_equal(reason, refused[i].reason);
    }
}

/* What Kafka's schemas say: SaslHandshakeResponse 0-1, SaslAuthenticateResponse 0-2. */
static void refusals_of_ours(void **state)
{
    (void)state;
    static const struct {
        bool handshake;
        int16_t version;
        const char *hex;
    } refusals[] = {
        {true, 0, "0000000f 00000007 0021 00000001 0003 6e6f21"},
        {true, 1, "0000000f 00000007 0021 00000001 0003 6e6f21"},
        {false, 0, "0000000f 00000007 0022 0003 6e6f21 00000000"},
        {false, 1, "00000017 00000007 0022 0003 6e6f21 00000000 0000000000000000"},
        {false, 2, "00000015 00000007 00 0022 04 6e6f21 01 0000000000000000 00"},
    };

    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        uint8_t buffer[KAFKA_LOGIN_REFUSAL_MAX];
        struct bytes expected = {0};
        bytes_hex(&expected, refusals[i].hex);
        assert_int_equal(
            kafka_login_refusal(buffer, refusals[i].handshake, refusals[i].version, 7, "no!"),
            expected.size);
        assert_memory_equal(buffer, expected.at, expected.size);
        bytes_free(&expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_requests),
        cmocka_unit_test(a_mechanism_that_the_broker_has),
        cmocka_unit_test(handshakes_that_are_refused),
        cmocka_unit_test(many_mechanisms),
        cmocka_unit_test(answers_that_go_on),
        cmocka_unit_test(answers_that_are_refusals),
        cmocka_unit_test(refusals_of_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

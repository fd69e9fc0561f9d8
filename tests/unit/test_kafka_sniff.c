#include "test_kafka_support.h"

#include "kafka/sniff.h"

static void recognises_what_is_not_kafka(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        enum kafka_sniff expected;
    } cases[] = {
        {"", 0, KAFKA_SNIFF_MORE},
        {"\x16", 1, KAFKA_SNIFF_MORE},
        {"\x16\x03", 2, KAFKA_SNIFF_TLS},
        {"\x16\x03\x01\x02", 4, KAFKA_SNIFF_TLS},
        {"\x15\x03\x03\x00\x02\x02\x46", 7, KAFKA_SNIFF_TLS_ALERT},
        {"GE", 2, KAFKA_SNIFF_MORE},
        {"GET /subjects HTTP/1.1\r\n", 24, KAFKA_SNIFF_HTTP},
        {"POST", 4, KAFKA_SNIFF_HTTP},
        {"PRI * HTTP/2.0", 14, KAFKA_SNIFF_HTTP},
        {"HTTP/1.1 400", 12, KAFKA_SNIFF_HTTP},
        {"SSH-2.0-", 8, KAFKA_SNIFF_SSH},
        {"PROXY TCP4", 10, KAFKA_SNIFF_PROXY},
        {"\r\n\r\n\0\r\nQUIT\n", 12, KAFKA_SNIFF_PROXY},
        {"\0", 1, KAFKA_SNIFF_KAFKA},
        {"\0\0\0\x20", 4, KAFKA_SNIFF_KAFKA},
        {"\x01\0\0", 3, KAFKA_SNIFF_MORE},
        {"\x01\0\0\0", 4, KAFKA_SNIFF_KAFKA},
        {"PUMA", 4, KAFKA_SNIFF_KAFKA},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum kafka_sniff got = kafka_sniff((const uint8_t *)cases[i].bytes, cases[i].size);
        assert_int_equal(got, cases[i].expected);
        bool says = got != KAFKA_SNIFF_MORE && got != KAFKA_SNIFF_KAFKA;
        assert_int_equal(kafka_sniff_client_advice(got)[0] != '\0', says);
        assert_int_equal(kafka_sniff_broker_advice(got)[0] != '\0', says);
    }
}

static void the_filter_says_it(void **state)
{
    (void)state;
    struct book book;
    struct kafka_filter *f = new_filter(&book, NULL);
    struct bytes output = {0};

    assert_int_equal(kafka_filter_requests(f, (const uint8_t *)"\x16", 1), 0);
    assert_int_equal(kafka_filter_requests(f, (const uint8_t *)"\x03\x01", 2),
                     KAFKA_FILTER_EPROTOCOL);
    assert_non_null(strstr(kafka_filter_reason(f), "SASL_PLAINTEXT"));
    kafka_filter_free(f);

    /* An alert has seven bytes: fewer than the head of a Kafka response. */
    f = new_filter(&book, NULL);
    assert_int_equal(feed(f, (const uint8_t *)"\x15\x03\x03\x00\x02\x02\x46", 7, &output),
                     KAFKA_FILTER_EPROTOCOL);
    assert_non_null(strstr(kafka_filter_reason(f), "--kafka-tls"));
    kafka_filter_free(f);
    assert_int_equal(output.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recognises_what_is_not_kafka),
        cmocka_unit_test(the_filter_says_it),
    };
    return cmocka_run_group_tests_name("kafka_sniff", tests, NULL, NULL);
}

/* Responses of HTTP/1.x: where they end, what is kept of them, and what is no response. */
#include "../lib/cmocka.h"

#include <string.h>

#include "http/response.h"

#define LITERAL(text) (const uint8_t *)(text), sizeof(text) - 1

static struct http_response response;
static char body[64];

/* Feeds text in pieces of step bytes; the bytes that were taken. */
static size_t feed(const char *text, size_t step, enum http_response_kind kind,
                   enum http_response_result *result)
{
    size_t size = strlen(text);
    size_t at = 0;

    http_response_init(&response, kind, body, sizeof body - 1);
    *result = HTTP_RESPONSE_MORE;
    while (at < size && *result == HTTP_RESPONSE_MORE) {
        size_t part = size - at < step ? size - at : step;
        size_t consumed = 0;
        *result = http_response_receive(&response, (const uint8_t *)text + at, part, &consumed);
        assert_true(consumed <= part);
        if (*result == HTTP_RESPONSE_MORE)
            assert_int_equal(consumed, part);
        at += consumed;
    }
    return at;
}

static void check(const char *text, enum http_response_kind kind, int status, const char *kept,
                  size_t rest)
{
    for (size_t step = 1; step <= strlen(text); step++) {
        enum http_response_result result;
        size_t taken = feed(text, step, kind, &result);
        assert_int_equal(result, HTTP_RESPONSE_DONE);
        assert_int_equal(response.status, status);
        assert_int_equal(strlen(text) - taken, rest);
        assert_string_equal(body, kept);
    }
}

static void ends_where_it_says(void **state)
{
    (void)state;
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/", HTTP_RESPONSE_ORDINARY, 200,
          "hello", 5);
    check("HTTP/1.1 200\r\ncontent-length:0\r\n\r\nx", HTTP_RESPONSE_ORDINARY, 200, "", 1);
    check("HTTP/1.0 403 No way\nContent-Length: 2\n\nno", HTTP_RESPONSE_ORDINARY, 403, "no", 0);
    check("HTTP/1.1 204 None\r\n\r\nrest", HTTP_RESPONSE_ORDINARY, 204, "", 4);
    check("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x82\x01x",
          HTTP_RESPONSE_ORDINARY, 101, "", 3);
    check("HTTP/1.1 200 Connection established\r\n\r\nTLS", HTTP_RESPONSE_CONNECT, 200, "", 3);
    check("HTTP/1.1 407 Who?\r\nContent-Length: 3\r\n\r\nwhoTLS", HTTP_RESPONSE_CONNECT, 407, "who",
          3);
}

static void chunks(void **state)
{
    (void)state;
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n"
          "3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nrest",
          HTTP_RESPONSE_ORDINARY, 200, "abc0123456789", 4);
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
          HTTP_RESPONSE_ORDINARY, 200, "", 0);
}

static void interim_answers_are_skipped(void **state)
{
    (void)state;
    check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
          "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n.",
          HTTP_RESPONSE_ORDINARY, 200, ".", 0);
}

static void until_the_connection_ends(void **state)
{
    enum http_response_result result;

    (void)state;
    feed("HTTP/1.1 500 Oh\r\n\r\nsorry", 3, HTTP_RESPONSE_ORDINARY, &result);
    assert_int_equal(result, HTTP_RESPONSE_MORE);
    assert_true(response.head_done);
    assert_int_equal(http_response_end(&response), HTTP_RESPONSE_DONE);
    assert_string_equal(body, "sorry");
}

static void cut_short(void **state)
{
    static const char *const texts[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        enum http_response_result result;
        feed(texts[i], 100, HTTP_RESPONSE_ORDINARY, &result);
        assert_int_equal(result, HTTP_RESPONSE_MORE);
        assert_int_equal(http_response_end(&response), HTTP_RESPONSE_MALFORMED);
    }
}

static void malformed(void **state)
{
    static const char *const texts[] = {
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 999 OK\r\n\r\n",
        "HTTP/1.1 2000\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t step = 1; step < 4; step++) {
            enum http_response_result result;
            feed(texts[i], step, HTTP_RESPONSE_ORDINARY, &result);
            if (result != HTTP_RESPONSE_MALFORMED)
                fail_msg("%s: %d", texts[i], result);
        }
    }
    size_t consumed;
    http_response_init(&response, HTTP_RESPONSE_ORDINARY, NULL, 0);
    assert_int_equal(
        http_response_receive(&response, LITERAL("HTTP/1.1 200 O\0K\r\n\r\n"), &consumed),
        HTTP_RESPONSE_MALFORMED);
}

static void head_is_bounded(void **state)
{
    static uint8_t fill[1000];
    size_t consumed;
    size_t total = 0;
    enum http_response_result result;

    (void)state;
    memset(fill, 'a', sizeof fill);
    http_response_init(&response, HTTP_RESPONSE_ORDINARY, NULL, 0);
    result = http_response_receive(&response, LITERAL("HTTP/1.1 200 OK\r\nX: "), &consumed);
    while (result == HTTP_RESPONSE_MORE) {
        result = http_response_receive(&response, fill, sizeof fill, &consumed);
        total += consumed;
        assert_true(total <= HTTP_RESPONSE_HEAD_MAX + 1);
    }
    assert_int_equal(result, HTTP_RESPONSE_TOO_LARGE);
}

static void body_is_bounded(void **state)
{
    static char text[400];
    enum http_response_result result;

    (void)state;
    strcpy(text, "HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n");
    size_t head = strlen(text);
    memset(text + head, 'b', 300);
    assert_int_equal(feed(text, 7, HTTP_RESPONSE_ORDINARY, &result), head + 300);
    assert_int_equal(result, HTTP_RESPONSE_DONE);
    assert_true(response.body_cut);
    assert_int_equal(response.body_size, sizeof body - 1);
    assert_int_equal(strlen(body), sizeof body - 1);
}

static void header_values(void **state)
{
    enum http_response_result result;
    char value[40];

    (void)state;
    feed("HTTP/1.1 407 x\r\nProxy-Authenticate: Negotiate\r\nServer:  a\tb \r\nEmpty:\r\n"
         "proxy-authenticate: Basic realm=\"a, b\"\r\nConnection: close , Upgrade\r\n"
         "Content-Length: 0\r\n\r\n",
         1000, HTTP_RESPONSE_ORDINARY, &result);
    assert_int_equal(result, HTTP_RESPONSE_DONE);
    assert_true(http_response_header(&response, "Proxy-Authenticate", value, sizeof value));
    assert_string_equal(value, "Negotiate, Basic realm=\"a, b\"");
    assert_true(http_response_header(&response, "server", value, sizeof value));
    assert_string_equal(value, "a b");
    assert_true(http_response_header(&response, "EMPTY", value, sizeof value));
    assert_string_equal(value, "");
    assert_false(http_response_header(&response, "Serve", value, sizeof value));
    assert_string_equal(value, "");
    assert_true(http_response_header(&response, "Proxy-Authenticate", value, 6));
    assert_string_equal(value, "Negot");
    assert_true(http_response_has(&response, "connection", "upgrade"));
    assert_true(http_response_has(&response, "Connection", "Close"));
    assert_false(http_response_has(&response, "Connection", "Up"));
    assert_false(http_response_has(&response, "Nothing", "upgrade"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_where_it_says),
        cmocka_unit_test(chunks),
        cmocka_unit_test(interim_answers_are_skipped),
        cmocka_unit_test(until_the_connection_ends),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(malformed),
        cmocka_unit_test(head_is_bounded),
        cmocka_unit_test(body_is_bounded),
        cmocka_unit_test(header_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

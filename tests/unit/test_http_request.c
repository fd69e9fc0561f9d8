/* Heads of HTTP/1.x requests: what is one, what is none, and what they say; in every split. */
#include "../lib/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "http/answer.h"
#include "http/request.h"

static struct http_request request;
static char *head; /* of exactly the size, so that a sanitizer sees what is beyond it */

static void begin(size_t size)
{
    free(head);
    head = malloc(size);
    assert_non_null(head);
    http_request_init(&request, head, size);
}

/* Feeds text in pieces of step bytes into a buffer that is always as small as can be. */
static enum http_request_result feed(const char *text, size_t size, size_t step, size_t *taken)
{
    enum http_request_result result = HTTP_REQUEST_MORE;

    begin(1);
    *taken = 0;
    while (*taken < size && (result == HTTP_REQUEST_MORE || result == HTTP_REQUEST_FULL)) {
        size_t part = size - *taken < step ? size - *taken : step;
        size_t consumed = SIZE_MAX;
        if (result == HTTP_REQUEST_FULL) {
            char *larger = malloc(request.head_max + 7);
            assert_non_null(larger);
            free(http_request_move(&request, larger, request.head_max + 7));
            head = larger;
        }
        result = http_request_receive(&request, text + *taken, part, &consumed);
        assert_true(consumed <= part);
        if (result == HTTP_REQUEST_MORE)
            assert_int_equal(consumed, part);
        *taken += consumed;
    }
    return result;
}

static void expect(const char *text, size_t size, enum http_request_result wanted, size_t rest)
{
    for (size_t step = 1; step <= size; step++) {
        size_t taken;
        enum http_request_result result = feed(text, size, step, &taken);
        if (result != wanted)
            fail_msg("%s: %d", text, result);
        if (wanted == HTTP_REQUEST_DONE)
            assert_int_equal(size - taken, rest);
        if (wanted == HTTP_REQUEST_MALFORMED)
            assert_non_null(http_request_problem(&request));
    }
}

static void sound_requests(void **state)
{
    static const char *const texts[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.7\r\nHost: x\r\n\r\n",
        "PROPFIND /a/b?c=d/?:@ HTTP/1.1\r\nhost: [::1]:80\r\nX:\r\nY: \t \xc3\xbc\tz \r\n\r\n",
        "GET /%20-._~!$&'()*+,;=:@ HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n",
        "M-SEARCH / HTTP/1.1\r\nHost: a,b\r\nContent-Length: 00017\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect(texts[i], strlen(texts[i]), HTTP_REQUEST_DONE, 0);
    expect("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /", 32, HTTP_REQUEST_DONE, 5);
}

static void malformed(void **state)
{
    static const char *const texts[] = {
        "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /  HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GE(T / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /\r\n",
        "GET / http/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.10\r\nHost: x\r\n\r\n",
        "GET / HTTP/11\r\nHost: x\r\n\r\n",
        "GET / HTTP/1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\nHost: x\n\n",
        "GET / HTTP/1.1\r\nHost: x\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\n",
        "GET / HTTP/1.1\r\rHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\rX",
        "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET x HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a\"b HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /\xc3\xbc HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: x\r\nhOST: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nnothing\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA\x01: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: x\x7f\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: x\x1b[m\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect(texts[i], strlen(texts[i]), HTTP_REQUEST_MALFORMED, 0);
    expect("GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", 29, HTTP_REQUEST_MALFORMED, 0);
    expect("GET / HTTP/1.1\r\nHost: x\0\r\n\r\n", 29, HTTP_REQUEST_MALFORMED, 0);
    expect("GE\0T / HTTP/1.1\r\nHost: x\r\n\r\n", 29, HTTP_REQUEST_MALFORMED, 0);
}

/* What cannot become a request is known with its first byte that is wrong. */
static void garbage_is_not_waited_for(void **state)
{
    size_t taken;

    (void)state;
    assert_int_equal(feed("\x16\x03\x01\x02", 4, 4, &taken), HTTP_REQUEST_MALFORMED);
    assert_int_equal(taken, 1);
    assert_int_equal(feed("SSH-2.0-x\r\n", 11, 11, &taken), HTTP_REQUEST_MALFORMED);
    assert_int_equal(taken, 10);
}

static void other_versions(void **state)
{
    (void)state;
    expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24, HTTP_REQUEST_VERSION, 0);
    expect("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 27, HTTP_REQUEST_VERSION, 0);
    expect("GET / HTTP/9.9\r\nHost: x\r\n\r\n", 27, HTTP_REQUEST_VERSION, 0);
    expect("GET / HTTP/0.9\r\nHost: x\r\n\r\n", 27, HTTP_REQUEST_VERSION, 0);
}

static void bounded_by_the_buffer(void **state)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    size_t consumed;

    (void)state;
    begin(sizeof text - 1);
    assert_int_equal(http_request_receive(&request, text, sizeof text - 1, &consumed),
                     HTTP_REQUEST_DONE);
    begin(sizeof text - 2);
    assert_int_equal(http_request_receive(&request, text, sizeof text - 1, &consumed),
                     HTTP_REQUEST_FULL);
    assert_int_equal(consumed, sizeof text - 2);
    /* It goes on where it was, and wipes what it leaves behind. */
    char *larger = malloc(sizeof text);
    assert_non_null(larger);
    char *before = http_request_move(&request, larger, sizeof text);
    assert_ptr_equal(before, head);
    for (size_t i = 0; i < sizeof text - 2; i++)
        assert_int_equal(before[i], 0);
    free(before);
    head = larger;
    assert_int_equal(http_request_receive(&request, "\n", 1, &consumed), HTTP_REQUEST_DONE);
    assert_string_equal(http_request_path(&request), "/");
}

static void what_it_says(void **state)
{
    static const char text[] =
        "GET /tunnel/?a=b HTTP/1.1\r\nHost: x\r\nConnection: keep-alive ,Upgrade\r\n"
        "Upgrade: h2c\r\nupgrade: WebSocket/13, websocket\r\nEmpty:\r\nAuthorization:  Bearer a b "
        "\r\n"
        "Twice: 1\r\nTWICE: 2\r\n\r\n";
    char value[16];
    size_t taken;

    (void)state;
    assert_int_equal(feed(text, sizeof text - 1, 5, &taken), HTTP_REQUEST_DONE);
    assert_string_equal(http_request_method(&request), "GET");
    assert_string_equal(http_request_path(&request), "/tunnel/");
    assert_int_equal(http_request_minor(&request), 1);
    assert_int_equal(http_request_body_size(&request), 0);
    assert_true(http_request_has(&request, "connection", "upgrade"));
    assert_true(http_request_has(&request, "UPGRADE", "websocket"));
    assert_true(http_request_has(&request, "upgrade", "h2c"));
    assert_false(http_request_has(&request, "upgrade", "web"));
    assert_false(http_request_has(&request, "nothing", ""));
    assert_true(http_request_header(&request, "authorization", value, sizeof value));
    assert_string_equal(value, "Bearer a b");
    assert_true(http_request_header(&request, "authorization", value, 11));
    assert_false(http_request_header(&request, "authorization", value, 10));
    assert_string_equal(value, "");
    assert_true(http_request_header(&request, "empty", value, sizeof value));
    assert_string_equal(value, "");
    assert_false(http_request_header(&request, "twice", value, sizeof value));
    assert_string_equal(value, "");
    assert_false(http_request_header(&request, "absent", value, sizeof value));
    assert_int_equal(http_request_header_count(&request, "twice"), 2);
    assert_int_equal(http_request_header_count(&request, "absent"), 0);
    assert_int_equal(http_request_header_count(&request, "GET /tunnel/?a=b HTTP/1.1\r\nhost"), 0);
}

static void bodies(void **state)
{
    static const struct {
        const char *text;
        bool body;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t taken;
        assert_int_equal(feed(cases[i].text, strlen(cases[i].text), 9, &taken), HTTP_REQUEST_DONE);
        assert_int_equal(http_request_body_size(&request) > 0, cases[i].body);
    }
}

/* ---- answers */

static const char *write_answer(const struct http_answer *answer)
{
    static char text[HTTP_ANSWER_HEAD_MAX + 1];

    text[http_answer_head(answer, text)] = '\0';
    return text;
}

static const char *write_status(int status)
{
    const struct http_answer answer = {.status = status, .date = "Sun, 06 Nov 1994 08:49:37 GMT"};

    return write_answer(&answer);
}

static void answers(void **state)
{
    struct http_answer all = {.status = 405,
                              .date = "Sun, 06 Nov 1994 08:49:37 GMT",
                              .type = "text/html",
                              .headers = "X-One: 1\r\nX-Two: 2\r\n",
                              .allow = "POST",
                              .size = 12345};

    (void)state;
    assert_string_equal(write_status(200),
                        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                        "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 0\r\n"
                        "Cache-Control: no-store\r\nConnection: close\r\n\r\n");
    const char *text = write_status(426);
    assert_non_null(strstr(text, "Connection: close, Upgrade\r\n"));
    assert_non_null(strstr(text, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"));
    assert_non_null(strstr(write_status(401), "WWW-Authenticate: Bearer\r\n"));
    assert_non_null(strstr(write_status(405), "Allow: GET, HEAD\r\n"));
    assert_non_null(strstr(write_status(501), " 501 Not Implemented\r\n"));
    assert_non_null(strstr(write_status(503), "Retry-After: 1\r\n"));
    assert_non_null(strstr(write_status(299), "HTTP/1.1 500 "));
    assert_string_equal(write_answer(&all),
                        "HTTP/1.1 405 Method Not Allowed\r\n"
                        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                        "Content-Type: text/html\r\nContent-Length: 12345\r\n"
                        "Cache-Control: no-store\r\nConnection: close\r\nAllow: POST\r\n"
                        "X-One: 1\r\nX-Two: 2\r\n\r\n");
    all.status = 200;
    assert_null(strstr(write_answer(&all), "Allow"));
}

static void upgrades(void **state)
{
    char text[HTTP_ANSWER_HEAD_MAX + 1];

    (void)state;
    text[http_answer_upgrade("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", NULL, text)] = '\0';
    assert_string_equal(text, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                              "Connection: Upgrade\r\n"
                              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    text[http_answer_upgrade("x", "kafka-tunnel", text)] = '\0';
    assert_non_null(strstr(text, "x\r\nSec-WebSocket-Protocol: kafka-tunnel\r\n\r\n"));
}

static int clean_up(void **state)
{
    (void)state;
    free(head);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_requests),
        cmocka_unit_test(malformed),
        cmocka_unit_test(garbage_is_not_waited_for),
        cmocka_unit_test(other_versions),
        cmocka_unit_test(bounded_by_the_buffer),
        cmocka_unit_test(what_it_says),
        cmocka_unit_test(bodies),
        cmocka_unit_test(answers),
        cmocka_unit_test(upgrades),
    };
    return cmocka_run_group_tests(tests, NULL, clean_up);
}

#include "../lib/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "../../tunnel-client/credentials/request_headers.h"
#include "config/secret.h"

static void expect(const char *entry, bool with_token, const char *words)
{
    const char *items[] = {"X-First: 1", entry};
    const struct config_list list = {.items = items, .count = 2};
    char error[300] = "";
    bool good = request_headers_check(&list, with_token, error, sizeof error);

    if (!words) {
        if (!good)
            fail_msg("%s: %s", entry, error);
        return;
    }
    assert_false(good);
    if (!strstr(error, words))
        fail_msg("no \"%s\" in: %s", words, error);
    assert_null(strstr(error, "s3cret"));
}

static void headers_that_may_be_sent(void **state)
{
    (void)state;
    expect("X-Api-Key:s3cret", true, NULL);
    expect("X-Empty:", true, NULL);
    expect("Cookie: a=b; c=d, e", true, NULL);
    expect("x!#$%&'*+-.^_`|~9:\tv\xc3\xb6", true, NULL);
    expect("Authorization: Basic s3cret", false, NULL);
    expect("X-SF-SPCS-Authorization: s3cret", true, NULL);
    expect("Hosts: x", true, NULL);
    expect("X-Api-Key: s3cret\r\n", true, NULL);
}

static void headers_that_may_not(void **state)
{
    (void)state;
    static const char *const reserved[] = {
        "Host: s3cret",         "connection: s3cret",
        "UPGRADE:s3cret",       "Content-Length: 5",
        "Transfer-Encoding: x", "Sec-WebSocket-Key: s3cret",
        "sec-websocket-x: 1",   "Sec-WebSocket-Protocol: s3cret"};
    char *huge = malloc(REQUEST_HEADERS_MAX + 1);

    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        expect(reserved[i], false, "handshake");
    expect("authorization: Basic s3cret", true, "one or the other");
    expect("Proxy-Authorization: Basic s3cret", false, "proxies");
    expect("X-A: s3cret\r\nX-B: 1", false, "line break");
    expect("X-A: s3cret\nX-B: 1", false, "line break");
    expect("X-A: s3cret\n\tfolded", false, "line break");
    expect("X-A: s3cret\x7f", false, "control");
    expect("s3cret", false, "entry 2 is not NAME:VALUE");
    expect(": s3cret", false, "entry 2");
    expect("X A: s3cret", false, "entry 2");
    expect("X-A : s3cret", false, "entry 2");
    expect("X\xc3\xb6: s3cret", false, "entry 2");
    expect("X-A\r\n: s3cret", false, "entry 2");
    memset(huge, 'x', REQUEST_HEADERS_MAX);
    huge[REQUEST_HEADERS_MAX] = '\0';
    memcpy(huge, "X-Long:", 7);
    expect(huge, false, "4 KiB");
    free(huge);
}

static void lines_have_one_form(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"X-A:b", "X-A: b"},      {"X-A: \t b c \t", "X-A: b c"},
                                           {"X-A: b\r\n", "X-A: b"}, {"X-A:\n b \n\n", "X-A: b"},
                                           {"X-A:", "X-A: "},        {"X-A:b:c", "X-A: b:c"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *line = request_header_line(cases[i][0]);
        assert_string_equal(line, cases[i][1]);
        secret_free(line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_that_may_be_sent),
        cmocka_unit_test(headers_that_may_not),
        cmocka_unit_test(lines_have_one_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

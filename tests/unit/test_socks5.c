/* SOCKS 5 as a client: every message and every answer, in every split. */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <string.h>

#include "http/socks5.h"

static struct socks5 begin(const char *user, const char *password)
{
    struct socks5 socks = {.target = {.kind = SOCKS5_NAME, .bytes = "host", .size = 4, .port = 443},
                           .user = user,
                           .user_size = (uint8_t)(user ? strlen(user) : 0),
                           .password = password,
                           .password_size = (uint8_t)(password ? strlen(password) : 0)};

    socks5_begin(&socks);
    return socks;
}

static void expect_message(const struct socks5 *socks, const char *bytes, size_t size)
{
    assert_int_equal(socks->message_size, size);
    assert_memory_equal(socks->message, bytes, size);
}

/* All of it, byte by byte or at once. */
static enum socks5_result feed(struct socks5 *socks, const char *bytes, size_t size, bool at_once)
{
    enum socks5_result result = SOCKS5_MORE;
    size_t taken = 0;

    while (taken < size && result == SOCKS5_MORE) {
        size_t consumed = SIZE_MAX;
        size_t part = at_once ? size - taken : 1;
        result = socks5_receive(socks, (const uint8_t *)bytes + taken, part, &consumed);
        assert_true(consumed > 0 && consumed <= part);
        taken += consumed;
    }
    assert_int_equal(taken, size);
    return result;
}

static void a_whole_exchange(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } replies[] = {
        {"\5\0\0\1\x7f\0\0\1\x1f\x90", 10},
        {"\5\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22},
        {"\5\0\0\3\4host\1\xbb", 11},
        {"\5\0\0\3\0\0\0", 7},
    };

    (void)state;
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        for (int at_once = 0; at_once < 2; at_once++) {
            struct socks5 socks = begin("me", "secret");
            expect_message(&socks, "\5\2\0\2", 4);
            assert_int_equal(feed(&socks, "\5\2", 2, at_once), SOCKS5_SAY);
            expect_message(&socks, "\1\2me\6secret", 11);
            assert_string_equal(socks5_step_name(&socks), "the SOCKS5 login");
            assert_int_equal(feed(&socks, "\1\0", 2, at_once), SOCKS5_SAY);
            expect_message(&socks, "\5\1\0\3\4host\1\xbb", 11);
            assert_int_equal(feed(&socks, replies[i].bytes, replies[i].size, at_once), SOCKS5_DONE);
        }
    }
}

/* The login that was offered is not wanted: it is not sent. */
static void a_login_that_is_not_wanted(void **state)
{
    struct socks5 socks = begin("me", "secret");

    (void)state;
    assert_int_equal(feed(&socks, "\5\0", 2, true), SOCKS5_SAY);
    expect_message(&socks, "\5\1\0\3\4host\1\xbb", 11);
    assert_null(memmem(&socks, sizeof socks, "secret", 6));
}

/* Nor does it stay when it has been sent. */
static void the_login_is_wiped(void **state)
{
    struct socks5 socks = begin("me", "secret");

    (void)state;
    feed(&socks, "\5\2", 2, true);
    assert_non_null(memmem(&socks, sizeof socks, "secret", 6));
    struct socks5 left = socks;
    socks5_wipe(&left);
    assert_null(memmem(&left, sizeof left, "secret", 6));
    feed(&socks, "\1\0", 2, true);
    assert_null(memmem(&socks, sizeof socks, "secret", 6));
}

/* What comes behind an answer is not taken. */
static void bytes_behind_the_answer(void **state)
{
    struct socks5 socks = begin(NULL, NULL);
    size_t consumed;

    (void)state;
    assert_int_equal(socks5_receive(&socks, (const uint8_t *)"\5\0\5", 3, &consumed), SOCKS5_SAY);
    assert_int_equal(consumed, 2);
    assert_int_equal(
        socks5_receive(&socks, (const uint8_t *)"\5\0\0\1\0\0\0\0\0\0x", 11, &consumed),
        SOCKS5_DONE);
    assert_int_equal(consumed, 10);
}

/* As soon as it is one: no more of it may come. */
static void refusals(void **state)
{
    char text[300];

    (void)state;
    for (int reply = 1; reply < 256; reply++) {
        struct socks5 socks = begin(NULL, NULL);
        const char answer[2] = {5, (char)reply};
        feed(&socks, "\5\0", 2, true);
        assert_int_equal(feed(&socks, answer, 2, reply % 2), SOCKS5_REFUSED);
        assert_int_equal(socks5_may_try_another(&socks), reply != 2 && reply != 7);
        assert_false(socks5_is_login_refused(&socks));
        socks5_explain(&socks, SOCKS5_REFUSED, "--server", text, sizeof text);
        assert_true(strlen(text) > 40 && strlen(text) < sizeof text - 1);
    }
    for (int method = 1; method < 256; method++) {
        struct socks5 socks = begin(NULL, NULL);
        const char answer[2] = {5, (char)method};
        assert_int_equal(feed(&socks, answer, 2, true), SOCKS5_REFUSED);
        assert_true(socks5_is_login_refused(&socks));
        assert_false(socks5_may_try_another(&socks));
    }
}

/* Each kind of address that a proxy may not know has another way out. */
static void addresses_that_the_proxy_does_not_know(void **state)
{
    static const struct {
        enum socks5_address kind;
        const char *words;
    } cases[] = {
        {SOCKS5_NAME, "takes no host names"}, {SOCKS5_IPV4, "IPv4"}, {SOCKS5_IPV6, "IPv6"}};
    char text[300];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct socks5 socks = begin(NULL, NULL);
        socks.target.kind = cases[i].kind;
        feed(&socks, "\5\0", 2, true);
        assert_int_equal(feed(&socks, "\5\x8", 2, true), SOCKS5_REFUSED);
        socks5_explain(&socks, SOCKS5_REFUSED, "--server", text, sizeof text);
        assert_non_null(strstr(text, cases[i].words));
    }
}

/* Known from the first byte: the rest need not come. */
static void what_is_no_socks5(void **state)
{
    (void)state;
    for (int first = 0; first < 256; first++) {
        struct socks5 socks = begin(NULL, NULL);
        const char byte = (char)first;
        assert_int_equal(feed(&socks, &byte, 1, true), first == 5 ? SOCKS5_MORE : SOCKS5_MALFORMED);
    }
    for (int kind = 0; kind < 256; kind++) {
        struct socks5 socks = begin(NULL, NULL);
        const char reply[] = {5, 0, 0, (char)kind, 0};
        feed(&socks, "\5\0", 2, true);
        assert_int_equal(feed(&socks, reply, 5, true),
                         kind == 1 || kind == 3 || kind == 4 ? SOCKS5_MORE : SOCKS5_MALFORMED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_exchange),
        cmocka_unit_test(a_login_that_is_not_wanted),
        cmocka_unit_test(the_login_is_wiped),
        cmocka_unit_test(bytes_behind_the_answer),
        cmocka_unit_test(refusals),
        cmocka_unit_test(addresses_that_the_proxy_does_not_know),
        cmocka_unit_test(what_is_no_socks5),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

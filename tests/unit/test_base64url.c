/* Base64 as JSON Web Tokens have it. */
#include "../lib/cmocka.h"

#include <string.h>

#include "base/base64url.h"

static void expect_bytes(const char *text, const char *bytes, size_t size)
{
    uint8_t out[64];
    size_t got;

    if (!base64url_decode(text, strlen(text), out, sizeof out, &got))
        fail_msg("%s is not taken", text);
    assert_int_equal(got, size);
    assert_memory_equal(out, bytes, size);
}

static void expect_none(const char *text, size_t size)
{
    uint8_t out[64];
    size_t got;

    if (base64url_decode(text, size, out, sizeof out, &got))
        fail_msg("%s is taken", text);
}

static void texts(void **state)
{
    (void)state;
    expect_bytes("", "", 0);
    expect_bytes("Zg", "f", 1);
    expect_bytes("Zm8", "fo", 2);
    expect_bytes("Zm9v", "foo", 3);
    expect_bytes("Zm9vYg", "foob", 4);
    expect_bytes("Zm9vYmFy", "foobar", 6);
    expect_bytes("-_-_", "\xfb\xff\xbf", 3);
    expect_bytes("AA", "\0", 1);
}

static void what_is_none(void **state)
{
    (void)state;
    expect_none("Z", 1);
    expect_none("Zm9vY", 5);
    expect_none("Zg==", 4);
    expect_none("Zm8=", 4);
    expect_none("+/+/", 4);
    expect_none("Zm 9v", 5);
    expect_none("Zm9v\n", 5);
    expect_none("Zm9\0", 4);
    /* Another text for the bytes of Zg and Zm8. */
    expect_none("Zh", 2);
    expect_none("Zm9", 3);
}

static void no_more_than_there_is_room_for(void **state)
{
    uint8_t out[4] = {0, 0, 0, 7};
    size_t size;

    (void)state;
    assert_true(base64url_decode("Zm9v", 4, out, 3, &size));
    assert_int_equal(size, 3);
    assert_false(base64url_decode("Zm9vYg", 6, out, 3, &size));
    assert_int_equal(out[3], 7);
    assert_true(BASE64URL_DECODED_MAX(6) >= 4);
    assert_true(BASE64URL_DECODED_MAX(7) >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(what_is_none),
        cmocka_unit_test(no_more_than_there_is_room_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

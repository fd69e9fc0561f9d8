#include "../lib/cmocka.h"

#include <string.h>

#include "base/json.h"

static void assert_text(struct text *text, const char *wanted)
{
    assert_false(text->failed);
    assert_int_equal(text->size, strlen(wanted));
    assert_memory_equal(text->bytes, wanted, text->size);
    text_clear(text);
}

static void writes_values_and_commas(void **state)
{
    (void)state;
    struct text text;
    struct json_writer json;

    text_init(&text, 4096);
    json_writer_init(&json, &text);
    json_put_object(&json, NULL);
    json_put_u64(&json, "u", UINT64_MAX);
    json_put_i64(&json, "i", INT64_MIN);
    json_put_bool(&json, "yes", true);
    json_put_string(&json, "none", NULL);
    json_put_array(&json, "empty");
    json_put_end(&json);
    json_put_array(&json, "mixed");
    json_put_string(&json, NULL, "one");
    json_put_object(&json, NULL);
    json_put_end(&json);
    json_put_array(&json, NULL);
    json_put_u64(&json, NULL, 2);
    json_put_u64(&json, NULL, 3);
    json_put_end(&json);
    json_put_end(&json);
    json_put_bool(&json, "no", false);
    json_put_end(&json);
    assert_text(&text, "{\"u\":18446744073709551615,\"i\":-9223372036854775808,\"yes\":true,"
                       "\"none\":null,\"empty\":[],\"mixed\":[\"one\",{},[2,3]],\"no\":false}");
}

/* What peers say must stay within its string. */
static void escapes_what_could_break_out(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *wanted;
    } cases[] = {
        {"plain", 5, "\"plain\""},
        {"\",\\", 3, "\"\\\",\\\\\""},
        {"\n\r\t", 3, "\"\\n\\r\\t\""},
        {"\0\x1f\x7f", 3, "\"\\u0000\\u001f\\u007f\""},
        {"\xc3\xa9\xf0\x9f\x98\x80", 6, "\"\xc3\xa9\xf0\x9f\x98\x80\""},
        {"a\xff\xc3", 3, "\"a\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xe2\x80\xa8\xe2\x80\xae", 6, "\"\\u2028\\u202e\""}, /* line separator, override */
        {"</script>", 9, "\"</script>\""}, /* for a page that takes JSON as data only */
        {"", 0, "\"\""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text text;
        struct json_writer json;
        text_init(&text, 4096);
        json_writer_init(&json, &text);
        json_put_bytes(&json, NULL, cases[i].bytes, cases[i].size);
        assert_text(&text, cases[i].wanted);
    }
}

static void text_is_bounded_and_says_so(void **state)
{
    (void)state;
    struct text text;

    text_init(&text, 10000);
    for (size_t i = 0; i < 10000; i++)
        text_bytes(&text, "x", 1);
    assert_false(text.failed);
    text_bytes(&text, "x", 1);
    assert_true(text.failed);
    text_bytes(&text, "", 0);
    text_string(&text, "y");
    assert_true(text.failed);
    assert_int_equal(text.size, 10000);
    text_clear(&text);
    assert_false(text.failed);
    text_format(&text, "%d-%s", 7, "seven");
    assert_text(&text, "7-seven");
    char longer[TEXT_FORMAT_MAX + 1];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    text_format(&text, "%s", longer);
    assert_true(text.failed);
    text_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_values_and_commas),
        cmocka_unit_test(escapes_what_could_break_out),
        cmocka_unit_test(text_is_bounded_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

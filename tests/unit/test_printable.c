#include "../lib/cmocka.h"

#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/printable.h"
#include "base/utf8.h"

static size_t encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* What no terminal and no reader should get. */
static const uint32_t dangerous[] = {
    0,      '\n',   '\r',   '\t',   7,      0x1b,   0x7f,   0x80,   0x85,    0x9b,
    0x9f,   0xad,   0x61c,  0x180e, 0x200b, 0x200d, 0x200e, 0x200f, 0x2028,  0x2029,
    0x202a, 0x202e, 0x2060, 0x2066, 0x2069, 0xfeff, 0xfff9, 0xfffb, 0xe0001, 0xe007f,
};
static const uint32_t harmless[] = {
    ' ', '~', '"', '\\', 0xa0, 0xe9, 0x3b1, 0x5d0, 0x627, 0x2014, 0x4e2d, 0x1f600,
};

static void only_ascii_without_controls(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        assert_true(text[i] >= ' ' && text[i] <= '~');
}

static void keep_line(void *context, const char *line, size_t size)
{
    memcpy(context, line, size - 1);
    ((char *)context)[size - 1] = '\0';
}

/* Each way to a person: printed, in a line of the log of either format, in JSON. */
static void show_everywhere(const char *text, size_t size, char shown[4][LOG_LINE_MAX])
{
    struct log log;
    struct log_field field = log_bytes("v", text, size);
    struct text json_text;
    struct json_writer json;

    assert_true(printable(text, size, shown[0], LOG_LINE_MAX));
    for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
        log_init(&log, &(struct log_settings){.level = LOG_LEVEL_INFO,
                                              .format = (enum log_format)format,
                                              .sink = keep_line,
                                              .sink_context = shown[1 + format]});
        log_event(&log, LOG_LEVEL_INFO, "shown", "m", &field, 1);
    }
    text_init(&json_text, LOG_LINE_MAX);
    json_writer_init(&json, &json_text);
    json_put_bytes(&json, NULL, text, size);
    memcpy(shown[3], json_text.bytes, json_text.size);
    shown[3][json_text.size] = '\0';
    text_clear(&json_text);
}

static void what_steers_or_misleads_is_escaped(void **state)
{
    (void)state;
    char shown[4][LOG_LINE_MAX];

    for (size_t i = 0; i < sizeof dangerous / sizeof dangerous[0]; i++) {
        char text[8] = "a";
        size_t size = 1 + encode(dangerous[i], text + 1);
        text[size++] = 'b';
        show_everywhere(text, size, shown);
        for (size_t way = 0; way < 4; way++)
            only_ascii_without_controls(shown[way], strlen(shown[way]));
    }
}

static void what_can_be_read_stays(void **state)
{
    (void)state;
    char shown[4][LOG_LINE_MAX];

    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
        char text[5] = "";
        size_t size = encode(harmless[i], text);
        show_everywhere(text, size, shown);
        assert_string_equal(shown[0], text);
        for (size_t way = 1; way < 4; way++)
            assert_non_null(strstr(shown[way], text));
    }
}

static void bytes_that_are_no_text(void **state)
{
    (void)state;
    static const char bytes[] = "\x9b\x31m\xc0\x80\xed\xa0\x80\xff\xe2\x80";
    char shown[4][LOG_LINE_MAX];

    show_everywhere(bytes, sizeof bytes - 1, shown);
    assert_string_equal(shown[0], "\\x9b1m\\xc0\\x80\\xed\\xa0\\x80\\xff\\xe2\\x80");
    assert_non_null(strstr(shown[1], shown[0]));
    for (size_t way = 0; way < 4; way++)
        assert_true(utf8_valid((const uint8_t *)shown[way], strlen(shown[way])));
    printable("\xf3\xa0\x81\x81", 4, shown[0], LOG_LINE_MAX); /* a tag: a pair of surrogates */
    assert_string_equal(shown[0], "\\udb40\\udc41");
}

/* Sentences are put together from parts that have been through it already. */
static void twice_is_as_once(void **state)
{
    (void)state;
    char once[100];
    char twice[100];

    printable("a\x1b[31m \\ \xff", 10, once, sizeof once);
    assert_string_equal(once, "a\\u001b[31m \\ \\xff");
    printable(once, strlen(once), twice, sizeof twice);
    assert_string_equal(twice, once);
}

static void it_is_cut_between_two_characters(void **state)
{
    (void)state;
    char out[8];

    assert_true(printable("1234567", 7, out, sizeof out));
    assert_string_equal(out, "1234567");
    assert_false(printable("12345678", 8, out, sizeof out));
    assert_string_equal(out, "1234567");
    assert_false(printable("123456\xc3\xa9", 8, out, sizeof out));
    assert_string_equal(out, "123456");
    assert_false(printable("12\x1b", 3, out, sizeof out));
    assert_string_equal(out, "12");
    assert_true(printable("1\x1b", 2, out, sizeof out));
    assert_string_equal(out, "1\\u001b");
    assert_true(printable("", 0, out, 1));
    assert_false(printable("1", 1, out, 1));
    assert_string_equal(out, "");
}

static void a_byte_a_column(void **state)
{
    (void)state;
    char text[] = "a\x1b\xc3\xa9~\n";

    printable_columns(text);
    assert_string_equal(text, "a???~?");
}

static void what_a_host_can_be_made_of(void **state)
{
    (void)state;
    static const char *const words[] = {"b1.example.com", "::1", "fe80::1%eth0", "b_1", "~", NULL};
    static const char *const others[] = {"",     "a b",  "a\n",      "\x1b]0;x", "a\t",
                                         "\x7f", "\x9b", "\xc3\xa4", NULL};

    for (size_t i = 0; words[i]; i++)
        assert_true(printable_is_word(words[i], strlen(words[i])));
    for (size_t i = 0; others[i]; i++)
        assert_false(printable_is_word(others[i], strlen(others[i])));
    assert_false(printable_is_word("a\0b", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_steers_or_misleads_is_escaped),
        cmocka_unit_test(what_can_be_read_stays),
        cmocka_unit_test(bytes_that_are_no_text),
        cmocka_unit_test(twice_is_as_once),
        cmocka_unit_test(it_is_cut_between_two_characters),
        cmocka_unit_test(a_byte_a_column),
        cmocka_unit_test(what_a_host_can_be_made_of),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

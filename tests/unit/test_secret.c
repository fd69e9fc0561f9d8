#include "../lib/cmocka.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/file_stamp.h"
#include "config/secret.h"

static char directory[] = "/tmp/test_secret.XXXXXX";

static const char *path_of(const char *name)
{
    static char paths[2][128];
    static int next;
    char *path = paths[next++ % 2];

    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static void write_text(const char *path, const void *text, size_t size)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* ---- what a secret may be */

static void blanks_around_do_not_matter(void **state)
{
    (void)state;
    static const char *const texts[] = {"tok",         "tok\n",         "tok\r\n",      " tok",
                                        "\t tok \n\n", "\r\n\ntok\r\n", "tok \t\r\n \n"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        size_t size = strlen(texts[i]);
        const char *trimmed = secret_trim(texts[i], &size);

        assert_int_equal(size, 3);
        assert_memory_equal(trimmed, "tok", 3);
    }
    size_t size = 4;
    secret_trim(" \n\t ", &size);
    assert_int_equal(size, 0);
    size = 5;
    assert_memory_equal(secret_trim(" a b ", &size), "a b", 3);
    assert_int_equal(size, 3);
}

static void tokens_that_can_be(void **state)
{
    (void)state;
    static const char *const tokens[] = {
        "t",
        "abc-._~+/=:0",
        "ver:1-hint:42-ETMsDg==",
        "eyJhbGciOiJub25lIn0.e30.",
        "p@ss!w0rd#$%^&*()",
        "it's",
        "\"half",
        "bearer-of-news",
        "Bearerx",
        "snowflakes",
        "token=1",
        "basically",
    };

    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        const char *why = secret_check_token(tokens[i], strlen(tokens[i]));

        if (why)
            fail_msg("%s %s", tokens[i], why);
    }
    char *large = malloc(SECRET_TOKEN_MAX + 1);
    memset(large, 'a', SECRET_TOKEN_MAX + 1);
    assert_null(secret_check_token(large, SECRET_TOKEN_MAX));
    assert_string_equal(secret_check_token(large, SECRET_TOKEN_MAX + 1), "is longer than 12 KiB");
    free(large);
}

static void tokens_that_cannot_be(void **state)
{
    (void)state;
    static const struct {
        const char *token;
        const char *words;
    } cases[] = {
        {"", "is empty"},
        {"\xef\xbb\xbftok", "begins with a byte order mark"},
        {"\xff\xfet", "is UTF-16"},
        {"\xfe\xfft", "is UTF-16"},
        {"Bearer tok", "only the token itself"},
        {"bEARER\ttok", "only the token itself"},
        {"Bearer", "only the token itself"},
        {"Snowflake Token=\"tok\"", "only the token itself"},
        {"Basic dTpw", "only the token itself"},
        {"Token=\"tok\"", "only the token itself"},
        {"authorization:tok", "only the token itself"},
        {"Authorization: Bearer tok", "only the token itself"},
        {"TUNNEL_TOKEN=tok", "only the token itself"},
        {"\"tok\"", "is in quotes"},
        {"'tok'", "is in quotes"},
        {"`tok`", "is in quotes"},
        {"-----BEGIN CERTIFICATE-----\nMIIB\n", "did you swap two files?"},
        {"{\"access_token\":\"tok\"}", "JSON or HTML"},
        {"<html>", "JSON or HTML"},
        {"please log in", "contains a space"},
        {"a\tb", "contains a space"},
        {"a\nb", "contains a line break"},
        {"a\rX-Injected:b", "contains a line break"},
        {"a\x1b[1m", "control character"},
        {"a\x7f", "control character"},
        {"p\xc3\xa4ss", "non-ASCII"},
        {"\xe2\x80\x9ctok\xe2\x80\x9d", "non-ASCII"},
        {"a\xc2\xa0", "non-ASCII"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *why = secret_check_token(cases[i].token, strlen(cases[i].token));

        if (!why || !strstr(why, cases[i].words))
            fail_msg("%s: %s, not %s", cases[i].token, why ? why : "good", cases[i].words);
    }
    assert_non_null(strstr(secret_check_token("t\0o\0k\0", 6), "contains NUL bytes"));
}

static void tokens_from_files(void **state)
{
    (void)state;
    const char *path = path_of("token");
    char error[SECRET_ERROR_MAX];
    char *token;

    write_text(path, " \r\ntok-1\r\n\n", 11);
    token = secret_read_token(path, error);
    assert_string_equal(token, "tok-1");
    secret_free(token);
    write_text(path, "\xef\xbb\xbftok-1\n", 9);
    assert_null(secret_read_token(path, error));
    assert_memory_equal(error, path, strlen(path));
    assert_non_null(strstr(error, "byte order mark"));
    assert_null(secret_read_file(path, error));
    assert_non_null(strstr(error, "byte order mark"));
    write_text(path, "Bearer tok-1\n", 13);
    assert_null(secret_read_token(path, error));
    assert_null(strstr(error, "tok-1"));
    /* No token, but a secret of another kind may well be this. */
    token = secret_read_file(path, error);
    assert_string_equal(token, "Bearer tok-1");
    secret_free(token);
    write_text(path, "-----BEGIN CERTIFICATE-----\n", 28);
    assert_null(secret_read_file(path, error));
    assert_non_null(strstr(error, "did you swap two files?"));
    unlink(path);
}

/* ---- stamps */

static void set_times(const char *path, time_t seconds)
{
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* The clock of ctime stands still for some milliseconds. */
static void let_time_pass(void)
{
    const struct timespec some = {.tv_nsec = 20 * 1000 * 1000};

    nanosleep(&some, NULL);
}

static void expect_change(const char *path, struct file_stamp *before, bool changed)
{
    struct file_stamp now;

    file_stamp_take(path, &now);
    assert_int_equal(file_stamp_equal(before, &now), !changed);
    *before = now;
}

static void stamps_tell_of_every_change(void **state)
{
    (void)state;
    const char *path = path_of("file");
    const char *other = path_of("other");
    struct file_stamp stamp;

    write_text(path, "aaaa", 4);
    set_times(path, 1000000000);
    file_stamp_take(path, &stamp);
    expect_change(path, &stamp, false);

    let_time_pass();
    write_text(path, "bbbb", 4);
    set_times(path, 1000000000);
    expect_change(path, &stamp, true); /* in place: the same inode, size and mtime */

    write_text(other, "cccc", 4);
    set_times(other, 1000000000);
    assert_int_equal(rename(other, path), 0);
    expect_change(path, &stamp, true); /* replaced by one of the same size and mtime */

    let_time_pass();
    chmod(path, 0400);
    expect_change(path, &stamp, true); /* who may read it is part of it */
    unlink(path);
    expect_change(path, &stamp, true);
    expect_change(path, &stamp, false); /* still not there */
    write_text(path, "dddd", 4);
    expect_change(path, &stamp, true);
    unlink(path);
}

/* As Kubernetes does: FILE -> ..data/FILE, ..data -> a directory, which is exchanged. */
static void stamps_follow_symbolic_links(void **state)
{
    (void)state;
    struct file_stamp stamp;
    char inner[160];

    for (int i = 1; i <= 2; i++) {
        const char *made = path_of(i == 1 ? "v1" : "v2");

        assert_int_equal(mkdir(made, 0700), 0);
        snprintf(inner, sizeof inner, "%s/token", made);
        write_text(inner, i == 1 ? "one" : "two", 3);
        set_times(inner, 1000000000);
    }
    assert_int_equal(symlink("v1", path_of("..data")), 0);
    assert_int_equal(symlink("..data/token", path_of("linked")), 0);
    file_stamp_take(path_of("linked"), &stamp);
    assert_int_equal(symlink("v2", path_of("..new")), 0);
    expect_change(path_of("linked"), &stamp, false);
    const char *new = path_of("..new");
    assert_int_equal(rename(new, path_of("..data")), 0);
    expect_change(path_of("linked"), &stamp, true);
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    unlink(path_of("linked"));
    unlink(path_of("..data"));
    unlink(path_of("v1/token"));
    unlink(path_of("v2/token"));
    rmdir(path_of("v1"));
    rmdir(path_of("v2"));
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blanks_around_do_not_matter),
        cmocka_unit_test(tokens_that_can_be),
        cmocka_unit_test(tokens_that_cannot_be),
        cmocka_unit_test(tokens_from_files),
        cmocka_unit_test(stamps_tell_of_every_change),
        cmocka_unit_test(stamps_follow_symbolic_links),
    };

    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}

/* Which service is asked for hosts first. */
#include "../lib/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "../../tunnel-client/run/name_service.h"

/* expected NULL: it may stay as it is. */
static void expect(const char *text, const char *expected)
{
    size_t size = strlen(text);
    char *exact = calloc(1, size + 1); /* the sanitizer sees what is read beyond it */
    size_t copy_size = 0;

    memcpy(exact, text, size);
    char *copy = name_service_files_first(exact, size, &copy_size);
    if (!expected) {
        assert_null(copy);
    } else {
        assert_non_null(copy);
        assert_string_equal(copy, expected);
        assert_int_equal(copy_size, strlen(expected));
    }
    free(copy);
    free(exact);
}

static void files_come_first(void **state)
{
    (void)state;
    expect(
        "passwd: files\nhosts: mymachines resolve [!UNAVAIL=return] files dns\nnetworks: files\n",
        "passwd: files\nhosts: files  mymachines resolve [!UNAVAIL=return] files dns\nnetworks: "
        "files\n");
    expect("hosts:dns", "hosts: files dns");
}

static void they_do_already(void **state)
{
    (void)state;
    expect("hosts: files dns\n", NULL);
    expect("  hosts:\tfiles", NULL);
    expect("hosts:files[NOTFOUND=return] dns", NULL);
}

static void nothing_is_said(void **state)
{
    (void)state;
    expect("", NULL);
    expect("# hosts: dns\npasswd: files", NULL);
    expect("hosts", NULL);
}

static void only_that_word_counts(void **state)
{
    (void)state;
    expect("hosts: files2 dns\n", "hosts: files  files2 dns\n");
    expect("hosts:\n", "hosts: files \n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_come_first),
        cmocka_unit_test(they_do_already),
        cmocka_unit_test(nothing_is_said),
        cmocka_unit_test(only_that_word_counts),
    };
    return cmocka_run_group_tests_name("name_service", tests, NULL, NULL);
}

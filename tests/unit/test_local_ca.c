/* The local CA's files: whose they must be, what is in their place, and two programs at once. */
#include "../lib/cmocka.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../tunnel-client/listeners/local_ca.h"

enum { NOW = 1800000000, STRANGER = 12345, ERROR_MAX = 1000 };

static char directory[PATH_MAX];
static struct local_ca *other; /* of a program that makes one while another is about to */

static bool open_ca(struct local_ca *ca, char error[ERROR_MAX])
{
    const struct tls_authority_names none = {NULL, 0};

    error[0] = '\0';
    return local_ca_open(ca, directory, &none, NOW, error, ERROR_MAX);
}

/* In place of the system's: it is asked when a program has seen that there is no CA yet. */
int gethostname(char *name, size_t size)
{
    struct local_ca *ca = other;
    char error[ERROR_MAX];

    other = NULL;
    if (ca && !open_ca(ca, error))
        fail_msg("%s", error);
    snprintf(name, size, "test");
    return 0;
}

static void path_of(const char *file, char path[PATH_MAX])
{
    assert_true(snprintf(path, PATH_MAX, "%s/%s", directory, file) < PATH_MAX);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/kafka-tunnel-test-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

/* All entries but . and .. */
static unsigned count_files(bool removes)
{
    DIR *listed = opendir(directory);
    unsigned count = 0;

    assert_non_null(listed);
    for (const struct dirent *entry; (entry = readdir(listed));) {
        char path[PATH_MAX];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        count++;
        path_of(entry->d_name, path);
        if (removes && remove(path) != 0)
            fail();
    }
    closedir(listed);
    return count;
}

static int tear_down(void **state)
{
    (void)state;
    other = NULL;
    count_files(true);
    return rmdir(directory);
}

static void expect_refusal(const char *words)
{
    struct local_ca ca;
    char error[ERROR_MAX];

    assert_false(open_ca(&ca, error));
    if (!strstr(error, words))
        fail_msg("no \"%s\" in: %s", words, error);
}

static void expect_opened(bool made)
{
    struct local_ca ca;
    char error[ERROR_MAX];

    if (!open_ca(&ca, error))
        fail_msg("%s", error);
    assert_int_equal(ca.made, made);
    tls_authority_clear(&ca.authority);
}

static void one_is_made_once(void **state)
{
    (void)state;
    expect_opened(true);
    expect_opened(false);
    assert_int_equal(count_files(false), 2);
}

static void of_two_at_once_one_has_made_it(void **state)
{
    (void)state;
    struct local_ca first, second;
    char error[ERROR_MAX];

    other = &second;
    if (!open_ca(&first, error))
        fail_msg("%s", error);
    assert_true(second.made);
    assert_false(first.made);
    assert_int_equal(X509_cmp(first.authority.certificate, second.authority.certificate), 0);
    assert_int_equal(count_files(false), 2);
    tls_authority_clear(&first.authority);
    tls_authority_clear(&second.authority);
}

/* Nobody ever writes to it. */
static void a_pipe_in_place_of_the_copy_is_replaced(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct stat found;

    expect_opened(true);
    path_of("listener-ca.pem", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(20);
    expect_opened(false);
    alarm(0);
    assert_int_equal(lstat(path, &found), 0);
    assert_true(S_ISREG(found.st_mode));
}

static void a_link_in_place_of_the_copy_is_replaced(void **state)
{
    (void)state;
    char path[PATH_MAX], elsewhere[PATH_MAX];
    struct stat found;

    expect_opened(true);
    path_of("listener-ca.pem", path);
    path_of("elsewhere", elsewhere);
    assert_int_equal(rename(path, elsewhere), 0);
    assert_int_equal(symlink(elsewhere, path), 0);
    expect_opened(false);
    assert_int_equal(lstat(path, &found), 0);
    assert_true(S_ISREG(found.st_mode));
}

static void nothing_is_left_of_a_copy_that_has_no_place(void **state)
{
    (void)state;
    char path[PATH_MAX];

    expect_opened(true);
    path_of("listener-ca.pem", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    expect_refusal("listener-ca.pem");
    assert_int_equal(count_files(false), 2);
}

static void a_copy_that_others_may_change_is_replaced(void **state)
{
    (void)state;
    char path[PATH_MAX];
    struct stat found;

    expect_opened(true);
    path_of("listener-ca.pem", path);
    assert_int_equal(chmod(path, 0666), 0);
    expect_opened(false);
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0644);
    if (geteuid() != 0)
        return;
    assert_int_equal(chown(path, STRANGER, STRANGER), 0);
    expect_opened(false);
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_uid, 0);
}

static void a_directory_that_others_may_write_to_is_refused(void **state)
{
    (void)state;
    assert_int_equal(chmod(directory, 0777), 0);
    expect_refusal("every user may replace the files in it");
    assert_int_equal(count_files(false), 0);
    /* There, everybody's files are their own. */
    assert_int_equal(chmod(directory, 01777), 0);
    expect_opened(true);
}

static void another_users_directory_is_refused(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(directory, STRANGER, STRANGER), 0);
    expect_refusal("belongs to another user (uid 12345)");
    assert_int_equal(chown(directory, 0, 0), 0);
    expect_opened(true);
    assert_int_equal(chown(directory, STRANGER, STRANGER), 0);
    expect_refusal("belongs to another user (uid 12345)");
    assert_int_equal(chown(directory, 0, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_is_made_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_two_at_once_one_has_made_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pipe_in_place_of_the_copy_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_link_in_place_of_the_copy_is_replaced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_left_of_a_copy_that_has_no_place, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_copy_that_others_may_change_is_replaced, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_directory_that_others_may_write_to_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_users_directory_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("local_ca", tests, NULL, NULL);
}

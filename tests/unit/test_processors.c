#include "../lib/cmocka.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/processors.h"

static char directory[] = "/tmp/test_processors.XXXXXX";

/* With the directories that it is in. */
static void put(const char *name, const char *content)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    for (char *slash = path + strlen(directory) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(content, file);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[256];

    (void)state;
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command); /* NOLINT(cert-env33-c): the name is ours */
}

static void groups_and_those_above(void **state)
{
    (void)state;
    put("cpu.max", "max 100000\n");
    put("a/cpu.max", "400000 100000\n");
    put("a/b/cpu.max", "250000 100000\n");
    put("a/b/c/cpu.max", "800000 100000\n");
    put("half/cpu.max", "50000 100000\n");
    put("exact/cpu.max", "200000 100000\n");
    put("odd/cpu.max", "nonsense\n");
    put("none/other", "1");
    assert_int_equal(processors_limit(directory, "0::/\n"), 0);
    assert_int_equal(processors_limit(directory, "0::/a\n"), 4);
    assert_int_equal(processors_limit(directory, "0::/a/b\n"), 3);
    assert_int_equal(processors_limit(directory, "0::/a/b/c\n"), 3);
    assert_int_equal(processors_limit(directory, "0::/a/not/here\n"), 4);
    assert_int_equal(processors_limit(directory, "0::/half"), 1);
    assert_int_equal(processors_limit(directory, "0::/exact"), 2);
    assert_int_equal(processors_limit(directory, "0::/odd"), 0);
    assert_int_equal(processors_limit(directory, "0::/none"), 0);
    /* A container's own group is what is mounted, whatever its name is outside. */
    put("cpu.max", "150000 100000\n");
    assert_int_equal(processors_limit(directory, "0::/\n"), 2);
    assert_int_equal(processors_limit(directory, "0::/docker/0123\n"), 2);
}

static void groups_of_version_1(void **state)
{
    (void)state;
    put("cpu/cpu.cfs_quota_us", "-1\n");
    put("cpu/cpu.cfs_period_us", "100000\n");
    put("cpu/a/cpu.cfs_quota_us", "300000\n");
    put("cpu/a/cpu.cfs_period_us", "100000\n");
    assert_int_equal(processors_limit(directory, "5:cpuset:/a\n4:cpu,cpuacct:/\n"), 0);
    assert_int_equal(processors_limit(directory, "5:cpuset:/a\n4:cpuacct,cpu:/a\n"), 3);
    assert_int_equal(processors_limit(directory, "5:cpuset:/a\n4:cpuacct:/a\n"), 0);
}

static void texts_that_are_no_membership(void **state)
{
    (void)state;
    char many[10000];

    assert_int_equal(processors_limit(directory, ""), 0);
    assert_int_equal(processors_limit(directory, "\n\n:\n"), 0);
    assert_int_equal(processors_limit(directory, "no colon"), 0);
    memset(many, '/', sizeof many);
    memcpy(many, "0::", 3);
    many[sizeof many - 1] = '\0';
    assert_int_equal(processors_limit(directory, many), 0);
    many[3000] = '\0';
    processors_limit(directory, many);
}

static void there_is_one(void **state)
{
    (void)state;
    size_t count = processors_for_us();

    assert_in_range(count, 1, sysconf(_SC_NPROCESSORS_CONF));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_and_those_above),
        cmocka_unit_test(groups_of_version_1),
        cmocka_unit_test(texts_that_are_no_membership),
        cmocka_unit_test(there_is_one),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* What a process that has given up something cannot do any more, and still can. */
#include "../lib/cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#include <unistd.h>

#include "program/confine.h"

static char inside[] = "/tmp/test_confine.in.XXXXXX";
static char outside[] = "/tmp/test_confine.out.XXXXXX";

/* Whether a file of that name can be made, and then written again. */
static bool may_write(const char *directory, const char *name)
{
    char path[100];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    for (int i = 0; i < 2; i++) {
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0)
            return false;
        bool written = write(fd, "x", 1) == 1;
        close(fd);
        if (!written)
            return false;
    }
    return true;
}

/* In a child: what is given up is given up for good. Returns what it exits with. */
static int run_confined(int (*look)(void))
{
    int status;
    pid_t child = fork();

    if (child == 0)
        _exit(look());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

enum {
    ALL_IS_WELL,
    NOT_THERE,
    WRITES_OUTSIDE,
    SHORTENS_OUTSIDE,
    CANNOT_WRITE,
    CANNOT_READ,
    MAKES_DIRECTORY,
    EXECUTES
};

/* A kernel of Linux 6.2 or later: the third version of Landlock's interface. */
static bool knows_shortening(void)
{
#if defined __linux__ && defined SYS_landlock_create_ruleset
    return syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, 1U) >= 3;
#else
    return false;
#endif
}

static int look_at_files(void)
{
    const char *const writable[] = {NULL, inside, "/nonexistent/directory"};
    char path[100];

    if (!confine_privileges() || !confine_files(writable, 3))
        return NOT_THERE;
    if (!may_write(inside, "new") || !may_write(inside, "old"))
        return CANNOT_WRITE;
    if (may_write(outside, "new") || may_write(outside, "old"))
        return WRITES_OUTSIDE;
    snprintf(path, sizeof path, "%s/old", outside);
    if (knows_shortening() && (truncate(path, 0) == 0 || open(path, O_RDONLY | O_TRUNC) >= 0))
        return SHORTENS_OUTSIDE;
    snprintf(path, sizeof path, "%s/directory", inside);
    if (mkdir(path, 0700) == 0)
        return MAKES_DIRECTORY;
    snprintf(path, sizeof path, "%s/old", outside);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return CANNOT_READ;
    close(fd);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
    execl("/bin/true", "true", (char *)NULL);
    if (errno != EACCES)
        return EXECUTES;
#endif
    return ALL_IS_WELL;
}

static void files(void **state)
{
    (void)state;
    assert_true(may_write(outside, "old"));
    assert_true(may_write(inside, "old"));
    int result = run_confined(look_at_files);
    if (result == NOT_THERE)
        skip();
    assert_int_equal(result, ALL_IS_WELL);
    assert_true(may_write(outside, "new")); /* this process has given up nothing */
}

static void directories(void **state)
{
    static const char *const cases[][2] = {
        {"audit.log", "."}, {"/audit.log", "/"}, {"/var/log/audit.log", "/var/log"}, {"a/b", "a"}};
    char directory[PATH_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(confine_directory(cases[i][0], directory), cases[i][1]);
}

static void remove_all(const char *directory)
{
    static const char *const names[] = {"new", "old"};
    char path[100];

    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        unlink(path);
    }
    rmdir(directory);
}

static int make_directories(void **state)
{
    (void)state;
    return mkdtemp(inside) && mkdtemp(outside) ? 0 : -1;
}

static int remove_directories(void **state)
{
    (void)state;
    remove_all(inside);
    remove_all(outside);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(directories),
    };

    return cmocka_run_group_tests(tests, make_directories, remove_directories);
}

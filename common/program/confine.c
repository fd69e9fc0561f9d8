#include "program/confine.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program/call_filter.h"
#include "program/call_refusals.h"
#include "program/sanitized.h"

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#if defined(__has_include)
#if __has_include(<linux/landlock.h>) && defined(SYS_landlock_create_ruleset)
#include <linux/landlock.h>
#define HAS_LANDLOCK
#endif
#endif
#endif

const char *confine_directory(const char *path, char directory[PATH_MAX])
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        snprintf(directory, PATH_MAX, ".");
    else
        snprintf(directory, PATH_MAX, "%.*s", slash > path ? (int)(slash - path) : 1, path);
    return directory;
}

bool confine_privileges(void)
{
#ifdef __linux__
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
#else
    return false;
#endif
}

#ifdef HAS_LANDLOCK

#define FORBIDDEN_EXECUTION (PROGRAM_SANITIZED ? 0 : LANDLOCK_ACCESS_FS_EXECUTE)

/* Since the third version of Landlock's interface (Linux 6.2); not in older headers. */
#define FORBIDDEN_SHORTENING (UINT64_C(1) << 14)

/* What every kernel with Landlock knows; reading stays as it is. */
#define FORBIDDEN                                                                                  \
    (FORBIDDEN_EXECUTION | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |         \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |   \
     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)

/* What is not there is not allowed either. */
static void allow_writing(int ruleset, const char *path)
{
    struct landlock_path_beneath_attr rule = {
        .allowed_access = LANDLOCK_ACCESS_FS_WRITE_FILE,
        .parent_fd = open(path, O_PATH | O_CLOEXEC),
    };
    struct stat status;

    if (rule.parent_fd < 0)
        return;
    if (fstat(rule.parent_fd, &status) == 0 && S_ISDIR(status.st_mode))
        rule.allowed_access |= LANDLOCK_ACCESS_FS_MAKE_REG;
    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
}

bool confine_files(const char *const *writable, size_t count)
{
    long version =
        syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);
    const struct landlock_ruleset_attr attributes = {
        .handled_access_fs = FORBIDDEN | (version >= 3 ? FORBIDDEN_SHORTENING : 0)};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof(uint64_t), 0);

    if (ruleset < 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (writable[i])
            allow_writing(ruleset, writable[i]);
    bool done = syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    close(ruleset);
    return done;
}

#else

bool confine_files(const char *const *writable, size_t count)
{
    (void)writable;
    (void)count;
    return false;
}

#endif

/* ---- all of it */

static bool confine_system_calls(struct worker *worker, bool commands)
{
    if (commands)
        return call_filter_install(CALL_FILTER_WITH_COMMANDS);
    return call_refusals_watch(worker) && call_filter_install(CALL_FILTER_ALONE);
}

struct confined confine(struct worker *worker, const struct confine_needs *needs)
{
    struct confined confined = {.privileges = !needs->everything && confine_privileges()};

    if (confined.privileges) {
        confined.files = !needs->all_files && !needs->commands &&
                         confine_files(needs->writable, needs->writable_count);
        /* The filter comes last: it has no call for the others. */
        confined.system_calls = confine_system_calls(worker, needs->commands);
    }
    log_debug(worker->log, "confined", "What the program does not need it cannot do",
              log_bool("no_new_privileges", confined.privileges), log_bool("files", confined.files),
              log_bool("system_calls", confined.system_calls));
    return confined;
}

void confine_write(const struct confined *confined, struct json_writer *json)
{
    json_put_object(json, "confined");
    json_put_bool(json, "no_new_privileges", confined->privileges);
    json_put_bool(json, "files", confined->files);
    json_put_bool(json, "system_calls", confined->system_calls);
    json_put_end(json);
}

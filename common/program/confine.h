/*
 * What a process gives up for good once it has started, so that whoever takes it over has less: new
 * privileges by what it executes (set-user-ID programs, file capabilities); executing programs and
 * changing files, where the kernel has Landlock; and system calls that it does not need, where the
 * kernel has seccomp (call_rules.h). All of that is Linux's; elsewhere nothing is given up, and the
 * program works as well.
 *
 * Processes and threads that are started later inherit it. Of threads that run already, only
 * privileges and system calls are taken.
 */
#pragma once

#include <limits.h>

#include "base/json.h"
#include "io/worker.h"

/* What it still needs. */
struct confine_needs {
    const char *const *writable; /* files and directories, NULLs are left out: confine_files() */
    size_t writable_count;
    bool everything; /* nothing is given up */
    bool all_files;  /* it may execute programs and change files as before */
    bool commands;   /* it starts commands of the user's */
};

/* What it has given up. */
struct confined {
    bool privileges;
    bool files;
    bool system_calls;
};

/* The log says what it is (confined), and later which call was refused (system_call_refused). With
 * commands, they get no new privileges, and no call that call_rules.h forbids; files stay. */
struct confined confine(struct worker *worker, const struct confine_needs *needs);
/* For a status page: as the member confined of an object. */
void confine_write(const struct confined *confined, struct json_writer *json);

/* The directory that the file of this path is in, for confine_needs.writable; returns directory. */
const char *confine_directory(const char *path, char directory[PATH_MAX]);

/* Whether it is so now. */
bool confine_privileges(void);
/* These files, and those in these directories, which may also be made there, may still be written,
 * and no others; NULLs are left out. Symbolic links count as what they lead to now. Needs
 * confine_privileges() before. Whether it is so now. */
bool confine_files(const char *const *writable, size_t count);

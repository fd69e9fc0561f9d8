/*
 * What a process gives up for good once it has started, so that whoever takes it over has less:
 * new privileges by what it executes (set-user-ID programs, file capabilities), and, where the
 * kernel has Landlock, executing anything and changing files. Both are Linux's; elsewhere nothing
 * is given up, and the program works as well.
 *
 * To be called before threads are started: they inherit it, those that run already do not.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whether it is so now. */
bool confine_privileges(void);
/* These files, and those in these directories, which may also be made there, may still be written,
 * and no others; NULLs are left out. Symbolic links count as what they lead to now. Needs
 * confine_privileges() before. Whether it is so now. */
bool confine_files(const char *const *writable, size_t count);

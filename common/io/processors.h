/* How many processors there are for this process. */
#pragma once

#include <stddef.h>

/*
 * Those that its threads may run on, and no more than its container may use of them: on Linux the
 * limits of its control groups (cpu.max; with version 1 cpu.cfs_quota_us), where half a processor
 * counts as one. At least 1. Reads files of the system, which takes some microseconds.
 */
size_t processors_for_us(void);

/*
 * The limit of control groups alone; 0: there is none. membership is the text of /proc/self/cgroup,
 * directory where they are mounted. A group's limit and those of the groups that it is in count;
 * what is not there is no limit: inside a container the names that the text has may not be.
 */
size_t processors_limit(const char *directory, const char *membership);

#include "io/processors.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __linux__
#include <sched.h>
#endif

enum { GROUP_PATH_MAX = 4096, MEMBERSHIP_MAX = 16384 };

/* text: with its end. false: it is not there, or holds nothing. */
static bool read_small_file(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");

    if (!file)
        return false;
    size_t got = fread(text, 1, size - 1, file);
    fclose(file);
    text[got] = '\0';
    return got > 0;
}

static size_t smaller_limit(size_t a, size_t b)
{
    if (a == 0 || b == 0)
        return a + b;
    return a < b ? a : b;
}

/* Microseconds of processors in each period; 0: no limit. */
static size_t limit_of_quota(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    return (size_t)((quota - 1) / period + 1);
}

/* "max 100000" or "150000 100000" */
static size_t limit_of_group(const char *directory, const char *group)
{
    char path[GROUP_PATH_MAX];
    char text[64];
    long long quota;
    long long period;

    if (snprintf(path, sizeof path, "%s%s/cpu.max", directory, group) >= (int)sizeof path ||
        !read_small_file(path, text, sizeof text) ||
        sscanf(text, "%lld %lld", &quota, &period) != 2)
        return 0;
    return limit_of_quota(quota, period);
}

static bool read_group_number(const char *directory, const char *group, const char *name,
                              long long *number)
{
    char path[GROUP_PATH_MAX];
    char text[32];

    return snprintf(path, sizeof path, "%s/cpu%s/%s", directory, group, name) < (int)sizeof path &&
           read_small_file(path, text, sizeof text) && sscanf(text, "%lld", number) == 1;
}

static size_t limit_of_old_group(const char *directory, const char *group)
{
    long long quota;
    long long period;

    if (!read_group_number(directory, group, "cpu.cfs_quota_us", &quota) ||
        !read_group_number(directory, group, "cpu.cfs_period_us", &period))
        return 0;
    return limit_of_quota(quota, period);
}

/* Also of all groups above it, to the one that is mounted. */
static size_t limit_of_path(const char *directory, char *group,
                            size_t (*limit_of)(const char *, const char *))
{
    size_t limit = 0;

    for (;;) {
        size_t size = strlen(group);
        if (size > 0 && group[size - 1] == '/')
            group[size - 1] = '\0';
        limit = smaller_limit(limit, limit_of(directory, group));
        char *slash = strrchr(group, '/');
        if (!slash)
            return limit;
        *slash = '\0';
    }
}

/* Whether a list at commas has "cpu". */
static bool has_processors(const char *controllers, size_t size)
{
    while (size > 0) {
        const char *comma = memchr(controllers, ',', size);
        size_t one = comma ? (size_t)(comma - controllers) : size;
        if (one == 3 && memcmp(controllers, "cpu", 3) == 0)
            return true;
        size -= comma ? one + 1 : one;
        controllers += comma ? one + 1 : one;
    }
    return false;
}

size_t processors_limit(const char *directory, const char *membership)
{
    char group[GROUP_PATH_MAX];
    size_t limit = 0;

    /* "0::/system.slice/us" or, of version 1, "4:cpu,cpuacct:/us" */
    for (const char *line = membership; *line;) {
        size_t size = strcspn(line, "\n");
        const char *controllers = memchr(line, ':', size);
        const char *path =
            controllers ? memchr(controllers + 1, ':', size - (size_t)(controllers + 1 - line))
                        : NULL;
        if (path) {
            controllers++;
            size_t listed = (size_t)(path - controllers);
            size_t length = size - (size_t)(path + 1 - line);
            if (length < sizeof group) {
                memcpy(group, path + 1, length);
                group[length] = '\0';
                if (listed == 0)
                    limit = smaller_limit(limit, limit_of_path(directory, group, limit_of_group));
                else if (has_processors(controllers, listed))
                    limit =
                        smaller_limit(limit, limit_of_path(directory, group, limit_of_old_group));
            }
        }
        line += size + (line[size] == '\n');
    }
    return limit;
}

static size_t processors_we_may_run_on(void)
{
#ifdef __linux__
    cpu_set_t set;

    /* Fails on machines with more processors than the set has room for. */
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (size_t)CPU_COUNT(&set);
#endif
    long count = sysconf(_SC_NPROCESSORS_ONLN);

    return count > 0 ? (size_t)count : 1;
}

size_t processors_for_us(void)
{
    char membership[MEMBERSHIP_MAX];
    size_t limit = 0;

    if (read_small_file("/proc/self/cgroup", membership, sizeof membership))
        limit = processors_limit("/sys/fs/cgroup", membership);
    return smaller_limit(processors_we_may_run_on(), limit);
}

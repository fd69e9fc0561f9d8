#include "program/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

/* Each connection takes a descriptor at both ends; the soft limit is often far below the hard one.
 */
static void raise_descriptor_limit(struct rlimit limit)
{
    limit.rlim_cur = limit.rlim_max;
#ifdef __APPLE__
    if (limit.rlim_cur > OPEN_MAX)
        limit.rlim_cur = OPEN_MAX;
#endif
    setrlimit(RLIMIT_NOFILE, &limit);
}

void inherited_change(struct inherited *inherited)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    sigemptyset(&ignore.sa_mask);
    sigaction(SIGPIPE, &ignore, &inherited->broken_pipe);
    inherited->limited = getrlimit(RLIMIT_NOFILE, &inherited->descriptors) == 0;
    if (inherited->limited)
        raise_descriptor_limit(inherited->descriptors);
}

void inherited_forbid_core(struct inherited *inherited)
{
    struct rlimit none;

    inherited->core_limited = getrlimit(RLIMIT_CORE, &inherited->core) == 0;
    if (!inherited->core_limited)
        return;
    /* The hard limit stays, for commands. */
    none = inherited->core;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_CORE, &none);
#ifdef __linux__
    /* A limit of 0 does not keep a core from a program that the system hands it to. */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

size_t inherited_descriptors_left(size_t enough)
{
    struct rlimit limit;
    size_t left = 0;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return enough;
    for (int fd = 0; (rlim_t)fd < limit.rlim_cur && left < enough; fd++)
        left += fcntl(fd, F_GETFD) == -1 && errno == EBADF;
    return left;
}

void inherited_restore(const struct inherited *inherited)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    struct sigaction present;

    sigemptyset(&standard.sa_mask);
    for (int number = 1; number < NSIG; number++) {
        if (sigaction(number, NULL, &present) != 0)
            continue;
        if ((present.sa_flags & SA_SIGINFO) ||
            (present.sa_handler != SIG_IGN && present.sa_handler != SIG_DFL))
            sigaction(number, &standard, NULL);
    }
    sigaction(SIGPIPE, &inherited->broken_pipe, NULL);
    if (inherited->limited)
        setrlimit(RLIMIT_NOFILE, &inherited->descriptors);
    if (inherited->core_limited)
        setrlimit(RLIMIT_CORE, &inherited->core);
}

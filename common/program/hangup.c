#include "program/hangup.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static bool has_terminal(void)
{
    /* Leads to the session's terminal, as long as that has one. */
    int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

void hangup_init(struct hangup *hangup)
{
    struct sigaction before;

    *hangup = (struct hangup){
        .outlives = sigaction(SIGHUP, NULL, &before) == 0 && !(before.sa_flags & SA_SIGINFO) &&
                    before.sa_handler == SIG_IGN,
        .terminal = has_terminal(),
    };
}

bool hangup_is_possible(const struct hangup *hangup)
{
    return hangup->terminal && !hangup->outlives;
}

bool hangup_is_over(const struct hangup *hangup)
{
    return hangup_is_possible(hangup) && !has_terminal();
}

bool hangup_is_meant(const struct hangup *hangup, bool from_kernel)
{
    return (from_kernel && !hangup->outlives) || hangup_is_over(hangup);
}

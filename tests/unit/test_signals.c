/* Who may have sent a signal, where the system does not say: a terminal, to those in its
 * foreground. */
#include "../lib/cmocka.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program/signals.h"

enum { SENT_INTERRUPT = 1, SENT_QUIT = 2, SENT_OTHERS = 4, UNUSABLE = 64 };

static int ask(void)
{
    return (signals_terminal_may_have_sent(SIGINT) ? SENT_INTERRUPT : 0) |
           (signals_terminal_may_have_sent(SIGQUIT) ? SENT_QUIT : 0) |
           (signals_terminal_may_have_sent(SIGTERM) || signals_terminal_may_have_sent(SIGHUP)
                ? SENT_OTHERS
                : 0);
}

/* The exit code of a process in a session of its own; terminal: whether that is its terminal;
 * behind: it asks from a process group that is not in the foreground. */
static int ask_in_session(const char *terminal, bool behind)
{
    int status;
    pid_t leader = fork();

    assert_true(leader >= 0);
    if (leader == 0) {
        setsid();
        int fd = terminal ? open(terminal, O_RDWR) : -1;
        if (terminal && (fd < 0 || ioctl(fd, TIOCSCTTY, 0) != 0))
            _exit(UNUSABLE);
        pid_t child = behind ? fork() : 0;
        if (child == 0) {
            if (behind)
                setpgid(0, 0);
            _exit(ask());
        }
        waitpid(child, &status, 0);
        _exit(WEXITSTATUS(status));
    }
    waitpid(leader, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_terminal_asks_its_foreground(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY);

    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    assert_int_equal(ask_in_session(ptsname(master), false), SENT_INTERRUPT | SENT_QUIT);
    close(master);
}

static void nobody_behind_it(void **state)
{
    (void)state;
    int master = posix_openpt(O_RDWR | O_NOCTTY);

    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    assert_int_equal(ask_in_session(ptsname(master), true), 0);
    close(master);
}

static void nobody_without_a_terminal(void **state)
{
    (void)state;
    assert_int_equal(ask_in_session(NULL, false), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_terminal_asks_its_foreground),
        cmocka_unit_test(nobody_behind_it),
        cmocka_unit_test(nobody_without_a_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

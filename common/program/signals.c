#include "program/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/watch.h"

enum { SIGNALS_MAX = 8 };

struct signals {
    struct watch *readable;
    int ends[2]; /* of a pipe: the handler writes, the loop reads */
    signals_callback callback;
    void *context;
    size_t count;
    struct {
        int number;
        struct sigaction before;
    } caught[SIGNALS_MAX];
};

/* What the handler writes and the loop reads, in one piece. */
struct note {
    unsigned char number;
    unsigned char from_terminal;
};

/* A handler has no argument of its own. This and libevent's are the globals of this kind. */
static volatile sig_atomic_t handler_pipe = -1;

bool signals_terminal_may_have_sent(int number)
{
    if (number != SIGINT && number != SIGQUIT)
        return false;
    int terminal = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    bool foreground = terminal >= 0 && tcgetpgrp(terminal) == getpgrp();
    if (terminal >= 0)
        close(terminal);
    return foreground;
}

static bool is_from_terminal(int number, const siginfo_t *info)
{
#ifdef SI_KERNEL
    /* A sender's process number says nothing: it is 0 too when the sender is outside of a
     * container. */
    (void)number;
    return info->si_code == SI_KERNEL;
#else
    /* macOS names as the sender who wrote Ctrl-C into the terminal's other end: a process as any.
     */
    (void)info;
    return signals_terminal_may_have_sent(number);
#endif
}

static void handle_signal(int number, siginfo_t *info, void *context)
{
    const int kept = errno;
    const struct note note = {(unsigned char)number, is_from_terminal(number, info)};

    (void)context;
    /* When the pipe is full, more than enough signals are waiting in it. */
    if (write(handler_pipe, &note, sizeof note) < 0)
        errno = kept;
    errno = kept;
}

static void on_signals_readable(void *argument)
{
    struct signals *signals = argument;
    struct note note;

    if (read(signals->ends[0], &note, sizeof note) == sizeof note)
        signals->callback(signals->context, note.number, note.from_terminal);
}

static void catch_signal(struct signals *signals, int number, bool keep_ignored)
{
    struct sigaction catch = {.sa_sigaction = handle_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigaction before;

    if (sigaction(number, NULL, &before) != 0 || signals->count == SIGNALS_MAX)
        abort();
    if (keep_ignored && !(before.sa_flags & SA_SIGINFO) && before.sa_handler == SIG_IGN)
        return;
    signals->caught[signals->count].number = number;
    signals->caught[signals->count++].before = before;
    sigemptyset(&catch.sa_mask);
    sigaction(number, &catch, NULL);
}

struct signals *signals_new(struct worker *worker, const int *numbers, size_t count,
                            bool keep_ignored, signals_callback callback, void *context)
{
    struct signals *signals = memory_new(sizeof *signals);

    if (pipe(signals->ends) != 0) {
        free(signals);
        return NULL;
    }
    for (size_t i = 0; i < 2; i++) {
        fcntl(signals->ends[i], F_SETFL, O_NONBLOCK);
        fcntl(signals->ends[i], F_SETFD, FD_CLOEXEC);
    }
    signals->callback = callback;
    signals->context = context;
    signals->readable =
        watch_new(worker, signals->ends[0], WATCH_READ, on_signals_readable, signals);
    watch_want(signals->readable, true);
    handler_pipe = signals->ends[1];
    for (size_t i = 0; i < count; i++)
        catch_signal(signals, numbers[i], keep_ignored);
    return signals;
}

void signals_free(struct signals *signals)
{
    for (size_t i = 0; i < signals->count; i++)
        sigaction(signals->caught[i].number, &signals->caught[i].before, NULL);
    handler_pipe = -1;
    watch_free(signals->readable);
    close(signals->ends[0]);
    close(signals->ends[1]);
    free(signals);
}

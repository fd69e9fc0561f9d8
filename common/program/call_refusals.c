#include "program/call_refusals.h"

#include "program/call_filter.h"

#ifdef CALL_FILTER_IS_KNOWN

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/socket.h"
#include "io/watch.h"
#include "program/call_rules.h"

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1
#endif

struct call_refusals {
    struct worker_release kept;
    struct worker *worker;
    struct watch *readable;
    int ends[2]; /* of a pipe: the handler writes, the loop reads */
};

/* What the handler writes and the loop reads, in one piece. */
struct refused_call {
    int number;
    int error;
};

/* A handler has no argument of its own; any thread may run this one. */
static atomic_int refusals_pipe = -1;

static void set_call_result(ucontext_t *interrupted, long result)
{
#ifdef __x86_64__
    interrupted->uc_mcontext.gregs[REG_RAX] = result;
#else
    interrupted->uc_mcontext.regs[0] = (unsigned long)result;
#endif
}

static void handle_refused_call(int number, siginfo_t *info, void *interrupted)
{
    const int kept = errno;
    const struct refused_call call = {info->si_syscall, info->si_errno};

    (void)number;
    /* Somebody may send the signal without a call. */
    if (info->si_code != SYS_SECCOMP)
        return;
    /* When the pipe is full, more than enough wait in it. */
    if (write(atomic_load(&refusals_pipe), &call, sizeof call) < 0)
        errno = kept;
    errno = kept;
    set_call_result(interrupted, -(long)call.error);
}

static void log_refused_call(struct log *log, const struct refused_call *call)
{
    const char *name = call_rules_name((uint32_t)call->number);
    char text[40];

    snprintf(text, sizeof text, "number %d", call->number);
    log_warning(log, "system_call_refused",
                "The program has given up a system call that something in it wanted to use; if "
                "something does not work, --no-confine lets it",
                log_str("call", name ? name : text), log_str("error", strerror(call->error)));
}

/* false: there is none. */
static bool take_refused_call(struct call_refusals *refusals)
{
    struct refused_call call;

    if (read(refusals->ends[0], &call, sizeof call) != sizeof call)
        return false;
    log_refused_call(refusals->worker->log, &call);
    return true;
}

static void on_refusal_readable(void *argument)
{
    take_refused_call(argument);
}

static void destroy_call_refusals(struct worker_release *release)
{
    struct call_refusals *refusals = list_entry(release, struct call_refusals, kept);

    atomic_store(&refusals_pipe, -1);
    while (take_refused_call(refusals))
        ;
    watch_free(refusals->readable);
    close(refusals->ends[0]);
    close(refusals->ends[1]);
    free(refusals);
}

bool call_refusals_watch(struct worker *worker)
{
    struct sigaction refused = {.sa_sigaction = handle_refused_call,
                                .sa_flags = SA_SIGINFO | SA_RESTART};
    struct call_refusals *refusals = memory_new(sizeof *refusals);

    if (!socket_pipe(refusals->ends)) {
        free(refusals);
        return false;
    }
    for (size_t i = 0; i < 2; i++)
        fcntl(refusals->ends[i], F_SETFL, O_NONBLOCK);
    refusals->worker = worker;
    refusals->readable =
        watch_new(worker, refusals->ends[0], WATCH_READ, on_refusal_readable, refusals);
    watch_want(refusals->readable, true);
    atomic_store(&refusals_pipe, refusals->ends[1]);
    worker_keep(worker, &refusals->kept, destroy_call_refusals);
    sigemptyset(&refused.sa_mask);
    sigaction(SIGSYS, &refused, NULL);
    return true;
}

#else

bool call_refusals_watch(struct worker *worker)
{
    (void)worker;
    return false;
}

#endif

#include "run/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/children.h"
#include "io/socket.h"
#include "io/watch.h"

extern char **environ;

enum {
    EXEC_FAILED = 127,
    STATUS_FAILED = 1 << 8, /* of waitpid(): exit code 1 */
};

struct child {
    struct worker *worker;
    const struct child_owner *owner;
    void *context;
    pid_t pid;              /* 0: it has ended */
    int report;             /* a pipe: what has failed before exec(), or nothing */
    struct watch *reported; /* NULL: that is known */
    struct child_failure {
        enum own_hosts_step step;
        int error; /* 0: nothing has failed */
    } failure;
};

/* The child's part: async-signal-safe calls only, for other threads may hold locks. */
_Noreturn static void execute(const struct inherited *inherited, const sigset_t *mask,
                              const struct child_command *command, int report)
{
    struct child_failure failure = {OWN_HOSTS_DONE, 0};

    if (command->hosts)
        failure.step = own_hosts_enter(command->hosts);
    if (failure.step == OWN_HOSTS_DONE) {
        inherited_restore(inherited);
        sigprocmask(SIG_SETMASK, mask, NULL);
        environ = (char **)(uintptr_t)command->environment;
        execvp(command->arguments[0], command->arguments);
    }
    failure.error = errno;
    if (write(report, &failure, sizeof failure) < 0)
        _exit(EXEC_FAILED);
    _exit(EXEC_FAILED);
}

/* The command runs, or it never will. */
static void take_report(struct child *child)
{
    if (!child->reported)
        return;
    watch_free(child->reported);
    child->reported = NULL;
    if (read(child->report, &child->failure, sizeof child->failure) != sizeof child->failure)
        child->failure.error = 0;
    child->owner->started(child->context);
}

static void on_report(void *argument)
{
    take_report(argument);
}

static void on_ended(void *context, pid_t pid, int status)
{
    struct child *child = context;

    (void)pid;
    child->pid = 0;
    take_report(child);
    const struct child_end end = {.status = status == CHILDREN_UNKNOWN ? STATUS_FAILED : status,
                                  .failed_step = child->failure.step,
                                  .exec_error = child->failure.error};
    child->owner->ended(child->context, &end);
}

struct child *child_start(struct worker *worker, const struct inherited *inherited,
                          const struct child_command *command, const struct child_owner *owner,
                          void *context)
{
    struct child *child = memory_new(sizeof *child);
    sigset_t all, before;
    int ends[2];

    child->owner = owner;
    child->context = context;
    if (!socket_pipe(ends)) {
        free(child);
        return NULL;
    }
    child->report = ends[0];
    fcntl(child->report, F_SETFL, O_NONBLOCK);
    child->worker = worker;
    child->reported = watch_new(worker, child->report, WATCH_READ, on_report, child);
    watch_want(child->reported, true);
    children_begin(worker);
    /* Until the child has its own dispositions, a signal to it would run this program's handlers,
     * which would tell this program. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    child->pid = fork();
    if (child->pid == 0)
        execute(inherited, &before, command, ends[1]);
    const int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    if (child->pid > 0) {
        children_add(worker, child->pid, on_ended, child);
        return child;
    }
    child->pid = 0;
    child_free(child);
    errno = error;
    return NULL;
}

void child_signal(struct child *child, int number)
{
    if (child->pid > 0)
        kill(child->pid, number);
}

void child_free(struct child *child)
{
    if (!child)
        return;
    children_forget(child->worker, child);
    watch_free(child->reported);
    close(child->report);
    free(child);
}

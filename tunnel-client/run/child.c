#include "run/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/children.h"
#include "io/socket.h"

extern char **environ;

enum {
    EXEC_FAILED = 127,
    STATUS_FAILED = 1 << 8, /* of waitpid(): exit code 1 */
};

struct child {
    struct worker *worker;
    child_callback callback;
    void *context;
    pid_t pid;       /* 0: it has ended */
    int exec_failed; /* a pipe: the errno of exec(), or nothing */
};

/* The child's part: async-signal-safe calls only, for other threads may hold locks. */
_Noreturn static void execute(const struct inherited *inherited, const sigset_t *mask,
                              char *const *arguments, char *const *environment, int failed)
{
    inherited_restore(inherited);
    sigprocmask(SIG_SETMASK, mask, NULL);
    environ = (char **)(uintptr_t)environment;
    execvp(arguments[0], arguments);
    const int error = errno;
    if (write(failed, &error, sizeof error) < 0)
        _exit(EXEC_FAILED);
    _exit(EXEC_FAILED);
}

static void on_ended(void *context, pid_t pid, int status)
{
    struct child *child = context;
    struct child_end end = {.status = status == CHILDREN_UNKNOWN ? STATUS_FAILED : status};

    (void)pid;
    child->pid = 0;
    if (read(child->exec_failed, &end.exec_error, sizeof end.exec_error) != sizeof end.exec_error)
        end.exec_error = 0;
    child->callback(child->context, &end);
}

struct child *child_start(struct worker *worker, const struct inherited *inherited,
                          char *const *arguments, char *const *environment, child_callback callback,
                          void *context)
{
    struct child *child = memory_new(sizeof *child);
    sigset_t all, before;
    int ends[2];

    child->callback = callback;
    child->context = context;
    if (!socket_pipe(ends)) {
        free(child);
        return NULL;
    }
    child->exec_failed = ends[0];
    fcntl(child->exec_failed, F_SETFL, O_NONBLOCK);
    child->worker = worker;
    children_begin(worker);
    /* Until the child has its own dispositions, a signal to it would run this program's handlers,
     * which would tell this program. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    child->pid = fork();
    if (child->pid == 0)
        execute(inherited, &before, arguments, environment, ends[1]);
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
    close(child->exec_failed);
    free(child);
}

#include "io/children.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"

#ifdef __linux__
#include <sys/prctl.h>
#endif

/* Ends in one turn of the loop; the others are dealt with in the next. */
enum { BATCH = 256 };

struct children {
    struct worker_release kept;
    struct event *ended; /* SIGCHLD */
    struct list known;   /* struct known_child */
    bool adopts;         /* orphans come here too */
};

struct known_child {
    struct list node;
    pid_t pid;
    children_ended ended; /* NULL: nobody wants to know any more */
    void *context;
};

static struct known_child *find_child(struct children *children, pid_t pid)
{
    list_each(at, &children->known) {
        struct known_child *child = list_entry(at, struct known_child, node);
        if (child->pid == pid)
            return child;
    }
    return NULL;
}

/* The callback may add children and forget others. */
static void tell_child(struct known_child *child, int status)
{
    const struct known_child ended = *child;

    list_remove(&child->node);
    free(child);
    if (ended.ended)
        ended.ended(ended.context, ended.pid, status);
}

/* One that has ended and has been told of; false: there is no further. */
static bool reap_known(struct children *children)
{
    list_each(at, &children->known) {
        struct known_child *child = list_entry(at, struct known_child, node);
        int status = CHILDREN_UNKNOWN;
        pid_t pid = waitpid(child->pid, &status, WNOHANG);
        if (pid == child->pid || (pid < 0 && errno == ECHILD)) {
            tell_child(child, pid < 0 ? CHILDREN_UNKNOWN : status);
            return true;
        }
    }
    return false;
}

/* The same of all children that there are. */
static bool reap_any(struct children *children)
{
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);

    if (pid <= 0)
        return false;
    struct known_child *child = find_child(children, pid);
    if (child)
        tell_child(child, status);
    return true;
}

static void on_children_ended(evutil_socket_t number, short what, void *argument)
{
    struct children *children = argument;

    (void)number;
    (void)what;
    for (int i = 0; i < BATCH; i++)
        if (children->adopts ? !reap_any(children) : !reap_known(children))
            return;
    event_active(children->ended, EV_SIGNAL, 1);
}

static void destroy_children(struct worker_release *release)
{
    struct children *children = list_entry(release, struct children, kept);

    while (!list_empty(&children->known))
        free(list_entry(list_pop(&children->known), struct known_child, node));
    event_free(children->ended);
    free(children);
}

void children_begin(struct worker *worker)
{
    struct children *children;

    if (worker->children)
        return;
    children = memory_new(sizeof *children);
    list_init(&children->known);
    children->ended = evsignal_new(worker->base, SIGCHLD, on_children_ended, children);
    if (!children->ended || event_add(children->ended, NULL) != 0)
        abort();
    worker->children = children;
    worker_keep(worker, &children->kept, destroy_children);
}

static bool gets_orphans(void)
{
#ifdef __linux__
    int subreaper = 0;

    if (prctl(PR_GET_CHILD_SUBREAPER, (unsigned long)(uintptr_t)&subreaper, 0, 0, 0) == 0 &&
        subreaper)
        return true;
#endif
    return getpid() == 1;
}

void children_adopt(struct worker *worker)
{
    if (!gets_orphans())
        return;
    children_begin(worker);
    worker->children->adopts = true;
    /* Some may have ended before this program came. */
    event_active(worker->children->ended, EV_SIGNAL, 1);
}

void children_add(struct worker *worker, pid_t pid, children_ended ended, void *context)
{
    struct known_child *child = memory_new(sizeof *child);

    *child = (struct known_child){.pid = pid, .ended = ended, .context = context};
    list_append(&worker->children->known, &child->node);
}

void children_forget(struct worker *worker, const void *context)
{
    struct children *children = worker->children;

    list_each(at, &children->known) {
        struct known_child *child = list_entry(at, struct known_child, node);
        if (child->context == context)
            child->ended = NULL;
    }
}

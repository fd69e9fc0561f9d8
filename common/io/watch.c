#include "io/watch.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

#include "base/memory.h"
#include "io/worker.h"

struct watch {
    struct event event;
    void (*callback)(void *argument);
    void *argument;
    bool wanted;
    bool fired; /* by watch_fire(); the callback is to come */
};

/* The callback may free the watch. */
static void on_watch_event(evutil_socket_t fd, short what, void *argument)
{
    struct watch *watch = argument;

    (void)fd;
    (void)what;
    watch->fired = false;
    watch->callback(watch->argument);
}

struct watch *watch_new(const struct worker *worker, int fd, enum watch_direction direction,
                        void (*callback)(void *argument), void *argument)
{
    struct watch *watch = memory_new(sizeof *watch);
    short what = direction == WATCH_READ ? EV_READ : EV_WRITE;

    if (event_assign(&watch->event, worker->base, fd, (short)(what | EV_PERSIST), on_watch_event,
                     watch) != 0)
        abort();
    watch->callback = callback;
    watch->argument = argument;
    return watch;
}

void watch_free(struct watch *watch)
{
    if (!watch)
        return;
    event_del(&watch->event);
    free(watch);
}

static void activate(struct watch *watch)
{
    event_active(&watch->event, event_get_events(&watch->event) & (EV_READ | EV_WRITE), 0);
}

void watch_want(struct watch *watch, bool wanted)
{
    if (wanted == watch->wanted && (wanted || !watch->fired))
        return;
    /* An active event that is not added would not be added either. */
    if (watch->wanted || watch->fired)
        event_del(&watch->event);
    /* What the system has no room for is asked for again. */
    watch->wanted = wanted && event_add(&watch->event, NULL) == 0;
    watch->fired = watch->fired && wanted;
    if (watch->fired)
        activate(watch);
}

bool watch_is_wanted(const struct watch *watch)
{
    return watch->wanted;
}

void watch_fire(struct watch *watch)
{
    watch->fired = true;
    activate(watch);
}

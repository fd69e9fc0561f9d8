#include "io/timer.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

#include "base/memory.h"
#include "io/clock.h"
#include "io/worker.h"

struct timer {
    struct event event;
    void (*callback)(void *argument);
    void *argument;
    uint64_t period_us; /* 0: it does not repeat */
};

static void add_timer(struct timer *timer, uint64_t us)
{
    const struct timeval wait = clock_timeval(us);

    if (event_add(&timer->event, &wait) != 0)
        abort();
}

/* The callback may free the timer. */
static void on_timer_event(evutil_socket_t fd, short what, void *argument)
{
    struct timer *timer = argument;

    (void)fd;
    (void)what;
    if (timer->period_us > 0)
        add_timer(timer, timer->period_us);
    timer->callback(timer->argument);
}

struct timer *timer_new(const struct worker *worker, void (*callback)(void *argument),
                        void *argument)
{
    struct timer *timer = memory_new(sizeof *timer);

    if (event_assign(&timer->event, worker->base, -1, 0, on_timer_event, timer) != 0)
        abort();
    timer->callback = callback;
    timer->argument = argument;
    return timer;
}

void timer_free(struct timer *timer)
{
    if (!timer)
        return;
    event_del(&timer->event);
    free(timer);
}

void timer_start_us(struct timer *timer, uint64_t us)
{
    timer->period_us = 0;
    add_timer(timer, us);
}

void timer_start_ms(struct timer *timer, uint64_t ms)
{
    timer_start_us(timer, ms * 1000);
}

void timer_repeat_us(struct timer *timer, uint64_t us)
{
    timer->period_us = us;
    add_timer(timer, us);
}

void timer_repeat_ms(struct timer *timer, uint64_t ms)
{
    timer_repeat_us(timer, ms * 1000);
}

void timer_fire(struct timer *timer)
{
    event_active(&timer->event, EV_TIMEOUT, 0);
}

void timer_stop(struct timer *timer)
{
    timer->period_us = 0;
    event_del(&timer->event);
}

bool timer_is_running(const struct timer *timer)
{
    return event_pending(&timer->event, EV_TIMEOUT, NULL) != 0;
}

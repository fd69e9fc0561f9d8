/*
 * Calls back when some time has passed. One timer is for one kind of deadline of one object: it is
 * made with the object, and starting and stopping it allocates nothing.
 *
 * The callback comes from the loop only, never from a call of these functions, and may start, stop
 * and free its own timer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct timer;
struct worker;

/* One that is not running. Aborts without memory. */
struct timer *timer_new(const struct worker *worker, void (*callback)(void *argument),
                        void *argument);
/* NULL is fine. */
void timer_free(struct timer *timer);
/* Calls back once, so long from now; what was left of an earlier wait counts no more. */
void timer_start_us(struct timer *timer, uint64_t us);
void timer_start_ms(struct timer *timer, uint64_t ms);
/* Calls back each time that so much has passed, until it is stopped or started otherwise. */
void timer_repeat_us(struct timer *timer, uint64_t us);
void timer_repeat_ms(struct timer *timer, uint64_t ms);
/* Calls back before the loop looks at the sockets again, whatever the timer has waited for. */
void timer_fire(struct timer *timer);
void timer_stop(struct timer *timer);
/* A callback is to come. Within the callback that is so only if it repeats or was started again. */
bool timer_is_running(const struct timer *timer);

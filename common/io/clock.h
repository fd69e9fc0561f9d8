/* Monotonic time in microseconds, the `now` of every sans-I/O room. */
#pragma once

#include <stdint.h>
#include <sys/time.h>

uint64_t clock_now_us(void);
/* A duration as the event loop takes it. */
static inline struct timeval clock_timeval(uint64_t us)
{
    return (struct timeval){(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};
}

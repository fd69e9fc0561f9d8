/*
 * A rate that many together keep to, from any thread: so many units a second on average, where who
 * has been idle may have RATE_BURST_US worth of them at once. It never refuses: what was spent
 * beyond it has to be waited for, by whoever comes next.
 *
 * No clock here: times are microseconds, and do not go back by more than they are apart.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define RATE_BURST_US (250 * 1000)

/* Zeroed: no limit. */
struct rate {
    _Atomic uint64_t per_second; /* 0: no limit */
    _Atomic uint64_t until_us;   /* when, at this rate, all that was spent would have been over */
};

static inline uint64_t rate_per_second(const struct rate *rate)
{
    return atomic_load_explicit(&rate->per_second, memory_order_relaxed);
}

/* What was spent before counts as before. */
void rate_set(struct rate *rate, uint64_t per_second);
/* How long to wait until the next unit; 0: none is owed. */
uint64_t rate_wait_us(const struct rate *rate, uint64_t now_us);
void rate_spend(struct rate *rate, uint64_t units, uint64_t now_us);
/* How many units to spend at a time, of so many: few enough that nobody has to wait for long for
 * what another one has spent. */
uint64_t rate_portion(const struct rate *rate, uint64_t units);

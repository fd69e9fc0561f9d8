#include "base/rate.h"

enum {
    SECOND_US = 1000 * 1000,
    PORTIONS = 16, /* of a second */
    /* Less at a time costs more than it helps. */
    PORTION_LEAST = 4096,
};

void rate_set(struct rate *rate, uint64_t per_second)
{
    atomic_store_explicit(&rate->per_second, per_second, memory_order_relaxed);
}

uint64_t rate_wait_us(const struct rate *rate, uint64_t now_us)
{
    uint64_t until = atomic_load_explicit(&rate->until_us, memory_order_relaxed);

    return rate_per_second(rate) > 0 && until > now_us ? until - now_us : 0;
}

void rate_spend(struct rate *rate, uint64_t units, uint64_t now_us)
{
    uint64_t per_second = rate_per_second(rate);
    uint64_t before = atomic_load_explicit(&rate->until_us, memory_order_relaxed);
    uint64_t after;

    if (per_second == 0)
        return;
    uint64_t whole = units / per_second;
    uint64_t lasts_us = whole * SECOND_US + units % per_second * SECOND_US / per_second;
    uint64_t earliest = now_us > RATE_BURST_US ? now_us - RATE_BURST_US : 0;
    do {
        after = (before > earliest ? before : earliest) + lasts_us;
    } while (!atomic_compare_exchange_weak_explicit(&rate->until_us, &before, after,
                                                    memory_order_relaxed, memory_order_relaxed));
}

uint64_t rate_portion(const struct rate *rate, uint64_t units)
{
    uint64_t per_second = rate_per_second(rate);
    uint64_t portion = per_second / PORTIONS;

    if (per_second == 0)
        return units;
    if (portion < PORTION_LEAST)
        portion = PORTION_LEAST;
    return units < portion ? units : portion;
}

#include "mux/window.h"

#include <string.h>

enum {
    RATE_TIME_US = 1500, /* some turns of both ends; less costs wake-ups, more costs cache */
    RATE_SIZE_MAX = 4 * 1024 * 1024,
    RATE_WEIGHT = 8, /* a measure is so much of the smoothed one */
};

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* How far limit may be ahead of consumed. */
static uint64_t whole_size(const struct mux_window *window)
{
    return larger(window->size, window->rate_size);
}

uint64_t mux_window_charge(const struct mux_window *window)
{
    uint64_t credit = window->limit - window->consumed;
    uint64_t held = window->received - window->consumed + window->held;

    if (credit > window->initial && credit > held)
        return larger(credit, MUX_STREAM_FLOOR);
    return larger(held, MUX_STREAM_FLOOR);
}

bool mux_window_open(struct mux_window *window, const struct mux_window_limits *limits,
                     struct memory_share *share)
{
    memset(window, 0, sizeof *window);
    if (!memory_share_take(share, MEMORY_RECEIVE, MUX_STREAM_FLOOR))
        return false;
    window->charged = MUX_STREAM_FLOOR;
    window->initial = window->size = window->limit = limits->initial;
    return true;
}

void mux_window_close(struct mux_window *window, struct memory_share *share)
{
    memory_share_give(share, MEMORY_RECEIVE, window->charged);
    window->charged = 0;
}

/* Gives back what is charged for more than there is. */
static void settle_credit(struct mux_window *window, struct memory_share *share)
{
    uint64_t charge = mux_window_charge(window);

    if (charge < window->charged) {
        memory_share_give(share, MEMORY_RECEIVE, window->charged - charge);
        window->charged = charge;
    }
}

/* Charges for what is there now; false: there is not so much memory. */
static bool charge_all(struct mux_window *window, struct memory_share *share)
{
    uint64_t charge = mux_window_charge(window);

    if (charge <= window->charged)
        return true;
    if (!memory_share_take(share, MEMORY_RECEIVE, charge - window->charged))
        return false;
    window->charged = charge;
    return true;
}

bool mux_window_receive(struct mux_window *window, uint64_t bytes, struct memory_share *share)
{
    window->received += bytes;
    if (charge_all(window, share))
        return true;
    window->received -= bytes;
    return false;
}

bool mux_window_hold(struct mux_window *window, uint64_t held, struct memory_share *share)
{
    uint64_t before = window->held;

    window->held = held;
    if (!charge_all(window, share)) {
        window->held = before;
        return false;
    }
    settle_credit(window, share);
    return true;
}

static void measure_rate(struct mux_window *window, uint64_t now_us,
                         const struct mux_window_limits *limits)
{
    uint64_t passed_us = larger(now_us - window->epoch_us, 1);
    uint64_t rate = (window->consumed - window->epoch_consumed) * 1000 * 1000 / passed_us;

    window->rate = (window->rate * (RATE_WEIGHT - 1) + rate) / RATE_WEIGHT;
    window->rate_size =
        smaller(window->rate * RATE_TIME_US / (1000 * 1000), smaller(RATE_SIZE_MAX, limits->max));
}

/* Measures the rate; doubles size when a whole window went through within two round trips. */
static void measure(struct mux_window *window, uint64_t now_us, uint64_t rtt_us,
                    const struct mux_window_limits *limits, const struct memory_share *share)
{
    if (window->epoch_us == 0) {
        window->epoch_us = now_us;
        window->epoch_consumed = window->consumed;
        return;
    }
    if (window->consumed - window->epoch_consumed < window->size)
        return;
    /* A stream that carries data gets its base; one that only says hello does not take it from
     * others. */
    if (window->size < limits->base) {
        window->size = limits->base;
        window->epoch_us = now_us;
        window->epoch_consumed = window->consumed;
        return;
    }
    measure_rate(window, now_us, limits);
    bool limits_us = now_us - window->epoch_us < 2 * rtt_us;
    bool keeps_up = window->received - window->consumed < window->size / 4;
    bool fits = window->size <= memory_share_growth_room(share);
    if (limits_us && keeps_up && fits && window->size < limits->max)
        window->size = smaller(window->size * 2, limits->max);
    window->epoch_us = now_us;
    window->epoch_consumed = window->consumed;
}

enum mux_window_due mux_window_consume(struct mux_window *window, uint64_t bytes, uint64_t now_us,
                                       uint64_t rtt_us, const struct mux_window_limits *limits,
                                       struct memory_share *share)
{
    uint64_t credit = larger(window->limit - window->consumed, window->initial);

    window->consumed += bytes;
    window->active_us = now_us;
    measure(window, now_us, rtt_us, limits, share);
    settle_credit(window, share);
    /* In large steps: a peer that is told of each byte sends each byte in a frame. */
    uint64_t whole = smaller(whole_size(window), credit);
    return window->consumed - window->announced >= whole / 4 ? MUX_WINDOW_NOW : MUX_WINDOW_LATER;
}

void mux_window_announce(struct mux_window *window, uint64_t most, struct memory_share *share)
{
    uint64_t size = smaller(whole_size(window), most);
    uint64_t first = window->consumed + smaller(size, window->initial);

    window->announced = window->consumed;
    if (window->shrinking)
        return;
    if (first > window->limit)
        window->limit = first;
    if (window->consumed + size <= window->limit || size <= window->initial)
        return;
    /* Beyond the first window: all of the credit is charged, as far as there is room. */
    uint64_t room = memory_share_growth_room(share);
    uint64_t credit = size;
    if (credit > window->charged && credit - window->charged > room)
        credit = window->charged + room;
    if (window->consumed + credit <= window->limit)
        return;
    if (credit > window->charged &&
        memory_share_take(share, MEMORY_RECEIVE, credit - window->charged))
        window->charged = credit;
    if (credit <= window->charged)
        window->limit = window->consumed + credit;
}

uint64_t mux_window_told_limit(const struct mux_window *window)
{
    if (!window->shrinking)
        return window->limit;
    return window->shrink_to > window->consumed ? window->shrink_to : window->consumed;
}

uint64_t mux_window_shrink(struct mux_window *window, uint64_t now_us, uint64_t idle_us,
                           const struct mux_window_limits *limits)
{
    if (window->shrinking || now_us - window->active_us < idle_us)
        return 0;
    window->size = limits->initial;
    window->rate = window->rate_size = 0;
    window->epoch_us = 0;
    uint64_t wanted = window->consumed + limits->initial;
    if (wanted < window->received)
        wanted = window->received;
    if (wanted >= window->limit)
        return 0;
    window->shrinking = true;
    window->shrink_to = wanted;
    return wanted;
}

bool mux_window_limited(struct mux_window *window, uint64_t limit, struct memory_share *share)
{
    if (!window->shrinking || limit > window->limit || limit < window->received)
        return false;
    window->shrinking = false;
    window->limit = limit;
    settle_credit(window, share);
    return true;
}

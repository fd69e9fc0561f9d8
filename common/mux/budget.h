/*
 * How much memory the streams of a worker may take, whatever peers do. One budget is shared by all
 * sessions of a worker.
 *
 * Received: credit that was granted to peers, and so may have to be held here; reserved when
 * granted, given back when consumed. A stream is not opened when its first window does not fit, and
 * a window does not grow when its growth does not fit.
 *
 * Sent: bytes held for sending and for sending again. A stream with an empty queue may always hold
 * MUX_BUDGET_SEND_FLOOR, so that nothing starves; the number of streams is bounded.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define MUX_BUDGET_SEND_FLOOR 16384u

struct mux_budget {
    uint64_t receive_cap;
    uint64_t receive_granted;
    uint64_t send_cap;
    uint64_t send_held;
};

static inline void mux_budget_init(struct mux_budget *budget, uint64_t bytes)
{
    *budget = (struct mux_budget){.receive_cap = bytes / 2, .send_cap = bytes - bytes / 2};
}

static inline bool mux_budget_grant(struct mux_budget *budget, uint64_t bytes)
{
    if (bytes > budget->receive_cap - budget->receive_granted)
        return false;
    budget->receive_granted += bytes;
    return true;
}

static inline void mux_budget_return(struct mux_budget *budget, uint64_t bytes)
{
    budget->receive_granted -= bytes;
}

/*
 * The life of a stream: one table of states and events.
 *
 * A stream has two halves, one each way, with the same life:
 *
 *            FINISH               DONE
 *     OPEN ---------> FINISHING -------> OVER
 *       |                 |               ^
 *       +----- RESET -----+---------------+
 *
 * The sending half is FINISHING when its owner has nothing more to send and OVER when the peer has
 * said DONE: everything up to the end was consumed. The receiving half is FINISHING when the peer's
 * FINISH (or a RESET that lets data through first) has come and OVER when the owner has consumed
 * everything. A stream is over, and forgotten, when both halves are.
 */
#pragma once

#include <stdbool.h>

enum mux_half {
    MUX_HALF_OPEN,
    MUX_HALF_FINISHING,
    MUX_HALF_OVER,
};

enum mux_half_event {
    MUX_EVENT_FINISH,
    MUX_EVENT_DONE,
    MUX_EVENT_RESET,
};

/* false: the event is impossible in that state (*half is left alone); from a peer, an error of its.
 */
bool mux_half_step(enum mux_half *half, enum mux_half_event event);

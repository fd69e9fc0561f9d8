#include "mux/stream_state.h"

enum { IMPOSSIBLE = -1 };

static const signed char next[3][3] = {
    /*                       FINISH              DONE           RESET */
    [MUX_HALF_OPEN] = {MUX_HALF_FINISHING, IMPOSSIBLE, MUX_HALF_OVER},
    [MUX_HALF_FINISHING] = {IMPOSSIBLE, MUX_HALF_OVER, MUX_HALF_OVER},
    [MUX_HALF_OVER] = {IMPOSSIBLE, IMPOSSIBLE, MUX_HALF_OVER},
};

bool mux_half_step(enum mux_half *half, enum mux_half_event event)
{
    signed char to = next[*half][event];

    if (to == IMPOSSIBLE)
        return false;
    *half = (enum mux_half)to;
    return true;
}

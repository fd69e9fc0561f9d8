#include "mux/portion.h"

#include <stdbool.h>

enum {
    MS = 1000,
    /* Of a frame. */
    BULK_LEAST = 8 * 1024,
    MESSAGE_MOST = 2 * 1024,
    /* So long after one, another is expected. */
    LATELY_US = 100 * MS,
};

static bool was_lately(uint64_t at_us, uint64_t now_us)
{
    return at_us != 0 && now_us - at_us < LATELY_US;
}

void mux_portion_note(struct mux_portion *portion, uint64_t *stream_bulk_us, size_t size,
                      uint64_t now_us)
{
    if (size >= BULK_LEAST)
        portion->bulk_us = *stream_bulk_us = now_us;
    else if (size <= MESSAGE_MOST && !was_lately(*stream_bulk_us, now_us))
        portion->message_us = now_us;
}

size_t mux_portion_size(const struct mux_portion *portion, uint64_t now_us)
{
    return was_lately(portion->message_us, now_us) && was_lately(portion->bulk_us, now_us)
               ? MUX_PORTION
               : SIZE_MAX;
}

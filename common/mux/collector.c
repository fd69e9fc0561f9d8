#include "mux/collector.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

const uint8_t *mux_collector_bytes(const struct mux_collector *collector)
{
    return collector->large ? collector->large : collector->small;
}

/* Where a whole of want bytes finds room. */
static uint8_t *room_for(struct mux_collector *collector, size_t want)
{
    if (want <= sizeof collector->small)
        return collector->small;
    if (!collector->large) {
        collector->large = memory_raw(want);
        memcpy(collector->large, collector->small, collector->fill);
    }
    return collector->large;
}

size_t mux_collect(struct mux_collector *collector, const uint8_t *bytes, size_t size, size_t want)
{
    assert(want >= collector->fill && (!collector->large || want > sizeof collector->small));
    size_t missing = want - collector->fill;
    size_t part = missing < size ? missing : size;

    memcpy(room_for(collector, want) + collector->fill, bytes, part);
    collector->fill += part;
    return part;
}

void mux_collector_clear(struct mux_collector *collector)
{
    free(collector->large);
    collector->large = NULL;
    collector->fill = 0;
}

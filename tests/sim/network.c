#include <stdlib.h>
#include <string.h>

#include "sim.h"

static void pipe_init(struct world *world, struct pipe *pipe)
{
    memset(pipe, 0, sizeof *pipe);
    pipe->last = &pipe->first;
    pipe->cut_after = NEVER;
    if (world->plan.cuts > 0)
        pipe->cut_after = 1 + random_below(&world->random, world->plan.cut_bytes_max);
}

static void pipe_clear(struct pipe *pipe)
{
    while (pipe->first) {
        struct packet *packet = pipe->first;
        pipe->first = packet->next;
        free(packet);
    }
    pipe->last = &pipe->first;
    pipe->in_flight = 0;
}

void link_open(struct world *world, struct link *link)
{
    link->retransmitted = 0;
    link->cut = link->greeted = link->spoil_version = false;
    link->greeting_fill = 0;
    for (unsigned end = 0; end < ENDS; end++) {
        pipe_init(world, &link->to[end]);
        link->open[end] = true;
        link->learns_us[end] = NEVER;
    }
    /* Some links take so long that the client has given them up when they arrive. */
    uint64_t times = 1 + random_scaled(&world->random, 0, world->plan.uneven);
    link->delay_us = world->plan.delay_us * times;
    link->jitter_us = world->plan.jitter_us * times;
    link->bytes_per_ms = 1 + world->plan.bytes_per_ms / times;
    if (random_chance(&world->random, world->plan.late_chance))
        link->delay_us += random_scaled(&world->random, 1, 15 * 1000 * 1000);
    if (world->plan.cuts > 0)
        world->plan.cuts--;
}

void link_clear(struct link *link)
{
    for (unsigned end = 0; end < ENDS; end++) {
        if (link->to[end].last)
            pipe_clear(&link->to[end]);
        link->open[end] = false;
    }
}

/* An end lets go of the link: the other one hears of it, or does not. */
void link_close(struct world *world, struct link *link, unsigned by)
{
    unsigned other = 1 - by;

    link->open[by] = false;
    pipe_clear(&link->to[by]);
    if (!link->open[other]) {
        link_clear(link);
        return;
    }
    uint64_t at = world->now_us + link->delay_us;
    if (link->to[other].busy_until_us + link->delay_us > at)
        at = link->to[other].busy_until_us + link->delay_us;
    if (link->to[other].stalled_until_us > at)
        at = link->to[other].stalled_until_us;
    at += at == NEVER ? 0 : link->jitter_us; /* after what is still under way */
    if (random_chance(&world->random, world->plan.silent_chance))
        at = other == SERVER && !link->greeted ? world->now_us + 10 * 1000 * 1000 : NEVER;
    if (at < link->learns_us[other])
        link->learns_us[other] = at;
}

static void lose(struct world *world, struct link *link)
{
    trace(world, "link lost");
    world->totals->losses++;
    link->cut = true;
    world->progress_us = world->now_us;
    for (unsigned end = 0; end < ENDS; end++) {
        pipe_clear(&link->to[end]);
        if (!link->open[end])
            continue;
        uint64_t at = world->now_us + random_scaled(&world->random, 0, 200000);
        if (random_chance(&world->random, world->plan.silent_chance))
            at = end == SERVER && !link->greeted ? world->now_us + 10 * 1000 * 1000 : NEVER;
        link->learns_us[end] = at;
    }
}

bool link_room(const struct world *world, const struct link *link, unsigned from)
{
    return link->to[1 - from].in_flight < world->plan.in_flight_max;
}

void link_send(struct world *world, struct link *link, unsigned from, const uint8_t *bytes,
               size_t size)
{
    struct pipe *pipe = &link->to[1 - from];

    if (link->cut || !link->open[1 - from]) {
        pipe->in_flight += size; /* into a void: the kernel's buffer fills up */
        return;
    }
    while (size > 0) {
        size_t part = (size_t)random_scaled(&world->random, 1, world->plan.packet_max);
        if (part > size)
            part = size;
        struct packet *packet = malloc(sizeof *packet + part);
        if (!packet)
            abort();
        uint64_t start = pipe->busy_until_us > world->now_us ? pipe->busy_until_us : world->now_us;
        pipe->busy_until_us = start + part * 1000 / link->bytes_per_ms;
        packet->at_us = pipe->busy_until_us + link->delay_us +
                        random_below(&world->random, link->jitter_us + 1);
        packet->size = part;
        packet->next = NULL;
        memcpy(packet->bytes, bytes, part);
        *pipe->last = packet;
        pipe->last = &packet->next;
        pipe->in_flight += part;
        bytes += part;
        size -= part;
    }
}

uint64_t link_next(const struct link *link, unsigned towards)
{
    const struct pipe *pipe = &link->to[towards];

    if (!pipe->first)
        return NEVER;
    return pipe->first->at_us > pipe->stalled_until_us ? pipe->first->at_us
                                                       : pipe->stalled_until_us;
}

struct packet *link_arrive(struct world *world, struct link *link, unsigned towards)
{
    struct pipe *pipe = &link->to[towards];
    struct packet *packet = pipe->first;

    pipe->first = packet->next;
    if (!pipe->first)
        pipe->last = &pipe->first;
    pipe->in_flight -= packet->size;
    pipe->carried += packet->size;
    if (pipe->carried >= pipe->cut_after) {
        packet->size -= (size_t)(pipe->carried - pipe->cut_after);
        lose(world, link);
    }
    return packet;
}

void link_freeze(struct world *world, struct link *link)
{
    struct random *r = &world->random;
    uint64_t until_us = world->now_us + random_scaled(r, 1000, 20 * 1000 * 1000);
    unsigned which = (unsigned)random_below(r, ENDS + 1);

    if (random_chance(r, world->plan.forever_chance))
        until_us = NEVER;
    trace(world, "a link freezes, direction %u, for ever %d", which, until_us == NEVER);
    world->totals->freezes++;
    world->plan.freezes--;
    for (unsigned end = 0; end < ENDS; end++)
        if (which != end && link->to[end].stalled_until_us < until_us)
            link->to[end].stalled_until_us = until_us;
}

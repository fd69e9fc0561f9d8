#include "mux/flight.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* One more than the bound: so that the first run can always be split. */
enum { CAPACITY_LEAST = 4, CAPACITY_MOST = MUX_FLIGHT_RUNS + 1 };

static bool is_slot(uint8_t slot)
{
    return slot < MUX_LINKS_MAX;
}

static struct mux_run *run_at(const struct mux_flight *flight, unsigned index)
{
    return flight->runs + flight->first + index;
}

/* Adds bytes to, or takes them from, the links that have the run. */
static void count(const struct mux_run *run, uint64_t bytes, bool add, uint64_t *in_flight)
{
    const uint8_t slots[2] = {run->slot, run->again};

    for (unsigned i = 0; i < 2; i++)
        if (is_slot(slots[i]))
            in_flight[slots[i]] += add ? bytes : 0 - bytes;
}

static void note_kind(struct mux_flight *flight, const struct mux_run *run, int change)
{
    if (run->slot == MUX_SLOT_NONE)
        flight->lost = (uint16_t)(flight->lost + change);
    else if (run->again == MUX_SLOT_WANTED)
        flight->wanted = (uint16_t)(flight->wanted + change);
}

/* Makes room for another run behind the last one. */
static void make_room(struct mux_flight *flight)
{
    if (flight->first + flight->count < flight->capacity)
        return;
    if (flight->first > 0) {
        memmove(flight->runs, run_at(flight, 0), flight->count * sizeof *flight->runs);
        flight->first = 0;
        return;
    }
    unsigned capacity = flight->capacity ? flight->capacity * 2u : CAPACITY_LEAST;
    if (capacity > CAPACITY_MOST)
        capacity = CAPACITY_MOST;
    struct mux_run *runs = memory_new_array(capacity, sizeof *runs);
    if (flight->count > 0)
        memcpy(runs, flight->runs, flight->count * sizeof *runs);
    free(flight->runs);
    flight->runs = runs;
    flight->capacity = (uint16_t)capacity;
}

/* Puts a run before the one at index. */
static void insert(struct mux_flight *flight, unsigned index, const struct mux_run *run)
{
    assert(flight->count < CAPACITY_MOST);
    make_room(flight);
    struct mux_run *at = run_at(flight, index);
    memmove(at + 1, at, (flight->count - index) * sizeof *at);
    *at = *run;
    flight->count++;
    note_kind(flight, at, 1);
}

static void take_out(struct mux_flight *flight, unsigned index)
{
    struct mux_run *at = run_at(flight, index);

    note_kind(flight, at, -1);
    flight->count--;
    memmove(at, at + 1, (flight->count - index) * sizeof *at);
}

/* Makes one of the runs at index and behind it, if they differ in nothing. */
static void join_with_next(struct mux_flight *flight, unsigned index)
{
    if (index + 1u >= flight->count)
        return;
    struct mux_run *run = run_at(flight, index);
    if (run->slot != run[1].slot || run->again != run[1].again)
        return;
    run->to = run[1].to;
    take_out(flight, index + 1);
}

/* The same for all runs, in one pass: there may be as many as the peer likes. */
static void join_neighbours(struct mux_flight *flight)
{
    unsigned kept = 0;

    for (unsigned i = 1; i < flight->count; i++) {
        struct mux_run *last = run_at(flight, kept);
        const struct mux_run *run = run_at(flight, i);
        if (run->slot != last->slot || run->again != last->again) {
            last[1] = *run;
            kept++;
        } else {
            note_kind(flight, run, -1);
            last->to = run->to;
        }
    }
    if (flight->count > 0)
        flight->count = (uint16_t)(kept + 1);
}

void mux_flight_clear(struct mux_flight *flight, uint64_t *in_flight)
{
    for (unsigned i = 0; i < flight->count; i++) {
        const struct mux_run *run = run_at(flight, i);
        count(run, run->to - run->from, false, in_flight);
    }
    free(flight->runs);
    memset(flight, 0, sizeof *flight);
}

bool mux_flight_may_send(const struct mux_flight *flight, uint8_t slot)
{
    if (flight->count < MUX_FLIGHT_RUNS)
        return true;
    const struct mux_run *last = run_at(flight, flight->count - 1u);
    return last->slot == slot && last->again == MUX_SLOT_NONE;
}

void mux_flight_sent(struct mux_flight *flight, uint64_t from, uint64_t to, uint8_t slot,
                     uint64_t *in_flight)
{
    const struct mux_run run = {from, to, slot, MUX_SLOT_NONE};
    struct mux_run *last = flight->count > 0 ? run_at(flight, flight->count - 1u) : NULL;

    in_flight[slot] += to - from;
    if (last && last->slot == slot && last->again == MUX_SLOT_NONE)
        last->to = to;
    else
        insert(flight, flight->count, &run);
}

void mux_flight_received(struct mux_flight *flight, uint64_t offset, uint64_t *in_flight,
                         uint64_t *carried)
{
    while (flight->count > 0) {
        struct mux_run *run = run_at(flight, 0);
        if (run->from >= offset)
            return;
        uint64_t to = run->to < offset ? run->to : offset;
        count(run, to - run->from, false, in_flight);
        if (is_slot(run->slot))
            carried[run->slot] += to - run->from;
        run->from = to;
        if (run->from < run->to)
            return;
        note_kind(flight, run, -1);
        flight->first++;
        flight->count--;
    }
    flight->first = 0;
}

const struct mux_run *mux_flight_head(const struct mux_flight *flight)
{
    return flight->count > 0 ? run_at(flight, 0) : NULL;
}

bool mux_flight_link_lost(struct mux_flight *flight, uint8_t slot, uint64_t *in_flight)
{
    for (unsigned i = 0; i < flight->count; i++) {
        struct mux_run *run = run_at(flight, i);
        if (run->slot != slot && run->again != slot)
            continue;
        count(run, run->to - run->from, false, in_flight);
        note_kind(flight, run, -1);
        if (run->slot == slot)
            run->slot = is_slot(run->again) ? run->again : MUX_SLOT_NONE;
        run->again = MUX_SLOT_NONE;
        note_kind(flight, run, 1);
        count(run, run->to - run->from, true, in_flight);
    }
    join_neighbours(flight);
    return flight->lost > 0;
}

/* Whether a part of the run at index can be split off, for another link. */
static bool may_split(const struct mux_flight *flight, unsigned index, uint8_t slot)
{
    if (index == 0)
        return flight->count < CAPACITY_MOST;
    const struct mux_run *before = run_at(flight, index - 1);
    return flight->count < MUX_FLIGHT_RUNS ||
           (before->slot == slot && before->again == MUX_SLOT_NONE);
}

const struct mux_run *mux_flight_next_lost(const struct mux_flight *flight, uint8_t slot)
{
    for (unsigned i = 0; flight->lost > 0 && i < flight->count; i++)
        if (run_at(flight, i)->slot == MUX_SLOT_NONE)
            return may_split(flight, i, slot) ? run_at(flight, i) : NULL;
    return NULL;
}

const struct mux_run *mux_flight_next_wanted(const struct mux_flight *flight, uint8_t slot)
{
    for (unsigned i = 0; flight->wanted > 0 && i < flight->count; i++) {
        const struct mux_run *run = run_at(flight, i);
        if (run->again == MUX_SLOT_WANTED && run->slot != slot && run->slot != MUX_SLOT_NONE)
            return flight->count < MUX_FLIGHT_RUNS ? run : NULL;
    }
    return NULL;
}

void mux_flight_sent_again(struct mux_flight *flight, const struct mux_run *run, uint64_t to,
                           uint8_t slot, uint64_t *in_flight)
{
    unsigned index = (unsigned)(run - run_at(flight, 0));
    struct mux_run *at = run_at(flight, index);
    struct mux_run sent = {at->from, to, slot, MUX_SLOT_NONE};

    in_flight[slot] += to - at->from;
    if (at->slot != MUX_SLOT_NONE) {
        sent.slot = at->slot;
        sent.again = slot;
    }
    if (to == at->to) {
        note_kind(flight, at, -1);
        *at = sent;
        join_with_next(flight, index);
        if (index > 0)
            join_with_next(flight, index - 1);
        return;
    }
    at->from = to;
    struct mux_run *before = index > 0 ? run_at(flight, index - 1) : NULL;
    if (before && before->slot == sent.slot && before->again == sent.again)
        before->to = to;
    else
        insert(flight, index, &sent);
}

uint64_t mux_flight_want_again(struct mux_flight *flight, uint8_t slot, uint64_t bytes)
{
    uint64_t wanted = 0;

    for (unsigned i = 0; i < flight->count; i++) {
        struct mux_run *run = run_at(flight, i);
        if (run->slot != slot || run->again != MUX_SLOT_NONE)
            continue;
        if (bytes == wanted)
            break;
        if (run->to - run->from > bytes - wanted) {
            if (flight->count >= MUX_FLIGHT_RUNS)
                break;
            const struct mux_run part = {run->from, run->from + bytes - wanted, slot,
                                         MUX_SLOT_NONE};
            run->from = part.to;
            insert(flight, i, &part);
            run = run_at(flight, i);
        }
        wanted += run->to - run->from;
        run->again = MUX_SLOT_WANTED;
        note_kind(flight, run, 1);
    }
    return wanted;
}

void mux_flight_forget_second(struct mux_flight *flight, uint8_t slot, uint8_t second,
                              uint64_t *in_flight)
{
    for (unsigned i = 0; i < flight->count; i++) {
        struct mux_run *run = run_at(flight, i);
        if (run->slot != slot || run->again != second)
            continue;
        in_flight[second] -= run->to - run->from;
        run->again = MUX_SLOT_NONE;
    }
}

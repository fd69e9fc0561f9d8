/* What is in flight, on which link: every step against a plain model that knows each byte. */
#include "../lib/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "mux/flight.h"

enum { BYTES = 2 * MUX_FLIGHT_RUNS + 100, LINKS = 4 };

/* By offset: on which links a byte is; or that it is lost. */
struct model {
    uint8_t slot[BYTES];
    uint8_t again[BYTES];
    unsigned acknowledged;
    unsigned sent;
};

static struct model model;
static struct mux_flight flight;
static uint64_t in_flight[MUX_LINKS_MAX];

static int clear(void **state)
{
    (void)state;
    mux_flight_clear(&flight, in_flight);
    for (unsigned i = 0; i < MUX_LINKS_MAX; i++)
        assert_int_equal(in_flight[i], 0);
    memset(&model, 0, sizeof model);
    return 0;
}

static void compare(void)
{
    uint64_t at = model.acknowledged;
    uint64_t counted[MUX_LINKS_MAX] = {0};
    unsigned lost = 0;
    unsigned wanted = 0;

    for (unsigned i = 0; i < flight.count; i++) {
        const struct mux_run *run = flight.runs + flight.first + i;
        assert_true(run->from == at && run->to > at);
        lost += run->slot == MUX_SLOT_NONE;
        wanted += run->slot != MUX_SLOT_NONE && run->again == MUX_SLOT_WANTED;
        for (; at < run->to; at++) {
            assert_int_equal(run->slot, model.slot[at]);
            assert_int_equal(run->again, model.again[at]);
            if (run->slot < MUX_LINKS_MAX)
                counted[run->slot]++;
            if (run->again < MUX_LINKS_MAX)
                counted[run->again]++;
        }
    }
    assert_int_equal(at, model.sent);
    assert_int_equal(lost, flight.lost);
    assert_int_equal(wanted, flight.wanted);
    assert_memory_equal(counted, in_flight, sizeof counted);
}

static void send(unsigned size, uint8_t slot)
{
    mux_flight_sent(&flight, model.sent, model.sent + size, slot, in_flight);
    memset(model.slot + model.sent, slot, size);
    memset(model.again + model.sent, MUX_SLOT_NONE, size);
    model.sent += size;
    compare();
}

static void receive(unsigned offset)
{
    uint64_t carried[MUX_LINKS_MAX] = {0};
    uint64_t expected[MUX_LINKS_MAX] = {0};

    for (unsigned i = model.acknowledged; i < offset; i++)
        if (model.slot[i] < MUX_LINKS_MAX)
            expected[model.slot[i]]++;
    mux_flight_received(&flight, offset, in_flight, carried);
    assert_memory_equal(carried, expected, sizeof carried);
    model.acknowledged = offset;
    compare();
}

static void lose(uint8_t slot)
{
    bool any = false;

    for (unsigned i = model.acknowledged; i < model.sent; i++) {
        if (model.slot[i] == slot) {
            bool second = model.again[i] < MUX_LINKS_MAX;
            model.slot[i] = second ? model.again[i] : MUX_SLOT_NONE;
            model.again[i] = MUX_SLOT_NONE;
        } else if (model.again[i] == slot) {
            model.again[i] = MUX_SLOT_NONE;
        }
        any = any || model.slot[i] == MUX_SLOT_NONE;
    }
    assert_int_equal(mux_flight_link_lost(&flight, slot, in_flight), any);
    compare();
}

static void forget_second(uint8_t slot, uint8_t second)
{
    mux_flight_forget_second(&flight, slot, second, in_flight);
    for (unsigned i = model.acknowledged; i < model.sent; i++)
        if (model.slot[i] == slot && model.again[i] == second)
            model.again[i] = MUX_SLOT_NONE;
    compare();
}

static void send_again(const struct mux_run *run, unsigned size, uint8_t slot)
{
    unsigned from = (unsigned)run->from;

    for (unsigned i = from; i < from + size; i++) {
        if (model.slot[i] == MUX_SLOT_NONE) {
            model.slot[i] = slot;
            model.again[i] = MUX_SLOT_NONE;
        } else {
            model.again[i] = slot;
        }
    }
    mux_flight_sent_again(&flight, run, from + size, slot, in_flight);
    compare();
}

static void want(uint8_t slot, unsigned bytes)
{
    uint64_t wanted = mux_flight_want_again(&flight, slot, bytes);

    assert_true(wanted <= bytes);
    for (unsigned i = model.acknowledged; i < model.sent && wanted > 0; i++) {
        if (model.slot[i] != slot || model.again[i] != MUX_SLOT_NONE)
            continue;
        model.again[i] = MUX_SLOT_WANTED;
        wanted--;
    }
    compare();
}

static void neighbours_on_a_link_are_one_run(void **state)
{
    (void)state;
    send(10, 1);
    send(5, 1);
    assert_int_equal(flight.count, 1);
    send(5, 2);
    send(5, 1);
    assert_int_equal(flight.count, 3);
    receive(12);
    assert_int_equal(in_flight[1], 8);
    receive(25);
    assert_int_equal(flight.count, 0);
    assert_null(mux_flight_head(&flight));
}

static void what_a_lost_link_had_goes_again_in_parts(void **state)
{
    (void)state;
    send(10, 1);
    send(10, 2);
    send(10, 1);
    lose(1);
    const struct mux_run *run = mux_flight_next_lost(&flight, 2);
    assert_int_equal(run->from, 0);
    send_again(run, 4, 3);
    run = mux_flight_next_lost(&flight, 3);
    assert_int_equal(run->from, 4);
    send_again(run, 6, 2);
    assert_int_equal(flight.count, 3); /* 3 2 lost */
    run = mux_flight_next_lost(&flight, 2);
    assert_int_equal(run->from, 20);
    send_again(run, 10, 2);
    assert_int_equal(flight.count, 2);
    assert_null(mux_flight_next_lost(&flight, 2));
}

static void a_second_link_keeps_what_the_first_loses(void **state)
{
    (void)state;
    send(10, 1);
    send(10, 2);
    want(1, 6);
    assert_null(mux_flight_next_wanted(&flight, 1));
    const struct mux_run *run = mux_flight_next_wanted(&flight, 3);
    assert_int_equal(run->to - run->from, 6);
    send_again(run, 6, 3);
    lose(1);
    assert_int_equal(in_flight[3], 6);
    assert_int_equal(mux_flight_next_lost(&flight, 3)->from, 6);
    lose(3);
    assert_int_equal(mux_flight_next_lost(&flight, 2)->from, 0);
}

static void a_second_link_can_be_forgotten(void **state)
{
    (void)state;
    send(10, 1);
    want(1, 6);
    send_again(mux_flight_next_wanted(&flight, 3), 6, 3);
    forget_second(1, 3);
    assert_int_equal(in_flight[3], 0);
    want(1, 10);
    assert_int_equal(mux_flight_next_wanted(&flight, 3)->from, 0);
}

static void runs_are_bounded_and_the_first_can_always_go(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MUX_FLIGHT_RUNS; i++)
        send(2, (uint8_t)(i % 2));
    assert_false(mux_flight_may_send(&flight, 0));
    assert_true(mux_flight_may_send(&flight, 1));
    lose(0);
    const struct mux_run *run = mux_flight_next_lost(&flight, 2);
    assert_int_equal(run->from, 0);
    send_again(run, 1, 2);
    assert_int_equal(flight.count, MUX_FLIGHT_RUNS + 1);
    assert_null(mux_flight_next_lost(&flight, 3)); /* another link would need one more */
    run = mux_flight_next_lost(&flight, 2);
    assert_int_equal(run->from, 1);
    send_again(run, 1, 2);
    assert_int_equal(flight.count, MUX_FLIGHT_RUNS);
    lose(2);
    lose(1);
    assert_int_equal(flight.count, 1);
}

static unsigned random_below(unsigned bound)
{
    return (unsigned)rand() % bound;
}

static void any_order_of_steps_is_what_the_model_says(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 2000; seed++) {
        srand(seed);
        for (unsigned steps = 0; steps < 60; steps++) {
            uint8_t slot = (uint8_t)random_below(LINKS);
            unsigned size = 1 + random_below(20);
            const struct mux_run *run;
            switch (random_below(7)) {
            case 0:
            case 1:
                if (model.sent + size <= BYTES && mux_flight_may_send(&flight, slot))
                    send(size, slot);
                break;
            case 2:
                receive(model.acknowledged + random_below(model.sent - model.acknowledged + 1));
                break;
            case 3:
                lose(slot);
                break;
            case 4:
                want(slot, size * 2);
                break;
            case 5:
                forget_second(slot, (uint8_t)random_below(LINKS));
                break;
            default:
                run = random_below(2) ? mux_flight_next_lost(&flight, slot)
                                      : mux_flight_next_wanted(&flight, slot);
                if (run)
                    send_again(run, 1 + random_below((unsigned)(run->to - run->from)), slot);
            }
        }
        clear(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(neighbours_on_a_link_are_one_run, clear),
        cmocka_unit_test_teardown(what_a_lost_link_had_goes_again_in_parts, clear),
        cmocka_unit_test_teardown(a_second_link_keeps_what_the_first_loses, clear),
        cmocka_unit_test_teardown(a_second_link_can_be_forgotten, clear),
        cmocka_unit_test_teardown(runs_are_bounded_and_the_first_can_always_go, clear),
        cmocka_unit_test_teardown(any_order_of_steps_is_what_the_model_says, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

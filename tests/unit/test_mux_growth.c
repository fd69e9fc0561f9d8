/* How many links a session wants for what it sends. */
#include "../lib/cmocka.h"

#include "mux/growth.h"

enum { MS = 1000, S = 1000 * 1000, LOOK = 200 * MS, MIB = 1 << 20 };

static struct mux_growth growth;
static struct mux_growth_facts facts;

static int set_up(void **state)
{
    (void)state;
    mux_growth_init(&growth);
    facts = (struct mux_growth_facts){
        .now_us = 1000 * UINT64_C(1000000), .rtt_us = 50 * MS, .links = 1, .most = 8};
    mux_growth_press(&growth, false, facts.now_us);
    return 0;
}

/* So much is sent until the next look, while bytes wait or not; what is wanted then. Links that are
 * wanted come at once. */
static unsigned look(uint64_t bytes, bool pressed)
{
    mux_growth_press(&growth, pressed, facts.now_us);
    mux_growth_sent(&growth, bytes);
    facts.now_us += LOOK;
    mux_growth_look(&growth, &facts);
    facts.links = growth.wanted;
    return growth.wanted;
}

static unsigned look_for(uint64_t us, uint64_t bytes, bool pressed)
{
    for (uint64_t until = facts.now_us + us; facts.now_us < until;)
        look(bytes, pressed);
    return growth.wanted;
}

static void a_short_path_wants_one(void **state)
{
    (void)state;
    facts.rtt_us = 2 * MS;
    assert_int_equal(look_for(10 * S, 100 * MIB, true), 1);
    /* So does one of which nothing is known yet. */
    facts.rtt_us = 0;
    facts.lossy = true;
    facts.retransmitted = 1000;
    assert_int_equal(look_for(10 * S, 100 * MIB, true), 1);
}

static void a_long_path_wants_a_second_for_what_is_sent(void **state)
{
    (void)state;
    assert_int_equal(look_for(10 * S, 0, false), 1);
    assert_int_equal(look(1000, false), 2);
    assert_int_equal(look_for(10 * S, 100 * MIB, false), 2);
}

/* A kernel sends some again on loopback, too: a few of very many are nothing. */
static void what_a_short_path_loses(void **state)
{
    (void)state;
    facts.rtt_us = MS / 10;
    facts.lossy = true;
    facts.retransmitted = 2;
    assert_int_equal(look_for(10 * S, 1 * MIB, true), 1);
    facts.retransmitted = 50;
    assert_int_equal(look_for(10 * S, 100 * MIB, true), 1);
    assert_int_equal(look(10 * MIB, true), 2);
}

static void where_segments_get_lost_they_double(void **state)
{
    (void)state;
    facts.lossy = true;
    assert_int_equal(look(MIB, true), 2);
    assert_int_equal(look(MIB, true), 4);
    assert_int_equal(look(MIB, true), 8);
    assert_int_equal(look(MIB, true), 8);
}

/* As fast where nobody can see that, but on a long path only. */
static void where_losses_are_hidden_they_double(void **state)
{
    (void)state;
    facts.hidden = true;
    assert_int_equal(look(MIB, true), 2);
    assert_int_equal(look_for(10 * S, MIB, false), 2);
    assert_int_equal(look(MIB, true), 4);
    assert_int_equal(look(MIB, true), 8);
    mux_growth_init(&growth);
    mux_growth_press(&growth, false, facts.now_us);
    facts.rtt_us = 2 * MS;
    assert_int_equal(look_for(10 * S, 100 * MIB, true), 1);
}

/* One at a time otherwise, and no more for a minute when the last one has not helped. */
static void each_has_to_help(void **state)
{
    (void)state;
    assert_int_equal(look(MIB, true), 2);
    assert_int_equal(look(MIB, true), 3);
    assert_int_equal(look(2 * MIB, true), 3);
    assert_int_equal(look_for(2 * S, 2 * MIB, true), 4);
    assert_int_equal(look_for(30 * S, 2 * MIB, true), 4);
    assert_int_equal(look_for(40 * S, 2 * MIB, true), 5);
}

static void those_that_do_not_come_are_not_added_to(void **state)
{
    (void)state;
    facts.lossy = true;
    look_for(S, MIB, true);
    for (int i = 0; i < 100; i++) {
        facts.links = 3;
        assert_int_equal(look(MIB, true), 8);
    }
}

static void the_second_stays_when_little_is_sent(void **state)
{
    (void)state;
    facts.lossy = true;
    look_for(2 * S, MIB, true);
    assert_int_equal(growth.wanted, 8);
    assert_int_equal(look_for(55 * S, 0, false), 8);
    assert_int_equal(look_for(10 * S, 0, false), 2);
    assert_int_equal(look_for(200 * S, 0, false), 2);
}

/* It looked long while the machine was busy. */
static void a_path_that_is_short_after_all(void **state)
{
    (void)state;
    assert_int_equal(look(MIB, true), 2);
    facts.rtt_us = MS;
    assert_int_equal(look_for(55 * S, MIB, true), 2);
    assert_int_equal(look_for(10 * S, MIB, true), 1);
}

#define PREPARED(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PREPARED(a_short_path_wants_one),
        PREPARED(a_long_path_wants_a_second_for_what_is_sent),
        PREPARED(what_a_short_path_loses),
        PREPARED(where_segments_get_lost_they_double),
        PREPARED(where_losses_are_hidden_they_double),
        PREPARED(each_has_to_help),
        PREPARED(those_that_do_not_come_are_not_added_to),
        PREPARED(the_second_stays_when_little_is_sent),
        PREPARED(a_path_that_is_short_after_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Slots for handshakes: who makes way, and that nothing is lost in the books. */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <string.h>

#include "http/handshake_slots.h"

enum { MAX = 8, NOW = 5000 * 1000, SECOND = 1000 * 1000 };

static const struct hash_key key = {{12345, 99}};
static struct slots slots;
static struct slot all[200];

static int set_up(void **state)
{
    (void)state;
    slots_init(&slots, MAX, &key);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    slots_clear(&slots);
    return 0;
}

static void take(struct slot *slot, const char *host)
{
    struct socket_address address;

    assert_true(socket_parse(host, 1, &address));
    slots_take(&slots, slot, &address, NOW);
}

static struct slot *victim_at(const char *newcomer, uint64_t now_us)
{
    struct socket_address address;

    assert_true(socket_parse(newcomer, 1, &address));
    return slots_victim(&slots, &address, now_us);
}

static struct slot *victim(void)
{
    return victim_at("192.0.2.99", NOW);
}

static void the_address_with_most_makes_way(void **state)
{
    (void)state;
    assert_null(victim());
    take(&all[0], "192.0.2.1");
    take(&all[1], "192.0.2.2");
    take(&all[2], "192.0.2.2");
    take(&all[3], "192.0.2.3");
    take(&all[4], "192.0.2.2");
    assert_ptr_equal(victim(), &all[1]);
    assert_int_equal(slots_of_address(&all[4]), 3);
    slots_give_back(&slots, &all[1]);
    assert_ptr_equal(victim(), &all[2]);
    slots_give_back(&slots, &all[2]);
    /* One each: whoever has had as many as that for longest. */
    assert_ptr_equal(victim(), &all[0]);
    take(&all[5], "192.0.2.3");
    assert_ptr_equal(victim(), &all[3]);
    for (size_t i = 0; i < 6; i++)
        if (i != 1 && i != 2)
            slots_give_back(&slots, &all[i]);
    assert_null(victim());
}

static void who_is_served_goes_first(void **state)
{
    (void)state;
    take(&all[0], "192.0.2.1");
    take(&all[1], "192.0.2.1");
    take(&all[2], "192.0.2.2");
    take(&all[3], "192.0.2.3");
    slots_set(&slots, &all[3], SLOT_SPENT);
    slots_set(&slots, &all[2], SLOT_SPENT);
    assert_ptr_equal(victim(), &all[3]);
    slots_give_back(&slots, &all[3]);
    assert_ptr_equal(victim(), &all[2]);
    slots_give_back(&slots, &all[2]);
    slots_set(&slots, &all[0], SLOT_PROVEN);
    assert_ptr_equal(victim(), &all[1]);
    slots_set(&slots, &all[1], SLOT_PROVEN);
    assert_null(victim());
    assert_int_equal(slots.count, 2);
    /* The answer to who is allowed in may also have been a refusal in the end. */
    slots_set(&slots, &all[1], SLOT_SPENT);
    assert_ptr_equal(victim(), &all[1]);
    slots_give_back(&slots, &all[0]);
    slots_give_back(&slots, &all[1]);
}

/* Or nobody would finish while too many come. */
static void who_has_been_answered_is_spared(void **state)
{
    (void)state;
    take(&all[0], "192.0.2.1");
    take(&all[1], "192.0.2.1");
    take(&all[2], "192.0.2.1");
    slots_spare(&all[0], NOW);
    assert_ptr_equal(victim_at("192.0.2.1", NOW), &all[1]);
    slots_spare(&all[1], NOW);
    slots_spare(&all[1], NOW + SECOND);
    assert_ptr_equal(victim_at("192.0.2.1", NOW), &all[2]);
    slots_spare(&all[2], NOW + 1);
    assert_null(victim_at("192.0.2.1", NOW + SECOND - 1));
    assert_ptr_equal(victim_at("192.0.2.1", NOW + SECOND), &all[0]);
    /* An address that has fewer is not turned away for one that has more. */
    assert_ptr_equal(victim_at("192.0.2.2", NOW + 2), &all[0]);
    take(&all[3], "192.0.2.2");
    take(&all[4], "192.0.2.2");
    assert_null(victim_at("192.0.2.2", NOW + 2));
    slots_set(&slots, &all[4], SLOT_SPENT);
    assert_ptr_equal(victim_at("192.0.2.2", NOW + 2), &all[4]);
    for (size_t i = 0; i < 5; i++)
        slots_give_back(&slots, &all[i]);
}

static void an_address_of_ipv6_is_its_first_half(void **state)
{
    (void)state;
    take(&all[0], "2001:db8::1");
    take(&all[1], "192.0.2.1");
    take(&all[2], "2001:db8:0:0:ffff::2");
    take(&all[3], "2001:db8:0:1::1");
    take(&all[4], "::ffff:192.0.2.1");
    assert_int_equal(slots_of_address(&all[0]), 2);
    assert_int_equal(slots_of_address(&all[3]), 1);
    assert_int_equal(slots_of_address(&all[1]), 2);
    for (size_t i = 0; i < 5; i++)
        slots_give_back(&slots, &all[i]);
}

static void full(void **state)
{
    (void)state;
    for (size_t i = 0; i < MAX; i++) {
        assert_false(slots_full(&slots));
        take(&all[i], "192.0.2.1");
    }
    assert_true(slots_full(&slots));
    slots_set(&slots, &all[3], SLOT_SPENT);
    assert_true(slots_full(&slots));
    slots_give_back(&slots, &all[3]);
    assert_false(slots_full(&slots));
    for (size_t i = 0; i < MAX; i++)
        if (i != 3)
            slots_give_back(&slots, &all[i]);
}

/* Against books that are kept the slow way. */
static void any_order(void **state)
{
    enum { PLACES = 100, ADDRESSES = 7 };
    static int owner[PLACES]; /* 0: free */
    uint32_t seed = 1;

    (void)state;
    slots_clear(&slots);
    slots_init(&slots, PLACES, &key);
    memset(owner, 0, sizeof owner);
    for (int step = 0; step < 100000; step++) {
        size_t counts[ADDRESSES + 1] = {0};
        size_t most = 0;
        seed = seed * 1664525 + 1013904223;
        size_t place = (seed >> 16) % PLACES;
        if (owner[place] == 0) {
            char host[20];
            owner[place] = 1 + (int)(seed >> 8 & 0xff) % ADDRESSES;
            snprintf(host, sizeof host, "192.0.2.%d", owner[place]);
            take(&all[place], host);
            if (seed & 1)
                slots_spare(&all[place], NOW);
        } else if (all[place].state == SLOT_OPEN && (seed & 3) == 0) {
            slots_set(&slots, &all[place], seed & 4 ? SLOT_SPENT : SLOT_PROVEN);
        } else {
            owner[place] = 0;
            slots_give_back(&slots, &all[place]);
        }
        bool spent = false;
        for (size_t i = 0; i < PLACES; i++) {
            if (owner[i] != 0 && all[i].state == SLOT_OPEN && ++counts[owner[i]] > most)
                most = counts[owner[i]];
            spent = spent || (owner[i] != 0 && all[i].state == SLOT_SPENT);
        }
        const struct slot *next = victim_at("192.0.2.99", NOW + SECOND);
        assert_int_equal(slots.top, most);
        if (spent)
            assert_int_equal(next->state, SLOT_SPENT);
        else if (most == 0)
            assert_null(next);
        else
            assert_int_equal(slots_of_address(next), most);
    }
    for (size_t i = 0; i < PLACES; i++)
        if (owner[i] != 0)
            slots_give_back(&slots, &all[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_address_with_most_makes_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_served_goes_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_has_been_answered_is_spared, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_address_of_ipv6_is_its_first_half, set_up, tear_down),
        cmocka_unit_test_setup_teardown(full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_order, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

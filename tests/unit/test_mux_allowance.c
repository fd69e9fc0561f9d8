/* How much may be on its way where TCP ends before the peer. */
#include "../lib/cmocka.h"

#include "mux/allowance.h"

enum { MS = 1000, KIB = 1024, RTT = 50 * MS };

static struct mux_allowance allowance;
static uint64_t now;

static int set_up(void **state)
{
    (void)state;
    allowance = (struct mux_allowance){0};
    now = 1000 * MS;
    return 0;
}

/* Sends until no more is allowed; how much that is. */
static uint64_t use_up(uint64_t in_flight)
{
    uint64_t sent = 0;

    for (; !mux_allowance_is_used_up(&allowance, in_flight + sent, RTT); sent += KIB) {
        mux_allowance_sent(&allowance, KIB);
        assert_in_range(sent, 0, 64 * 1024 * KIB);
    }
    return sent;
}

/* A PING goes out, and all before it arrives. */
static void answer(uint64_t rtt_us)
{
    mux_allowance_asked(&allowance);
    now += rtt_us;
    mux_allowance_answered(&allowance, rtt_us, RTT, now);
}

/* A path that carries so many bytes a millisecond, for a while. */
static uint64_t carry(uint64_t bytes_per_ms, int round_trips)
{
    uint64_t sent = 0;

    for (; round_trips > 0; round_trips--) {
        sent = use_up(0);
        uint64_t takes_us = sent / bytes_per_ms * MS;
        answer(takes_us > RTT ? takes_us : RTT);
    }
    return sent;
}

static void a_little_may_always_be_sent(void **state)
{
    (void)state;
    assert_int_equal(use_up(0), 32 * KIB);
    assert_int_equal(use_up(32 * KIB), 0);
    answer(RTT);
    answer(RTT);
    assert_int_equal(carry(1, 20), 32 * KIB);
}

static void it_grows_with_what_arrives(void **state)
{
    (void)state;
    uint64_t before = use_up(0);

    answer(RTT);
    for (int i = 0; i < 6; i++) {
        uint64_t more = use_up(0);
        assert_true(more >= before);
        before = more;
        answer(RTT);
    }
    assert_in_range(before, 1024 * KIB, 64 * 1024 * KIB);
}

static void what_waits_in_between_is_bounded(void **state)
{
    (void)state;
    carry(10 * 1000, 20);
    /* It has become slow: no more than two round trips' worth and a little, soon. */
    assert_in_range(carry(1000, 30), 100 * 1000, 200 * 1000);
}

static void having_nothing_to_send_does_not_make_it_slow(void **state)
{
    (void)state;
    uint64_t before = carry(1000, 20);

    for (int i = 0; i < 20; i++) {
        mux_allowance_sent(&allowance, 100);
        answer(RTT);
    }
    assert_in_range(use_up(0), before - 4 * KIB, before + 4 * KIB);
}

/* What the peer says of streams comes sooner than the answer to a PING. */
static void what_the_peer_has_is_not_on_its_way(void **state)
{
    (void)state;
    use_up(0);
    assert_true(mux_allowance_is_used_up(&allowance, 32 * KIB, RTT));
    assert_false(mux_allowance_is_used_up(&allowance, 31 * KIB, RTT));
    assert_false(mux_allowance_is_used_up(&allowance, 0, RTT));
    /* And the answer may come sooner than a stream's bytes have their turn. */
    answer(RTT);
    assert_false(mux_allowance_is_used_up(&allowance, 1024 * KIB, RTT));
}

#define PREPARED(test) cmocka_unit_test_setup(test, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PREPARED(a_little_may_always_be_sent),
        PREPARED(it_grows_with_what_arrives),
        PREPARED(what_waits_in_between_is_bounded),
        PREPARED(having_nothing_to_send_does_not_make_it_slow),
        PREPARED(what_the_peer_has_is_not_on_its_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

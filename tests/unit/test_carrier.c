/* What bench/packet-path does to packets. */
#include "../lib/cmocka.h"

#include "../../bench/carrier.h"

#include <string.h>

enum { MS = 1000 * 1000, SYN = 2, FIN = 1, RST = 4, ACK = 16, PORT = 40000 };

static struct carrier *carrier;
static uint64_t now;

static int start(void **state)
{
    (void)state;
    now = 1000 * (uint64_t)MS;
    carrier = carrier_new();
    return carrier == NULL;
}

static int finish(void **state)
{
    (void)state;
    carrier_free(carrier);
    return 0;
}

static void set(double delay_ms, double jitter_ms, double loss, double rate_mbit, double queue_ms)
{
    for (int from = 0; from < FLOW_ENDS; from++)
        *carrier_settings(carrier, from) =
            (struct carrier_settings){delay_ms, jitter_ms, loss, rate_mbit, queue_ms};
}

/* A packet of a connection, or of none when port is 0; number tells it from others. */
static void put(enum flow_end from, uint16_t port, uint8_t flags, uint32_t number, size_t length)
{
    struct carrier_slot *slot = carrier_take_slot(carrier);
    assert_true(slot != NULL && length >= 40);
    uint8_t *tcp = slot->bytes + 20;
    memset(slot->bytes, 0, length);
    slot->length = (uint16_t)length;
    slot->bytes[0] = 0x45;
    slot->bytes[9] = port == 0 ? 17 : 6;
    slot->bytes[from == FLOW_NEAR ? 15 : 19] = 1; /* 0.0.0.1 is near, 0.0.0.2 far */
    slot->bytes[from == FLOW_NEAR ? 19 : 15] = 2;
    tcp[from == FLOW_NEAR ? 0 : 2] = (uint8_t)(port >> 8);
    tcp[from == FLOW_NEAR ? 1 : 3] = (uint8_t)port;
    tcp[from == FLOW_NEAR ? 3 : 1] = 80;
    for (int i = 0; i < 4; i++)
        tcp[4 + i] = tcp[8 + i] = (uint8_t)(number >> (24 - 8 * i));
    tcp[13] = flags;
    carrier_put(carrier, from, slot, now);
}

static uint32_t number_of(const struct carrier_slot *slot)
{
    const uint8_t *n = slot->bytes + 24;
    return (uint32_t)n[0] << 24 | (uint32_t)n[1] << 16 | (uint32_t)n[2] << 8 | n[3];
}

/* The number of the next packet that is due, or -1. */
static int64_t get(enum flow_end from)
{
    struct carrier_slot *slot = carrier_get(carrier, from, now);
    if (slot == NULL)
        return -1;
    uint32_t number = number_of(slot);
    carrier_give_slot(carrier, slot);
    return number;
}

static void packets_are_late(void **state)
{
    (void)state;
    set(25, 0, 0, 0, 0);
    put(FLOW_NEAR, 0, 0, 1, 1500);
    assert_true(carrier_next_ns(carrier) == now + 25 * MS);
    now += 25 * MS - 1;
    assert_true(get(FLOW_NEAR) == -1);
    now++;
    assert_true(get(FLOW_FAR) == -1 && get(FLOW_NEAR) == 1 && get(FLOW_NEAR) == -1);
    assert_true(carrier_next_ns(carrier) == UINT64_MAX);
}

static void a_bottleneck_has_a_queue(void **state)
{
    (void)state;
    /* 1500 bytes are 1 ms; 10 wait while one is sent, and the next ones are dropped. */
    set(0, 0, 0, 12, 9.5);
    for (uint32_t i = 0; i < 20; i++)
        put(FLOW_NEAR, 0, 0, i, 1500);
    assert_true(carrier_counts(carrier, FLOW_NEAR)->overflowed == 10);
    for (int i = 0; i < 10; i++) {
        now += MS;
        assert_true(get(FLOW_NEAR) == i && get(FLOW_NEAR) == -1);
    }
    assert_true(carrier_counts(carrier, FLOW_NEAR)->passed == 10);
    put(FLOW_NEAR, 0, 0, 7, 1500);
    now += MS;
    assert_true(get(FLOW_NEAR) == 7);
}

static void loss_is_as_asked_and_repeats(void **state)
{
    uint64_t lost[2];
    (void)state;
    for (int run = 0; run < 2; run++) {
        set(0, 0, 1, 0, 0);
        carrier_seed(carrier, 7);
        uint64_t before = carrier_counts(carrier, FLOW_FAR)->lost;
        for (uint32_t i = 0; i < 100000; i++) {
            put(FLOW_FAR, 0, 0, i, 40);
            get(FLOW_FAR);
        }
        lost[run] = carrier_counts(carrier, FLOW_FAR)->lost - before;
    }
    assert_true(lost[0] == lost[1] && lost[0] > 850 && lost[0] < 1150);
    assert_true(carrier_counts(carrier, FLOW_NEAR)->lost == 0);
}

/* How many of 1000 packets with jitter, of a connection or of none, come after a later one. */
static int overtaken(uint16_t port)
{
    int64_t last = -1, number;
    int count = 0;
    set(5, 10, 0, 0, 0);
    for (uint32_t i = 0; i < 1000; i++, now += MS / 10)
        put(FLOW_NEAR, port, ACK, i, 1500);
    /* Also when the delay shrinks meanwhile. */
    carrier_settings(carrier, FLOW_NEAR)->delay_ms = 0;
    put(FLOW_NEAR, port, ACK, 1000, 1500);
    now += 20 * MS;
    for (; (number = get(FLOW_NEAR)) >= 0; last = number)
        count += number < last;
    return count;
}

static void jitter_keeps_the_order_unless_asked(void **state)
{
    (void)state;
    assert_true(overtaken(PORT) == 0 && overtaken(0) == 0);
    carrier_reorder(carrier, true);
    assert_true(overtaken(PORT) > 100);
}

static void a_cut_takes_what_is_under_way(void **state)
{
    (void)state;
    set(25, 0, 0, 0, 0);
    put(FLOW_NEAR, PORT, ACK, 1, 100);
    carrier_cut(carrier, true);
    put(FLOW_NEAR, PORT, ACK, 2, 100);
    now += 25 * MS;
    assert_true(get(FLOW_NEAR) == -1);
    carrier_heal(carrier);
    put(FLOW_NEAR, PORT, ACK, 3, 100);
    now += 25 * MS;
    assert_true(get(FLOW_NEAR) == 3 && carrier_counts(carrier, FLOW_NEAR)->cut == 2);
}

static void one_connection_goes_silent(void **state)
{
    (void)state;
    struct flows *flows = carrier_flows(carrier);
    put(FLOW_NEAR, PORT, SYN, 1, 100);
    put(FLOW_NEAR, PORT + 1, SYN, 2, 100);
    assert_true(get(FLOW_NEAR) == 1 && get(FLOW_NEAR) == 2 && flows->opened == 2);
    carrier_treat(carrier, flows_find(flows, PORT), FLOW_SILENT, now);
    put(FLOW_NEAR, PORT, ACK, 3, 100);
    put(FLOW_FAR, PORT, ACK, 4, 100);
    put(FLOW_FAR, PORT + 1, ACK, 5, 100);
    assert_true(get(FLOW_NEAR) == -1 && get(FLOW_FAR) == 5 && get(FLOW_FAR) == -1);
    /* Its SYN again is still that connection; another one is a new connection. */
    put(FLOW_NEAR, PORT, SYN, 1, 100);
    assert_true(get(FLOW_NEAR) == -1 && flows->opened == 2);
    put(FLOW_NEAR, PORT, SYN, 9, 100);
    assert_true(get(FLOW_NEAR) == 9 && flows->opened == 3);
}

static void one_connection_is_slower(void **state)
{
    (void)state;
    set(10, 0, 0, 0, 0);
    put(FLOW_NEAR, PORT, SYN, 1, 100);
    now += 10 * MS;
    assert_true(get(FLOW_NEAR) == 1);
    struct flow *flow = flows_find(carrier_flows(carrier), PORT);
    flow->extra_ns = 150 * (uint64_t)MS;
    put(FLOW_NEAR, PORT, ACK, 2, 100);
    put(FLOW_NEAR, PORT + 1, ACK, 3, 100);
    now += 10 * MS;
    assert_true(get(FLOW_NEAR) == 3 && get(FLOW_NEAR) == -1);
    /* The end of that does not change the order. */
    flow->extra_ns = 0;
    put(FLOW_NEAR, PORT, ACK, 4, 100);
    now += 149 * (uint64_t)MS;
    assert_true(get(FLOW_NEAR) == -1);
    now += MS;
    assert_true(get(FLOW_NEAR) == 2 && get(FLOW_NEAR) == 4);
}

static uint16_t sum_of(const uint8_t *bytes, size_t length, uint32_t sum)
{
    for (size_t i = 0; i < length; i += 2)
        sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint16_t)sum;
}

/* A reset for an end that has last asked for that sequence number. */
static void expect_reset(enum flow_end to, uint32_t sequence)
{
    struct carrier_slot *slot = carrier_get(carrier, to == FLOW_NEAR ? FLOW_FAR : FLOW_NEAR, now);
    assert_true(slot != NULL && slot->length == FLOW_RST_BYTES);
    const uint8_t *tcp = slot->bytes + 20;
    assert_true(tcp[13] == RST && number_of(slot) == sequence);
    assert_true(slot->bytes[15] == (to == FLOW_NEAR ? 2 : 1));
    assert_true((tcp[to == FLOW_NEAR ? 2 : 0] << 8 | tcp[to == FLOW_NEAR ? 3 : 1]) == PORT);
    assert_true((tcp[to == FLOW_NEAR ? 1 : 3]) == 80);
    assert_true(sum_of(slot->bytes, 20, 0) == 0xFFFF);
    assert_true(sum_of(slot->bytes + 12, 28, 6 + 20) == 0xFFFF); /* with the pseudo header */
    carrier_give_slot(carrier, slot);
}

static void one_connection_is_reset(void **state)
{
    (void)state;
    put(FLOW_NEAR, PORT, SYN, 1, 100);
    put(FLOW_FAR, PORT, SYN | ACK, 5, 100);
    put(FLOW_NEAR, PORT, ACK, 0x80000007, 100);
    while (get(FLOW_NEAR) >= 0 || get(FLOW_FAR) >= 0) {
    }
    struct flow *flow = flows_find(carrier_flows(carrier), PORT);
    assert_true(flow->open);
    carrier_treat(carrier, flow, FLOW_RESET, now);
    expect_reset(FLOW_NEAR, 0x80000007);
    expect_reset(FLOW_FAR, 5);
    assert_false(flow->open);
    /* Who goes on gets another one, for what it expects now. */
    put(FLOW_FAR, PORT, ACK, 77, 100);
    expect_reset(FLOW_FAR, 77);
    assert_true(get(FLOW_FAR) == -1 && get(FLOW_NEAR) == -1);
}

static void connections_close(void **state)
{
    (void)state;
    put(FLOW_NEAR, PORT, SYN, 1, 100);
    struct flow *flow = flows_find(carrier_flows(carrier), PORT);
    put(FLOW_NEAR, PORT, FIN | ACK, 2, 100);
    assert_true(flow->open);
    put(FLOW_FAR, PORT, FIN | ACK, 2, 100);
    assert_false(flow->open);
    put(FLOW_NEAR, PORT + 1, SYN, 1, 100);
    put(FLOW_FAR, PORT + 1, RST, 1, 100);
    assert_false(flows_find(carrier_flows(carrier), PORT + 1)->open);
    assert_true(flows_find(carrier_flows(carrier), PORT + 2) == NULL);
}

static void malformed_packets_are_no_connection(void **state)
{
    (void)state;
    for (size_t length = 1; length < 40; length++) {
        struct carrier_slot *slot = carrier_take_slot(carrier);
        memset(slot->bytes, 0xFF, length);
        slot->bytes[0] = 0x45;
        slot->bytes[6] = slot->bytes[7] = 0; /* no fragment */
        slot->bytes[9] = 6;
        slot->length = (uint16_t)length;
        carrier_put(carrier, FLOW_NEAR, slot, now);
    }
    assert_true(carrier_flows(carrier)->nports == 0);
}

static void slots_are_bounded(void **state)
{
    (void)state;
    set(1000, 0, 0, 0, 0);
    for (uint32_t i = 0; i < CARRIER_SLOTS; i++)
        put(FLOW_NEAR, 0, 0, i, 40);
    assert_true(carrier_take_slot(carrier) == NULL);
    now += 1000 * (uint64_t)MS;
    for (uint32_t i = 0; i < CARRIER_SLOTS; i++)
        assert_true(get(FLOW_NEAR) == i);
    assert_true(get(FLOW_NEAR) == -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(packets_are_late, start, finish),
        cmocka_unit_test_setup_teardown(a_bottleneck_has_a_queue, start, finish),
        cmocka_unit_test_setup_teardown(loss_is_as_asked_and_repeats, start, finish),
        cmocka_unit_test_setup_teardown(jitter_keeps_the_order_unless_asked, start, finish),
        cmocka_unit_test_setup_teardown(a_cut_takes_what_is_under_way, start, finish),
        cmocka_unit_test_setup_teardown(one_connection_goes_silent, start, finish),
        cmocka_unit_test_setup_teardown(one_connection_is_slower, start, finish),
        cmocka_unit_test_setup_teardown(one_connection_is_reset, start, finish),
        cmocka_unit_test_setup_teardown(connections_close, start, finish),
        cmocka_unit_test_setup_teardown(malformed_packets_are_no_connection, start, finish),
        cmocka_unit_test_setup_teardown(slots_are_bounded, start, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

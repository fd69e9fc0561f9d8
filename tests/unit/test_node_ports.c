#include "../lib/cmocka.h"

#include "../../tunnel-client/listeners/node_ports.h"

#define CLUSTER(n, h, p)                                                                           \
    {                                                                                              \
        .name = n, .host = h, .port = p, .cluster = true                                           \
    }
#define TARGET(n, h, p)                                                                            \
    {                                                                                              \
        .name = n, .host = h, .port = p                                                            \
    }
#define LOOPBACK "127.0.0.1"

static void assert_ports(const struct node_ports *at, unsigned first, unsigned last)
{
    assert_int_equal(at->nodes.first, first);
    assert_int_equal(at->nodes.last, last);
}

static void a_node_is_at_its_number(void **state)
{
    (void)state;
    const struct address_ports thousand = {9093, 10092};
    const struct address_ports three = {65533, 65535};
    const struct address_ports all = {1, 65535};

    assert_int_equal(node_ports_at(&thousand, 0, 0), 9093);
    assert_int_equal(node_ports_at(&thousand, 999, 0), 10092);
    assert_int_equal(node_ports_at(&thousand, 1000, 0), 9093);
    assert_int_equal(node_ports_at(&thousand, INT32_MAX, 0), 9093 + 647);
    assert_int_equal(node_ports_at(&thousand, 999, 1), 9093);
    assert_int_equal(node_ports_at(&thousand, 999, 999), 10091);
    assert_int_equal(node_ports_at(&three, 2, 0), 65535);
    assert_int_equal(node_ports_at(&three, 2, 2), 65534);
    assert_int_equal(node_ports_at(&all, 65534, 0), 65535);
    assert_int_equal(node_ports_at(&all, 65534, 65534), 65534);
}

static void one_cluster_has_the_thousand_ports_above(void **state)
{
    (void)state;
    struct node_ports all[] = {CLUSTER("kafka", LOOPBACK, 9092), TARGET("x", LOOPBACK, 8081)};

    node_ports_plan(all, 2);
    assert_ports(&all[0], 9093, 10092);
    assert_ports(&all[1], 0, 0);
}

static void ports_end_before_the_next_listener(void **state)
{
    (void)state;
    struct node_ports all[] = {CLUSTER("b", LOOPBACK, 9192), CLUSTER("a", "::1", 9092),
                               TARGET("x", LOOPBACK, 9500)};

    node_ports_plan(all, 3);
    assert_ports(&all[1], 9093, 9191);
    assert_ports(&all[0], 9193, 9499);
}

/* Whatever the order on the command line, and whoever's node comes first. */
static void neighbours_get_ports_elsewhere(void **state)
{
    (void)state;
    struct node_ports all[] = {CLUSTER("b", LOOPBACK, 9093), CLUSTER("a", LOOPBACK, 9092)};
    struct node_ports tens[] = {CLUSTER("a", LOOPBACK, 9092), CLUSTER("b", LOOPBACK, 9102),
                                CLUSTER("c", LOOPBACK, 9112)};

    node_ports_plan(all, 2);
    assert_ports(&all[0], 9094, 10093);
    assert_ports(&all[1], 10094, 11093);
    node_ports_plan(tens, 3);
    assert_ports(&tens[0], 10113, 11112);
    assert_ports(&tens[1], 11113, 12112);
    assert_ports(&tens[2], 9113, 10112);
}

static void given_ports_are_kept_and_kept_clear(void **state)
{
    (void)state;
    struct node_ports all[] = {CLUSTER("a", LOOPBACK, 9092), CLUSTER("b", LOOPBACK, 19092)};

    all[1].nodes = (struct address_ports){9200, 9299};
    node_ports_plan(all, 2);
    assert_ports(&all[0], 9093, 9199);
    assert_ports(&all[1], 9200, 9299);
}

static void other_addresses_are_not_in_the_way(void **state)
{
    (void)state;
    struct node_ports all[] = {CLUSTER("a", "10.0.0.1", 9092), CLUSTER("b", "10.0.0.2", 9093),
                               CLUSTER("c", "127.0.0.2", 9094)};

    node_ports_plan(all, 3);
    assert_ports(&all[0], 9093, 10092);
    assert_ports(&all[1], 9094, 10093);
    assert_ports(&all[2], 9095, 10094);
    assert_true(node_ports_hosts_meet("127.0.0.1", "::1"));
    assert_true(node_ports_hosts_meet("0.0.0.0", "10.0.0.1"));
    assert_true(node_ports_hosts_meet("10.0.0.1", "::"));
    assert_false(node_ports_hosts_meet("127.0.0.1", "127.0.0.2"));
}

static void there_is_an_end_to_ports(void **state)
{
    (void)state;
    struct node_ports high[] = {CLUSTER("a", LOOPBACK, 65000)};
    struct node_ports higher[] = {CLUSTER("a", LOOPBACK, 65500), CLUSTER("b", LOOPBACK, 65535)};
    struct node_ports none[] = {CLUSTER("a", LOOPBACK, 9092), CLUSTER("b", LOOPBACK, 500)};

    node_ports_plan(high, 1);
    assert_ports(&high[0], 65001, 65535);
    node_ports_plan(higher, 2);
    assert_ports(&higher[0], 1024, 2023);
    assert_ports(&higher[1], 2024, 3023);
    none[1].nodes = (struct address_ports){501, 65535};
    node_ports_plan(none, 2);
    assert_ports(&none[0], 0, 0);
}

static bool check(struct node_ports *all, size_t count, unsigned first, unsigned last, char *error)
{
    all[0].nodes = (struct address_ports){(uint16_t)first, (uint16_t)last};
    return node_ports_check(all, count, 0, error, 200);
}

static void overlaps_are_found(void **state)
{
    (void)state;
    struct node_ports all[] = {CLUSTER("a", LOOPBACK, 9092), CLUSTER("b", "::1", 9300),
                               TARGET("x", LOOPBACK, 0), CLUSTER("far", "10.0.0.1", 9400)};
    char error[200] = "";

    all[1].nodes = (struct address_ports){9310, 9320};
    all[3].nodes = (struct address_ports){9100, 9200};
    assert_true(check(all, 4, 9093, 9299, error));
    assert_true(check(all, 4, 9301, 9309, error));
    assert_true(check(all, 4, 9321, 65535, error));
    assert_false(check(all, 4, 9092, 9100, error)); /* its own bootstrap listener */
    assert_string_equal(error, "port 9092 of the listener a is in the range 9092-9100");
    assert_false(check(all, 4, 9300, 9300, error));
    assert_false(check(all, 4, 9301, 9310, error));
    assert_string_equal(error, "9301-9310 overlaps with 9310-9320 of b");
    assert_false(check(all, 4, 9320, 9400, error));
    assert_false(check(all, 4, 9312, 9313, error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_is_at_its_number),
        cmocka_unit_test(one_cluster_has_the_thousand_ports_above),
        cmocka_unit_test(ports_end_before_the_next_listener),
        cmocka_unit_test(neighbours_get_ports_elsewhere),
        cmocka_unit_test(given_ports_are_kept_and_kept_clear),
        cmocka_unit_test(other_addresses_are_not_in_the_way),
        cmocka_unit_test(there_is_an_end_to_ports),
        cmocka_unit_test(overlaps_are_found),
    };
    return cmocka_run_group_tests_name("node_ports", tests, NULL, NULL);
}

/* The way to an address: what the system says, and when it counts as another one. */
#include "../lib/cmocka.h"

#include "io/route.h"

static struct route by(const char *local)
{
    struct route route = {.found = local != NULL};

    if (local)
        assert_true(socket_parse(local, 0, &route.local));
    return route;
}

static void the_way_to_loopback_is_loopback(void **state)
{
    (void)state;
    struct socket_address to;
    struct route route;
    struct route expected = by("127.0.0.1");

    assert_true(socket_parse("127.0.0.1", 443, &to));
    assert_true(route_find(&to, &route));
    assert_true(route.found && route_equal(&route, &expected));
    assert_int_equal(socket_port(&route.local), 0);
    assert_true(socket_parse("127.0.0.1", 0, &to));
    assert_true(route_find(&to, &route) && route_equal(&route, &expected));
}

static void a_family_that_is_not_there_is_no_way(void **state)
{
    (void)state;
    struct socket_address to = {.storage = {.ss_family = AF_UNSPEC}, .size = sizeof to.storage};
    struct route route;

    assert_true(route_find(&to, &route));
    assert_false(route.found);
}

static void only_another_local_address_is_another_way(void **state)
{
    (void)state;
    const struct route none = by(NULL), a = by("10.0.0.2"), b = by("10.0.0.3"), c = by("fe80::1");
    struct route again = by("10.0.0.2");

    socket_set_port(&again.local, 5);
    assert_true(route_equal(&a, &again) && route_equal(&none, &none));
    assert_false(route_equal(&a, &b) || route_equal(&a, &c) || route_equal(&a, &none) ||
                 route_equal(&none, &a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_way_to_loopback_is_loopback),
        cmocka_unit_test(a_family_that_is_not_there_is_no_way),
        cmocka_unit_test(only_another_local_address_is_another_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

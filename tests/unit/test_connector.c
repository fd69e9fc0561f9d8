/* TCP connections that are being made: several addresses, those that refuse and those that hang,
 * the deadline, and taking it back at any time. */
#include "net_support.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/connector.h"

static struct attempt_result {
    unsigned answers;
    struct connector_result result;
    char error[100];
} got;

static struct socket_address addresses[RESOLVER_ADDRESSES_MAX];
static unsigned asked; /* the guard */

static void on_answer(void *context, const struct connector_result *result)
{
    (void)context;
    got.answers++;
    got.result = *result;
    snprintf(got.error, sizeof got.error, "%s", result->error ? result->error : "");
}

static struct connector *start(size_t count, unsigned timeout_ms)
{
    memset(&got, 0, sizeof got);
    struct connector *connector =
        connector_start_known(&net.near, addresses, count, timeout_ms, on_answer, &got);
    assert_int_equal(got.answers, 0);
    return connector;
}

/* Connected, to that listener: a byte goes through. */
static void expect_connected(int listener, const struct socket_address *address)
{
    char byte = 'c';

    NET_UNTIL(got.answers > 0);
    net_turns(5);
    assert_int_equal(got.answers, 1);
    assert_true(got.result.fd >= 0);
    assert_false(got.result.timed_out || got.result.name_failed || got.result.forbidden);
    assert_int_equal(socket_port(&got.result.address), socket_port(address));
    int accepted = net_accept(listener);
    assert_true(accepted >= 0);
    assert_int_equal(send(got.result.fd, &byte, 1, 0), 1);
    NET_UNTIL(net_is_readable(accepted));
    assert_int_equal(recv(accepted, &byte, 1, 0), 1);
    assert_int_equal(recv(got.result.fd, &byte, 1, 0), -1);
    assert_int_equal(errno, EAGAIN);
    close(accepted);
    close(got.result.fd);
}

static void expect_failure(const char *error, bool timed_out)
{
    NET_UNTIL(got.answers > 0);
    net_turns(5);
    assert_int_equal(got.answers, 1);
    assert_int_equal(got.result.fd, -1);
    assert_int_equal(got.result.timed_out, timed_out);
    assert_string_equal(got.error, error);
}

static void one_address(void **state)
{
    int listener = net_listener(&addresses[0], 5);

    (void)state;
    start(1, 5000);
    expect_connected(listener, &addresses[0]);
    close(listener);
}

/* Whoever refuses makes way at once. */
static void some_refuse(void **state)
{
    (void)state;
    for (size_t refusing = 1; refusing < RESOLVER_ADDRESSES_MAX; refusing += 7) {
        for (size_t i = 0; i < refusing; i++)
            net_closed_port(&addresses[i]);
        int listener = net_listener(&addresses[refusing], 5);
        start(refusing + 1, 5000);
        expect_connected(listener, &addresses[refusing]);
        close(listener);
    }
}

static void all_refuse(void **state)
{
    (void)state;
    for (size_t count = 1; count <= RESOLVER_ADDRESSES_MAX; count *= 4) {
        for (size_t i = 0; i < count; i++)
            net_closed_port(&addresses[i]);
        start(count, 5000);
        expect_failure(strerror(ECONNREFUSED), false);
    }
}

/* A quarter of a second after one that says nothing the next one begins, not earlier. */
static void the_first_hangs(void **state)
{
    int hanging[NET_HANGING_FDS];
    int listener = net_listener(&addresses[1], 5);

    (void)state;
    NET_NEEDS_JUMPS();
    net_hanging_port(&addresses[0], hanging);
    start(2, 5000);
    net_turns(10);
    net_jump_ms(200);
    net_turns(10);
    assert_false(net_is_readable(listener));
    assert_int_equal(got.answers, 0);
    net_jump_ms(50);
    expect_connected(listener, &addresses[1]);
    close(listener);
    net_close_all(hanging, NET_HANGING_FDS);
}

/* One that hangs does not keep those that refuse from failing, nor is it forgotten over them. */
static void one_hangs_among_those_that_refuse(void **state)
{
    int hanging[NET_HANGING_FDS];

    (void)state;
    NET_NEEDS_JUMPS();
    net_closed_port(&addresses[0]);
    net_hanging_port(&addresses[1], hanging);
    net_closed_port(&addresses[2]);
    start(3, 5000);
    net_turns(20);
    net_jump_ms(250);
    net_turns(20);
    assert_int_equal(got.answers, 0);
    net_jump_ms(5000);
    expect_failure("no answer in time", true);
    net_close_all(hanging, NET_HANGING_FDS);
}

/* Nothing that happens in between moves it: neither further attempts nor their failures. */
static void the_deadline_is_absolute(void **state)
{
    int hanging[NET_HANGING_FDS];

    (void)state;
    NET_NEEDS_JUMPS();
    net_hanging_port(&addresses[0], hanging);
    for (size_t i = 1; i < 8; i++)
        addresses[i] = addresses[0];
    net_closed_port(&addresses[3]);
    uint64_t begun = clock_now_us();
    start(8, 1500);
    while (clock_now_us() - begun < 1400 * 1000) {
        net_turns(5);
        assert_int_equal(got.answers, 0);
        net_jump_ms(70);
    }
    net_jump_ms(100);
    expect_failure("no answer in time", true);
    net_close_all(hanging, NET_HANGING_FDS);
}

/* Taken back at any time it leaves nothing, and says nothing. */
static void taken_back(void **state)
{
    int hanging[NET_HANGING_FDS];
    int listener;

    (void)state;
    NET_NEEDS_JUMPS();
    connector_cancel(NULL);
    net_hanging_port(&addresses[0], hanging);
    addresses[1] = addresses[0];
    listener = net_listener(&addresses[2], 5);
    for (unsigned turns = 0; turns < 3; turns++) {
        for (unsigned jumps = 0; jumps < 3; jumps++) {
            struct connector *connector = start(jumps < 2 ? 3 : 2, 5000);
            for (unsigned i = 0; i < jumps; i++) {
                net_turns(turns);
                net_jump_ms(250);
            }
            if (got.answers == 0)
                connector_cancel(connector);
            net_turns(5);
            assert_int_equal(got.answers, 0);
        }
    }
    close(listener);
    net_close_all(hanging, NET_HANGING_FDS);
}

/* ---- names */

static struct connector *start_name(const char *host, uint16_t port)
{
    memset(&got, 0, sizeof got);
    return connector_start(&net.near, host, port, 5000, on_answer, &got);
}

static bool permit_none(void *context, const struct socket_address *address)
{
    assert_ptr_equal(context, &got);
    assert_int_not_equal(socket_port(address), 0);
    asked++;
    return false;
}

static bool permit_v4(void *context, const struct socket_address *address)
{
    (void)context;
    asked++;
    return address->storage.ss_family == AF_INET;
}

static void names_and_numbers(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    int listener = net_listener(&addresses[0], 5);

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        start_name(hosts[i], socket_port(&addresses[0]));
        expect_connected(listener, &addresses[0]);
        connector_cancel(start_name(hosts[i], 1));
        net_turns(5);
        assert_int_equal(got.answers, 0);
    }
    close(listener);
}

static void a_name_that_nobody_knows(void **state)
{
    (void)state;
    resolver_replace(&net.near, net_no_such_name);
    start_name("nowhere.example", 1);
    NET_UNTIL(got.answers > 0);
    assert_int_equal(got.result.fd, -1);
    assert_true(got.result.name_failed);
    assert_false(got.result.timed_out || got.result.forbidden);
    assert_string_not_equal(got.error, "");
}

static void only_what_is_permitted(void **state)
{
    int listener = net_listener(&addresses[0], 5);

    (void)state;
    asked = 0;
    connector_guard(start_name("localhost", socket_port(&addresses[0])), permit_none);
    NET_UNTIL(got.answers > 0);
    assert_true(got.result.forbidden);
    assert_false(got.result.timed_out || got.result.name_failed);
    assert_string_equal(got.error, "the address is forbidden");
    assert_true(asked > 0);
    net_turns(5);
    assert_false(net_is_readable(listener));
    asked = 0;
    connector_guard(start_name("localhost", socket_port(&addresses[0])), permit_v4);
    expect_connected(listener, &addresses[0]);
    assert_true(asked > 0);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(one_address),
        NET_TEST(some_refuse),
        NET_TEST(all_refuse),
        NET_TEST(the_first_hangs),
        NET_TEST(one_hangs_among_those_that_refuse),
        NET_TEST(the_deadline_is_absolute),
        NET_TEST(taken_back),
        NET_TEST(names_and_numbers),
        NET_TEST(a_name_that_nobody_knows),
        NET_TEST(only_what_is_permitted),
    };

    return NET_RUN(tests);
}

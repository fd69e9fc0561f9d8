/* Which nodes have listeners when there are more nodes than ports: with real sockets, and a clock
 * of our own. */
#include "../lib/cmocka.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../tunnel-client/listeners/ports.h"

enum { SIZE = 4, SECOND = 1000 * 1000 };
#define KEPT ((uint64_t)PORTS_KEPT_S * SECOND)

static struct log quiet;
static struct worker worker;
static struct ports ports;
static struct port *bootstrap;
static struct list withdrawn;
static uint64_t now;

static void on_connection(void *context, struct port *port, int fd,
                          const struct socket_address *peer)
{
    (void)context;
    (void)port;
    (void)fd;
    (void)peer;
    fail();
}

static bool is_free(uint16_t number)
{
    struct socket_address address;
    struct socket_address other;

    socket_parse("127.0.0.1", number, &address);
    socket_parse("::1", number, &other);
    struct listener *a = listener_new(&worker, "probe", &address, NULL, NULL);
    struct listener *b = listener_new(&worker, "probe", &other, NULL, NULL);
    bool is = a && (b || errno != EADDRINUSE);
    listener_free(a);
    listener_free(b);
    return is;
}

/* SIZE free ports in a row. */
static uint16_t quiet_ports(void)
{
    uint16_t first = (uint16_t)(20000 + getpid() % 10000);

    for (unsigned run = 0; run < SIZE;) {
        run = is_free((uint16_t)(first + run)) ? run + 1 : 0;
        if (run == 0)
            first += SIZE;
    }
    return first;
}

static int set_up(void **state)
{
    struct address_named where = {.name = "kafka", .address = {.host = "127.0.0.1", .port = 0}};
    char error[300];

    (void)state;
    log_init(&quiet, &(struct log_settings){.level = LOG_LEVEL_ERROR, .fd = STDERR_FILENO});
    worker_init(&worker, &quiet, 1 << 20);
    ports_init(&ports, &worker, "", on_connection, NULL);
    const uint16_t first = quiet_ports();
    const struct address_ports nodes = {first, (uint16_t)(first + SIZE - 1)};
    bootstrap = ports_open(&ports, MUX_TARGET_CLUSTER, &where, &nodes, error, sizeof error);
    assert_non_null(bootstrap);
    ports_plan(&ports);
    list_init(&withdrawn);
    now = KEPT + SECOND;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ports_forget(&withdrawn);
    ports_clear(&ports);
    worker_clear(&worker);
    return 0;
}

/* Asks for a broker's listener; NULL: it gets none, and errno says why. */
static struct port *ask_for(int32_t node, bool may_withdraw)
{
    struct port_request request = {.endpoint_type = 1, .node = node};

    ports_nodes(bootstrap, &request, 1, now, may_withdraw ? &withdrawn : NULL);
    errno = request.failed;
    return request.port;
}

static struct port *ask(int32_t node)
{
    return ask_for(node, true);
}

/* The node whose listener was taken back first of those that nobody has heard of yet; -1: none. */
static int32_t taken_back(void)
{
    struct list *first = list_pop(&withdrawn);
    struct list one;

    if (!first)
        return -1;
    int32_t node = list_entry(first, struct port, node)->node_id;
    list_init(&one);
    list_append(&one, first);
    ports_forget(&one);
    return node;
}

static void the_longest_unused_makes_way(void **state)
{
    (void)state;
    uint16_t numbers[SIZE];

    for (int32_t node = 0; node < SIZE; node++, now += SECOND)
        numbers[node] = ask(node)->number;
    /* Node 0 is named again, so 1 and 2 are older. */
    now += KEPT;
    assert_int_equal(ask(0)->number, numbers[0]);
    assert_int_equal(ask(10)->number, numbers[1]);
    assert_int_equal(ask(11)->number, numbers[2]);
    assert_int_equal(taken_back(), 1);
    assert_int_equal(taken_back(), 2);
    assert_int_equal(taken_back(), -1);
    assert_null(ports_node(bootstrap, 1, 1));
    assert_non_null(ports_node(bootstrap, 1, 3));
    /* What was taken back may come again. */
    assert_int_equal(ask(1)->number, numbers[3]);
    assert_int_equal(taken_back(), 3);
}

static void nobody_makes_way_for_what_has_room(void **state)
{
    (void)state;
    for (int32_t node = 0; node < SIZE; node++, now += 2 * KEPT)
        assert_non_null(ask(node));
    assert_int_equal(taken_back(), -1);
}

static void what_was_named_lately_stays(void **state)
{
    (void)state;
    for (int32_t node = 0; node < SIZE; node++)
        ask(node);
    now += KEPT - 1;
    assert_null(ask(10));
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(taken_back(), -1);
    now += 1;
    assert_non_null(ask(10));
}

static void what_is_named_together_does_not_push_itself_out(void **state)
{
    (void)state;
    struct port_request requests[SIZE + 1];

    for (int32_t node = 0; node < SIZE; node++)
        ask(node);
    now += KEPT;
    for (int32_t i = 0; i <= SIZE; i++)
        requests[i] = (struct port_request){.endpoint_type = 1, .node = i};
    ports_nodes(bootstrap, requests, SIZE + 1, now, &withdrawn);
    for (int32_t i = 0; i < SIZE; i++)
        assert_non_null(requests[i].port);
    assert_null(requests[SIZE].port);
    assert_int_equal(taken_back(), -1);
}

static void one_with_a_connection_stays(void **state)
{
    (void)state;
    struct port *busy = ask(0);

    for (int32_t node = 1; node < SIZE; node++)
        ask(node);
    port_begin(busy);
    port_begin(busy);
    port_end(busy, now);
    now += 2 * KEPT;
    for (int32_t node = 10; node < 10 + SIZE - 1; node++)
        assert_non_null(ask(node));
    assert_null(ask(20));
    assert_ptr_equal(ports_node(bootstrap, 1, 0), busy);
    /* From its end on it counts as the others. */
    port_end(busy, now);
    now += KEPT - 1;
    assert_null(ask(20));
    for (int32_t node = 10; node < 10 + SIZE - 1; node++)
        ask(node);
    now += 1;
    assert_non_null(ask(20));
    assert_null(ports_node(bootstrap, 1, 0));
}

static void an_older_server_keeps_what_it_was_told(void **state)
{
    (void)state;
    for (int32_t node = 0; node < SIZE; node++)
        ask(node);
    now += 2 * KEPT;
    assert_null(ask_for(10, false));
    assert_int_equal(errno, EADDRINUSE);
    for (int32_t node = 0; node < SIZE; node++)
        assert_non_null(ports_node(bootstrap, 1, node));
}

static void descriptors_are_taken_back_too(void **state)
{
    (void)state;
    ask(0);
    ports.node_sockets_max = ports.node_sockets + 1;
    assert_null(ask(1));
    assert_int_equal(errno, EMFILE);
    now += KEPT;
    assert_non_null(ask(1));
    assert_int_equal(taken_back(), 0);
}

/* As from a cluster whose brokers get a new id at each start, over months. */
static void any_number_of_nodes_one_after_the_other(void **state)
{
    (void)state;
    for (int32_t node = 0; node < 200; node++, now += KEPT / 2) {
        assert_non_null(ask(node));
        assert_true(bootstrap->held_count <= SIZE);
    }
    assert_int_equal(bootstrap->nodes[1].count, SIZE);
}

/* A listener of somebody else, for as long as it is open. */
static int occupy(uint16_t number)
{
    struct socket_address address;

    socket_parse("127.0.0.1", number, &address);
    int fd = socket_new(address.storage.ss_family);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address.storage, address.size), 0);
    assert_int_equal(listen(fd, 64), 0);
    return fd;
}

static unsigned count_visits(int fd)
{
    unsigned visits = 0;

    for (int visit; (visit = accept(fd, NULL, NULL)) >= 0; visits++)
        close(visit);
    return visits;
}

/* Two clients with the same thousands of ports: to look anew for each node takes minutes. */
static void what_others_have_is_looked_at_once(void **state)
{
    struct port_request requests[SIZE];
    const uint16_t first = bootstrap->node_ports.first;
    const int others[] = {occupy(first), occupy((uint16_t)(first + 2))};
    unsigned given = 0;

    (void)state;
    for (int32_t node = 0; node < SIZE; node++)
        requests[node] = (struct port_request){.endpoint_type = 1, .node = node};
    ports_nodes(bootstrap, requests, SIZE, now, NULL);
    for (size_t i = 0; i < SIZE; i++)
        given += requests[i].port != NULL;
    assert_int_equal(given, SIZE - 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(count_visits(others[i]), 1);
        close(others[i]);
    }
    /* Next time they may be free. */
    for (int32_t node = 0; node < SIZE; node++)
        assert_non_null(ask(node));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_longest_unused_makes_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_makes_way_for_what_has_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_named_lately_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_named_together_does_not_push_itself_out, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_with_a_connection_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_older_server_keeps_what_it_was_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(descriptors_are_taken_back_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_number_of_nodes_one_after_the_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_others_have_is_looked_at_once, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("ports", tests, NULL, NULL);
}

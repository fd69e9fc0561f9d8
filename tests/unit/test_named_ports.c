/* Listeners for brokers that keep their names: which broker each leads to, with real sockets. */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../tunnel-client/listeners/named_ports.h"

static struct log quiet;
static struct worker worker;
static struct ports ports;
static struct port *kafka;
static struct port *other;
static struct name_network network;
static uint64_t now_us;
static struct list withdrawn;
static const struct named_ports_turn *turn(void)
{
    static struct named_ports_turn present;

    present = (struct named_ports_turn){.now_us = now_us, .withdrawn = &withdrawn};
    return &present;
}

static uint16_t number; /* free at all of the network's addresses, in all likelihood */

static void on_connection(void *context, struct port *port, int fd,
                          const struct socket_address *peer)
{
    (void)context;
    (void)port;
    (void)fd;
    (void)peer;
    fail();
}

static struct port *open_cluster(const char *name)
{
    const struct address_ports none = {0, 0};
    struct address_named where = {.address = {.host = "127.0.0.1", .port = 0}};
    char error[300];

    snprintf(where.name, sizeof where.name, "%s", name);
    struct port *port = ports_open(&ports, MUX_TARGET_CLUSTER, &where, &none, error, sizeof error);
    assert_non_null(port);
    named_ports_keep(port);
    return port;
}

static int begin(bool may_move)
{
    log_init(&quiet, &(struct log_settings){.level = LOG_LEVEL_ERROR, .fd = STDERR_FILENO});
    worker_init(&worker, &quiet, 1 << 20);
    ports_init(&ports, &worker, "", on_connection, NULL);
    assert_null(name_network_parse("127.78.0.0/16", &network));
    named_ports_begin(&ports, &network, may_move);
    kafka = open_cluster("kafka");
    other = open_cluster("other");
    ports_plan(&ports);
    now_us = 1;
    list_init(&withdrawn);
    number = (uint16_t)(20000 + getpid() % 10000);
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return begin(false);
}

static int set_up_moving(void **state)
{
    (void)state;
    return begin(true);
}

static int tear_down(void **state)
{
    (void)state;
    ports_clear(&ports);
    worker_clear(&worker);
    return 0;
}

/* Tells a broker's address and asks for its listener, as the server does. */
static struct port *node_at(struct port *cluster, int32_t node, const char *host, uint16_t at,
                            int *failed)
{
    struct port_request request = {.endpoint_type = 1, .node = node};

    named_ports_tell(cluster, 1, node, host, at);
    named_ports_nodes(cluster, &request, 1, turn());
    if (failed)
        *failed = request.failed;
    return request.port;
}

static struct port *bootstrap_at(int32_t place, const char *host)
{
    struct address at = {.port = number};
    int failed;

    snprintf(at.host, sizeof at.host, "%s", host);
    struct port *port = named_ports_bootstrap(kafka, place, &at, turn(), &failed);

    assert_non_null(port);
    return port;
}

static void leads_to(const struct port *port, enum mux_target_kind kind, int32_t id,
                     const char *label)
{
    struct mux_target target = port_target(port);

    assert_int_equal(target.kind, kind);
    assert_int_equal(target.node_id, id);
    assert_string_equal(port->label, label);
}

static void a_name_and_a_port_make_a_listener(void **state)
{
    (void)state;
    struct port *first = node_at(kafka, 1, "b1", number, NULL);
    struct port *second = node_at(kafka, 2, "B1.", (uint16_t)(number + 1), NULL);
    struct port *third = node_at(kafka, 3, "b3", number, NULL);

    assert_true(first && second && third);
    assert_string_equal(first->host, second->host);
    assert_string_not_equal(first->host, third->host);
    assert_int_equal(strncmp(first->host, "127.78.", 7), 0);
    assert_int_equal(first->number, number);
    assert_string_equal(port_advertised_host(second), "B1.");
    leads_to(second, MUX_TARGET_BROKER, 2, "kafka/2");
    assert_ptr_equal(node_at(kafka, 1, "b1", number, NULL), first);
    assert_ptr_equal(ports_node(kafka, 1, 3), third);
}

static void an_address_is_told_as_the_listeners(void **state)
{
    (void)state;
    const struct port *port = node_at(kafka, 1, "10.0.0.1", number, NULL);

    assert_string_equal(port_advertised_host(port), port->host);
}

static void a_renamed_broker_has_two(void **state)
{
    (void)state;
    struct port *before = node_at(kafka, 1, "old", number, NULL);
    struct port *after = node_at(kafka, 1, "new", number, NULL);

    assert_true(before && after && before != after);
    leads_to(before, MUX_TARGET_BROKER, 1, "kafka/1");
    leads_to(after, MUX_TARGET_BROKER, 1, "kafka/1");
    assert_ptr_equal(ports_node(kafka, 1, 1), after);
}

static void another_broker_takes_over_a_name(void **state)
{
    (void)state;
    struct port *port = node_at(kafka, 1, "b1", number, NULL);

    assert_ptr_equal(node_at(kafka, 7, "b1", number, NULL), port);
    leads_to(port, MUX_TARGET_BROKER, 7, "kafka/7");
}

static void a_bootstrap_brokers_name_leads_to_that_one(void **state)
{
    (void)state;
    named_ports_begin_answer(kafka, now_us);
    struct port *port = bootstrap_at(3, "b1");
    leads_to(port, MUX_TARGET_BOOTSTRAP, 3, "kafka/bootstrap/3");
    assert_ptr_equal(node_at(kafka, 1, "b1", number, NULL), port);
    leads_to(port, MUX_TARGET_BOOTSTRAP, 3, "kafka/bootstrap/3");
    struct port *node = node_at(kafka, 2, "b2", number, NULL);
    assert_ptr_equal(bootstrap_at(4, "b2"), node);
    leads_to(node, MUX_TARGET_BOOTSTRAP, 4, "kafka/bootstrap/4");
    named_ports_end_answer(kafka);
    char servers[100], expected[100];
    assert_true(named_ports_bootstrap_servers(kafka, servers, sizeof servers));
    snprintf(expected, sizeof expected, "b1:%u,b2:%u", number, number);
    assert_string_equal(servers, expected);
    assert_false(named_ports_bootstrap_servers(kafka, servers, 8));
    assert_false(named_ports_bootstrap_servers(other, servers, sizeof servers));
}

/* Another server has other brokers at these places. */
static void places_of_before_mean_nothing(void **state)
{
    (void)state;
    named_ports_begin_answer(kafka, now_us);
    struct port *gone = bootstrap_at(0, "b1");
    struct port *moved = bootstrap_at(1, "b2");
    struct port *node = bootstrap_at(2, "b3");
    named_ports_end_answer(kafka);
    named_ports_begin_answer(kafka, now_us);
    assert_ptr_equal(bootstrap_at(0, "b2"), moved);
    assert_ptr_equal(node_at(kafka, 3, "b3", number, NULL), node);
    named_ports_end_answer(kafka);
    leads_to(gone, MUX_TARGET_CLUSTER, -1, "kafka");
    leads_to(moved, MUX_TARGET_BOOTSTRAP, 0, "kafka/bootstrap/0");
    leads_to(node, MUX_TARGET_BROKER, 3, "kafka/3");
}

static void expect_words(const char *text, const char *words)
{
    if (!strstr(text, words))
        fail_msg("no \"%s\" in: %s", words, text);
}

static void what_cannot_be_is_explained(void **state)
{
    (void)state;
    struct port_request untold = {.endpoint_type = 1, .node = 5};
    char error[600];
    int failed;

    assert_non_null(node_at(kafka, 1, "b1", number, NULL));
    assert_null(node_at(other, 1, "b1", number, &failed));
    assert_int_equal(failed, PORTS_FOREIGN);
    named_ports_explain_at(other, "b1", number, failed, error, sizeof error);
    expect_words(error, "of other and of another cluster");
    assert_non_null(node_at(other, 1, "b1", (uint16_t)(number + 1), NULL));
    named_ports_nodes(kafka, &untold, 1, turn());
    assert_null(untold.port);
    named_ports_explain(kafka, &untold, error, sizeof error);
    expect_words(error, "has not told the name of node 5 of kafka");
}

/* Somebody else has the port at a name's address. */
static struct listener *take_place_of(const char *host)
{
    struct socket_address address;
    char text[NAME_ADDRESS_MAX];

    kept_name_address(&ports.names, kept_names_tell(&ports.names, host), text);
    socket_parse(text, number, &address);
    return listener_new(&worker, "taken", &address, NULL, NULL);
}

static void a_port_in_use_is_named(void **state)
{
    (void)state;
    struct listener *taken = take_place_of("b1");
    char error[600];
    int failed;

    assert_non_null(taken);
    assert_null(node_at(kafka, 1, "b1", number, &failed));
    assert_int_equal(failed, EADDRINUSE);
    named_ports_explain_at(kafka, "b1", number, failed, error, sizeof error);
    expect_words(error, "is in use there");
    listener_free(taken);
    assert_non_null(node_at(kafka, 1, "b1", number, &failed));
}

static void a_name_that_nobody_knows_moves(void **state)
{
    (void)state;
    struct listener *taken = take_place_of("b1");
    char before[NAME_ADDRESS_MAX], after[NAME_ADDRESS_MAX];
    struct kept_name *name = kept_names_tell(&ports.names, "b1");
    int failed;

    kept_name_address(&ports.names, name, before);
    const struct port *port = node_at(kafka, 1, "b1", number, NULL);
    assert_non_null(port);
    kept_name_address(&ports.names, name, after);
    assert_string_not_equal(before, after);
    assert_string_equal(port->host, after);
    listener_free(taken);
    /* With a listener it stays. */
    number++;
    taken = take_place_of("b1");
    assert_non_null(taken);
    assert_null(node_at(kafka, 2, "b1", number, &failed));
    assert_int_equal(failed, EADDRINUSE);
    listener_free(taken);
}

/* ---- how many there are */

static void time_passes(void)
{
    now_us += PORTS_KEPT_S * UINT64_C(1000000);
}

/* A node's listener was taken back, and the server has to be told; 0: none was. */
static int32_t take_withdrawn(void)
{
    if (list_empty(&withdrawn))
        return 0;
    const struct port *port = list_entry(withdrawn.next, struct port, node);
    int32_t node = port->known_node;

    assert_int_equal(port->known_type, 1);
    assert_ptr_equal(withdrawn.next->next, &withdrawn);
    ports_forget(&withdrawn);
    return node;
}

static void only_so_many_are_opened(void **state)
{
    (void)state;
    char error[600];
    int failed;

    kafka->held_count = NAMED_PORTS_MAX - 2;
    assert_non_null(node_at(kafka, 1, "b1", number, NULL));
    assert_non_null(node_at(kafka, 2, "b2", number, NULL));
    assert_null(node_at(kafka, 3, "b3", number, &failed));
    assert_int_equal(failed, PORTS_TOO_MANY);
    named_ports_explain_at(kafka, "b3", number, failed, error, sizeof error);
    expect_words(error, "makes way");
    /* What has no listener costs nothing. */
    assert_null(kept_names_find(&ports.names, "b3"));
    assert_non_null(node_at(kafka, 2, "b2", number, NULL));
    assert_non_null(node_at(other, 1, "o1", number, NULL));
    /* Descriptors are bounded as well. */
    ports.node_sockets_max = ports.node_sockets;
    assert_null(node_at(other, 2, "o2", number, &failed));
    assert_int_equal(failed, EMFILE);
}

static void what_is_named_no_more_makes_way(void **state)
{
    (void)state;
    kafka->held_count = NAMED_PORTS_MAX - 2;
    assert_non_null(node_at(kafka, 1, "b1", number, NULL));
    assert_non_null(node_at(kafka, 2, "b2", number, NULL));
    time_passes();
    assert_non_null(node_at(kafka, 1, "b1", number, NULL));
    assert_int_equal(take_withdrawn(), 0);
    assert_non_null(node_at(kafka, 3, "b3", number, NULL));
    assert_int_equal(take_withdrawn(), 2);
    assert_null(ports_node(kafka, 1, 2));
    assert_non_null(ports_node(kafka, 1, 1));
    assert_null(node_at(kafka, 2, "b2", number, NULL));
    time_passes();
    assert_non_null(node_at(kafka, 2, "b2", number, NULL));
    assert_int_equal(take_withdrawn(), 1);
    assert_int_equal(kafka->held_count, NAMED_PORTS_MAX);
    assert_int_equal(kept_names_find(&ports.names, "b1")->listeners, 0);
}

static void a_name_of_before_makes_way_first(void **state)
{
    (void)state;
    kafka->held_count = NAMED_PORTS_MAX - 2;
    assert_non_null(node_at(kafka, 1, "old", number, NULL));
    assert_non_null(node_at(kafka, 1, "new", number, NULL));
    time_passes();
    assert_non_null(node_at(kafka, 2, "b2", number, NULL));
    /* No server names that one any more. */
    assert_int_equal(take_withdrawn(), 0);
    assert_string_equal(port_advertised_host(ports_node(kafka, 1, 1)), "new");
    assert_int_equal(kept_names_find(&ports.names, "old")->listeners, 0);
}

static void what_is_in_use_does_not_make_way(void **state)
{
    (void)state;
    kafka->held_count = NAMED_PORTS_MAX - 2;
    named_ports_begin_answer(kafka, now_us);
    assert_non_null(bootstrap_at(0, "b0"));
    named_ports_end_answer(kafka);
    assert_non_null(node_at(kafka, 9, "b0", number, NULL));
    struct port *port = node_at(kafka, 1, "b1", number, NULL);
    port_begin(port);
    time_passes();
    assert_null(node_at(kafka, 2, "b2", number, NULL));
    port_end(port, now_us);
    assert_null(node_at(kafka, 2, "b2", number, NULL));
    time_passes();
    assert_non_null(node_at(kafka, 2, "b2", number, NULL));
    assert_int_equal(take_withdrawn(), 1);
    /* Another server has no such bootstrap broker. */
    named_ports_begin_answer(kafka, now_us);
    named_ports_end_answer(kafka);
    assert_null(node_at(kafka, 3, "b3", number, NULL));
    time_passes();
    assert_non_null(node_at(kafka, 2, "b2", number, NULL));
    assert_non_null(node_at(kafka, 3, "b3", number, NULL));
    assert_int_equal(take_withdrawn(), 9);
}

/* Whichever is known as which node's: no way leads to one that is gone. */
static void nodes_that_share_a_listener(void **state)
{
    (void)state;
    kafka->held_count = NAMED_PORTS_MAX - 1;
    struct port *port = node_at(kafka, 1, "b1", number, NULL);

    assert_ptr_equal(node_at(kafka, 2, "b1", number, NULL), port);
    assert_ptr_equal(node_at(kafka, 1, "b1", number, NULL), port);
    assert_null(ports_node(kafka, 1, 2));
    time_passes();
    assert_non_null(node_at(kafka, 3, "b3", number, NULL));
    assert_int_equal(take_withdrawn(), 1);
    assert_null(ports_node(kafka, 1, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_name_and_a_port_make_a_listener, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_address_is_told_as_the_listeners, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_renamed_broker_has_two, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_broker_takes_over_a_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bootstrap_brokers_name_leads_to_that_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(places_of_before_mean_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_explained, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_port_in_use_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_that_nobody_knows_moves, set_up_moving, tear_down),
        cmocka_unit_test_setup_teardown(only_so_many_are_opened, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_named_no_more_makes_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_of_before_makes_way_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_in_use_does_not_make_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nodes_that_share_a_listener, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("named_ports", tests, NULL, NULL);
}

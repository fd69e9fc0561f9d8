/* What the server knows of a client's listeners, and when those who wait for them hear of it. */
#include "../lib/cmocka.h"

#include <event2/event.h>
#include <unistd.h>

#include "../../tunnel-server/brokers/node_listeners.h"
#include "base/bytes.h"
#include "io/clock.h"
#include "mux/session_core.h"

static struct log quiet;

static void drop_line(void *context, const char *line, size_t size)
{
    (void)context;
    (void)line;
    (void)size;
}

static struct worker worker;
static struct mux_session *mux;
static struct cluster cluster;
static struct node_listeners listeners;
static const struct address_cluster settings = {.name = "kafka"};

/* A clock of our own, in place of io/clock.c. */
static uint64_t now;

uint64_t clock_now_us(void)
{
    return now;
}

/* Nodes that EXPOSE messages name, of what the session was about to send. */
static unsigned count_exposed(void)
{
    struct mux_expose_reader reader;
    struct mux_exposed_node node;
    uint8_t bytes[1 << 18];
    struct byte_queue *queue = &mux->control.send;
    unsigned count = 0;

    size_t size = byte_queue_read(queue, bytes, sizeof bytes);
    for (size_t at = 0; at < size; at += 4 + byte_load_u16(bytes + at + 2)) {
        if (bytes[at] != MUX_EXPOSE)
            continue;
        assert_true(mux_expose_read(&reader, bytes + at + 4, byte_load_u16(bytes + at + 2)));
        while (mux_expose_next(&reader, &node))
            count++;
        assert_int_equal(mux_expose_flags(&reader), MUX_EXPOSE_MAY_WITHDRAW);
    }
    return count;
}

static int set_up(void **state)
{
    static const struct mux_session_key key;
    struct mux_settings mux_settings;

    (void)state;
    now = 1000 * 1000;
    log_init(&quiet, &(struct log_settings){.level = LOG_LEVEL_ERROR, .sink = drop_line});
    worker_init(&worker, &quiet, 1 << 24);
    mux_settings_default(&mux_settings);
    mux_settings.role = MUX_SERVER;
    mux = mux_session_new(&mux_settings, NULL, NULL, &key, &worker.pool, &worker.share);
    cluster_init(&cluster, &worker, &settings, (struct cluster_access){.check = true});
    node_listeners_init(&listeners, &worker, mux, &settings, 1, "session");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    node_listeners_clear(&listeners);
    cluster_clear(&cluster);
    mux_session_free(mux);
    worker_clear(&worker);
    return 0;
}

/* ---- somebody who waits */

struct waiter {
    struct node_wait wait;
    unsigned answers;
    int32_t first;
    int32_t count;
    int found; /* the worst of what it found when it was told */
};

static int find_at(int32_t node, const char *host, struct kafka_address *local)
{
    const struct kafka_address real = {host, strlen(host), 9092};

    return node_listeners_find(&listeners, 0, KAFKA_ENDPOINT_BROKER, node, &real, local);
}

static int find(int32_t node)
{
    struct kafka_address local;

    return find_at(node, "broker", &local);
}

static void on_answered(void *context)
{
    struct waiter *waiter = context;

    waiter->answers++;
    waiter->found = 0;
    for (int32_t i = 0; i < waiter->count && waiter->found == 0; i++)
        waiter->found = find(waiter->first + i);
}

static void on_timed_out(void *context)
{
    (void)context;
    fail();
}

static const struct node_wait_owner owner = {.answered = on_answered, .timed_out = on_timed_out};

static void wait_for(struct waiter *waiter, int32_t first, int32_t count)
{
    struct kafka_wanted nodes[1000];

    *waiter = (struct waiter){
        .wait = {.owner = &owner, .context = waiter}, .first = first, .count = count};
    list_init(&waiter->wait.node);
    for (int32_t i = 0; i < count; i++)
        nodes[i] = (struct kafka_wanted){KAFKA_ENDPOINT_BROKER, first + i};
    node_listeners_ask(&listeners, 0, &cluster, nodes, (size_t)count);
    node_listeners_wait(&listeners, &waiter->wait);
}

/* The client's answer for some nodes, in as many messages as it takes; port 0: it has none. */
static void answer(int32_t first, int32_t count, uint16_t port)
{
    uint8_t payload[MUX_MESSAGE_PAYLOAD_MAX];
    struct mux_expose_writer writer;
    int32_t i = 0;

    do {
        mux_expose_begin(&writer, payload, sizeof payload, (struct mux_text){"kafka", 5});
        while (i < count && mux_exposed_add(&writer, KAFKA_ENDPOINT_BROKER, first + i, port,
                                            (struct mux_text){"127.0.0.1", 9}))
            i++;
        node_listeners_receive(&listeners, payload, mux_expose_end(&writer));
    } while (i < count);
}

static void a_response_is_looked_at_once_for_all_its_nodes(void **state)
{
    (void)state;
    struct waiter waiter;

    wait_for(&waiter, 0, 1000);
    for (int32_t i = 0; i < 1000; i++) {
        assert_int_equal(waiter.answers, 0);
        assert_int_equal(find(i), 1);
        answer(i, 1, 9000);
        assert_int_equal(find(i), 0);
    }
    assert_int_equal(waiter.answers, 1);
    assert_int_equal(waiter.found, 0);
    assert_true(list_empty(&waiter.wait.node));
}

static void what_answers_nothing_wakes_nobody(void **state)
{
    (void)state;
    struct waiter waiter;

    wait_for(&waiter, 0, 2);
    answer(0, 0, 9000);
    answer(7, 1, 9000);
    answer(0, 1, 9000);
    for (int i = 0; i < 100; i++)
        answer(0, 1, 9000);
    assert_int_equal(waiter.answers, 0);
    answer(1, 1, 9000);
    assert_int_equal(waiter.answers, 1);
    assert_int_equal(find(7), 1);
}

static void nobody_waits_for_what_others_ask_later(void **state)
{
    (void)state;
    struct waiter first;
    struct waiter second;

    wait_for(&first, 0, 3);
    wait_for(&second, 2, 3);
    answer(0, 3, 9000);
    assert_int_equal(first.answers, 1);
    assert_int_equal(second.answers, 0);
    answer(3, 2, 9000);
    assert_int_equal(second.answers, 1);
}

/* WITHDRAWN for some nodes. */
static void withdraw(int32_t first, int32_t count)
{
    uint8_t payload[MUX_MESSAGE_PAYLOAD_MAX];
    struct mux_expose_writer writer;

    mux_expose_begin(&writer, payload, sizeof payload, (struct mux_text){"kafka", 5});
    for (int32_t i = 0; i < count; i++)
        assert_true(mux_expose_add(&writer, KAFKA_ENDPOINT_BROKER, first + i));
    node_listeners_withdrawn(&listeners, payload, mux_expose_end(&writer));
}

static void what_is_withdrawn_is_asked_for_again(void **state)
{
    (void)state;
    struct waiter waiter;

    wait_for(&waiter, 0, 3);
    assert_int_equal(count_exposed(), 3);
    /* Sent before the client knew of the question. */
    withdraw(0, 3);
    answer(0, 3, 9000);
    assert_int_equal(waiter.found, 0);
    withdraw(1, 1);
    withdraw(7, 1);
    assert_int_equal(find(0), 0);
    assert_int_equal(find(1), 1);
    wait_for(&waiter, 0, 3);
    assert_int_equal(count_exposed(), 1);
    answer(1, 1, 9001);
    assert_int_equal(waiter.answers, 1);
    assert_int_equal(waiter.found, 0);
}

static void run_timer(void)
{
    timer_fire(listeners.timer);
    event_base_loop(worker.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void what_is_named_is_named_to_the_client_every_minute(void **state)
{
    (void)state;
    struct waiter waiter;

    wait_for(&waiter, 0, 1000);
    answer(0, 1000, 9000);
    assert_int_equal(count_exposed(), 1000);
    now += 59 * 1000 * 1000;
    for (int32_t i = 0; i < 1000; i++)
        assert_int_equal(find(i), 0);
    run_timer();
    assert_int_equal(count_exposed(), 0);
    now += 1000 * 1000;
    for (unsigned times = 0; times < 3; times++)
        for (int32_t i = 0; i < 500; i++)
            assert_int_equal(find(i), 0);
    run_timer();
    assert_int_equal(count_exposed(), 500);
    /* That answer is no news; a new place is. */
    answer(0, 500, 9000);
    answer(3, 1, 9003);
    struct kafka_address local;
    assert_int_equal(find_at(3, "broker", &local), 0);
    assert_int_equal(local.port, 9003);
    run_timer();
    assert_int_equal(count_exposed(), 0);
}

static void a_full_book_forgets_what_nobody_names(void **state)
{
    (void)state;
    struct waiter waiter;

    for (int32_t i = 0; i < CLUSTER_NODES_MAX; i += 1000) {
        wait_for(&waiter, i, 1000);
        answer(i, 1000, 9000);
    }
    assert_int_equal(find(CLUSTER_NODES_MAX), -1);
    now += (uint64_t)600 * 1000 * 1000;
    assert_int_equal(find(0), 0);
    assert_int_equal(find(CLUSTER_NODES_MAX), 1);
    assert_int_equal(find(0), 0);
    assert_int_equal(find(1), 1);
}

static bool announce(int32_t node)
{
    static const struct kafka_address at = {.host = "b.example", .host_size = 9, .port = 9092};

    return cluster_announce(&cluster, KAFKA_ENDPOINT_BROKER, node, &at);
}

static bool is_known(int32_t node)
{
    struct address address;

    return cluster_node(&cluster, KAFKA_ENDPOINT_BROKER, node, &address);
}

static void a_full_address_book_forgets_what_nobody_names(void **state)
{
    (void)state;
    for (int32_t i = 0; i < CLUSTER_NODES_MAX; i++)
        assert_true(announce(i));
    now += (uint64_t)600 * 1000 * 1000 - 1;
    assert_true(announce(0));
    assert_false(announce(CLUSTER_NODES_MAX));
    now += 1;
    assert_true(announce(CLUSTER_NODES_MAX));
    assert_int_equal(cluster_node_count(&cluster), CLUSTER_NODES_MAX);
    assert_true(is_known(0) && !is_known(1) && is_known(CLUSTER_NODES_MAX));
}

static void a_failure_is_an_answer_and_forgotten(void **state)
{
    (void)state;
    struct waiter waiter;

    wait_for(&waiter, 0, 2);
    answer(0, 1, 0);
    /* Who names it meanwhile hears the same, and does not ask again. */
    assert_int_equal(find(0), -1);
    answer(1, 1, 9000);
    assert_int_equal(waiter.answers, 1);
    assert_int_equal(waiter.found, -1);
    assert_int_equal(find(0), 1);
    assert_int_equal(find(1), 0);
    wait_for(&waiter, 0, 1);
    answer(0, 1, 9000);
    assert_int_equal(find(0), 0);
}

/* ---- a client that keeps names */

/* A response announces the node at host:9092: as on_answered(), for one node. */
struct response {
    struct node_wait wait;
    const char *host;
    int found;
};

static void look_at_response(void *context)
{
    struct response *response = context;
    const struct kafka_address real = {response->host, strlen(response->host), 9092};
    const struct kafka_wanted wanted = {KAFKA_ENDPOINT_BROKER, 1};
    struct kafka_address local;

    cluster_announce(&cluster, KAFKA_ENDPOINT_BROKER, 1, &real);
    response->found = find_at(1, response->host, &local);
    if (response->found == 0) {
        assert_int_equal(local.host_size, strlen(response->host));
        assert_memory_equal(local.host, response->host, local.host_size);
    }
    if (response->found != 1)
        return;
    node_listeners_ask(&listeners, 0, &cluster, &wanted, 1);
    node_listeners_wait(&listeners, &response->wait);
}

static const struct node_wait_owner response_owner = {.answered = look_at_response,
                                                      .timed_out = on_timed_out};

static void respond(struct response *response, const char *host)
{
    *response =
        (struct response){.wait = {.owner = &response_owner, .context = response}, .host = host};
    list_init(&response->wait.node);
    look_at_response(response);
}

/* The name in the NAMES that came right before an EXPOSE, of what the session was about to send; ""
 * if there was nothing. */
static void take_name(char name[64])
{
    struct mux_expose_reader reader;
    struct mux_exposed_node node = {.endpoint_type = 0};
    struct mux_text reason;
    uint8_t bytes[1 << 16];
    uint8_t flags = 0xff;
    size_t size = byte_queue_read(&mux->control.send, bytes, sizeof bytes);

    name[0] = '\0';
    if (size == 0)
        return;
    assert_int_equal(bytes[0], MUX_NAMES);
    assert_true(mux_expose_read(&reader, bytes + 4, byte_load_u16(bytes + 2)));
    assert_true(mux_exposed_next(&reader, &node));
    assert_true(node.endpoint_type == 1 && node.node_id == 1 && node.port == 9092);
    snprintf(name, 64, "%.*s", (int)node.host.size, node.host.bytes);
    assert_true(mux_names_tail(&reader, &flags, &reason));
    assert_true(flags == 0 && reason.size == 0);
    size_t second = (size_t)4 + byte_load_u16(bytes + 2);
    assert_int_equal(bytes[second], MUX_EXPOSE);
    assert_int_equal(second + 4 + byte_load_u16(bytes + second + 2), size);
}

/* As a client does that keeps the name it was told last. */
static void answer_with(const char *host, uint16_t port)
{
    uint8_t payload[MUX_MESSAGE_PAYLOAD_MAX];
    struct mux_expose_writer writer;

    mux_expose_begin(&writer, payload, sizeof payload, (struct mux_text){"kafka", 5});
    mux_exposed_add(&writer, KAFKA_ENDPOINT_BROKER, 1, port, mux_text_of(host));
    node_listeners_receive(&listeners, payload, mux_expose_end(&writer));
}

static void a_name_is_told_before_a_listener_is_asked_for(void **state)
{
    (void)state;
    struct response response;
    char name[64];

    node_listeners_keep_names(&listeners, 0);
    respond(&response, "b1.example");
    take_name(name);
    assert_string_equal(name, "b1.example");
    assert_int_equal(response.found, 1);
    answer_with(name, 9092);
    assert_int_equal(response.found, 0);
    respond(&response, "b1.example");
    assert_int_equal(response.found, 0);
    take_name(name);
    assert_string_equal(name, "");
}

static void a_new_name_is_told_before_it_is_passed_on(void **state)
{
    (void)state;
    struct response response;
    char name[64];

    node_listeners_keep_names(&listeners, 0);
    respond(&response, "old");
    take_name(name);
    answer_with(name, 9092);
    respond(&response, "new");
    assert_int_equal(response.found, 1);
    take_name(name);
    assert_string_equal(name, "new");
    answer_with(name, 0); /* the client cannot */
    assert_int_equal(response.found, -1);
    respond(&response, "new");
    take_name(name);
    assert_string_equal(name, "new");
    answer_with(name, 9092);
    assert_int_equal(response.found, 0);
}

/* While a broker is renamed, some brokers know it by one name and some by the other. */
static void two_names_of_one_node_take_turns(void **state)
{
    (void)state;
    static const char *const hosts[] = {"old", "new"};
    struct response responses[6];
    char name[64];
    unsigned rounds = 0;

    node_listeners_keep_names(&listeners, 0);
    for (size_t i = 0; i < 6; i++)
        respond(&responses[i], hosts[i % 2]);
    for (take_name(name); name[0]; take_name(name)) {
        answer_with(name, 9092);
        rounds++;
    }
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(responses[i].found, 0);
    assert_in_range(rounds, 2, 6);
}

/* Whatever part of the program hears of it. */
static void what_is_no_host_is_in_no_address_book(void **state)
{
    (void)state;
    static const char *const hosts[] = {"b1\n6.6.6.6 bank", "b1\x1b]0;x", "b1 b2", "b\xc3\xa4", ""};
    struct address at;

    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        const struct kafka_address real = {hosts[i], strlen(hosts[i]), 9092};
        assert_false(cluster_announce(&cluster, KAFKA_ENDPOINT_BROKER, 1, &real));
        assert_false(cluster_node(&cluster, KAFKA_ENDPOINT_BROKER, 1, &at));
    }
    const struct kafka_address nul = {"b1\0junk", 7, 9092};
    assert_false(cluster_announce(&cluster, KAFKA_ENDPOINT_BROKER, 1, &nul));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_response_is_looked_at_once_for_all_its_nodes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_answers_nothing_wakes_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_withdrawn_is_asked_for_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_named_is_named_to_the_client_every_minute, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_full_book_forgets_what_nobody_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_address_book_forgets_what_nobody_names, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(nobody_waits_for_what_others_ask_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_is_an_answer_and_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_is_told_before_a_listener_is_asked_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_new_name_is_told_before_it_is_passed_on, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(two_names_of_one_node_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_host_is_in_no_address_book, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("node_listeners", tests, NULL, NULL);
}

/* What the server knows of a client's listeners, and when those who wait for them hear of it. */
#include "../lib/cmocka.h"

#include <string.h>
#include <unistd.h>

#include "../../tunnel-server/node_listeners.h"

static struct log quiet;
static struct worker worker;
static struct mux_session *mux;
static struct cluster cluster;
static struct node_listeners listeners;
static const struct address_cluster settings = {.name = "kafka"};

static void ignore_output(void *context)
{
    (void)context;
}

static const struct mux_callbacks callbacks = {.output = ignore_output};

static int set_up(void **state)
{
    static const struct mux_session_key key;
    struct mux_settings mux_settings;

    (void)state;
    log_init(&quiet, &(struct log_settings){.level = LOG_LEVEL_ERROR, .fd = STDERR_FILENO});
    worker_init(&worker, &quiet, 1 << 24);
    mux_settings_default(&mux_settings);
    mux_settings.role = MUX_SERVER;
    mux = mux_session_new(&mux_settings, &callbacks, NULL, &key, &worker.pool, &worker.share);
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

static int find(int32_t node)
{
    struct kafka_address local;

    return node_listeners_find(&listeners, 0, KAFKA_ENDPOINT_BROKER, node, &local);
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

/* The client's answer for some nodes, port 0: it has none. */
static void answer(int32_t first, int32_t count, uint16_t port)
{
    uint8_t payload[MUX_MESSAGE_PAYLOAD_MAX];
    struct mux_expose_writer writer;

    mux_expose_begin(&writer, payload, sizeof payload, (struct mux_text){"kafka", 5});
    for (int32_t i = 0; i < count; i++)
        assert_true(mux_exposed_add(&writer, KAFKA_ENDPOINT_BROKER, first + i, port,
                                    (struct mux_text){"127.0.0.1", 9}));
    node_listeners_receive(&listeners, payload, mux_expose_end(&writer));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_response_is_looked_at_once_for_all_its_nodes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_answers_nothing_wakes_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_waits_for_what_others_ask_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_is_an_answer_and_forgotten, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("node_listeners", tests, NULL, NULL);
}

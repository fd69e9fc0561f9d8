/* Look-ups with a getaddrinfo() of the test's own, which waits until it is let go. */
#include "../lib/cmocka.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/resolver.h"

enum { NAMES = 30, SOON_MS = 50, LATE_MS = 20000 };

/* What the threads do, and have done. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed;     /* they wait at the gate */
    unsigned inside; /* at the gate, and at the most so far */
    unsigned highest;
    unsigned calls;
    int status; /* with AI_ADDRCONFIG; without it a name is always found */
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct worker worker;
static struct log quiet;
static unsigned answers, errors;
static char said[200];
static uint16_t ports[NAMES];

static int fake(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    struct addrinfo numeric = *hints;

    (void)host;
    pthread_mutex_lock(&gate.lock);
    gate.calls++;
    if (++gate.inside > gate.highest)
        gate.highest = gate.inside;
    while (gate.closed)
        pthread_cond_wait(&gate.changed, &gate.lock);
    gate.inside--;
    int status = hints->ai_flags & AI_ADDRCONFIG ? gate.status : 0;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    if (status != 0)
        return status;
    numeric.ai_flags = AI_NUMERICHOST;
    return getaddrinfo("192.0.2.7", service, &numeric, found);
}

static void set_gate(bool closed)
{
    pthread_mutex_lock(&gate.lock);
    gate.closed = closed;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

/* Threads are counted by the test only once they have begun. */
static void wait_inside(unsigned count)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.inside < count) {
        pthread_mutex_unlock(&gate.lock);
        usleep(1000);
        pthread_mutex_lock(&gate.lock);
    }
    pthread_mutex_unlock(&gate.lock);
}

static int begin(void **state)
{
    (void)state;
    const struct log_settings settings = {.fd = -1};

    gate.closed = false;
    gate.inside = gate.highest = gate.calls = 0;
    gate.status = 0;
    answers = errors = 0;
    log_init(&quiet, &settings);
    assert_true(worker_init(&worker, &quiet, 1 << 20));
    resolver_replace(&worker, fake);
    return 0;
}

static int end(void **state)
{
    (void)state;
    worker_clear(&worker);
    set_gate(false);
    /* Threads that have outlived the worker end by themselves. */
    pthread_mutex_lock(&gate.lock);
    while (gate.inside > 0)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    return 0;
}

static void on_answer(void *context, const struct resolver_result *result)
{
    uint16_t *port = context;

    if (result->error) {
        errors++;
        snprintf(said, sizeof said, "%s", result->error);
        return;
    }
    answers++;
    if (port)
        *port = socket_port(&result->addresses[0]);
}

static struct resolver_query *ask(const char *host, uint16_t port, unsigned timeout_ms,
                                  uint16_t *answered)
{
    return resolver_lookup(&worker, host, port, timeout_ms, on_answer, answered);
}

static void run_until(unsigned wanted)
{
    uint64_t limit = clock_now_us() + 10 * 1000 * 1000;

    while (answers + errors < wanted) {
        const struct timeval turn = {0, 20 * 1000};
        assert_true(clock_now_us() < limit);
        event_base_loopexit(worker.base, &turn);
        event_base_dispatch(worker.base);
    }
}

static void one_look_up_is_for_all_who_ask(void **state)
{
    (void)state;

    set_gate(true);
    for (uint16_t i = 0; i < 5; i++)
        ask(i % 2 ? "Broker.example" : "broker.example", (uint16_t)(9092 + i), LATE_MS, &ports[i]);
    wait_inside(1);
    set_gate(false);
    run_until(5);
    assert_true(answers == 5 && gate.calls == 1);
    for (uint16_t i = 0; i < 5; i++)
        assert_int_equal(ports[i], 9092 + i);
    /* Nothing is kept: who asks later wants to know how it is then. */
    ask("broker.example", 1, LATE_MS, NULL);
    run_until(6);
    assert_int_equal(gate.calls, 2);
}

static void threads_are_bounded_and_others_wait(void **state)
{
    (void)state;
    char name[40];

    set_gate(true);
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "b%u.example", i);
        ask(name, 1, LATE_MS, NULL);
    }
    wait_inside(RESOLVER_THREADS);
    /* Of those that wait one has no time, and says so when that is over. */
    ask("hurry.example", 1, SOON_MS, NULL);
    run_until(1);
    assert_int_equal(errors, 1);
    assert_non_null(strstr(said, "in time"));
    set_gate(false);
    run_until(1 + NAMES);
    assert_int_equal(answers, NAMES);
    assert_int_equal(gate.calls, NAMES);
    assert_int_equal(gate.highest, RESOLVER_THREADS);
}

/* A name server that does not answer: the same thread is waited for again and again. */
static void an_outage_makes_no_new_threads(void **state)
{
    (void)state;

    set_gate(true);
    for (unsigned i = 1; i <= 5; i++) {
        ask("broker.example", 1, SOON_MS, NULL);
        run_until(i);
    }
    assert_true(errors == 5 && gate.calls == 1);
    ask("broker.example", 1, LATE_MS, NULL);
    set_gate(false);
    run_until(6);
    assert_true(answers == 1 && gate.calls == 1);
}

static void who_cancels_leaves_the_others(void **state)
{
    (void)state;

    set_gate(true);
    struct resolver_query *first = ask("broker.example", 1, LATE_MS, NULL);
    ask("broker.example", 2, LATE_MS, &ports[0]);
    for (unsigned i = 0; i < RESOLVER_THREADS; i++) {
        char name[40];
        snprintf(name, sizeof name, "b%u.example", i);
        ask(name, 1, LATE_MS, NULL);
    }
    struct resolver_query *waits = ask("waits.example", 1, LATE_MS, NULL);
    wait_inside(RESOLVER_THREADS);
    resolver_cancel(first);
    resolver_cancel(waits);
    resolver_cancel(NULL);
    set_gate(false);
    run_until(1 + RESOLVER_THREADS);
    assert_true(answers == 1 + RESOLVER_THREADS && ports[0] == 2);
    assert_int_equal(gate.calls, 1 + RESOLVER_THREADS);
}

/* Offline with a link-local address (EAI_AGAIN), or with loopback alone (EAI_NONAME). */
static void a_family_that_was_left_out_is_asked_for_again(void **state)
{
    (void)state;
    static const int statuses[] = {EAI_AGAIN, EAI_NONAME, EAI_FAIL};

    for (unsigned i = 0; i < 3; i++) {
        gate.status = statuses[i];
        gate.calls = 0;
        ask("hosts-file.example", 1, LATE_MS, NULL);
        run_until(i + 1);
        assert_true(answers == i + 1 && gate.calls == 2);
    }
    gate.status = EAI_MEMORY;
    gate.calls = 0;
    ask("hosts-file.example", 1, LATE_MS, NULL);
    run_until(4);
    assert_true(errors == 1 && gate.calls == 1);
}

static void on_loopback(void *context, const struct resolver_result *result)
{
    (void)context;
    assert_null(result->error);
    assert_true(result->count >= 1 && result->count <= 2);
    for (size_t i = 0; i < result->count; i++)
        assert_true(socket_is_loopback(&result->addresses[i]) &&
                    socket_port(&result->addresses[i]) == 9092);
    answers++;
}

static void localhost_needs_no_name_server(void **state)
{
    (void)state;
    static const char *const names[] = {"localhost",     "LOCALHOST", "localhost.",
                                        "a.b.localhost", "127.0.0.1", "::1"};
    static const char *const others[] = {"notlocalhost", "localhost.example", "localhos"};

    for (unsigned i = 0; i < 6; i++) {
        resolver_lookup(&worker, names[i], 9092, LATE_MS, on_loopback, NULL);
        assert_int_equal(answers, i); /* never from inside the call */
        run_until(i + 1);
    }
    assert_int_equal(gate.calls, 0);
    for (unsigned i = 0; i < 3; i++)
        ask(others[i], 1, LATE_MS, NULL);
    run_until(9);
    assert_int_equal(gate.calls, 3);
}

static void without_descriptors_there_is_an_answer(void **state)
{
    (void)state;
    struct rlimit before, none;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    ask("broker.example", 1, LATE_MS, NULL);
    assert_int_equal(errors, 0);
    run_until(1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_non_null(strstr(said, "no file descriptor"));
    ask("broker.example", 1, LATE_MS, NULL);
    run_until(2);
    assert_int_equal(answers, 1);
}

/* The program ends while a name server is silent. */
static void a_worker_waits_for_no_thread(void **state)
{
    (void)state;
    struct resolver_query *query;

    set_gate(true);
    query = ask("broker.example", 1, LATE_MS, NULL);
    wait_inside(1);
    resolver_cancel(query);
}

#define WITH_A_WORKER(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_A_WORKER(one_look_up_is_for_all_who_ask),
        WITH_A_WORKER(threads_are_bounded_and_others_wait),
        WITH_A_WORKER(an_outage_makes_no_new_threads),
        WITH_A_WORKER(who_cancels_leaves_the_others),
        WITH_A_WORKER(a_family_that_was_left_out_is_asked_for_again),
        WITH_A_WORKER(localhost_needs_no_name_server),
        WITH_A_WORKER(without_descriptors_there_is_an_answer),
        WITH_A_WORKER(a_worker_waits_for_no_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

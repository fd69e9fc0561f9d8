/* Watches call back from the loop only, while they are wanted, and may be freed by their callbacks.
 */
#include "../lib/cmocka.h"

#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/watch.h"
#include "io/worker.h"

static struct fixture {
    struct worker worker;
    struct log log;
    int ends[2]; /* the first one is watched */
    struct watch *readable;
    struct watch *writable;
    int reads;
    int writes;
    void (*then)(void); /* after a read */
} f;

static void on_readable(void *argument)
{
    assert_ptr_equal(argument, &f.reads);
    f.reads++;
    if (f.then)
        f.then();
}

static void on_writable(void *argument)
{
    assert_ptr_equal(argument, &f.writes);
    f.writes++;
}

static int begin(void **state)
{
    struct log_settings settings = {.level = LOG_LEVEL_ERROR, .fd = STDERR_FILENO};

    (void)state;
    memset(&f, 0, sizeof f);
    log_init(&f.log, &settings);
    assert_true(worker_init(&f.worker, &f.log, 1 << 20));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, f.ends), 0);
    f.readable = watch_new(&f.worker, f.ends[0], WATCH_READ, on_readable, &f.reads);
    f.writable = watch_new(&f.worker, f.ends[0], WATCH_WRITE, on_writable, &f.writes);
    return 0;
}

static int end(void **state)
{
    (void)state;
    watch_free(f.readable);
    watch_free(f.writable);
    close(f.ends[0]);
    close(f.ends[1]);
    worker_clear(&f.worker);
    return 0;
}

static void turn(void)
{
    event_base_loop(f.worker.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void send_byte(void)
{
    assert_int_equal(write(f.ends[1], "x", 1), 1);
}

static void take_byte(void)
{
    char byte;

    assert_int_equal(read(f.ends[0], &byte, 1), 1);
}

static void it_comes_as_long_as_it_is_wanted(void **state)
{
    (void)state;
    send_byte();
    turn();
    assert_int_equal(f.reads, 0);
    assert_false(watch_is_wanted(f.readable));
    watch_want(f.readable, true);
    assert_true(watch_is_wanted(f.readable));
    turn();
    turn();
    assert_int_equal(f.reads, 2);
    take_byte();
    turn();
    assert_int_equal(f.reads, 2);
    send_byte();
    turn();
    assert_int_equal(f.reads, 3);
    watch_want(f.readable, false);
    turn();
    assert_int_equal(f.reads, 3);
    assert_int_equal(f.writes, 0);
}

static void wanting_twice_is_wanting_once(void **state)
{
    (void)state;
    send_byte();
    watch_want(f.readable, true);
    watch_want(f.readable, true);
    turn();
    assert_int_equal(f.reads, 1);
    watch_want(f.readable, false);
    watch_want(f.readable, false);
    assert_false(watch_is_wanted(f.readable));
    turn();
    assert_int_equal(f.reads, 1);
    watch_want(f.readable, true);
    turn();
    assert_int_equal(f.reads, 2);
}

static void each_direction_is_wanted_by_itself(void **state)
{
    (void)state;
    send_byte();
    watch_want(f.readable, true);
    watch_want(f.writable, true);
    turn();
    assert_int_equal(f.reads, 1);
    assert_int_equal(f.writes, 1);
    watch_want(f.readable, false);
    turn();
    assert_int_equal(f.reads, 1);
    assert_int_equal(f.writes, 2);
}

static void end_of_file_is_readable(void **state)
{
    (void)state;
    watch_want(f.readable, true);
    shutdown(f.ends[1], SHUT_WR);
    turn();
    assert_int_equal(f.reads, 1);
}

static void not_want_it(void)
{
    watch_want(f.readable, false);
}

static void a_callback_may_stop_wanting_it(void **state)
{
    (void)state;
    f.then = not_want_it;
    send_byte();
    watch_want(f.readable, true);
    turn();
    turn();
    assert_int_equal(f.reads, 1);
}

static void want_neither(void)
{
    watch_want(f.readable, false);
    watch_want(f.writable, false);
}

/* The loop has found both; the first one to come takes the other one's back. */
static void a_callback_may_stop_another_that_is_due(void **state)
{
    (void)state;
    f.then = want_neither;
    send_byte();
    watch_want(f.readable, true);
    watch_want(f.writable, true);
    watch_fire(f.readable);
    watch_fire(f.writable);
    turn();
    assert_int_equal(f.reads, 1);
    assert_int_equal(f.writes, 0);
}

static void free_it(void)
{
    watch_free(f.readable);
    f.readable = NULL;
}

static void a_callback_may_free_it(void **state)
{
    (void)state;
    f.then = free_it;
    send_byte();
    watch_want(f.readable, true);
    watch_want(f.writable, true);
    turn();
    turn();
    assert_int_equal(f.reads, 1);
    assert_null(f.readable);
    assert_int_equal(f.writes, 2);
}

static void freed_it_does_not_come(void **state)
{
    (void)state;
    send_byte();
    watch_want(f.readable, true);
    watch_fire(f.readable);
    free_it();
    turn();
    assert_int_equal(f.reads, 0);
    watch_free(NULL);
}

static void fired_it_comes_once(void **state)
{
    (void)state;
    watch_fire(f.readable);
    watch_fire(f.readable);
    assert_int_equal(f.reads, 0);
    assert_false(watch_is_wanted(f.readable));
    turn();
    turn();
    assert_int_equal(f.reads, 1);
    watch_fire(f.readable);
    watch_want(f.readable, false);
    turn();
    assert_int_equal(f.reads, 1);
}

/* What is wanted before it comes for the last watch_fire() is wanted afterwards too. */
static void fired_it_can_be_wanted(void **state)
{
    (void)state;
    watch_fire(f.readable);
    watch_want(f.readable, true);
    turn();
    assert_int_equal(f.reads, 1);
    assert_true(watch_is_wanted(f.readable));
    send_byte();
    turn();
    assert_int_equal(f.reads, 2);
}

#define WITH_WATCHES(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WATCHES(it_comes_as_long_as_it_is_wanted),
        WITH_WATCHES(wanting_twice_is_wanting_once),
        WITH_WATCHES(each_direction_is_wanted_by_itself),
        WITH_WATCHES(end_of_file_is_readable),
        WITH_WATCHES(a_callback_may_stop_wanting_it),
        WITH_WATCHES(a_callback_may_stop_another_that_is_due),
        WITH_WATCHES(a_callback_may_free_it),
        WITH_WATCHES(freed_it_does_not_come),
        WITH_WATCHES(fired_it_comes_once),
        WITH_WATCHES(fired_it_can_be_wanted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

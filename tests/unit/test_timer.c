/* Timers call back from the loop only, and may be stopped, started and freed by their callbacks. */
#include "../lib/cmocka.h"

#include <event2/event.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/timer.h"
#include "io/worker.h"

/* No test lasts for so long. */
enum { FAR_MS = 3600 * 1000 };

static struct fixture {
    struct worker worker;
    struct log log;
    struct timer *timer;
    struct timer *other;
    int calls;
    int other_calls;
    bool ran; /* timer_is_running() at the last call */
    void (*then)(void);
} f;

static void on_call(void *argument)
{
    assert_ptr_equal(argument, &f);
    f.calls++;
    f.ran = timer_is_running(f.timer);
    if (f.then)
        f.then();
}

static void on_other(void *argument)
{
    assert_ptr_equal(argument, &f.other);
    f.other_calls++;
}

static int begin(void **state)
{
    struct log_settings settings = {.level = LOG_LEVEL_ERROR, .fd = STDERR_FILENO};

    (void)state;
    memset(&f, 0, sizeof f);
    log_init(&f.log, &settings);
    assert_true(worker_init(&f.worker, &f.log, 1 << 20));
    f.timer = timer_new(&f.worker, on_call, &f);
    f.other = timer_new(&f.worker, on_other, &f.other);
    return 0;
}

static int end(void **state)
{
    (void)state;
    timer_free(f.timer);
    timer_free(f.other);
    worker_clear(&f.worker);
    return 0;
}

static void turn(void)
{
    event_base_loop(f.worker.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

/* For 20 s at the most. */
static void run_until_called(int calls)
{
    for (uint64_t limit = clock_now_us() + 20000000; f.calls < calls;) {
        assert_true(clock_now_us() < limit);
        event_base_loop(f.worker.base, EVLOOP_ONCE);
    }
}

static void it_comes_once_when_the_time_is_over(void **state)
{
    uint64_t begun = clock_now_us();

    (void)state;
    assert_false(timer_is_running(f.timer));
    timer_start_ms(f.timer, 20);
    assert_true(timer_is_running(f.timer));
    turn();
    /* The loop's clock has whole milliseconds. A busy machine may take longer for one turn. */
    if (clock_now_us() - begun < 19000)
        assert_int_equal(f.calls, 0);
    run_until_called(1);
    assert_true(clock_now_us() - begun >= 19000);
    assert_false(f.ran);
    assert_false(timer_is_running(f.timer));
    timer_start_us(f.other, 0);
    for (int i = 0; i < 3; i++)
        turn();
    assert_int_equal(f.calls, 1);
    assert_int_equal(f.other_calls, 1);
}

static void started_again_it_counts_from_then(void **state)
{
    (void)state;
    timer_start_ms(f.timer, FAR_MS);
    timer_start_us(f.timer, 0);
    turn();
    assert_int_equal(f.calls, 1);
    timer_start_us(f.timer, 0);
    timer_start_ms(f.timer, FAR_MS);
    turn();
    assert_int_equal(f.calls, 1);
    assert_true(timer_is_running(f.timer));
}

static void stopped_it_does_not_come(void **state)
{
    (void)state;
    timer_start_us(f.timer, 0);
    timer_stop(f.timer);
    timer_stop(f.timer);
    assert_false(timer_is_running(f.timer));
    turn();
    assert_int_equal(f.calls, 0);
}

static void stop_other(void)
{
    timer_stop(f.other);
}

/* Both are due in the same turn of the loop. */
static void stopped_by_another_it_does_not_come(void **state)
{
    (void)state;
    f.then = stop_other;
    timer_start_us(f.timer, 0);
    timer_start_us(f.other, 0);
    usleep(2000);
    turn();
    assert_int_equal(f.calls, 1);
    assert_int_equal(f.other_calls, 0);
}

static void start_again(void)
{
    timer_start_us(f.timer, 0);
}

static void a_callback_may_start_it(void **state)
{
    (void)state;
    f.then = start_again;
    timer_start_us(f.timer, 0);
    run_until_called(3);
    assert_true(timer_is_running(f.timer));
}

static void free_it(void)
{
    timer_free(f.timer);
    f.timer = NULL;
}

static void a_callback_may_free_it(void **state)
{
    (void)state;
    f.then = free_it;
    timer_start_us(f.timer, 0);
    turn();
    assert_int_equal(f.calls, 1);
    assert_null(f.timer);
    timer_start_us(f.other, 0);
    turn();
    assert_int_equal(f.other_calls, 1);
}

static void a_callback_may_free_one_that_repeats(void **state)
{
    (void)state;
    f.then = free_it;
    timer_repeat_us(f.timer, 1);
    run_until_called(1);
    assert_null(f.timer);
    usleep(2000);
    turn();
    assert_int_equal(f.calls, 1);
}

static void freed_it_does_not_come(void **state)
{
    (void)state;
    timer_start_us(f.timer, 0);
    timer_fire(f.timer);
    free_it();
    turn();
    assert_int_equal(f.calls, 0);
    timer_free(NULL);
}

static void stop_itself(void)
{
    if (f.calls == 3)
        timer_stop(f.timer);
}

static void it_repeats_until_it_is_stopped(void **state)
{
    (void)state;
    f.then = stop_itself;
    timer_repeat_ms(f.timer, 1);
    run_until_called(2);
    assert_true(f.ran);
    run_until_called(3);
    assert_false(timer_is_running(f.timer));
    usleep(3000);
    turn();
    assert_int_equal(f.calls, 3);
}

static void started_once_it_repeats_no_more(void **state)
{
    (void)state;
    timer_repeat_us(f.timer, 1);
    run_until_called(1);
    timer_start_us(f.timer, 0);
    run_until_called(2);
    assert_false(f.ran);
    assert_false(timer_is_running(f.timer));
}

static void fired_it_comes_at_once_instead(void **state)
{
    (void)state;
    timer_start_ms(f.timer, FAR_MS);
    timer_fire(f.timer);
    timer_fire(f.timer);
    assert_int_equal(f.calls, 0);
    assert_true(timer_is_running(f.timer));
    turn();
    assert_int_equal(f.calls, 1);
    assert_false(timer_is_running(f.timer));
    timer_fire(f.timer);
    timer_stop(f.timer);
    turn();
    assert_int_equal(f.calls, 1);
}

#define WITH_TIMERS(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TIMERS(it_comes_once_when_the_time_is_over),
        WITH_TIMERS(started_again_it_counts_from_then),
        WITH_TIMERS(stopped_it_does_not_come),
        WITH_TIMERS(stopped_by_another_it_does_not_come),
        WITH_TIMERS(a_callback_may_start_it),
        WITH_TIMERS(a_callback_may_free_it),
        WITH_TIMERS(a_callback_may_free_one_that_repeats),
        WITH_TIMERS(freed_it_does_not_come),
        WITH_TIMERS(it_repeats_until_it_is_stopped),
        WITH_TIMERS(started_once_it_repeats_no_more),
        WITH_TIMERS(fired_it_comes_at_once_instead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

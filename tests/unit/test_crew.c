/* Workers in threads: mail arrives once and in order, all stand still when asked, and end. */
#include "../lib/cmocka.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "io/crew.h"
#include "io/timer.h"

enum { WORKERS = 4, LETTERS = 20000, PAUSES = 200, LIMIT_US = 10 * 1000 * 1000 };

static struct log quiet;
static struct worker home;
static struct crew *crew;

/* By each worker's thread only, or while it stands still. */
static struct {
    uint64_t received;
    uint64_t last; /* number */
    pthread_t thread;
} seen[WORKERS];
static uint64_t back; /* letters that have come back home */

struct letter {
    struct crew_mail mail;
    uint64_t number;
};

static int set_up(void **state)
{
    (void)state;
    log_init(&quiet, &(struct log_settings){.level = LOG_LEVEL_ERROR, .fd = STDERR_FILENO});
    assert_true(worker_init(&home, &quiet, 1000));
    crew = crew_new(&home, WORKERS);
    assert_non_null(crew);
    for (size_t i = 0; i < WORKERS; i++)
        seen[i].received = seen[i].last = 0;
    back = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    crew_stop(crew);
    crew_free(crew);
    worker_clear(&home);
    return 0;
}

static void deliver_back(struct crew_mail *mail, struct worker *worker, size_t place)
{
    assert_ptr_equal(worker, &home);
    assert_int_equal(place, 0);
    free(list_entry(mail, struct letter, mail));
    back++;
}

static void deliver_letter(struct crew_mail *mail, struct worker *worker, size_t place)
{
    struct letter *letter = list_entry(mail, struct letter, mail);

    assert_ptr_equal(worker, crew_worker(crew, place));
    assert_true(letter->number > seen[place].last);
    seen[place].last = letter->number;
    seen[place].received++;
    seen[place].thread = pthread_self();
    letter->mail.deliver = deliver_back;
    crew_post(crew, 0, &letter->mail);
}

static void post_letters(uint64_t first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct letter *letter = calloc(1, sizeof *letter);
        assert_non_null(letter);
        letter->number = first + i;
        letter->mail.deliver = deliver_letter;
        crew_post(crew, 1 + i % (WORKERS - 1), &letter->mail);
    }
}

static void await_letters(uint64_t count)
{
    for (int turn = 0; back < count && turn < 10000; turn++)
        worker_run_once_us(&home, 1000 * 1000);
    assert_int_equal(back, count);
}

static void mail_arrives_in_its_thread(void **state)
{
    (void)state;
    post_letters(1, 300); /* before there are threads */
    assert_true(crew_start(crew));
    post_letters(1000, LETTERS);
    await_letters(300 + LETTERS);
    assert_true(crew_pause(crew, LIMIT_US));
    uint64_t all = 0;
    for (size_t i = 1; i < WORKERS; i++) {
        all += seen[i].received;
        assert_false(pthread_equal(seen[i].thread, pthread_self()));
        for (size_t other = 1; other < i; other++)
            assert_false(pthread_equal(seen[i].thread, seen[other].thread));
    }
    crew_resume(crew);
    assert_int_equal(all, 300 + LETTERS);
}

static void nothing_moves_while_all_stand_still(void **state)
{
    (void)state;
    assert_true(crew_start(crew));
    for (uint64_t i = 0; i < PAUSES; i++) {
        uint64_t before = 0;
        uint64_t after = 0;
        post_letters(1 + i * 100, 50);
        assert_true(crew_pause(crew, LIMIT_US));
        for (size_t at = 1; at < WORKERS; at++)
            before += seen[at].received;
        post_letters(51 + i * 100, 50);
        for (size_t at = 1; at < WORKERS; at++)
            after += seen[at].received;
        crew_resume(crew);
        assert_int_equal(before, after);
    }
    await_letters(100 * PAUSES);
}

static void block(struct crew_mail *mail, struct worker *worker, size_t place)
{
    (void)mail;
    (void)worker;
    (void)place;
    usleep(300 * 1000);
}

static void who_does_not_stop_in_time_is_not_waited_for(void **state)
{
    struct crew_mail mail = {.deliver = block};

    (void)state;
    assert_true(crew_start(crew));
    crew_post(crew, 2, &mail);
    usleep(50 * 1000);
    assert_false(crew_pause(crew, 20 * 1000));
    post_letters(1, 9);
    await_letters(9);
    assert_true(crew_pause(crew, LIMIT_US));
    crew_resume(crew);
}

static void what_is_in_the_mail_is_delivered_at_the_end(void **state)
{
    (void)state;
    assert_true(crew_start(crew));
    assert_true(crew_pause(crew, LIMIT_US));
    post_letters(1, 30);
    crew_resume(crew);
    crew_stop(crew);
    assert_int_equal(back, 30);
}

static void one_that_never_started_ends_too(void **state)
{
    (void)state;
    post_letters(1, 3);
    crew_stop(crew);
    assert_int_equal(back, 3);
}

#define PREPARED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PREPARED(mail_arrives_in_its_thread),
        PREPARED(nothing_moves_while_all_stand_still),
        PREPARED(who_does_not_stop_in_time_is_not_waited_for),
        PREPARED(what_is_in_the_mail_is_delivered_at_the_end),
        PREPARED(one_that_never_started_ends_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Children of one's own get their status told, orphans only their end. */
#include "../lib/cmocka.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "io/children.h"

struct fixture {
    struct worker worker;
    struct log log;
    int told; /* how many ends */
    pid_t pid;
    int status;
};

static void begin(struct fixture *f)
{
    struct log_settings settings = {.level = LOG_LEVEL_ERROR, .fd = STDERR_FILENO};

    memset(f, 0, sizeof *f);
    log_init(&f->log, &settings);
    worker_init(&f->worker, &f->log, 1 << 20);
}

static void on_ended(void *context, pid_t pid, int status)
{
    struct fixture *f = context;

    f->told++;
    f->pid = pid;
    f->status = status;
}

/* Runs the loop until done() says so, for 20 s at the most. */
static void run_until(struct fixture *f, bool (*done)(struct fixture *f, pid_t pid), pid_t pid)
{
    for (int i = 0; !done(f, pid); i++) {
        const struct timeval moment = {0, 10000};
        assert_true(i < 2000);
        event_base_loopexit(f->worker.base, &moment);
        event_base_dispatch(f->worker.base);
    }
}

static bool is_told(struct fixture *f, pid_t pid)
{
    return f->told > 0 && f->pid == pid;
}

/* No zombie is left either. */
static bool is_reaped(struct fixture *f, pid_t pid)
{
    (void)f;
    return kill(pid, 0) != 0 && errno == ESRCH;
}

static pid_t start(int code, unsigned wait_us)
{
    pid_t pid = fork();

    if (pid == 0) {
        usleep(wait_us);
        _exit(code);
    }
    assert_true(pid > 0);
    return pid;
}

static void each_gets_its_own_status(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    children_begin(&f.worker);
    for (int code = 0; code < 5; code++) {
        pid_t pid = start(code, code % 2 ? 20000 : 0);
        children_add(&f.worker, pid, on_ended, &f);
        run_until(&f, is_told, pid);
        assert_true(WIFEXITED(f.status) && WEXITSTATUS(f.status) == code);
    }
    assert_int_equal(f.told, 5);
    worker_clear(&f.worker);
}

static void who_is_forgotten_is_reaped(void **state)
{
    struct fixture f;
    struct fixture other;

    (void)state;
    begin(&f);
    begin(&other);
    children_begin(&f.worker);
    pid_t forgotten = start(1, 20000);
    pid_t pid = start(2, 20000);
    children_add(&f.worker, forgotten, on_ended, &other);
    children_add(&f.worker, pid, on_ended, &f);
    children_forget(&f.worker, &other);
    run_until(&f, is_told, pid);
    run_until(&f, is_reaped, forgotten);
    assert_int_equal(other.told, 0);
    assert_int_equal(WEXITSTATUS(f.status), 2);
    worker_clear(&f.worker);
    worker_clear(&other.worker);
}

static void an_end_that_nobody_knows(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    children_begin(&f.worker);
    pid_t pid = start(3, 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid); /* somebody else took the status */
    children_add(&f.worker, pid, on_ended, &f);
    raise(SIGCHLD);
    run_until(&f, is_told, pid);
    assert_int_equal(f.status, CHILDREN_UNKNOWN);
    worker_clear(&f.worker);
}

#ifdef __linux__

/* A child that leaves one behind, whose number it tells. */
static pid_t start_orphan(pid_t *orphan, unsigned wait_us)
{
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        pid_t left = start(9, wait_us);
        _exit(write(ends[1], &left, sizeof left) == sizeof left ? 7 : 1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], orphan, sizeof *orphan), sizeof *orphan);
    close(ends[0]);
    return pid;
}

static void orphans_are_reaped(void **state)
{
    struct fixture f;
    pid_t orphans[20];

    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    begin(&f);
    children_adopt(&f.worker);
    for (int i = 0; i < 20; i++) {
        pid_t pid = start_orphan(&orphans[i], i % 2 ? 0 : 30000);
        children_add(&f.worker, pid, on_ended, &f);
        run_until(&f, is_told, pid);
        assert_int_equal(WEXITSTATUS(f.status), 7);
    }
    for (int i = 0; i < 20; i++)
        run_until(&f, is_reaped, orphans[i]);
    assert_int_equal(f.told, 20);
    worker_clear(&f.worker);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0), 0);
}

/* Ended before anybody was there to wait for them, as after exec(). */
static void orphans_of_before(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    pid_t pid = start(0, 0);
    siginfo_t ended;
    assert_int_equal(waitid(P_PID, (id_t)pid, &ended, WEXITED | WNOWAIT), 0);
    begin(&f);
    children_adopt(&f.worker);
    run_until(&f, is_reaped, pid);
    worker_clear(&f.worker);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0), 0);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_gets_its_own_status), cmocka_unit_test(who_is_forgotten_is_reaped),
        cmocka_unit_test(an_end_that_nobody_knows),
#ifdef __linux__
        cmocka_unit_test(orphans_are_reaped),       cmocka_unit_test(orphans_of_before),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

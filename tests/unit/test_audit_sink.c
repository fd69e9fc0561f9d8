/* Where audit records go: files that are gone on with, torn, full, moved, deleted; pipes. */
#include "../lib/cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../../tunnel-server/audit/audit_sink.h"
#include "../../tunnel-server/audit/audit_verify.h"
#include "io/clock.h"

enum { DEADLINE_US = 20 * 1000 * 1000 };

static char directory[] = "/tmp/audit-sink-XXXXXX";
static char path[80];
static char other[80];
static char error[300];
static struct audit_verifier verifier;
static char last_words[200];

static int set_up(void **state)
{
    (void)state;
    strcpy(directory + sizeof directory - 7, "XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/audit.log", directory);
    snprintf(other, sizeof other, "%s/audit.log.1", directory);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    unlink(other);
    return rmdir(directory);
}

static struct audit_sink *start(const char *where)
{
    struct audit_sink *sink = audit_sink_open(where, error, sizeof error);

    if (!sink)
        fail_msg("%s", error);
    assert_true(audit_sink_start(sink));
    return sink;
}

static void put(struct audit_sink *sink, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char body[AUDIT_BODY_MAX];
        const struct log_field field = log_u64("number", i);
        audit_sink_put(sink, body, audit_body_write(body, 0, "noted", &field, 1));
    }
}

static void pause_briefly(void)
{
    poll(NULL, 0, 5);
}

/* Until so many are written in all, those of the sink's own included. */
static struct audit_sink_state wait_for_written(struct audit_sink *sink, uint64_t count)
{
    struct audit_sink_state now;
    uint64_t limit = clock_now_us() + DEADLINE_US;

    for (;;) {
        audit_sink_look(sink, &now);
        if (now.written >= count && now.waiting == 0)
            return now;
        if (clock_now_us() > limit)
            fail_msg("%llu written, %zu wait: %s", (unsigned long long)now.written, now.waiting,
                     now.error);
        pause_briefly();
    }
}

static struct audit_sink_state wait_for_failure(struct audit_sink *sink)
{
    struct audit_sink_state now;
    uint64_t limit = clock_now_us() + DEADLINE_US;

    do {
        assert_true(clock_now_us() < limit);
        pause_briefly();
        audit_sink_look(sink, &now);
    } while (!now.failed);
    assert_false(audit_sink_works(sink));
    return now;
}

static void keep_words(void *context, const struct audit_finding *finding)
{
    (void)context;
    snprintf(last_words, sizeof last_words, "%s", finding->what);
}

static void feed_file(const char *name)
{
    char room[3000];
    int fd = open(name, O_RDONLY);
    ssize_t got;

    assert_true(fd >= 0);
    audit_verify_file(&verifier, name);
    while ((got = read(fd, room, sizeof room)) > 0)
        audit_verify_bytes(&verifier, room, (size_t)got);
    audit_verify_file_end(&verifier);
    close(fd);
}

/* Reads files that are in order; returns how many records they have. */
static uint64_t verify(const char *first, const char *second)
{
    audit_verify_begin(&verifier, keep_words, NULL);
    last_words[0] = '\0';
    feed_file(first);
    if (second)
        feed_file(second);
    audit_verify_end(&verifier);
    if (verifier.problems > 0)
        fail_msg("%s", last_words);
    return verifier.records;
}

static void a_file_is_gone_on_with(void **state)
{
    (void)state;
    struct stat status;

    for (unsigned again = 1; again <= 3; again++) {
        struct audit_sink_state last;
        struct audit_sink *sink = start(path);
        put(sink, 10);
        assert_true(audit_sink_close(sink, 10000, &last));
        assert_int_equal(verify(path, NULL), 11 * again);
        assert_int_equal(verifier.chains, 1);
        assert_string_equal(last.chain.hash, verifier.last.hash);
    }
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void append(const char *text)
{
    FILE *file = fopen(path, "a");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void a_torn_end_is_told_of(void **state)
{
    (void)state;
    struct audit_sink *sink = start(path);

    put(sink, 2);
    assert_true(audit_sink_close(sink, 10000, NULL));
    append("{\"chain\":\"0123");
    sink = start(path);
    put(sink, 2);
    assert_true(audit_sink_close(sink, 10000, NULL));
    assert_int_equal(verify(path, NULL), 6);
    assert_non_null(strstr(last_words, "was cut short"));
    /* A first line that was cut short is all there is. */
    unlink(path);
    append("{\"ch");
    sink = start(path);
    assert_true(audit_sink_close(sink, 10000, NULL));
    assert_int_equal(verify(path, NULL), 1);
}

static void another_file_is_left_alone(void **state)
{
    (void)state;
    static const char *const contents[] = {"root:x:0:0:root:/root:/bin/bash\n", "no line", "\n"};

    for (size_t i = 0; i < sizeof contents / sizeof contents[0]; i++) {
        append(contents[i]);
        assert_null(audit_sink_open(path, error, sizeof error));
        assert_non_null(strstr(error, "no audit record"));
        unlink(path);
    }
    assert_null(audit_sink_open(directory, error, sizeof error));
    assert_null(audit_sink_open("/nonexistent/a", error, sizeof error));
    assert_non_null(strstr(error, "/nonexistent/a: No such file"));
    /* Two that write to one file would tear each other's chain. */
    struct audit_sink *sink = start(path);
    assert_null(audit_sink_open(path, error, sizeof error));
    assert_non_null(strstr(error, "another process writes to it"));
    assert_true(audit_sink_close(sink, 10000, NULL));
}

static void a_moved_file_is_let_go(void **state)
{
    (void)state;
    struct audit_sink *sink = start(path);
    struct audit_sink_state now;

    put(sink, 3);
    wait_for_written(sink, 4);
    /* Nothing was moved: the same file goes on. */
    audit_sink_reopen(sink);
    put(sink, 1);
    wait_for_written(sink, 5);
    assert_int_equal(rename(path, other), 0);
    put(sink, 1);
    wait_for_written(sink, 6);
    audit_sink_reopen(sink);
    now = wait_for_written(sink, 7);
    assert_int_equal(now.reopened, 1);
    put(sink, 3);
    assert_true(audit_sink_close(sink, 10000, NULL));
    assert_int_equal(verify(other, path), 10);
    assert_int_equal(verify(path, NULL), 4);
}

static void a_file_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct audit_sink *sink = start(path);
    struct audit_sink_state now;
    uint64_t limit = clock_now_us() + DEADLINE_US;

    put(sink, 3);
    wait_for_written(sink, 4);
    assert_int_equal(rename(path, other), 0);
    append("something else\n");
    audit_sink_reopen(sink);
    do {
        assert_true(clock_now_us() < limit);
        pause_briefly();
        audit_sink_look(sink, &now);
    } while (now.refused == 0);
    assert_non_null(strstr(now.refused_error, "no audit record"));
    put(sink, 3);
    assert_true(audit_sink_close(sink, 10000, NULL));
    assert_int_equal(verify(other, NULL), 7);
}

static void a_deleted_file_is_made_anew(void **state)
{
    (void)state;
    struct audit_sink *sink = start(path);

    put(sink, 3);
    wait_for_written(sink, 4);
    unlink(path);
    put(sink, 3);
    assert_true(audit_sink_close(sink, 10000, NULL));
    assert_int_equal(verify(path, NULL), 4);
    assert_non_null(strstr(last_words, "the records before 5 are in another file"));
}

/* In the middle of a line, when there is room again the line goes on. */
static void a_full_disk_is_waited_for(void **state)
{
    (void)state;
    struct audit_sink *sink = start(path);
    struct rlimit before;
    struct audit_sink_state now;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){1500, before.rlim_max}), 0);
    put(sink, 30);
    now = wait_for_failure(sink);
    assert_non_null(strstr(now.error, strerror(EFBIG)));
    assert_true(now.written < 10 && now.failures == 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    now = wait_for_written(sink, 31);
    assert_false(now.failed);
    assert_int_equal(now.failures, 1);
    assert_true(audit_sink_works(sink));
    assert_true(audit_sink_close(sink, 10000, NULL));
    assert_int_equal(verify(path, NULL), 31);
}

/* The torn line stays in the file that was moved away, and comes whole in the next one. */
static void a_full_disk_may_be_left(void **state)
{
    (void)state;
    struct audit_sink *sink = start(path);
    struct rlimit before;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){1500, before.rlim_max}), 0);
    put(sink, 5);
    wait_for_failure(sink);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    /* What is asked for after the line was finished in the old file is as good. */
    audit_sink_reopen(sink);
    wait_for_written(sink, 7);
    assert_true(audit_sink_close(sink, 10000, NULL));
    assert_int_equal(verify(other, path), 7);
}

/* Nothing is written: what is beyond the bound is counted, and told of where it is missing. */
static void what_is_lost_is_told_of(void **state)
{
    (void)state;
    struct audit_sink_state now;

    assert_int_equal(mkfifo(path, 0600), 0);
    struct audit_sink *sink = start(path);
    now = wait_for_failure(sink);
    assert_non_null(strstr(now.error, "nobody reads this pipe"));
    /* Each takes a hundred bytes or so. */
    put(sink, (unsigned)(AUDIT_WAITING_MAX / 64));
    audit_sink_look(sink, &now);
    assert_true(now.lost > 0 && now.waiting > 0);
    uint64_t lost = now.lost;
    put(sink, 1);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    audit_verify_begin(&verifier, keep_words, NULL);
    audit_verify_file(&verifier, "pipe");
    char tail[400] = "";
    uint64_t limit = clock_now_us() + DEADLINE_US;
    for (bool told = false; !told;) {
        char room[60000];
        ssize_t got = read(reader, room, sizeof room - 1);
        if (got <= 0) {
            assert_true(clock_now_us() < limit);
            audit_sink_look(sink, &now);
            pause_briefly();
            continue;
        }
        audit_verify_bytes(&verifier, room, (size_t)got);
        room[got] = '\0';
        const char *found = strstr(room, "\"event\":\"records_lost\"");
        if (found)
            snprintf(tail, sizeof tail, "%.300s", found);
        told = found != NULL && strchr(tail, '\n');
    }
    char expected[60];
    snprintf(expected, sizeof expected, "\"records_lost\",\"records\":%llu,",
             (unsigned long long)lost + 1);
    assert_non_null(strstr(tail, expected));
    audit_verify_end(&verifier);
    assert_int_equal(verifier.problems, 0);
    assert_true(audit_sink_works(sink));
    assert_true(audit_sink_close(sink, 10000, NULL));
    close(reader);
}

/* Readers come and go; each finds whole lines, and the chain goes on. */
static void a_pipe_may_have_another_reader(void **state)
{
    (void)state;

    assert_int_equal(mkfifo(path, 0600), 0);
    struct audit_sink *sink = start(path);
    audit_verify_begin(&verifier, keep_words, NULL);
    audit_verify_file(&verifier, "pipe");
    for (unsigned reader = 0; reader < 2; reader++) {
        char room[4000];
        uint64_t limit = clock_now_us() + DEADLINE_US;
        int fd = open(path, O_RDONLY | O_NONBLOCK);
        put(sink, 1);
        while (verifier.records < 2 * (reader + 1)) {
            ssize_t got = read(fd, room, sizeof room);
            assert_true(clock_now_us() < limit);
            if (got > 0)
                audit_verify_bytes(&verifier, room, (size_t)got);
            else
                pause_briefly();
        }
        close(fd);
        if (reader > 0)
            break;
        put(sink, 1);
        wait_for_failure(sink);
    }
    audit_verify_end(&verifier);
    assert_int_equal(verifier.problems, 0);
    audit_sink_close(sink, 0, NULL);
}

/* Of a pipe: a page, which makes room for as much. Returns how many bytes there were. */
static size_t read_page(int fd)
{
    char page[4096];
    ssize_t got = read(fd, page, sizeof page);

    if (got > 0)
        audit_verify_bytes(&verifier, page, (size_t)got);
    return got > 0 ? (size_t)got : 0;
}

/* No write fails, but records wait for seconds: whoever reads is too slow. It is noticed by their
 * age, and counted. */
static void a_slow_reader_is_noticed(void **state)
{
    (void)state;
    struct audit_sink_state now;

    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    struct audit_sink *sink = start(path);
    audit_verify_begin(&verifier, keep_words, NULL);
    audit_verify_file(&verifier, "pipe");
    uint64_t began = clock_now_us();
    uint64_t read_us = began;
    put(sink, 2000);
    do {
        pause_briefly();
        if (clock_now_us() - read_us > 200 * 1000) {
            read_page(reader);
            read_us = clock_now_us();
        }
        audit_sink_look(sink, &now);
        assert_false(now.failed);
        assert_true(clock_now_us() - began < DEADLINE_US);
        assert_true(audit_sink_works(sink) || now.stalled ||
                    clock_now_us() - began > AUDIT_STALL_US);
    } while (!now.stalled);
    assert_true(clock_now_us() - began > AUDIT_STALL_US);
    assert_false(audit_sink_works(sink));
    assert_true(now.waiting > 0 && now.lost == 0);
    audit_sink_look(sink, &now);
    assert_int_equal(now.failures, 1); /* it is still the same */
    began = clock_now_us();
    while (now.waiting > 0) {
        if (read_page(reader) == 0)
            pause_briefly();
        audit_sink_look(sink, &now);
        assert_true(clock_now_us() - began < DEADLINE_US);
    }
    assert_true(audit_sink_works(sink) && !now.stalled);
    assert_int_equal(now.failures, 1);
    assert_true(audit_sink_close(sink, 10000, NULL));
    while (read_page(reader) > 0)
        ;
    audit_verify_end(&verifier);
    assert_int_equal(verifier.problems, 0);
    assert_int_equal(verifier.records, 2001);
    close(reader);
}

/* Its end comes although nobody reads. */
static void the_end_does_not_wait_for_a_reader(void **state)
{
    (void)state;
    char some[4096] = {0};

    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDWR | O_NONBLOCK);
    while (write(fd, some, sizeof some) > 0)
        ;
    struct audit_sink *sink = start(path);
    struct audit_sink_state last;
    put(sink, 3);
    uint64_t began = clock_now_us();
    assert_false(audit_sink_close(sink, 1000, &last));
    assert_true(clock_now_us() - began < 3 * 1000 * 1000);
    assert_int_equal(last.waiting, 3);
    close(fd);
}

static int make_syslog(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void the_system_log_gets_one_a_message(void **state)
{
    (void)state;
    char where[300];
    char message[4000];

    snprintf(where, sizeof where, "syslog:%s", path);
    struct audit_sink *sink = start(where);
    put(sink, 3);
    wait_for_failure(sink);
    audit_verify_begin(&verifier, keep_words, NULL);
    audit_verify_file(&verifier, "syslog");
    /* Its daemon starts late, and once more. */
    for (unsigned daemon = 0; daemon < 2; daemon++) {
        int fd = make_syslog();
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 20},
                   sizeof(struct timeval));
        for (unsigned i = 0; i < (daemon ? 2 : 4); i++) {
            ssize_t got = recv(fd, message, sizeof message - 1, 0);
            assert_true(got > 0);
            message[got] = '\0';
            assert_int_equal(strncmp(message, "<86>", 4), 0);
            const char *record = strstr(message, ": {");
            assert_non_null(record);
            audit_verify_bytes(&verifier, record + 2, strlen(record + 2));
            audit_verify_bytes(&verifier, "\n", 1);
        }
        close(fd);
        unlink(path);
        put(sink, daemon ? 0 : 2);
    }
    audit_verify_file_end(&verifier);
    audit_verify_end(&verifier);
    assert_int_equal(verifier.problems, 0);
    assert_int_equal(verifier.records, 6);
    assert_true(audit_sink_close(sink, 10000, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_gone_on_with, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_torn_end_is_told_of, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_file_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_moved_file_is_let_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_does_not_fit_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_deleted_file_is_made_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_may_be_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_lost_is_told_of, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pipe_may_have_another_reader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_slow_reader_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_does_not_wait_for_a_reader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_system_log_gets_one_a_message, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The service manager's protocol, with a socket of the test's own. */
#include "../lib/cmocka.h"

#include <event2/event.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "program/notify.h"

struct fixture {
    struct worker worker;
    struct log log;
    char logged[LOG_LINE_MAX];
    int manager;
    char name[sizeof((struct sockaddr_un *)NULL)->sun_path];
};

static void keep_line(void *context, const char *line, size_t size)
{
    struct fixture *f = context;

    memcpy(f->logged, line, size);
    f->logged[size] = '\0';
}

/* abstract: as Linux has them. */
static void listen_as(struct fixture *f, bool abstract)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size;

    snprintf(f->name, sizeof f->name, "%ckafka-tunnel-unit-%d", abstract ? '@' : '/',
             (int)getpid());
    if (!abstract) {
        strcpy(f->name, "/tmp/kafka-tunnel-test-XXXXXX");
        close(mkstemp(f->name));
        unlink(f->name);
    }
    strcpy(address.sun_path, f->name);
    size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(f->name));
    if (abstract)
        address.sun_path[0] = '\0';
    f->manager = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(f->manager, (struct sockaddr *)&address, size), 0);
    setenv("NOTIFY_SOCKET", f->name, 1);
}

static void begin(struct fixture *f)
{
    struct log_settings settings = {.level = LOG_LEVEL_DEBUG, .sink = keep_line, .sink_context = f};

    memset(f, 0, sizeof *f);
    f->manager = -1;
    log_init(&f->log, &settings);
    worker_init(&f->worker, &f->log, 1 << 20);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

static void end(struct fixture *f)
{
    worker_clear(&f->worker);
    if (f->manager >= 0)
        close(f->manager);
    if (f->name[0] == '/')
        unlink(f->name);
}

/* The next datagram; NULL: there is none. */
static const char *told(struct fixture *f)
{
    static char text[1024];
    ssize_t size = recv(f->manager, text, sizeof text - 1, MSG_DONTWAIT);

    if (size < 0)
        return NULL;
    text[size] = '\0';
    return text;
}

static void tell_everything(bool abstract)
{
    struct fixture f;
    char text[1000];

    begin(&f);
    listen_as(&f, abstract);
    struct notify *notify = notify_new(&f.worker);
    assert_non_null(notify);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(told(&f));

    notify_reloading(notify);
    notify_reloaded(notify);
    assert_null(told(&f));
    notify_ready(notify);
    assert_string_equal(told(&f), "READY=1");
    notify_ready(notify);
    assert_null(told(&f));
    notify_reloading(notify);
    const char *reloading = told(&f);
    assert_memory_equal(reloading, "RELOADING=1\nMONOTONIC_USEC=", 27);
    assert_true(strtoull(reloading + 27, NULL, 10) > 0);
    notify_reloaded(notify);
    assert_string_equal(told(&f), "READY=1");
    notify_status(notify, "on %s\nX=1", "air");
    assert_string_equal(told(&f), "STATUS=on air\\nX=1");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    notify_status(notify, "%s", text);
    assert_int_equal(strlen(told(&f)), 299);
    notify_stopping(notify);
    assert_string_equal(told(&f), "STOPPING=1");
    notify_reloading(notify);
    notify_reloaded(notify);
    assert_null(told(&f));
    assert_string_equal(f.logged, "");
    notify_free(notify);
    end(&f);
}

static void a_path(void **state)
{
    (void)state;
    tell_everything(false);
}

#ifdef __linux__
static void an_abstract_name(void **state)
{
    (void)state;
    tell_everything(true);
}
#endif

static void nobody_wants_to_know(void **state)
{
    (void)state;
    static const char *const names[] = {NULL, ""};
    struct fixture f;

    for (size_t i = 0; i < 2; i++) {
        begin(&f);
        if (names[i])
            setenv("NOTIFY_SOCKET", names[i], 1);
        assert_null(notify_new(&f.worker));
        assert_string_equal(f.logged, "");
        notify_ready(NULL);
        notify_status(NULL, "%d", 1);
        notify_stopping(NULL);
        notify_free(NULL);
        end(&f);
    }
}

static void names_that_are_none(void **state)
{
    (void)state;
    static const char *const names[] = {"relative", "vsock:2:1234", "@", "/"};
    char long_name[200];
    struct fixture f;

    memset(long_name, 'x', sizeof long_name - 1);
    long_name[0] = '/';
    long_name[sizeof long_name - 1] = '\0';
    for (size_t i = 0; i < 5; i++) {
        begin(&f);
        setenv("NOTIFY_SOCKET", i < 4 ? names[i] : long_name, 1);
        assert_null(notify_new(&f.worker));
        assert_non_null(strstr(f.logged, "NOTIFY_SOCKET"));
        assert_null(getenv("NOTIFY_SOCKET"));
        end(&f);
    }
}

static void a_manager_that_is_gone(void **state)
{
    (void)state;
    struct fixture f;

    begin(&f);
    listen_as(&f, false);
    struct notify *notify = notify_new(&f.worker);
    close(f.manager);
    f.manager = -1;
    notify_ready(notify);
    assert_non_null(strstr(f.logged, "could not be notified"));
    f.logged[0] = '\0';
    notify_stopping(notify);
    assert_string_equal(f.logged, "");
    notify_free(notify);
    end(&f);
}

/* How many signs of life there are in a short run of the loop. */
static unsigned signs_of_life(const char *usec, const char *pid)
{
    const struct timeval moment = {0, 60 * 1000};
    const char *text;
    struct fixture f;
    unsigned count = 0;

    begin(&f);
    listen_as(&f, false);
    setenv("WATCHDOG_USEC", usec, 1);
    if (pid)
        setenv("WATCHDOG_PID", pid, 1);
    struct notify *notify = notify_new(&f.worker);
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
    event_base_loopexit(f.worker.base, &moment);
    event_base_dispatch(f.worker.base);
    while ((text = told(&f))) {
        assert_string_equal(text, "WATCHDOG=1");
        count++;
    }
    notify_free(notify);
    end(&f);
    return count;
}

static void the_watchdog(void **state)
{
    (void)state;
    static const char *const wrong[] = {"0", "1", "x", "20000x", "", "99999999999999999999"};
    char pid[32];

    snprintf(pid, sizeof pid, "%d", (int)getpid());
    assert_true(signs_of_life("20000", NULL) >= 1);
    assert_true(signs_of_life("20000", pid) >= 1);
    assert_int_equal(signs_of_life("20000", "1"), 0);
    /* Twice within the time at the most, and not before half of it. */
    assert_int_equal(signs_of_life("60000000", NULL), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(signs_of_life(wrong[i], NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path),
#ifdef __linux__
        cmocka_unit_test(an_abstract_name),
#endif
        cmocka_unit_test(nobody_wants_to_know),
        cmocka_unit_test(names_that_are_none),
        cmocka_unit_test(a_manager_that_is_gone),
        cmocka_unit_test(the_watchdog),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

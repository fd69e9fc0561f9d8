/* The congestion control of sockets: chosen, inherited, refused. */
#include "net_support.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/congestion.h"
#include "io/connector.h"
#include "io/listener.h"

#ifdef __linux__

/* Which every Linux has and lets everybody use; and one that sets timers. */
#define ANYBODYS "reno"
#define PACED "bbr"

/* What a connection of loopback has that was told nothing. */
static char usual[CONGESTION_NAME_SIZE];
static int accepted = -1;
static int connected = -1;

/* What the last socket had when it began. Later is too late: a change after that still shows in the
 * name, but what bbr has begun stays paced. */
static char at_connect[CONGESTION_NAME_SIZE];
static char at_listen[CONGESTION_NAME_SIZE];

/* The program's calls of libc's connect() and listen() come here. Their names are given to the
 * assembler, because libc's headers declare them with types of their own. */
int watched_connect(int fd, const struct sockaddr *address, socklen_t size) __asm__("connect");
int watched_listen(int fd, int backlog) __asm__("listen");

int watched_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    congestion_name(fd, at_connect);
    return (int)syscall(SYS_connect, fd, address, size);
}

int watched_listen(int fd, int backlog)
{
    congestion_name(fd, at_listen);
    return (int)syscall(SYS_listen, fd, backlog);
}

static void on_congestion_accepted(void *context, int fd, const struct socket_address *peer)
{
    (void)context;
    (void)peer;
    accepted = fd;
}

static void on_congestion_connected(void *context, const struct connector_result *result)
{
    (void)context;
    assert_true(result->fd >= 0);
    connected = result->fd;
}

static void assert_has(int fd, const char *name)
{
    char has[CONGESTION_NAME_SIZE];

    congestion_name(fd, has);
    assert_string_equal(has, name);
}

static void find_usual(void)
{
    int fd = socket_new(AF_INET);

    congestion_name(fd, usual);
    close(fd);
    if (strcmp(usual, PACED) == 0)
        strcpy(usual, ANYBODYS);
}

/* Connects two sockets, either of which is told what to use; NULL: it is not. */
static void connect_with(const char *near, const char *far)
{
    struct socket_address address;
    char name[CONGESTION_NAME_SIZE];

    assert_true(socket_parse("127.0.0.1", 0, &address));
    struct listener *listener =
        listener_new(&net.near, "test", &address, on_congestion_accepted, NULL);
    assert_non_null(listener);
    assert_string_equal(at_listen, usual);
    if (far)
        assert_true(listener_use_congestion_control(listener, far));
    listener_congestion_control(listener, name);
    assert_string_equal(name, far ? far : usual);
    socket_set_port(&address, listener_port(listener));
    accepted = connected = -1;
    struct connector *connector =
        connector_start_known(&net.near, &address, 1, 10000, on_congestion_connected, NULL);
    connector_use_congestion_control(connector, near);
    NET_UNTIL(accepted >= 0 && connected >= 0);
    assert_string_equal(at_connect, near ? near : usual);
    assert_has(connected, near ? near : usual);
    assert_has(accepted, far ? far : usual);
    close(accepted);
    close(connected);
    listener_free(listener);
}

static void connections_have_what_was_chosen(void **state)
{
    (void)state;
    find_usual();
    connect_with(NULL, NULL);
    if (strcmp(usual, ANYBODYS) == 0)
        skip(); /* nothing else would show */
    connect_with(ANYBODYS, NULL);
    connect_with(NULL, ANYBODYS);
    connect_with(ANYBODYS, ANYBODYS);
}

/* On loopback, too, what somebody has asked for is what they get. */
static void what_was_chosen_stays_on_loopback(void **state)
{
    (void)state;
    char error[600];

    find_usual();
    if (!congestion_check(PACED, error, sizeof error))
        skip(); /* the kernel has none that paces, or not for us */
    connect_with(PACED, NULL);
    connect_with(NULL, PACED);
}

/* Of a socket with that one, when it is about to connect to that address. */
static void assert_becomes(const char *name, const char *host, const char *expected)
{
    struct socket_address address;

    assert_true(socket_parse(host, 9092, &address));
    int fd = socket_new(address.storage.ss_family);
    assert_true(fd >= 0);
    assert_true(congestion_choose(fd, name));
    congestion_unpace_loopback(fd, &address);
    assert_has(fd, expected);
    close(fd);
}

static void loopback_is_not_paced(void **state)
{
    static const char *const here[] = {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"};
    static const char *const elsewhere[] = {"192.0.2.1", "0.0.0.0", "::", "2001:db8::1"};
    char error[600];

    (void)state;
    if (!congestion_check(PACED, error, sizeof error))
        skip(); /* the kernel has none that paces, or not for us */
    for (size_t i = 0; i < sizeof here / sizeof here[0]; i++)
        assert_becomes(PACED, here[i], ANYBODYS);
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
        assert_becomes(PACED, elsewhere[i], PACED);
}

static void what_does_not_pace_stays_on_loopback(void **state)
{
    char error[600];

    (void)state;
    if (!congestion_check("cubic", error, sizeof error))
        skip();
    assert_becomes("cubic", "127.0.0.1", "cubic");
    assert_becomes("cubic", "::1", "cubic");
}

static void what_the_kernel_has_is_named(void **state)
{
    static const char *const none[] = {"", "no-such-control", "reno-and-much-more", "Reno", "/"};
    char error[600];

    (void)state;
    assert_true(congestion_check(ANYBODYS, error, sizeof error));
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_false(congestion_check(none[i], error, sizeof error));
        assert_non_null(strstr(error, "no congestion control of this name"));
        assert_non_null(strstr(error, "it has "));
        assert_non_null(strstr(error, ANYBODYS));
        assert_null(strchr(error, '\n'));
    }
}

#endif

static void what_is_no_tcp_has_none(void **state)
{
    (void)state;
    int ends[2];
    char name[CONGESTION_NAME_SIZE];

    net_pair(ends);
    congestion_name(ends[0], name);
    assert_string_equal(name, "unknown");
    assert_false(congestion_choose(ends[0], "reno"));
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef __linux__
        NET_TEST(connections_have_what_was_chosen),
        NET_TEST(what_was_chosen_stays_on_loopback),
        NET_TEST(loopback_is_not_paced),
        NET_TEST(what_does_not_pace_stays_on_loopback),
        NET_TEST(what_the_kernel_has_is_named),
#endif
        NET_TEST(what_is_no_tcp_has_none),
    };

    return NET_RUN(tests);
}

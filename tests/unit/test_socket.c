/* Sockets on loopback: how a peer has ended a connection, with what it has sent still unread. */
#include "../lib/cmocka.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "io/socket.h"

/* A connection: ends[0] is looked at, ends[1] is the peer. */
static void connect_pair(int ends[2])
{
    struct socket_address address, peer;
    int listener = socket_new(AF_INET);

    assert_true(listener >= 0 && socket_parse("127.0.0.1", 0, &address));
    assert_int_equal(bind(listener, (struct sockaddr *)&address.storage, address.size), 0);
    socket_tune(listener);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address.storage, &address.size), 0);
    ends[1] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(ends[1], (struct sockaddr *)&address.storage, address.size), 0);
    ends[0] = socket_accept(listener, &peer);
    assert_true(ends[0] >= 0);
    socket_tune_accepted(ends[0]);
    close(listener);
}

/* What a peer does to a connection is seen at once on loopback. */
static void an_end_is_seen_behind_unread_bytes(void **state)
{
    (void)state;
    int ends[2];

    connect_pair(ends);
    assert_int_equal(socket_peer_end(ends[0]), SOCKET_OPEN);
    assert_int_equal(write(ends[1], "request", 7), 7);
    assert_int_equal(socket_peer_end(ends[0]), SOCKET_OPEN);
    assert_int_equal(shutdown(ends[1], SHUT_WR), 0);
    assert_int_equal(socket_peer_end(ends[0]), SOCKET_FINISHED);
    close(ends[1]);
    assert_int_equal(socket_peer_end(ends[0]), SOCKET_FINISHED);
    close(ends[0]);
}

static void a_reset_is_seen_behind_unread_bytes(void **state)
{
    (void)state;
    int ends[2];

    connect_pair(ends);
    assert_int_equal(write(ends[1], "request", 7), 7);
    socket_reset(ends[1]);
#ifdef __linux__
    assert_int_equal(socket_peer_end(ends[0]), SOCKET_BROKEN);
#else
    assert_int_not_equal(socket_peer_end(ends[0]), SOCKET_OPEN);
#endif
    close(ends[0]);
}

/* Who has a port on all addresses answers on loopback as well. */
static void somebody_answers(void **state)
{
    (void)state;
    struct socket_address address, everywhere;
    int listener = socket_new(AF_INET);

    assert_true(listener >= 0 && socket_parse("0.0.0.0", 0, &everywhere));
    assert_int_equal(bind(listener, (struct sockaddr *)&everywhere.storage, everywhere.size), 0);
    assert_int_equal(
        getsockname(listener, (struct sockaddr *)&everywhere.storage, &everywhere.size), 0);
    assert_true(socket_parse("127.0.0.1", socket_port(&everywhere), &address));
    errno = ENOENT;
    assert_false(socket_is_answered(&address));
    assert_int_equal(listen(listener, 1), 0);
    assert_true(socket_is_answered(&address));
    assert_int_equal(errno, ENOENT);
    close(listener);
    assert_false(socket_is_answered(&address));
}

static bool has_option(int fd, int level, int option)
{
    int value = 0;
    socklen_t size = sizeof value;

    return getsockopt(fd, level, option, &value, &size) == 0 && value != 0;
}

static void an_accepted_connection_is_tuned(void **state)
{
    (void)state;
    int ends[2];

    connect_pair(ends);
    assert_true(has_option(ends[0], IPPROTO_TCP, TCP_NODELAY));
    assert_true(has_option(ends[0], SOL_SOCKET, SO_KEEPALIVE));
    close(ends[0]);
    close(ends[1]);
}

static void sockets_wait_for_nobody_and_stay_here(void **state)
{
    (void)state;
    int ends[2];

    connect_pair(ends);
    int fds[] = {ends[0], socket_new(AF_INET), socket_new(AF_INET6)};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0] && fds[i] >= 0; i++) {
        assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        close(fds[i]);
    }
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_is_seen_behind_unread_bytes),
        cmocka_unit_test(a_reset_is_seen_behind_unread_bytes),
        cmocka_unit_test(somebody_answers),
        cmocka_unit_test(an_accepted_connection_is_tuned),
        cmocka_unit_test(sockets_wait_for_nobody_and_stay_here),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

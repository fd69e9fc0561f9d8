/* What the kernel tells of a connection, on loopback. */
#include "../lib/cmocka.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "io/path.h"
#include "io/socket.h"

/* ends[0] is measured; ends[1], the peer, takes little unread. */
static void connect_pair(int ends[2])
{
    struct socket_address address, peer;
    int listener = socket_new(AF_INET);
    int small = 16 * 1024;

    assert_true(listener >= 0 && socket_parse("127.0.0.1", 0, &address));
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address.storage, address.size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address.storage, &address.size), 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(ends[0], (struct sockaddr *)&address.storage, address.size), 0);
    ends[1] = socket_accept(listener, &peer);
    assert_true(ends[1] >= 0);
    close(listener);
}

static void no_tcp_connection_is_none(void **state)
{
    (void)state;
    struct path_sample sample;
    const struct path_sample nothing = {0};
    int ends[2];

    assert_true(socket_pipe(ends));
    for (int i = 0; i < 2; i++) {
        memset(&sample, 0xff, sizeof sample);
        assert_false(path_measure(ends[i], &sample));
        assert_true(sample.rate == 0 && !sample.rate_is_least && sample.unsent == 0);
        assert_int_equal(sample.round_trip_us, nothing.round_trip_us);
        close(ends[i]);
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_false(path_measure(ends[0], &sample));
    close(ends[0]);
    close(ends[1]);
}

#ifdef __linux__

/* Sends until the peer's window and this end's buffer are full. Returns how much. */
static size_t fill(int fd)
{
    static char bytes[64 * 1024];
    size_t size = 0;

    for (;;) {
        ssize_t sent = send(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (sent < 0) {
            assert_true(errno == EAGAIN);
            return size;
        }
        size += (size_t)sent;
    }
}

static void what_waits_and_how_far_it_is(void **state)
{
    (void)state;
    struct path_sample sample;
    char bytes[64 * 1024];
    int ends[2];

    connect_pair(ends);
    size_t size = fill(ends[0]);
    assert_true(path_measure(ends[0], &sample));
    assert_in_range(sample.segment_size, 500, 65535);
    assert_in_range(sample.segments, 2, size);
    assert_in_range(sample.round_trip_us, 1, 1000 * 1000);
    assert_in_range(sample.shortest_round_trip_us, 1, sample.round_trip_us + 1000 * 1000);
    assert_in_range(sample.unsent, 1, size);
    /* On a busy machine, a peer whose buffer is so small may be sent something twice. */
    assert_true(sample.retransmitted <= size);
    assert_int_equal(sample.retransmitted > 0, sample.retransmitted_segments > 0);
    assert_true(sample.retransmitted_segments < sample.segments);
    assert_true(sample.lost < sample.segments);

    while (size > 0) {
        struct pollfd look = {.fd = ends[1], .events = POLLIN};
        assert_int_equal(poll(&look, 1, 10 * 1000), 1);
        ssize_t got = read(ends[1], bytes, sizeof bytes);
        assert_true(got > 0);
        size -= (size_t)got;
    }
    assert_true(path_measure(ends[0], &sample));
    assert_int_equal(sample.unsent, 0);
    assert_true(sample.rate > 1000 * 1000);
    close(ends[0]);
    close(ends[1]);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_tcp_connection_is_none),
#ifdef __linux__
        cmocka_unit_test(what_waits_and_how_far_it_is),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

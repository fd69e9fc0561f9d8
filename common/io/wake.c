#include "io/wake.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/route.h"
#include "io/timer.h"
#include "io/watch.h"

#if defined(__linux__)
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#elif defined(__APPLE__) || defined(__FreeBSD__) || defined(__NetBSD__) || defined(__OpenBSD__)
#define HAVE_ROUTING_SOCKET
#include <io/route.h>
#endif

enum {
    TICK_S = 1,
    /* A loaded machine is late as well, but not by this much. */
    SLEPT_MS = 5000,
    /* Changes come in bursts: one look for all of a burst. */
    SETTLE_MS = 250,
    READS_A_TURN = 64,
    PEERS = 2,
};

struct wake {
    wake_callback callback;
    void *context;
    struct timer *tick;
    struct timer *settled;
    struct watch *changed; /* NULL: the system does not tell */
    int fd;
    uint64_t last_ms; /* wall clock of the last tick */
    struct socket_address peers[PEERS];
    struct route routes[PEERS]; /* to each of them, when last looked */
    size_t peer_count;
};

/* The wall clock goes on while the machine sleeps; not every system's monotonic clock does. */
static uint64_t wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void on_wake_tick(void *argument)
{
    struct wake *wake = argument;
    uint64_t now = wall_ms();
    uint64_t passed = now > wake->last_ms ? now - wake->last_ms : 0;

    wake->last_ms = now;
    if (passed > SLEPT_MS + TICK_S * 1000)
        wake->callback(wake->context, WAKE_SLEPT, passed);
}

/* Whether a way is another one than before. */
static bool look_at_routes(struct wake *wake)
{
    bool changed = false;

    for (size_t i = 0; i < wake->peer_count; i++) {
        struct route now;
        if (!route_find(&wake->peers[i], &now) || route_equal(&now, &wake->routes[i]))
            continue;
        wake->routes[i] = now;
        changed = true;
    }
    return changed;
}

static void on_settled(void *argument)
{
    struct wake *wake = argument;

    if (look_at_routes(wake))
        wake->callback(wake->context, WAKE_NETWORK, 0);
}

void wake_watch(struct wake *wake, const struct socket_address *peer)
{
    if (peer->size == 0)
        return;
    wake->peers[0] = *peer;
    wake->peer_count = 1;
    look_at_routes(wake);
}

/* Addresses that no machine has (RFC 5737, RFC 3849): the way to them is the one to anywhere. */
static void watch_far_away(struct wake *wake)
{
    socket_parse("192.0.2.1", 0, &wake->peers[0]);
    socket_parse("2001:db8::1", 0, &wake->peers[1]);
    wake->peer_count = PEERS;
    look_at_routes(wake);
}

static void on_changed(void *argument)
{
    struct wake *wake = argument;
    char message[8192];

    /* What has changed does not matter; an overrun is a change as well. */
    for (int i = 0; i < READS_A_TURN && recv(wake->fd, message, sizeof message, 0) > 0; i++)
        continue;
    if (!timer_is_running(wake->settled))
        timer_start_ms(wake->settled, SETTLE_MS);
}

static int open_notices(void)
{
#if defined(__linux__)
    struct sockaddr_nl address = {.nl_family = AF_NETLINK,
                                  .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                                               RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
#elif defined(HAVE_ROUTING_SOCKET)
    int fd = socket(PF_ROUTE, SOCK_RAW, AF_UNSPEC);
    if (fd >= 0) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, O_NONBLOCK);
    }
    return fd;
#else
    return -1;
#endif
}

struct wake *wake_new(struct worker *worker, wake_callback callback, void *context)
{
    struct wake *wake = memory_new(sizeof *wake);

    wake->callback = callback;
    wake->context = context;
    wake->last_ms = wall_ms();
    wake->tick = timer_new(worker, on_wake_tick, wake);
    wake->settled = timer_new(worker, on_settled, wake);
    timer_repeat_ms(wake->tick, TICK_S * 1000);
    watch_far_away(wake);
    wake->fd = open_notices();
    if (wake->fd >= 0) {
        wake->changed = watch_new(worker, wake->fd, WATCH_READ, on_changed, wake);
        watch_want(wake->changed, true);
    }
    return wake;
}

void wake_free(struct wake *wake)
{
    if (!wake)
        return;
    timer_free(wake->tick);
    timer_free(wake->settled);
    if (wake->changed) {
        watch_free(wake->changed);
        close(wake->fd);
    }
    free(wake);
}

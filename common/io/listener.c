#include "io/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/outgoing_ports.h"
#include "io/timer.h"
#include "io/watch.h"

enum {
    /* As many as Linux allows by default (net.core.somaxconn). Who finds no place when all come at
     * once, after a restart, asks again after 1, 3, 7 and 15 s. */
    BACKLOG = 4096,
    ACCEPTS_A_TURN = 64,
    PAUSE_US = 200 * 1000,
    /* Connections leave so many descriptors to what they need themselves: a link, its name's
     * look-up, a command for a token, a broker's socket. Without them all would wait for ever. */
    DESCRIPTORS_KEPT = 16,
};

struct listener {
    struct worker *worker;
    listener_callback callback;
    void *context;
    char *name;
    int fd;
    struct socket_address address;
    struct watch *readable;
    struct timer *resume;
    bool paused;
    bool chosen; /* its port was, and not by the kernel */
    int highest; /* of the descriptors that connections may have */
    bool near;   /* it is about to be reached */
};

static void pause_accepting(struct listener *listener, const char *reason)
{
    if (!listener->paused)
        log_warning(listener->worker->log, "accept_paused",
                    "Paused accepting connections: the process is out of file descriptors; raise "
                    "the limit (ulimit -n) or use fewer connections",
                    log_str("listener", listener->name), log_str("reason", reason));
    listener->paused = true;
    watch_want(listener->readable, false);
    timer_start_us(listener->resume, PAUSE_US);
}

static void on_resume(void *argument)
{
    struct listener *listener = argument;

    watch_want(listener->readable, true);
}

/* The system gives the lowest number that is free, so the next one tells how many are in use. */
static bool has_descriptors(struct listener *listener)
{
    if (!listener->near)
        return true;
    int next = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);
    if (next >= 0)
        close(next);
    return next >= 0 && next <= listener->highest;
}

/* false: there is nobody, or no descriptor for them. */
static bool take_one(struct listener *listener)
{
    struct socket_address peer;

    if (!has_descriptors(listener)) {
        pause_accepting(listener, "the last file descriptors are reserved for links and look-ups");
        return false;
    }
    int accepted = socket_accept(listener->fd, &peer);

    if (accepted < 0) {
        if (socket_is_shortage(errno))
            pause_accepting(listener, strerror(errno));
        return false;
    }
    if (listener->paused) {
        listener->paused = false;
        log_info(listener->worker->log, "accept_resumed", "Accepting connections again",
                 log_str("listener", listener->name));
    }
    listener->near = accepted >= listener->highest;
    socket_tune_accepted(accepted);
    listener->callback(listener->context, accepted, &peer);
    return true;
}

static void take_waiting(struct listener *listener, int at_the_most)
{
    for (int i = 0; i < at_the_most && take_one(listener); i++)
        continue;
}

void listener_take_all(struct listener *listener)
{
    take_waiting(listener, BACKLOG);
}

static void on_listener_readable(void *argument)
{
    take_waiting(argument, ACCEPTS_A_TURN);
}

static int open_listening(const struct socket_address *address, bool for_pages)
{
    int on = 1;

    if (socket_is_answered(address)) {
        errno = EADDRINUSE;
        return -1;
    }
    int fd = socket_new(address->storage.ss_family);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->storage.ss_family == AF_INET6 && !for_pages)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    socket_tune(fd);
    congestion_unpace_loopback(fd, address);
    if (bind(fd, (const struct sockaddr *)&address->storage, address->size) == 0 &&
        listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int highest_descriptor(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX)
        return INT_MAX;
    return limit.rlim_cur > DESCRIPTORS_KEPT ? (int)limit.rlim_cur - DESCRIPTORS_KEPT - 1 : 0;
}

static struct listener *make_listener(struct worker *worker, const char *name,
                                      const struct socket_address *address,
                                      listener_callback callback, void *context, bool for_pages)
{
    int fd = open_listening(address, for_pages);
    if (fd < 0)
        return NULL;

    struct listener *listener = memory_new(sizeof *listener);
    listener->name = memory_text(name);
    listener->worker = worker;
    listener->callback = callback;
    listener->context = context;
    listener->fd = fd;
    listener->highest = for_pages ? INT_MAX : highest_descriptor();
    listener->address = *address;
    listener->chosen = socket_port(address) != 0;
    listener->address.size = sizeof listener->address.storage;
    getsockname(fd, (struct sockaddr *)&listener->address.storage, &listener->address.size);
    listener->readable = watch_new(worker, fd, WATCH_READ, on_listener_readable, listener);
    listener->resume = timer_new(worker, on_resume, listener);
    watch_want(listener->readable, true);
    return listener;
}

struct listener *listener_new(struct worker *worker, const char *name,
                              const struct socket_address *address, listener_callback callback,
                              void *context)
{
    return make_listener(worker, name, address, callback, context, false);
}

struct listener *listener_new_for_pages(struct worker *worker, const char *name,
                                        const struct socket_address *address,
                                        listener_callback callback, void *context)
{
    return make_listener(worker, name, address, callback, context, true);
}

bool listener_use_congestion_control(struct listener *listener, const char *name)
{
    return congestion_choose(listener->fd, name);
}

void listener_congestion_control(const struct listener *listener, char name[CONGESTION_NAME_SIZE])
{
    congestion_name(listener->fd, name);
}

void listener_warn_of_ports_at_risk(struct worker *worker, const char *name, uint16_t first,
                                    uint16_t last)
{
    char range[OUTGOING_PORTS_TEXT];
    char ports[sizeof "65535-65535"];

    if (!outgoing_ports_meet(first, last, range))
        return;
    snprintf(ports, sizeof ports, first == last ? "%u" : "%u-%u", (unsigned)first, (unsigned)last);
    log_warning(worker->log, "listener_at_risk",
                "Any program's outgoing connection can take a port in the kernel's own range, and "
                "the next start would find it in use: choose one below the range, or reserve it "
                "(sysctl net.ipv4.ip_local_reserved_ports)",
                log_str("listener", name), log_str("ports", ports), log_str("range", range));
}

void listener_warn_if_at_risk(const struct listener *listener)
{
    if (listener->chosen)
        listener_warn_of_ports_at_risk(listener->worker, listener->name, listener_port(listener),
                                       listener_port(listener));
}

void listener_free(struct listener *listener)
{
    if (!listener)
        return;
    watch_free(listener->readable);
    timer_free(listener->resume);
    close(listener->fd);
    free(listener->name);
    free(listener);
}

uint16_t listener_port(const struct listener *listener)
{
    return socket_port(&listener->address);
}

void listener_format(const struct listener *listener, char text[SOCKET_TEXT_MAX])
{
    socket_format(&listener->address, text);
}

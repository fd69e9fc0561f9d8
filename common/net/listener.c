#include "net/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 1024, ACCEPTS_A_TURN = 64, PAUSE_US = 200 * 1000 };

struct listener {
    struct worker *worker;
    listener_callback callback;
    void *context;
    char *name;
    int fd;
    struct socket_address address;
    struct event *readable;
    struct event *resume;
    bool paused;
};

static void pause_accepting(struct listener *listener, int error)
{
    const struct timeval pause = {0, PAUSE_US};

    if (!listener->paused)
        log_warning(
            listener->worker->log, "accept_paused",
            "Accepting connections pauses: the process is out of descriptors; raise the limit "
            "(ulimit -n) or use fewer connections",
            log_str("listener", listener->name), log_str("reason", strerror(error)));
    listener->paused = true;
    event_del(listener->readable);
    event_add(listener->resume, &pause);
}

static void on_resume(evutil_socket_t fd, short what, void *argument)
{
    struct listener *listener = argument;

    (void)fd;
    (void)what;
    event_add(listener->readable, NULL);
}

static bool out_of_resources(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* false: there is nobody, or no descriptor for them. */
static bool take_one(struct listener *listener)
{
    struct socket_address peer;
    int accepted = socket_accept(listener->fd, &peer);

    if (accepted < 0) {
        if (out_of_resources(errno))
            pause_accepting(listener, errno);
        return false;
    }
    if (listener->paused) {
        listener->paused = false;
        log_info(listener->worker->log, "accept_resumed", "Accepting connections goes on",
                 log_str("listener", listener->name));
    }
    socket_tune(accepted);
    listener->callback(listener->context, accepted, &peer);
    return true;
}

static void take(struct listener *listener, int at_the_most)
{
    for (int i = 0; i < at_the_most && take_one(listener); i++)
        continue;
}

void listener_take_all(struct listener *listener)
{
    take(listener, BACKLOG);
}

static void on_readable(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    take(argument, ACCEPTS_A_TURN);
}

static int open_listening(const struct socket_address *address)
{
    int on = 1;
    int fd = socket_new(address->storage.ss_family);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->storage.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&address->storage, address->size) == 0 &&
        listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

struct listener *listener_new(struct worker *worker, const char *name,
                              const struct socket_address *address, listener_callback callback,
                              void *context)
{
    int fd = open_listening(address);
    if (fd < 0)
        return NULL;

    struct listener *listener = calloc(1, sizeof *listener);
    if (!listener || !(listener->name = strdup(name)))
        abort();
    listener->worker = worker;
    listener->callback = callback;
    listener->context = context;
    listener->fd = fd;
    listener->address = *address;
    listener->address.size = sizeof listener->address.storage;
    getsockname(fd, (struct sockaddr *)&listener->address.storage, &listener->address.size);
    listener->readable = event_new(worker->base, fd, EV_READ | EV_PERSIST, on_readable, listener);
    listener->resume = event_new(worker->base, -1, 0, on_resume, listener);
    if (!listener->readable || !listener->resume)
        abort();
    event_add(listener->readable, NULL);
    return listener;
}

void listener_free(struct listener *listener)
{
    if (!listener)
        return;
    event_free(listener->readable);
    event_free(listener->resume);
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

#include "net/lws_loop.h"

#include <stdlib.h>
#include <uv.h>

struct lws_loop {
    uv_loop_t uv;
    void *foreign[1];
    struct lws_context *context;
    struct event *readable;
    struct event *timer;
};

static void run(evutil_socket_t fd, short what, void *argument)
{
    struct lws_loop *loop = argument;

    (void)fd;
    (void)what;
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    int timeout = uv_backend_timeout(&loop->uv);
    if (timeout >= 0) {
        struct timeval wait = {timeout / 1000, timeout % 1000 * 1000};
        event_add(loop->timer, &wait);
    } else {
        event_del(loop->timer);
    }
}

struct lws_loop *lws_loop_new(struct event_base *base, struct lws_context_creation_info *info)
{
    struct lws_loop *loop = calloc(1, sizeof *loop);

    if (!loop || uv_loop_init(&loop->uv) != 0)
        abort();
    loop->foreign[0] = &loop->uv;
    info->foreign_loops = loop->foreign;
    info->options |= LWS_SERVER_OPTION_LIBUV;
    loop->context = lws_create_context(info);
    if (!loop->context) {
        uv_loop_close(&loop->uv);
        free(loop);
        return NULL;
    }
    loop->readable = event_new(base, uv_backend_fd(&loop->uv), EV_READ | EV_PERSIST, run, loop);
    loop->timer = event_new(base, -1, 0, run, loop);
    if (!loop->readable || !loop->timer)
        abort();
    event_add(loop->readable, NULL);
    lws_loop_kick(loop);
    return loop;
}

void lws_loop_kick(struct lws_loop *loop)
{
    event_active(loop->readable, EV_READ, 0);
}

struct lws_context *lws_loop_context(const struct lws_loop *loop)
{
    return loop->context;
}

/* The plugin closes its handles in later turns of its loop; a bounded number of turns is enough. */
static void drain(struct lws_loop *loop)
{
    for (int turn = 0; turn < 100 && uv_loop_alive(&loop->uv); turn++)
        uv_run(&loop->uv, UV_RUN_NOWAIT);
}

void lws_loop_free(struct lws_loop *loop)
{
    if (!loop)
        return;
    event_free(loop->readable);
    event_free(loop->timer);
    lws_context_destroy(loop->context);
    drain(loop);
    /* With a foreign loop the first call only begins the destruction. */
    lws_context_destroy(loop->context);
    uv_loop_close(&loop->uv);
    free(loop);
}

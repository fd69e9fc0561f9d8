#include "tunnel/forward.h"

#include <assert.h>
#include <stdlib.h>

#include "base/chunk.h"
#include "base/memory.h"
#include "io/clock.h"
#include "io/watch.h"

enum {
    HELD_MAX = 1 << 20, /* for another instance; the client is not read while there is more */
    HELD_SPANS = 16,
    STALL_US = 30 * 1000 * 1000,
};

struct forward {
    struct worker *worker;
    const struct forward_owner *owner;
    void *context;
    struct transport *transport; /* to the instance that has the session; NULL: not there yet */
    struct byte_queue held;      /* for it */
    uint64_t progress_us;        /* when something was held again, or handed on */
    struct watch *readable;
    struct watch *writable;
};

struct forward *forward_new(struct worker *worker, const struct forward_owner *owner, void *context)
{
    struct forward *forward = memory_new(sizeof *forward);

    forward->worker = worker;
    forward->owner = owner;
    forward->context = context;
    byte_queue_init(&forward->held, &worker->pool);
    return forward;
}

void forward_free(struct forward *forward)
{
    if (!forward)
        return;
    if (forward->transport) {
        watch_free(forward->readable);
        watch_free(forward->writable);
        transport_free(forward->transport);
    }
    byte_queue_clear(&forward->held);
    free(forward);
}

static void on_forward_readable(void *argument)
{
    struct forward *forward = argument;

    forward->owner->readable(forward->context);
}

static void on_forward_writable(void *argument)
{
    struct forward *forward = argument;

    forward->owner->writable(forward->context);
}

void forward_connect(struct forward *forward, struct transport *transport)
{
    int fd = transport_fd(transport);

    assert(!forward->transport);
    forward->transport = transport;
    forward->readable = watch_new(forward->worker, fd, WATCH_READ, on_forward_readable, forward);
    forward->writable = watch_new(forward->worker, fd, WATCH_WRITE, on_forward_writable, forward);
}

void forward_put(struct forward *forward, const uint8_t *bytes, size_t size)
{
    if (byte_queue_unread(&forward->held) == 0)
        forward->progress_us = clock_now_us();
    byte_queue_append(&forward->held, bytes, size);
}

int forward_flush(struct forward *forward)
{
    struct iovec spans[HELD_SPANS];
    long written = forward->transport ? transport_flush(forward->transport) : TRANSPORT_BLOCKED;

    while (written > 0 && byte_queue_unread(&forward->held) > 0) {
        size_t count = byte_queue_peek(&forward->held, spans, HELD_SPANS);
        written = transport_writev(forward->transport, spans, count);
        if (written > 0) {
            forward->progress_us = clock_now_us();
            byte_queue_skip(&forward->held, (uint64_t)written);
            byte_queue_drop(&forward->held, forward->held.read);
        }
    }
    return written < 0 ? -1 : 0;
}

bool forward_is_full(const struct forward *forward)
{
    return byte_queue_unread(&forward->held) > HELD_MAX;
}

uint64_t forward_deadline(const struct forward *forward)
{
    return forward->progress_us + STALL_US;
}

long forward_read(struct forward *forward, uint8_t *buffer, size_t size)
{
    long got =
        forward->transport ? transport_read(forward->transport, buffer, size) : TRANSPORT_BLOCKED;

    return got < 0 ? -1 : got;
}

void forward_wait(struct forward *forward, bool reads, bool writes)
{
    if (!forward->transport)
        return;
    watch_want(forward->readable, reads);
    /* TLS has read ahead what no event will announce. */
    if (reads && transport_pending(forward->transport))
        watch_fire(forward->readable);
    watch_want(forward->writable, writes && (byte_queue_unread(&forward->held) > 0 ||
                                             transport_busy(forward->transport)));
}

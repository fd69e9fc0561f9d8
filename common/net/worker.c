#include "net/worker.h"

#include <stdlib.h>
#include <string.h>

#include "net/telemetry.h"

static void reap(struct worker *worker)
{
    for (struct list *node; (node = list_pop(&worker->released));) {
        struct worker_release *release = list_entry(node, struct worker_release, node);
        release->destroy(release);
    }
}

static void on_reap(evutil_socket_t fd, short what, void *argument)
{
    struct worker *worker = argument;

    (void)fd;
    (void)what;
    reap(worker);
}

static uint8_t *allocate(size_t size)
{
    uint8_t *memory = malloc(size);
    if (!memory)
        abort();
    return memory;
}

void worker_init(struct worker *worker, struct log *log, uint64_t memory)
{
    memset(worker, 0, sizeof *worker);
    worker->base = event_base_new();
    if (!worker->base)
        abort();
    worker->log = log;
    chunk_pool_init(&worker->pool);
    mux_budget_init(&worker->budget, memory);
    worker->link_bytes = allocate(WORKER_READ_SIZE);
    worker->socket_bytes = allocate(WORKER_READ_SIZE);
    worker->staging = allocate(WORKER_WRITE_SIZE);
    list_init(&worker->touched);
    list_init(&worker->released);
    worker->reaper = event_new(worker->base, -1, 0, on_reap, worker);
    if (!worker->reaper)
        abort();
}

void worker_end(struct worker *worker)
{
    event_base_loopbreak(worker->base);
}

void worker_clear(struct worker *worker)
{
    reap(worker);
    event_free(worker->reaper);
    event_base_free(worker->base);
    free(worker->link_bytes);
    free(worker->socket_bytes);
    free(worker->staging);
    chunk_pool_clear(&worker->pool);
    telemetry_free(worker->telemetry);
}

void worker_release(struct worker *worker, struct worker_release *release,
                    void (*destroy)(struct worker_release *release))
{
    release->destroy = destroy;
    list_append(&worker->released, &release->node);
    event_active(worker->reaper, EV_TIMEOUT, 0);
}

void worker_want(struct event *event, bool wanted)
{
    bool pending = event_pending(event, EV_READ | EV_WRITE, NULL) != 0;

    if (wanted && !pending)
        event_add(event, NULL);
    else if (!wanted && pending)
        event_del(event);
}

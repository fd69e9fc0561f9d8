#include "io/worker.h"

#include <event2/event.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/clock.h"

static void destroy_node(struct list *node)
{
    struct worker_release *release = list_entry(node, struct worker_release, node);

    release->destroy(release);
}

static void reap(struct worker *worker)
{
    for (struct list *node; (node = list_pop(&worker->released));)
        destroy_node(node);
}

static void on_reap(evutil_socket_t fd, short what, void *argument)
{
    struct worker *worker = argument;

    (void)fd;
    (void)what;
    reap(worker);
}

/* Whoever wants to go on after this waits for the next turn. */
static void on_worker_next_turn(evutil_socket_t fd, short what, void *argument)
{
    struct worker *worker = argument;
    struct list now;

    (void)fd;
    (void)what;
    list_init(&now);
    for (struct list *node; (node = list_pop(&worker->later));)
        list_append(&now, node);
    for (struct list *node; (node = list_pop(&now));) {
        struct worker_later *later = list_entry(node, struct worker_later, node);
        later->run(later);
    }
}

static void on_log_waits(evutil_socket_t fd, short what, void *argument)
{
    const struct worker *worker = argument;

    (void)fd;
    (void)what;
    log_write_out(worker->log);
}

/* Lines of one turn of the loop are written together. */
static void write_log_soon(void *context)
{
    const struct worker *worker = context;

    event_active(worker->log_waits, EV_TIMEOUT, 0);
}

/* The loop's own; timers (io/timer.h) stand on the worker. */
static struct event *new_event(struct worker *worker, event_callback_fn callback)
{
    struct event *event = event_new(worker->base, -1, 0, callback, worker);

    if (!event)
        abort();
    return event;
}

static bool init_worker(struct worker *worker, struct log *log, uint64_t memory)
{
    memset(worker, 0, sizeof *worker);
    worker->base = event_base_new();
    if (!worker->base)
        return false;
    worker->log = log;
    chunk_pool_init(&worker->pool);
    memory_budget_init(&worker->budget, memory);
    memory_share_init(&worker->share, &worker->budget);
    worker->link_bytes = memory_raw(WORKER_LINK_READ_SIZE);
    worker->socket_bytes = memory_raw(WORKER_SOCKET_READ_SIZE);
    worker->pulled = memory_raw(WORKER_WRITE_SIZE);
    worker->staging = memory_raw(WORKER_WRITE_SIZE);
    list_init(&worker->turn_ends);
    list_init(&worker->released);
    list_init(&worker->kept);
    list_init(&worker->later);
    worker->reaper = new_event(worker, on_reap);
    worker->next_turn = new_event(worker, on_worker_next_turn);
    return true;
}

bool worker_init(struct worker *worker, struct log *log, uint64_t memory)
{
    if (!init_worker(worker, log, memory))
        return false;
    if (RAND_bytes((unsigned char *)&worker->hash_key, sizeof worker->hash_key) != 1)
        abort();
    worker->log_waits = new_event(worker, on_log_waits);
    worker_gather_log(worker);
    return true;
}

bool worker_init_beside(struct worker *worker, const struct worker *first)
{
    const struct memory_budget *budget = &first->budget;

    if (!init_worker(worker, first->log, budget->receive.total + budget->send.total))
        return false;
    worker->hash_key = first->hash_key;
    return true;
}

void worker_gather_log(struct worker *worker)
{
    log_gather(worker->log, write_log_soon, worker);
}

void worker_run(struct worker *worker)
{
    event_base_dispatch(worker->base);
}

void worker_run_us(struct worker *worker, uint64_t us)
{
    const struct timeval limit = clock_timeval(us);

    event_base_loopexit(worker->base, &limit);
    event_base_dispatch(worker->base);
}

void worker_run_once_us(struct worker *worker, uint64_t us)
{
    const struct timeval limit = clock_timeval(us);

    event_base_loopexit(worker->base, &limit);
    event_base_loop(worker->base, EVLOOP_ONCE);
}

void worker_end(struct worker *worker)
{
    event_base_loopbreak(worker->base);
}

void worker_clear(struct worker *worker)
{
    reap(worker);
    while (!list_empty(&worker->kept)) {
        struct list *last = worker->kept.previous;
        list_remove(last);
        destroy_node(last);
    }
    event_free(worker->reaper);
    event_free(worker->next_turn);
    if (worker->log_waits) {
        log_gather(worker->log, NULL, NULL);
        event_free(worker->log_waits);
    }
    event_base_free(worker->base);
    free(worker->link_bytes);
    free(worker->socket_bytes);
    free(worker->pulled);
    free(worker->staging);
    chunk_pool_clear(&worker->pool);
}

void worker_release(struct worker *worker, struct worker_release *release,
                    void (*destroy)(struct worker_release *release))
{
    release->destroy = destroy;
    list_append(&worker->released, &release->node);
    event_active(worker->reaper, EV_TIMEOUT, 0);
}

void worker_keep(struct worker *worker, struct worker_release *release,
                 void (*destroy)(struct worker_release *release))
{
    release->destroy = destroy;
    list_append(&worker->kept, &release->node);
}

void worker_at_turn_end(struct worker *worker, struct worker_turn *turn,
                        void (*end)(struct worker_turn *turn))
{
    if (!list_empty(&turn->node))
        return;
    turn->end = end;
    list_append(&worker->turn_ends, &turn->node);
}

void worker_end_turn(struct worker *worker)
{
    for (struct list *node; (node = list_pop(&worker->turn_ends));) {
        struct worker_turn *turn = list_entry(node, struct worker_turn, node);
        turn->end(turn);
    }
}

void worker_later(struct worker *worker, struct worker_later *later,
                  void (*run)(struct worker_later *later))
{
    if (!list_empty(&later->node))
        return;
    later->run = run;
    list_append(&worker->later, &later->node);
    /* What is made active by hand runs before the loop has looked at the sockets again. */
    event_add(worker->next_turn, &(struct timeval){0});
}

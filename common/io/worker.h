/*
 * A worker: one thread's event loop and all that its connections share. Every object that has a
 * worker is used from its thread only.
 *
 * The room io/ is where bytes meet the operating system: the event loop, sockets, names, child
 * processes, and the transports that everything above sends and receives by.
 */
#pragma once

#include "base/chunk.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory_budget.h"

/* How much is read from a link at a time: what thousands of connections have said together should
 * come in one piece. */
#define WORKER_LINK_READ_SIZE ((size_t)256 * 1024)
/* How much is read from one connection at a time: large enough to make system calls few; twice as
 * much would push out of the processor's cache what the other end is at. */
#define WORKER_SOCKET_READ_SIZE ((size_t)128 * 1024)
/* How much is encoded for a link at a time: some four TLS records. */
#define WORKER_WRITE_SIZE ((size_t)64 * 1024)

/* Part of an object that is freed later: when no call of it can be on the stack, or with the
 * worker. */
struct worker_release {
    struct list node; /* in worker->released or worker->kept */
    /* Frees the object. */
    void (*destroy)(struct worker_release *release);
};

/* Part of an object that has something to do when a link has gone through what it has received, and
 * before that is overwritten. */
struct worker_turn {
    struct list node; /* in worker->turn_ends; list_remove() takes the wish back */
    void (*end)(struct worker_turn *turn);
};

/* Part of an object that goes on in the loop's next turn, when others have had theirs. */
struct worker_later {
    struct list node; /* in worker->later; list_remove() takes the wish back */
    void (*run)(struct worker_later *later);
};

struct children;
struct event;
struct event_base;
struct metrics;
struct resolver;

struct worker {
    struct event_base *base;
    struct log *log;
    struct children *children; /* processes (io/children.h); NULL: none was started yet */
    struct hash_key hash_key;  /* of tables whose keys a peer chooses */
    struct chunk_pool pool;
    struct memory_budget budget;
    struct memory_share share; /* of all that has no share of its own */
    uint8_t *link_bytes; /* WORKER_LINK_READ_SIZE: what a link has just received; spans of it may be
                            in others' hands until worker_end_turn() */
    uint8_t *socket_bytes; /* WORKER_SOCKET_READ_SIZE: what a filtered socket has just received */
    uint8_t *pulled;       /* WORKER_WRITE_SIZE: what a session has just said on a link */
    uint8_t *staging;      /* WORKER_WRITE_SIZE: the frames that a link makes of it */
    struct list turn_ends; /* struct worker_turn, by its node */
    struct list released;  /* struct worker_release, by its node */
    struct event *reaper;
    struct list kept;  /* struct worker_release, by its node; the last one is freed first */
    struct list later; /* struct worker_later, by its node */
    struct event *next_turn;
    struct event *log_waits;   /* lines are to be written when the turn ends; NULL: others do it */
    struct resolver *resolver; /* NULL before the first name (io/resolver.h) */
    struct metrics *metrics;   /* NULL before telemetry_start() (monitoring/telemetry.h) */
};

/* memory: bound of all streams' buffers, bytes. Aborts without memory; false: the system has no
 * event loop for us, errno says why. */
bool worker_init(struct worker *worker, struct log *log, uint64_t memory);
/* A worker of the same program for another thread (io/crew.h): with first's log, hash key and
 * bounds. It does not write out what the log gathers. */
bool worker_init_beside(struct worker *worker, const struct worker *first);
void worker_clear(struct worker *worker);
/* The log's lines of one turn of this worker's loop are written together, which is so from
 * worker_init() on. */
void worker_gather_log(struct worker *worker);
/* Runs the loop until worker_end(), or until nothing is left that it could wait for. */
void worker_run(struct worker *worker);
/* The same, for so long at most. */
void worker_run_us(struct worker *worker, uint64_t us);
/* Waits once, for so long at most, and calls back for what has come. */
void worker_run_once_us(struct worker *worker, uint64_t us);
/* From the loop: it returns after this callback; a program drains and ends then. */
void worker_end(struct worker *worker);
/* Calls turn->end once, in the next worker_end_turn(); turn->node must have been initialised. */
void worker_at_turn_end(struct worker *worker, struct worker_turn *turn,
                        void (*end)(struct worker_turn *turn));
/* Of whoever has filled worker->link_bytes, when it has gone through them. */
void worker_end_turn(struct worker *worker);
/* Calls later->run once, in the loop's next turn; later->node must have been initialised. */
void worker_later(struct worker *worker, struct worker_later *later,
                  void (*run)(struct worker_later *later));
/* Frees the object by calling destroy when the worker ends, after all that was released. */
void worker_keep(struct worker *worker, struct worker_release *release,
                 void (*destroy)(struct worker_release *release));
/* Frees the object by calling destroy when no call of it can be on the stack. */
void worker_release(struct worker *worker, struct worker_release *release,
                    void (*destroy)(struct worker_release *release));

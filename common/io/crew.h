/*
 * Several workers of one process: each with a thread, and all with one log. The first one, home, is
 * the program's own, in the thread that makes the crew.
 *
 * What belongs to a worker is used from its thread only. Threads speak to each other by mail, which
 * is delivered by the receiving worker's loop, in the order in which it was posted; posting never
 * waits. What is to be seen of all workers at once, home looks at while the others stand still
 * (crew_pause()): between two callbacks, so that everything is whole.
 *
 * Signals that are sent to the program are home's (io/thread.h).
 */
#pragma once

#include "io/worker.h"

/* Room for as many as make sense on one machine. */
#define CREW_MAX 64

struct crew;

/* Part of what goes to another worker. Whoever posts it does not touch it any more. */
struct crew_mail {
    struct list node;
    /* In the thread of worker, which is number place; the mail is its to free. */
    void (*deliver)(struct crew_mail *mail, struct worker *worker, size_t place);
};

/* size: with home, 1 to CREW_MAX. NULL: the system has no loop or descriptors for them; errno says
 * why. No thread runs yet. */
struct crew *crew_new(struct worker *home, size_t size);
size_t crew_size(const struct crew *crew);
struct worker *crew_worker(const struct crew *crew, size_t place);
/* false: the system has no thread for us; errno says why. */
bool crew_start(struct crew *crew);
/* From any thread, at any time between crew_new() and crew_free(); there must be several workers.
 */
void crew_post(struct crew *crew, size_t place, struct crew_mail *mail);
/* From home. What workers are doing they finish first. false: one of them has not within that time;
 * none stands still then. */
bool crew_pause(struct crew *crew, uint64_t limit_us);
void crew_resume(struct crew *crew);
/* From home: ends the threads, when what they do is done, and delivers what is still in the mail.
 * What belonged to the other workers is home's from now on. */
void crew_stop(struct crew *crew);
/* After crew_stop(), when nothing uses the other workers any more. NULL is fine. */
void crew_free(struct crew *crew);

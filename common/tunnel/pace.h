/*
 * How much of what a session has to say may wait for a link's connection: what has been pulled and
 * is with the kernel, or on its way there, is out of the session's reach, and what is urgent waits
 * behind it. So no more than some 20 ms of what the link carries waits, as far as its rate is
 * known.
 *
 * Where the rate is high, or nothing tells it, amounts are as large as is good for the processor.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What may wait unsent in the kernel. */
#define PACE_UNSENT_LEAST ((size_t)8 * 1024)
#define PACE_UNSENT_MOST ((size_t)128 * 1024)
/* What is pulled at a time is at least a session's whole frame, and what surrounds it. */
#define PACE_PULL_LEAST ((size_t)16 * 1024 + 256)

struct pace {
    uint64_t rate;   /* bytes a second; 0: unknown */
    uint64_t due_us; /* when the link is to be measured again */
};

void pace_init(struct pace *pace);
/* Whether it is time to measure: a link that sends asks. The time of any monotonic clock. */
bool pace_is_due(const struct pace *pace, uint64_t now_us);
/* The link has been measured (io/path.h). rate: 0, nothing is known; least: it is at least that. */
void pace_measured(struct pace *pace, uint64_t rate, bool least, uint64_t now_us);
/* The link can't be measured. */
void pace_give_up(struct pace *pace);
/* How many bytes may wait unsent in the kernel. In steps, so that it changes seldom. */
size_t pace_unsent(const struct pace *pace);
/* How many bytes may be pulled before the kernel is asked again whether it takes more; SIZE_MAX: as
 * many as it takes. */
size_t pace_pull(const struct pace *pace);

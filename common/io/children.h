/*
 * Child processes: the one place that waits for them, so that none takes another one's status.
 *
 * A process that is the first of its PID namespace, as in a container, or a subreaper, inherits
 * children that it has not started: orphans of its children's, and of what `docker exec` has run.
 * It has to wait for these too, or they stay as zombies, until no process can be started any more.
 */
#pragma once

#include <sys/types.h>

#include "io/worker.h"

struct children;

/* status: of waitpid(); CHILDREN_UNKNOWN if the system does not know it. */
#define CHILDREN_UNKNOWN (-1)
typedef void (*children_ended)(void *context, pid_t pid, int status);

/* Before the worker's first fork(): later an end could be missed. */
void children_begin(struct worker *worker);
/* Waits for orphans as well, if this process gets them. */
void children_adopt(struct worker *worker);

/* pid has just been started; the callback comes once, from the loop. */
void children_add(struct worker *worker, pid_t pid, children_ended ended, void *context);
/* No callback with that context comes any more; its children are waited for all the same. */
void children_forget(struct worker *worker, const void *context);

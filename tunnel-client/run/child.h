/*
 * A command that is run beside the tunnel: a child in the same process group, so that a terminal's
 * signals reach it too, with this program's standard input, output and error. It starts with
 * signals and limits as this program got them, and no descriptor of the tunnel.
 */
#pragma once

#include "io/worker.h"
#include "program/inherited.h"

struct child;

struct child_end {
    int exec_error; /* an errno: it could not be executed; else 0 */
    int status;     /* of waitpid() */
};

typedef void (*child_callback)(void *context, const struct child_end *end);

/* Both arrays end in NULL; the command is looked for in PATH. The callback comes once, from the
 * loop. NULL: errno says why there is no process. */
struct child *child_start(struct worker *worker, const struct inherited *inherited,
                          char *const *arguments, char *const *environment, child_callback callback,
                          void *context);
/* Sends a signal; nothing after the end. */
void child_signal(struct child *child, int number);
/* A command that still runs goes on alone. */
void child_free(struct child *child);

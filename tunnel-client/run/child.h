/*
 * A command that is run beside the tunnel: a child in the same process group, so that a terminal's
 * signals reach it too, with this program's standard input, output and error. It starts with
 * signals and limits as this program got them, and no descriptor of the tunnel.
 */
#pragma once

#include "io/worker.h"
#include "program/inherited.h"
#include "run/own_hosts.h"

struct child;

struct child_end {
    enum own_hosts_step failed_step; /* it could not get its own hosts file; else done */
    int exec_error;                  /* an errno of that step, or of exec(); else 0 */
    int status;                      /* of waitpid() */
};

/* What is run. */
struct child_command {
    char *const *arguments;        /* ends in NULL; the command is looked for in PATH */
    char *const *environment;      /* ends in NULL */
    const struct own_hosts *hosts; /* NULL: the machine's */
};

struct child_owner {
    /* It runs, or could not be executed, which ended() says: its own hosts file needs no name any
     * more. */
    void (*started)(void *context);
    /* Once, after started(). */
    void (*ended)(void *context, const struct child_end *end);
};

/* The owner's functions are called from the loop. NULL: errno says why there is no process. */
struct child *child_start(struct worker *worker, const struct inherited *inherited,
                          const struct child_command *command, const struct child_owner *owner,
                          void *context);
/* Sends a signal; nothing after the end. */
void child_signal(struct child *child, int number);
/* A command that still runs goes on alone. */
void child_free(struct child *child);

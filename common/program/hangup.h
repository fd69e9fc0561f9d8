/*
 * What SIGHUP means. To a service it says: read your files again. To a program at a terminal it has
 * always said that the terminal is gone, and then it must not live on, unseen, for ever.
 *
 * The kernel sends it when a terminal hangs up; a shell that ends sends it to its jobs as well, and
 * then the terminal is about to go, or the session has lost it already. Whoever ignored it for this
 * program at the start (nohup) wanted it to outlive the terminal: then it never means the end.
 */
#pragma once

#include <stdbool.h>

struct hangup {
    bool outlives; /* SIGHUP was ignored at the start */
    bool terminal; /* there was a controlling terminal */
};

/* At the start, before SIGHUP is caught. */
void hangup_init(struct hangup *hangup);
/* Whether the terminal that there was at the start is gone, and the program must end with it. */
bool hangup_is_over(const struct hangup *hangup);
/* The same when SIGHUP has come; from_kernel: no process has sent it. */
bool hangup_is_meant(const struct hangup *hangup, bool from_kernel);
/* Whether a SIGHUP may announce the terminal's end: look again for a while. */
bool hangup_is_possible(const struct hangup *hangup);

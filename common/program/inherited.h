/*
 * What a process hands on to what it runs, and this program changes for itself: SIGPIPE is ignored,
 * the soft limit of descriptors is raised to the hard one. A command gets both as they were.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>

struct inherited {
    struct sigaction broken_pipe;
    struct rlimit descriptors;
    bool limited; /* descriptors is known */
};

/* Keeps what there is and changes it. */
void inherited_change(struct inherited *inherited);
/* How many descriptors can still be opened, as far as this process' limit goes; no more than enough
 * are looked for. */
size_t inherited_descriptors_left(size_t enough);
/* In a child, between fork() and exec(): puts it back, and the signals that this program handles to
 * their defaults. Calls async-signal-safe functions only. */
void inherited_restore(const struct inherited *inherited);

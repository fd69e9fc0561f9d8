/*
 * What a process hands on to what it runs, and this program changes for itself: SIGPIPE is ignored,
 * the soft limit of descriptors is raised to the hard one, that of core dumps is 0. A command gets
 * all of them as they were.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>

struct inherited {
    struct rlimit core;
    bool core_limited; /* core is known, and was changed */
    struct sigaction broken_pipe;
    struct rlimit descriptors;
    bool limited; /* descriptors is known */
};

/* Keeps what there is and changes it. */
void inherited_change(struct inherited *inherited);
/* From now on there is no core dump, and on Linux no other process of the user may look into this
 * one. A command gets its limit as it was. */
void inherited_forbid_core(struct inherited *inherited);
/* How many descriptors can still be opened, as far as this process' limit goes; no more than enough
 * are looked for. */
size_t inherited_descriptors_left(size_t enough);
/* In a child, between fork() and exec(): puts it back, and the signals that this program handles to
 * their defaults. Calls async-signal-safe functions only. */
void inherited_restore(const struct inherited *inherited);

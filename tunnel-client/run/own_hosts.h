/*
 * A hosts file that only the command of `run` sees, so that brokers' names lead to the tunnel there
 * and nowhere else: a copy of the machine's, without these names, and with a line for each. New
 * lines are appended while the command runs. It lies in the directory for temporary files, until
 * the command has it in a mount namespace of its own; then it has no name any more. Linux only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "listeners/kept_names.h"

struct own_hosts;

/* With the names that have listeners. NULL: error says why. */
struct own_hosts *own_hosts_new(struct kept_names *names, char *error, size_t size);
/* Removes what is left of it; whoever has it mounted keeps it. NULL is fine. */
void own_hosts_free(struct own_hosts *hosts);
/* Adds the names that have got listeners since. false: the file cannot be written, as errno says;
 * names that it lacks are not published, lead where they did, and are tried again next time. */
bool own_hosts_publish(struct own_hosts *hosts, struct kept_names *names);
/* The command has it, or will not: its name in the file system is not needed. */
void own_hosts_forget_path(struct own_hosts *hosts);

/* What a process does, from fork() to exec(), to see it in place of the machine's. */
enum own_hosts_step {
    OWN_HOSTS_DONE,
    OWN_HOSTS_NAMESPACE, /* a mount namespace, in a user namespace if need be */
    OWN_HOSTS_USER,      /* being the same user in there */
    OWN_HOSTS_MOUNT,     /* the file in place of the other */
};
/* Async-signal-safe. The step that failed, with errno. */
enum own_hosts_step own_hosts_enter(const struct own_hosts *hosts);
/* What a failure means, and what else there is. */
void own_hosts_explain(enum own_hosts_step step, int failed, char *text, size_t size);

/*
 * The filter of system calls: from call_rules.h to the kernel (seccomp, with a classic BPF
 * program). Linux on x86-64 and arm64; elsewhere there is none.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "program/call_rules.h"

enum call_filter_kind {
    /* What the programs need, and no more. What is refused causes SIGSYS (call_refusals.h), with
     * the error in si_errno. */
    CALL_FILTER_ALONE,
    /* For a program that runs its user's commands, which inherit the filter and may need anything:
     * only what is forbidden is refused, with an error. */
    CALL_FILTER_WITH_COMMANDS,
};

/* For all threads of the process, and for good. Needs no_new_privs. false: the kernel has none, or
 * not for this machine. */
bool call_filter_install(enum call_filter_kind kind);

#ifdef CALL_FILTER_IS_KNOWN
#include <linux/filter.h>

/* Room for the whole program; a jump in it is one byte. */
#define CALL_FILTER_MAX 512

/* Returns how many instructions it has. */
size_t call_filter_build(enum call_filter_kind kind, struct sock_filter out[CALL_FILTER_MAX]);
#endif

/*
 * The system calls that the programs may make, from one table of names. It has all that the
 * programs, and the libraries in them, are known to need: libc (glibc and musl, with its name
 * services), OpenSSL, libevent. What is not in the table is refused as if the kernel did not know
 * it, for which libraries have another way; so a libc of later does not fail. What nothing needs
 * that a program like these runs is there as forbidden.
 *
 * Linux on x86-64 and arm64.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__linux__) && defined(__LP64__) &&                                                     \
    (defined(__x86_64__) || (defined(__aarch64__) && defined(__AARCH64EL__)))
#define CALL_FILTER_IS_KNOWN
#endif

enum call_verdict {
    CALL_UNKNOWN, /* not in the table */
    CALL_ALLOWED,
    CALL_FORBIDDEN,
    CALL_STARTS_PROCESS,
    CALL_FORKS, /* the same, where libc may have blocked all signals */
    CALL_LOOKS_INTO_PROCESS,
    /* It depends on an argument. */
    CALL_CHECK_SOCKET,  /* which family */
    CALL_CHECK_CONTROL, /* ioctl(): which request */
    CALL_CHECK_CLONE,   /* a thread, a process, or one in namespaces of its own */
    CALL_CHECK_MAP,     /* memory that can be both written and executed */
    CALL_CHECK_PROTECT, /* memory that is to be executed from now on */
    CALL_VERDICTS,
};

struct call_rule {
    const char *name;
    uint32_t number;
    enum call_verdict verdict;
};

/* In no particular order; each number once. */
extern const struct call_rule call_rules[];
extern const size_t call_rules_count;

/* NULL: it is not in the table. */
const char *call_rules_name(uint32_t number);

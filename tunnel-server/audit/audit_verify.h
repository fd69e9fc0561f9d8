/*
 * Whether audit records are all there, unchanged and in order: tunnel-server audit verify FILE...
 *
 * Bytes of files are fed in the order in which they were written, in any split; memory is bounded
 * whatever they are. What is found is told with file and line.
 */
#pragma once

#include "audit/audit_record.h"

struct audit_finding {
    const char *file;
    uint64_t line; /* from 1 on */
    bool problem;  /* else it is in order, but worth knowing */
    const char *what;
};

/* A record that must be among them: from the log, or what an earlier look has said. */
struct audit_expected {
    uint64_t sequence; /* 0: none */
    char hash[AUDIT_HASH_SIZE];
};
/* SEQUENCE:HASH. false: it is not that. */
bool audit_expected_parse(const char *text, struct audit_expected *expected);

struct audit_verifier {
    void (*tell)(void *context, const struct audit_finding *finding);
    void *context;
    struct audit_expected expected;
    bool expected_seen;
    const char *file;
    uint64_t line_number;
    /* A line that is no record, and may be one that was cut short; size 0: none. */
    struct {
        const char *file;
        uint64_t line_number;
        uint64_t size;
    } torn;
    struct audit_chain last; /* of all records in order, the last one; id "": there was none */
    char first_time[AUDIT_TIME_SIZE];
    char last_time[AUDIT_TIME_SIZE];
    uint64_t records;
    uint64_t chains;
    uint64_t problems;
    uint64_t size; /* of the line so far; what is beyond the buffer is not kept */
    char line[AUDIT_LINE_MAX];
};

void audit_verify_begin(struct audit_verifier *verifier,
                        void (*tell)(void *context, const struct audit_finding *finding),
                        void *context);
/* name must live as long as the verifier. */
void audit_verify_file(struct audit_verifier *verifier, const char *name);
void audit_verify_bytes(struct audit_verifier *verifier, const char *bytes, size_t size);
void audit_verify_file_end(struct audit_verifier *verifier);
/* After the last file. */
void audit_verify_end(struct audit_verifier *verifier);

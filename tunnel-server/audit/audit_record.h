/*
 * The lines of the audit record, and the chain that ties each of them to the one before. No I/O.
 *
 *     {"chain":"9f86d081884c7d65","seq":7,"time":"2026-11-30T09:40:00.123456Z",
 *      "event":"session_opened","identity":"alice",...,"prev":"HASH","hash":"HASH"}   (one line)
 *
 * hash is SHA-256 (FIPS 180-4), in hexadecimal, of the line's bytes before ,"hash": and so of prev,
 * which is the hash of the record before; 64 zeros in the first one of a chain. Whoever changes,
 * removes, inserts or moves a line without calculating all hashes behind it anew is found out.
 * Whoever does calculate them is not: that takes a copy of a later hash in another place.
 *
 * Others' words stand as in the log: what base/printable.h keeps from people is escaped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

#define AUDIT_FIELDS_MAX LOG_FIELDS_MAX
/* What a value may take, in bytes after escaping; what is longer ends in "...". */
#define AUDIT_VALUE_MAX 600
#define AUDIT_BODY_MAX (AUDIT_FIELDS_MAX * (AUDIT_VALUE_MAX + 50) + 128)
/* With the newline. */
#define AUDIT_LINE_MAX (AUDIT_BODY_MAX + 256)
#define AUDIT_CHAIN_SIZE 17
#define AUDIT_HASH_SIZE 65
#define AUDIT_TIME_SIZE 28

/* Where a chain stands. */
struct audit_chain {
    char id[AUDIT_CHAIN_SIZE];  /* random: records of several servers may stand in one place */
    char hash[AUDIT_HASH_SIZE]; /* of the last record */
    uint64_t sequence;          /* the last record's; 0: there is none yet */
};

/* A new one. */
void audit_chain_begin(struct audit_chain *chain);

/* What a record says, which is all but its place in the chain. now_us: since the epoch, UTC; event:
 * in the form of a key. Returns the body's size. */
size_t audit_body_write(char body[AUDIT_BODY_MAX], uint64_t now_us, const char *event,
                        const struct log_field *fields, size_t count);
/* The line of the chain's next record, which is its last one from then on. Returns the size. */
size_t audit_line_write(struct audit_chain *chain, const char *body, size_t body_size,
                        char line[AUDIT_LINE_MAX]);

/* A line that has the form of a record. */
struct audit_line {
    struct audit_chain place; /* of this record */
    char previous[AUDIT_HASH_SIZE];
    char time[AUDIT_TIME_SIZE];
    bool is_whole; /* its hash is that of its bytes */
    const char *event;
    size_t event_size;
    const char *fields; /* behind the event, up to prev: "" or ,"key":value... */
    size_t fields_size;
};

/* bytes: without the newline. false: it has not that form. */
bool audit_line_read(struct audit_line *line, const char *bytes, size_t size);
bool audit_line_is(const struct audit_line *line, const char *event);
/* Whether its first field is a number of that key: *value. */
bool audit_line_number(const struct audit_line *line, const char *key, uint64_t *value);

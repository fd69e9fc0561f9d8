/*
 * Where audit records go: a file, a pipe, standard output, or the system's log. A thread of its own
 * writes them, and gives each its place in the chain when it does: so the chain is whole whatever
 * could not be written, and in the order of audit_sink_put().
 *
 * putting never waits. What is not written yet is kept, up to AUDIT_WAITING_MAX bytes; beyond that
 * records are lost, and one that says how many (records_lost) comes in their place. A record that
 * could not be written, or not as a whole, is tried again every second.
 *
 * A file is made with mode 0600 and appended to; one process at a time may write to it. Each file,
 * and each start of the program, begins with a record audit_opened:
 *
 *     number of bytes of a torn line before it, 0: there is none      torn_bytes
 *     where it goes: file, pipe, stdout, syslog                       sink
 *     why: start, reopened (SIGHUP), deleted (there was no file)      reason
 *
 * The chain goes on from the last line of the file, or from where this process was.
 */
#pragma once

#include "audit/audit_record.h"

#define AUDIT_WAITING_MAX ((size_t)4 << 20)
/* A record that waits for longer says that the sink stands still. */
#define AUDIT_STALL_US (2 * 1000 * 1000)

struct audit_sink;

struct audit_sink_state {
    bool failed;     /* the last try has failed; error says how */
    bool stalled;    /* nothing has failed, but records wait for too long */
    char error[256]; /* a sentence part: "PATH: No space left on device" */
    uint64_t written;
    uint64_t lost;
    uint64_t failures; /* times that it began to fail, or to stand still */
    uint64_t reopened; /* other files that it went on with */
    uint64_t refused;  /* files that it could not go on with: it keeps the one it has */
    char refused_error[256];
    size_t waiting;           /* records */
    struct audit_chain chain; /* where it stands */
};

/* The file or pipe that where names; NULL: it names none. */
const char *audit_sink_path(const char *where);
/* where: stdout, syslog, syslog:SOCKET, or a path. NULL: error holds a sentence part, "PATH: ...".
 * A pipe that nobody reads, and a system's log that is not there, are waited for. */
struct audit_sink *audit_sink_open(const char *where, char *error, size_t size);
/* Starts the thread. false: errno says why not. */
bool audit_sink_start(struct audit_sink *sink);
/* From any thread. body: audit_body_write()'s. */
void audit_sink_put(struct audit_sink *sink, const char *body, size_t size);
/* Opens the path again soon: after the file there was moved away. Anything but a file stays. */
void audit_sink_reopen(struct audit_sink *sink);
void audit_sink_look(struct audit_sink *sink, struct audit_sink_state *state);
/* From any thread: neither failed nor stalled. */
bool audit_sink_works(struct audit_sink *sink);
/* What waits is written, within limit_ms; false: it was not, and is lost. last: how it was then;
 * NULL: nobody wants to know. A sink that is NULL is fine. */
bool audit_sink_close(struct audit_sink *sink, unsigned limit_ms, struct audit_sink_state *last);

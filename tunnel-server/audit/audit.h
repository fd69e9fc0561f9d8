/*
 * What the server has to answer for: who came, what they did and how it ended, who was refused and
 * why. One source for both places where that is kept: the log, with --audit, of what has ended; and
 * the audit record of --audit-log, of everything, whatever the log's level (audit_record.h).
 *
 * Every function may be called by any worker, unless it says otherwise; none waits.
 */
#pragma once

#include "base/log.h"
#include "io/reload.h"
#include "io/worker.h"
#include "metrics/metrics.h"
#include "options.h"

enum audit_kind {
    AUDIT_LOGIN_REFUSED, /* at the door */
    AUDIT_LINK_REFUSED,
    AUDIT_SESSION_OPENED,
    AUDIT_SESSION_RESUMED,
    AUDIT_LINK_JOINED,
    AUDIT_SESSION_REFUSED,
    AUDIT_SESSION_ENDED,
    AUDIT_CONNECTION_OPENED,
    AUDIT_CONNECTION_REFUSED,
    AUDIT_CONNECTION_ENDED,
    AUDIT_DENIED,
    AUDIT_KINDS
};

struct audit;
struct json_writer;

/* Home's. Opens the sink. NULL: error holds a sentence. options must live as long. */
struct audit *audit_new(struct worker *worker, const struct options *options, char *error,
                        size_t size);
/* At home: records are written from now on. false: errno says why not. */
bool audit_start(struct audit *audit);
/* At home, when all has ended: writes what there is. NULL is fine. */
void audit_free(struct audit *audit);
/* At home: goes on with another file, if the one that it has was moved away. */
void audit_reload(struct audit *audit);

/* Something has happened. fields: the log's; no secret is among them. */
void audit_note(struct audit *audit, enum audit_kind kind, const struct log_field *fields,
                size_t count);
/* The same for what somebody may cause as often as they like, unheard of which the record would
 * grow: who, again and again for the same reason, is counted (audit_repeats.h). */
void audit_note_refusal(struct audit *audit, enum audit_kind kind, const char *who, const char *why,
                        const struct log_field *fields, size_t count);

/* A request that an identity has no right to. */
struct audit_denial {
    const char *session;
    const char *identity;
    const char *peer;
    const char *target; /* "kafka/2" */
    uint64_t stream;
    const char *client_id;
    const char *api; /* its name; NULL: it has none */
    int16_t api_key;
    int16_t version;
    const char *resource; /* "topic", "group", "cluster", ...; NULL: the API as such */
    const char *name;     /* the resource's, as the client wrote it, of so many bytes; NULL: none */
    size_t name_size;
};
void audit_note_denial(struct audit *audit, const struct audit_denial *denial);

/* Whether something new may begin: NULL, or, with --audit-required while records cannot be written,
 * why not. */
const char *audit_obstacle(struct audit *audit);

/* At home: for pages. */
void audit_collect(struct audit *audit, struct metrics *metrics);
/* The object "audit" of /status.json; nothing without --audit-log. */
void audit_write_status(struct audit *audit, struct json_writer *json);

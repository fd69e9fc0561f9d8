/*
 * The log: one event a line, as text for people or as JSON for machines.
 *
 *   log_info(log, "link_up", "The link to the server is up",
 *            log_str("server", url), log_u64("rtt_us", rtt));
 *
 *   2026-11-20T20:30:00.123Z info  The link to the server is up server=https://x rtt_us=231
 *   {"time":"2026-11-20T20:30:00.123Z","level":"info","event":"link_up",
 *    "body":"The link to the server is up","server":"https://x","rtt_us":231}      (one line)
 *
 * Event and message are the program's own words and fixed; whatever varies is a field. The event
 * name is what monitoring matches on and stays the same when the wording changes.
 *
 * Secrets: a token, password, key or session secret is never a field and never part of a message,
 * at any level. There is no masking here that could be relied on. Log where the secret came from
 * (a path, an option's name), never what it is or how long it is. The same goes for record bytes.
 *
 * A peer's bytes cannot forge a line or steer a terminal: what base/printable.h keeps from people
 * is escaped; a line never exceeds LOG_LINE_MAX, and what was cut is marked.
 *
 * Threads may share an object: lines are whole, their order is one, and so is the rate limit. A
 * write(2) has whole lines and at most LOG_LINE_MAX bytes, so
 * that several processes may share a pipe. It has one line, unless somebody gathers them
 * (log_gather()). The program ignores SIGPIPE. The log does not fail its caller: a line that cannot
 * be written (reader stuck or gone) is dropped and counted, and the count is logged with the next
 * line that gets through.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* With the newline. Not above Linux' PIPE_BUF, so that a write to a pipe is whole or nothing. */
#define LOG_LINE_MAX 4096
/* What a single value, or the message, may take of a line, in bytes after escaping. */
#define LOG_VALUE_MAX 1024
/* Events whose rate is tracked at a time. */
#define LOG_EVENTS_MAX 64
#define LOG_FIELDS_MAX 16

#define LOG_DEFAULT_BURST 100
#define LOG_DEFAULT_INTERVAL_US 1000000

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

enum log_format {
    LOG_FORMAT_TEXT,
    LOG_FORMAT_JSON,
};

struct log_settings {
    enum log_level level;
    enum log_format format;
    /* Where lines go: the sink if there is one, else fd. Neither is owned. A line includes \n. */
    int fd;
    void (*sink)(void *context, const char *line, size_t size);
    void *sink_context;
    /* Microseconds since the epoch, UTC; NULL = the system's clock. */
    uint64_t (*now_us)(void *context);
    void *now_context;
    /*
     * At most burst lines of one event in an interval; 0 = the defaults above, UINT32_MAX = no
     * limit. What was left out is counted and reported once the interval is over.
     */
    uint32_t burst;
    uint64_t interval_us;
};

/* How often an event was logged in its current interval. */
struct log_rate {
    const char *event;
    uint64_t started_us;
    uint64_t suppressed;
    uint32_t logged;
    enum log_level level;
};

/* A warning's or error's event, and how often it happened. */
struct log_problem {
    const char *event;
    uint64_t count;
};

/* Since the log began; for figures. */
struct log_counts {
    uint64_t lines[4];   /* written, by enum log_level */
    uint64_t suppressed; /* left out because of burst */
    uint64_t lost;       /* could not be written */
    /* Warnings and errors by event, in the order of their first time, whether written or not. */
    struct log_problem problems[LOG_EVENTS_MAX];
    size_t problem_count;
    uint64_t other_problems; /* of more events than that */
};

/* Lines that wait to be written together. */
struct log_gathered {
    void (*ask)(void *context); /* NULL: none wait */
    void *context;
    size_t size;
    uint32_t lines[4]; /* by enum log_level */
    char bytes[LOG_LINE_MAX];
};

/* A second as text. */
struct log_second {
    time_t seconds;
    char text[40]; /* "": none yet */
};

struct log {
    struct log_settings settings; /* stay the same */
    pthread_mutex_t lock;         /* of all that follows */
    struct log_second second;     /* of the latest line */
    struct log_gathered gathered;
    struct log_counts counts;
    uint64_t lost;
    uint32_t rates_size;
    uint32_t rates_suppressing;
    struct log_rate rates[LOG_EVENTS_MAX];
};

enum log_field_kind {
    LOG_FIELD_STRING,
    LOG_FIELD_BYTES,
    LOG_FIELD_I64,
    LOG_FIELD_U64,
    LOG_FIELD_BOOL,
    LOG_FIELD_MS,
};

/*
 * A key is lower case letters, digits and underscores, at most 40 of them, and none of time, level,
 * event, body, truncated. The field only points at its value.
 */
struct log_field {
    const char *key;
    enum log_field_kind kind;
    size_t size;
    union {
        const void *bytes;
        int64_t i64;
        uint64_t u64;
        bool boolean;
    } value;
};

/* A NULL string is shown as - (null in JSON). */
struct log_field log_str(const char *key, const char *string);
/* Text that is not NUL-terminated. */
struct log_field log_bytes(const char *key, const void *bytes, size_t size);
struct log_field log_i64(const char *key, int64_t value);
struct log_field log_u64(const char *key, uint64_t value);
struct log_field log_bool(const char *key, bool value);
/* A duration: key=250ms as text, "key_ms":250 in JSON. */
struct log_field log_ms(const char *key, uint64_t milliseconds);

void log_init(struct log *log, const struct log_settings *settings);

static inline bool log_enabled(const struct log *log, enum log_level level)
{
    return level <= log->settings.level;
}

/* event: a string literal, in the form of a key; it is kept. message and fields are not kept. */
void log_event(struct log *log, enum log_level level, const char *event, const char *message,
               const struct log_field *fields, size_t count);

/* An info line that the rate limit never leaves out: for records that must be complete. */
void log_always(struct log *log, const char *event, const char *message,
                const struct log_field *fields, size_t count);

/*
 * From now on info lines may wait, some 4 KiB of them, for log_write_out(). For that, ask is called
 * with the first one. A warning or an error is written at once, behind what waits; so is each line
 * while debug is on, for it may be the last one before a crash. NULL: nothing waits any more. ask
 * is called by whichever thread has something to say, and must not log.
 */
void log_gather(struct log *log, void (*ask)(void *context), void *context);
void log_write_out(struct log *log);

/* Reports now what the rate limit has left out, and writes out. Call it before the program ends. */
void log_flush(struct log *log);

/*
 * The usual way in: (log, event, message, field...), with 0 to LOG_FIELDS_MAX fields.
 * While the level is off, nothing but log is evaluated; warnings and errors always are: they are
 * counted.
 */
#define log_error(log, event, ...) LOG_AT(log, LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define log_warning(log, event, ...) LOG_AT(log, LOG_LEVEL_WARNING, event, __VA_ARGS__)
#define log_info(log, event, ...) LOG_AT(log, LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_debug(log, event, ...) LOG_AT(log, LOG_LEVEL_DEBUG, event, __VA_ARGS__)

/* The rest is how those macros count their fields in plain C11. */
#define LOG_AT(log, level, event, ...)                                                             \
    (log_enabled(log, level) || (level) <= LOG_LEVEL_WARNING                                       \
         ? log_event(log, level, event, LOG_MESSAGE(__VA_ARGS__, 0), LOG_FIELDS(__VA_ARGS__))      \
         : (void)0)
#define LOG_MESSAGE(message, ...) message
#define LOG_FIELDS(...)                                                                            \
    LOG_PICK(__VA_ARGS__, LOG_SOME, LOG_SOME, LOG_SOME, LOG_SOME, LOG_SOME, LOG_SOME, LOG_SOME,    \
             LOG_SOME, LOG_SOME, LOG_SOME, LOG_SOME, LOG_SOME, LOG_NONE, 0)                        \
    (__VA_ARGS__)
#define LOG_PICK(m, a, b, c, d, e, f, g, h, i, j, k, l, name, ...) name
#define LOG_NONE(message) NULL, 0
#define LOG_SOME(message, ...)                                                                     \
    (const struct log_field[]){__VA_ARGS__},                                                       \
        sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field)

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/utf8.h"

/* Kept free at a line's end, so that whatever is open can always be closed and marked as cut. */
#define TAIL_RESERVE 64
#define KEY_MAX 40
/* How long a full pipe may hold the program up, once; while it stays full, lines are dropped. */
#define STUCK_WAIT_MS 20

static const char *const level_names[] = {"error", "warning", "info", "debug"};

struct line {
    size_t size;
    size_t limit; /* where ordinary content must stop now */
    bool cut;     /* something did not fit */
    char bytes[LOG_LINE_MAX];
};

/* Adds all of unit or nothing, so that a cut never splits an escape or a character. */
static bool put_log_bytes(struct line *line, const char *unit, size_t size)
{
    if (line->size > line->limit || size > line->limit - line->size) {
        line->cut = true;
        return false;
    }
    memcpy(line->bytes + line->size, unit, size);
    line->size += size;
    return true;
}

/* For what must never be lost; it fits into the reserve. */
static void put_tail(struct line *line, const char *tail)
{
    size_t size = strlen(tail);

    assert(size <= sizeof line->bytes - line->size);
    memcpy(line->bytes + line->size, tail, size);
    line->size += size;
}

/* How many of the bytes, from the first one on, stand for themselves in every format: nearly all of
 * most lines. */
static size_t count_plain(const uint8_t *text, size_t size)
{
    size_t count = 0;

    while (count < size && text[count] >= ' ' && text[count] <= '~' && text[count] != '"' &&
           text[count] != '\\')
        count++;
    return count;
}

/* What fits of bytes that stand for themselves. */
static bool put_plain(struct line *line, const uint8_t *text, size_t size)
{
    size_t room = line->limit > line->size ? line->limit - line->size : 0;
    size_t part = size < room ? size : room;

    if (part > 0)
        put_log_bytes(line, (const char *)text, part);
    line->cut = line->cut || part < size;
    return part == size;
}

/* Quotes are escaped as in JSON where there are quotes around; a byte that is no UTF-8 is \xNN. */
static size_t text_character(const uint8_t *text, size_t size, bool quoted,
                             char out[JSON_CHARACTER_MAX], size_t *written)
{
    return quoted && (*text == '"' || *text == '\\')
               ? json_character(text, size, out, written)
               : printable_character(text, size, out, written);
}

/* Escaped text, at most LOG_VALUE_MAX bytes of it; what is cut ends in "...". */
static void put_text(struct line *line, const uint8_t *text, size_t size, enum log_format format,
                     bool quoted)
{
    size_t outer_limit = line->limit;
    bool fits = true;

    if (line->size < outer_limit && outer_limit - line->size > LOG_VALUE_MAX)
        line->limit = line->size + LOG_VALUE_MAX;
    while (size > 0 && fits) {
        char out[JSON_CHARACTER_MAX];
        size_t written;
        size_t taken = count_plain(text, size);

        if (taken > 0) {
            fits = put_plain(line, text, taken);
        } else {
            taken = format == LOG_FORMAT_JSON ? json_character(text, size, out, &written)
                                              : text_character(text, size, quoted, out, &written);
            fits = put_log_bytes(line, out, written);
        }
        text += taken;
        size -= taken;
    }
    line->limit = outer_limit;
    if (!fits)
        put_tail(line, "...");
}

static bool needs_quotes(const uint8_t *text, size_t size)
{
    char buffer[JSON_CHARACTER_MAX];

    if (size == 0 || (size == 1 && text[0] == '-'))
        return true;
    while (size > 0) {
        uint32_t c = 0;

        if (*text > ' ' && *text <= '~' && *text != '=' && *text != '"' && *text != '\\') {
            text++;
            size--;
            continue;
        }
        size_t length = utf8_decode(text, size, &c);

        if (length == 0 || c == ' ' || c == '=' || json_escape(c, buffer))
            return true;
        text += length;
        size -= length;
    }
    return false;
}

/* Formats the value of a field that is no string; returns its size. */
static size_t format_number(const struct log_field *field, enum log_format format, char *out,
                            size_t out_size)
{
    int size = 0;

    switch (field->kind) {
    case LOG_FIELD_I64:
        size = snprintf(out, out_size, "%" PRId64, field->value.i64);
        break;
    case LOG_FIELD_BOOL:
        size = snprintf(out, out_size, "%s", field->value.boolean ? "true" : "false");
        break;
    case LOG_FIELD_MS:
        size = snprintf(out, out_size, format == LOG_FORMAT_TEXT ? "%" PRIu64 "ms" : "%" PRIu64,
                        field->value.u64);
        break;
    default:
        size = snprintf(out, out_size, "%" PRIu64, field->value.u64);
    }
    return (size_t)size;
}

static bool is_key(const char *key)
{
    size_t size = strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_");

    return size > 0 && size <= KEY_MAX && key[size] == '\0';
}

static void put_field(struct line *line, const struct log_field *field, enum log_format format)
{
    bool json = format == LOG_FORMAT_JSON;
    bool text = field->kind == LOG_FIELD_STRING || field->kind == LOG_FIELD_BYTES;
    bool null = text && !field->value.bytes;
    char start[2 * KEY_MAX + 32]; /* key and number, or key and opening quote */
    int key_size = json ? snprintf(start, sizeof start, ",\"%s%s\":", field->key,
                                   field->kind == LOG_FIELD_MS ? "_ms" : "")
                        : snprintf(start, sizeof start, " %s=", field->key);
    char *after_key = start + key_size;
    size_t room = sizeof start - (size_t)key_size;

    assert(is_key(field->key));
    if (null) {
        snprintf(after_key, room, "%s", json ? "null" : "-");
        put_log_bytes(line, start, strlen(start));
    } else if (!text) {
        put_log_bytes(line, start,
                      (size_t)key_size + format_number(field, format, after_key, room));
    } else {
        bool quoted = json || needs_quotes(field->value.bytes, field->size);

        snprintf(after_key, room, "%s", quoted ? "\"" : "");
        if (!put_log_bytes(line, start, strlen(start)))
            return;
        put_text(line, field->value.bytes, field->size, format, quoted);
        if (quoted)
            put_tail(line, "\"");
    }
}

/* Many lines are of the same second. */
static void put_log_time(struct line *line, struct log_second *second, uint64_t now_us)
{
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm tm;
    char fraction[8];

    if (second->text[0] == '\0' || second->seconds != seconds) {
        if (!gmtime_r(&seconds, &tm))
            memset(&tm, 0, sizeof tm);
        strftime(second->text, sizeof second->text, "%Y-%m-%dT%H:%M:%S", &tm);
        second->seconds = seconds;
    }
    put_log_bytes(line, second->text, strlen(second->text));
    snprintf(fraction, sizeof fraction, ".%03uZ", (unsigned)(now_us / 1000 % 1000));
    put_log_bytes(line, fraction, strlen(fraction));
}

static void format_line(struct line *line, struct log *log, uint64_t now_us, enum log_level level,
                        const char *event, const char *message, const struct log_field *fields,
                        size_t count)
{
    enum log_format format = log->settings.format;
    bool json = format == LOG_FORMAT_JSON;
    char head[KEY_MAX + 64];

    line->size = 0;
    line->limit = sizeof line->bytes - TAIL_RESERVE;
    line->cut = false;

    if (json)
        put_log_bytes(line, "{\"time\":\"", 9);
    put_log_time(line, &log->second, now_us);
    snprintf(head, sizeof head,
             json ? "\",\"level\":\"%s\",\"event\":\"%s\",\"body\":\"" : " %-5s ",
             level_names[level], event);
    put_log_bytes(line, head, strlen(head));
    put_text(line, (const uint8_t *)message, strlen(message), format, json);
    if (json)
        put_tail(line, "\"");
    for (size_t i = 0; i < count; i++)
        put_field(line, &fields[i], format);

    if (line->cut)
        put_tail(line, json ? ",\"truncated\":true" : " [truncated]");
    put_tail(line, json ? "}\n" : "\n");
}

static bool write_log_bytes(struct log *log, const char *bytes, size_t size)
{
    if (log->settings.sink) {
        log->settings.sink(log->settings.sink_context, bytes, size);
        return true;
    }

    /* A reader that stands still must not stop the program: poll first, and never for long. */
    struct pollfd ready = {.fd = log->settings.fd, .events = POLLOUT};
    ssize_t written = -1;
    if (poll(&ready, 1, log->lost > 0 ? 0 : STUCK_WAIT_MS) == 1) {
        do {
            written = write(log->settings.fd, bytes, size);
        } while (written < 0 && errno == EINTR);
    }
    return written == (ssize_t)size;
}

/* Behind what has just got through. */
static void report_lost(struct log *log)
{
    struct log_field field = log_u64("lines", log->lost);
    struct line line;

    format_line(&line, log, log->settings.now_us(log->settings.now_context), LOG_LEVEL_WARNING,
                "log_lost", "Lines were lost because the log could not be written", &field, 1);
    uint64_t lost = log->lost;
    log->lost = 0;
    if (!write_log_bytes(log, line.bytes, line.size))
        log->lost = lost;
}

/* The lock is held. */
static void write_gathered(struct log *log)
{
    struct log_gathered *gathered = &log->gathered;

    if (gathered->size == 0)
        return;
    bool written = write_log_bytes(log, gathered->bytes, gathered->size);
    for (size_t level = 0; level < sizeof gathered->lines / sizeof gathered->lines[0]; level++) {
        uint32_t lines = gathered->lines[level];
        gathered->lines[level] = 0;
        if (written) {
            log->counts.lines[level] += lines;
        } else {
            log->lost += lines;
            log->counts.lost += lines;
        }
    }
    gathered->size = 0;
    if (written && log->lost > 0)
        report_lost(log);
}

void log_write_out(struct log *log)
{
    pthread_mutex_lock(&log->lock);
    write_gathered(log);
    pthread_mutex_unlock(&log->lock);
}

void log_gather(struct log *log, void (*ask)(void *context), void *context)
{
    pthread_mutex_lock(&log->lock);
    write_gathered(log);
    log->gathered.ask = ask;
    log->gathered.context = context;
    pthread_mutex_unlock(&log->lock);
}

/* A sink gets line by line. */
static bool may_wait(const struct log *log, enum log_level level)
{
    return log->gathered.ask && level == LOG_LEVEL_INFO && !log_enabled(log, LOG_LEVEL_DEBUG) &&
           !log->settings.sink;
}

static void emit(struct log *log, uint64_t now_us, enum log_level level, const char *event,
                 const char *message, const struct log_field *fields, size_t count)
{
    struct log_gathered *gathered = &log->gathered;
    struct line line;

    format_line(&line, log, now_us, level, event, message, fields, count);
    if (line.size > sizeof gathered->bytes - gathered->size)
        write_gathered(log);
    bool first = gathered->size == 0;
    memcpy(gathered->bytes + gathered->size, line.bytes, line.size);
    gathered->size += line.size;
    gathered->lines[level]++;
    if (!may_wait(log, level))
        write_gathered(log);
    else if (first)
        gathered->ask(gathered->context);
}

/* Reports what this event's interval left out, if anything, and starts a new interval. */
static void rate_restart(struct log *log, struct log_rate *rate, uint64_t now_us)
{
    if (rate->suppressed > 0) {
        char message[64];
        struct log_field fields[] = {log_str("like", rate->event),
                                     log_u64("count", rate->suppressed)};

        snprintf(message, sizeof message, "%" PRIu64 " more like this were not logged",
                 rate->suppressed);
        emit(log, now_us, rate->level, "log_limited", message, fields, 2);
        log->rates_suppressing--;
    }
    rate->suppressed = 0;
    rate->logged = 0;
    rate->started_us = now_us;
}

/* A clock that was set back ends the interval too: else silence could last for hours. */
static bool rate_is_over(const struct log *log, const struct log_rate *rate, uint64_t now_us)
{
    return now_us < rate->started_us || now_us - rate->started_us >= log->settings.interval_us;
}

/* The entry of an event; if there is none, a new one, in place of the oldest when all are taken. */
static struct log_rate *rate_of(struct log *log, const char *event, uint64_t now_us)
{
    struct log_rate *oldest = &log->rates[0];

    for (uint32_t i = 0; i < log->rates_size; i++) {
        struct log_rate *rate = &log->rates[i];

        if (rate->event == event || strcmp(rate->event, event) == 0)
            return rate;
        if (rate->started_us < oldest->started_us)
            oldest = rate;
    }
    if (log->rates_size < LOG_EVENTS_MAX)
        oldest = &log->rates[log->rates_size++];
    else
        rate_restart(log, oldest, now_us);
    *oldest = (struct log_rate){.event = event, .started_us = now_us};
    return oldest;
}

/* Counts this line; true if it is to be left out. */
static bool rate_suppresses(struct log *log, const char *event, enum log_level level,
                            uint64_t now_us)
{
    if (log->settings.burst == UINT32_MAX)
        return false;
    for (uint32_t i = 0; i < log->rates_size && log->rates_suppressing > 0; i++) {
        struct log_rate *rate = &log->rates[i];

        if (rate->suppressed > 0 && rate_is_over(log, rate, now_us))
            rate_restart(log, rate, now_us);
    }

    struct log_rate *rate = rate_of(log, event, now_us);
    if (rate_is_over(log, rate, now_us))
        rate_restart(log, rate, now_us);
    if (rate->logged < log->settings.burst) {
        rate->logged++;
        return false;
    }
    log->counts.suppressed++;
    if (rate->suppressed++ == 0) {
        log->rates_suppressing++;
        rate->level = level;
    }
    if (level < rate->level)
        rate->level = level;
    return true;
}

static uint64_t system_now_us(void *context)
{
    struct timespec now;

    (void)context;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void log_init(struct log *log, const struct log_settings *settings)
{
    memset(log, 0, sizeof *log);
    log->settings = *settings;
    if (!log->settings.now_us)
        log->settings.now_us = system_now_us;
    if (log->settings.burst == 0)
        log->settings.burst = LOG_DEFAULT_BURST;
    if (log->settings.interval_us == 0)
        log->settings.interval_us = LOG_DEFAULT_INTERVAL_US;
    pthread_mutex_init(&log->lock, NULL);
}

/* What goes wrong is counted whatever is written. Event names are literals of the program: few. */
static void count_problem(struct log *log, const char *event)
{
    struct log_counts *counts = &log->counts;

    for (size_t i = 0; i < counts->problem_count; i++) {
        if (counts->problems[i].event == event || strcmp(counts->problems[i].event, event) == 0) {
            counts->problems[i].count++;
            return;
        }
    }
    if (counts->problem_count < LOG_EVENTS_MAX)
        counts->problems[counts->problem_count++] = (struct log_problem){event, 1};
    else
        counts->other_problems++;
}

void log_event(struct log *log, enum log_level level, const char *event, const char *message,
               const struct log_field *fields, size_t count)
{
    assert(is_key(event));
    if (level > LOG_LEVEL_WARNING && !log_enabled(log, level))
        return;
    pthread_mutex_lock(&log->lock);
    if (level <= LOG_LEVEL_WARNING)
        count_problem(log, event);
    uint64_t now_us = log_enabled(log, level) ? log->settings.now_us(log->settings.now_context) : 0;
    if (log_enabled(log, level) && !rate_suppresses(log, event, level, now_us))
        emit(log, now_us, level, event, message, fields, count);
    pthread_mutex_unlock(&log->lock);
}

void log_always(struct log *log, const char *event, const char *message,
                const struct log_field *fields, size_t count)
{
    assert(is_key(event));
    if (!log_enabled(log, LOG_LEVEL_INFO))
        return;
    pthread_mutex_lock(&log->lock);
    emit(log, log->settings.now_us(log->settings.now_context), LOG_LEVEL_INFO, event, message,
         fields, count);
    pthread_mutex_unlock(&log->lock);
}

void log_flush(struct log *log)
{
    pthread_mutex_lock(&log->lock);
    uint64_t now_us = log->settings.now_us(log->settings.now_context);

    for (uint32_t i = 0; i < log->rates_size; i++) {
        if (log->rates[i].suppressed > 0)
            rate_restart(log, &log->rates[i], now_us);
    }
    write_gathered(log);
    pthread_mutex_unlock(&log->lock);
}

struct log_field log_str(const char *key, const char *string)
{
    return (struct log_field){.key = key,
                              .kind = LOG_FIELD_STRING,
                              .size = string ? strlen(string) : 0,
                              .value = {.bytes = string}};
}

struct log_field log_bytes(const char *key, const void *bytes, size_t size)
{
    return (struct log_field){
        .key = key, .kind = LOG_FIELD_BYTES, .size = size, .value = {.bytes = bytes}};
}

struct log_field log_i64(const char *key, int64_t value)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_I64, .value = {.i64 = value}};
}

struct log_field log_u64(const char *key, uint64_t value)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_U64, .value = {.u64 = value}};
}

struct log_field log_bool(const char *key, bool value)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_BOOL, .value = {.boolean = value}};
}

struct log_field log_ms(const char *key, uint64_t milliseconds)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_MS, .value = {.u64 = milliseconds}};
}

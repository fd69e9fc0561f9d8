#include "audit/audit_record.h"

#include <assert.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"

enum { SHA256_SIZE = 32, DIGITS_MAX = 19 };

static const char chain_key[] = "{\"chain\":\"";
static const char sequence_key[] = "\",\"seq\":";
static const char time_key[] = ",\"time\":\"";
static const char event_key[] = "\",\"event\":\"";
static const char previous_key[] = ",\"prev\":\"";
static const char hash_key[] = "\",\"hash\":\"";
static const char line_end[] = "\"}";

/* ---- writing */

struct body {
    char *bytes;
    size_t size;
};

static void put_body(struct body *body, const void *bytes, size_t size)
{
    assert(size <= AUDIT_BODY_MAX - body->size);
    memcpy(body->bytes + body->size, bytes, size);
    body->size += size;
}

static void put_body_text(struct body *body, const char *text)
{
    put_body(body, text, strlen(text));
}

static void put_body_value(struct body *body, const uint8_t *text, size_t size)
{
    static const char cut[] = "...";
    size_t left = AUDIT_VALUE_MAX - 2 - (sizeof cut - 1);

    put_body_text(body, "\"");
    while (size > 0) {
        char out[JSON_CHARACTER_MAX];
        size_t written;
        size_t taken = json_character(text, size, out, &written);
        if (written > left) {
            put_body_text(body, cut);
            break;
        }
        put_body(body, out, written);
        left -= written;
        text += taken;
        size -= taken;
    }
    put_body_text(body, "\"");
}

static void put_body_field(struct body *body, const struct log_field *field)
{
    char number[32];

    put_body_text(body, ",\"");
    put_body_text(body, field->key);
    put_body_text(body, field->kind == LOG_FIELD_MS ? "_ms\":" : "\":");
    switch (field->kind) {
    case LOG_FIELD_STRING:
    case LOG_FIELD_BYTES:
        if (field->value.bytes)
            put_body_value(body, field->value.bytes, field->size);
        else
            put_body_text(body, "null");
        return;
    case LOG_FIELD_BOOL:
        put_body_text(body, field->value.boolean ? "true" : "false");
        return;
    case LOG_FIELD_I64:
        snprintf(number, sizeof number, "%" PRId64, field->value.i64);
        break;
    default:
        snprintf(number, sizeof number, "%" PRIu64, field->value.u64);
    }
    put_body_text(body, number);
}

static void format_record_time(uint64_t now_us, char text[AUDIT_TIME_SIZE])
{
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm tm;
    char day[20];

    if (!gmtime_r(&seconds, &tm))
        memset(&tm, 0, sizeof tm);
    if (strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
        snprintf(day, sizeof day, "9999-12-31T23:59:59");
    snprintf(text, AUDIT_TIME_SIZE, "%s.%06uZ", day, (unsigned)(now_us % 1000000));
}

size_t audit_body_write(char bytes[AUDIT_BODY_MAX], uint64_t now_us, const char *event,
                        const struct log_field *fields, size_t count)
{
    struct body body = {.bytes = bytes};
    char time[AUDIT_TIME_SIZE];

    assert(count <= AUDIT_FIELDS_MAX);
    format_record_time(now_us, time);
    put_body_text(&body, time_key);
    put_body_text(&body, time);
    put_body_text(&body, event_key);
    put_body_text(&body, event);
    put_body_text(&body, "\"");
    for (size_t i = 0; i < count; i++)
        put_body_field(&body, &fields[i]);
    return body.size;
}

/* ---- the chain */

static void put_hex(const uint8_t *bytes, size_t size, char *text)
{
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static void hash_record(const char *bytes, size_t size, char hash[AUDIT_HASH_SIZE])
{
    uint8_t digest[SHA256_SIZE];

    /* Without SHA-256 there would not be TLS either. */
    if (EVP_Digest(bytes, size, digest, NULL, EVP_sha256(), NULL) != 1)
        abort();
    put_hex(digest, sizeof digest, hash);
}

void audit_chain_begin(struct audit_chain *chain)
{
    uint8_t id[(AUDIT_CHAIN_SIZE - 1) / 2];

    if (RAND_bytes(id, sizeof id) != 1)
        abort();
    put_hex(id, sizeof id, chain->id);
    memset(chain->hash, '0', AUDIT_HASH_SIZE - 1);
    chain->hash[AUDIT_HASH_SIZE - 1] = '\0';
    chain->sequence = 0;
}

size_t audit_line_write(struct audit_chain *chain, const char *body, size_t body_size,
                        char line[AUDIT_LINE_MAX])
{
    int head = snprintf(line, AUDIT_LINE_MAX, "%s%s%s%" PRIu64, chain_key, chain->id, sequence_key,
                        ++chain->sequence);
    size_t size = (size_t)head;

    memcpy(line + size, body, body_size);
    size += body_size;
    size +=
        (size_t)snprintf(line + size, AUDIT_LINE_MAX - size, "%s%s\"", previous_key, chain->hash);
    hash_record(line, size, chain->hash);
    /* The quote that ends prev is part of what is hashed, and of the key that follows. */
    size += (size_t)snprintf(line + size, AUDIT_LINE_MAX - size, "%s%s%s\n", hash_key + 1,
                             chain->hash, line_end);
    return size;
}

/* ---- reading */

struct cursor {
    const char *at;
    const char *end;
};

static bool skip_text(struct cursor *cursor, const char *text)
{
    size_t size = strlen(text);

    if ((size_t)(cursor->end - cursor->at) < size || memcmp(cursor->at, text, size) != 0)
        return false;
    cursor->at += size;
    return true;
}

static bool read_hex(struct cursor *cursor, char *out, size_t out_size)
{
    size_t size = out_size - 1;

    if ((size_t)(cursor->end - cursor->at) < size)
        return false;
    for (size_t i = 0; i < size; i++)
        if (!memchr("0123456789abcdef", cursor->at[i], 16))
            return false;
    memcpy(out, cursor->at, size);
    out[size] = '\0';
    cursor->at += size;
    return true;
}

/* As it is written: digits, without zeros before them. */
static bool read_record_number(struct cursor *cursor, uint64_t *number)
{
    const char *start = cursor->at;

    *number = 0;
    while (cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9' &&
           cursor->at - start < DIGITS_MAX)
        *number = *number * 10 + (uint64_t)(*cursor->at++ - '0');
    return cursor->at > start && (*start != '0' || cursor->at == start + 1);
}

static bool read_time(struct cursor *cursor, char time[AUDIT_TIME_SIZE])
{
    static const char form[] = "0000-00-00T00:00:00.000000Z";

    _Static_assert(sizeof form == AUDIT_TIME_SIZE, "the form of a time");
    if ((size_t)(cursor->end - cursor->at) < sizeof form - 1)
        return false;
    for (size_t i = 0; i < sizeof form - 1; i++) {
        char c = cursor->at[i];
        if (form[i] == '0' ? c < '0' || c > '9' : c != form[i])
            return false;
    }
    memcpy(time, cursor->at, sizeof form - 1);
    time[sizeof form - 1] = '\0';
    cursor->at += sizeof form - 1;
    return true;
}

static bool read_event(struct cursor *cursor, struct audit_line *line)
{
    line->event = cursor->at;
    while (cursor->at < cursor->end &&
           ((*cursor->at >= 'a' && *cursor->at <= 'z') || *cursor->at == '_'))
        cursor->at++;
    line->event_size = (size_t)(cursor->at - line->event);
    return line->event_size > 0 && skip_text(cursor, "\"");
}

bool audit_line_read(struct audit_line *line, const char *bytes, size_t size)
{
    const size_t tail_size =
        strlen(previous_key) + strlen(hash_key) + strlen(line_end) + 2 * (AUDIT_HASH_SIZE - 1);
    struct cursor head = {bytes, bytes + size};
    char hash[AUDIT_HASH_SIZE];

    *line = (struct audit_line){.is_whole = false};
    if (size < tail_size)
        return false;
    struct cursor tail = {bytes + size - tail_size, bytes + size};
    head.end = tail.at;
    if (!skip_text(&head, chain_key) || !read_hex(&head, line->place.id, AUDIT_CHAIN_SIZE) ||
        !skip_text(&head, sequence_key) || !read_record_number(&head, &line->place.sequence) ||
        !skip_text(&head, time_key) || !read_time(&head, line->time) ||
        !skip_text(&head, event_key) || !read_event(&head, line))
        return false;
    line->fields = head.at;
    line->fields_size = (size_t)(head.end - head.at);
    if (!skip_text(&tail, previous_key) || !read_hex(&tail, line->previous, AUDIT_HASH_SIZE))
        return false;
    size_t hashed = (size_t)(tail.at - bytes) + 1;
    if (!skip_text(&tail, hash_key) || !read_hex(&tail, line->place.hash, AUDIT_HASH_SIZE) ||
        !skip_text(&tail, line_end))
        return false;
    hash_record(bytes, hashed, hash);
    line->is_whole = strcmp(hash, line->place.hash) == 0;
    return true;
}

bool audit_line_is(const struct audit_line *line, const char *event)
{
    return strlen(event) == line->event_size && memcmp(line->event, event, line->event_size) == 0;
}

bool audit_line_number(const struct audit_line *line, const char *key, uint64_t *value)
{
    struct cursor cursor = {line->fields, line->fields + line->fields_size};

    return skip_text(&cursor, ",\"") && skip_text(&cursor, key) && skip_text(&cursor, "\":") &&
           read_record_number(&cursor, value);
}

#include "http/response.h"

#include <string.h>

#include "base/bytes.h"
#include "http/field.h"

enum state {
    STATE_HEAD,
    STATE_BODY, /* left bytes of it, or until the connection ends */
    STATE_CHUNK_SIZE,
    STATE_CHUNK_EXTENSION,
    STATE_CHUNK,
    STATE_CHUNK_END, /* the line end behind a chunk */
    STATE_TRAILER,   /* up to an empty line */
    STATE_DONE,
};

#define BEGINNING "HTTP/1."
#define BEGINNING_SIZE (sizeof BEGINNING - 1)

/* Of a chunk: far beyond any of interest, and shifts do not overflow. */
#define CHUNK_MAX (UINT64_MAX >> 8)

void http_response_init(struct http_response *response, enum http_response_kind kind, char *body,
                        size_t body_max)
{
    response->kind = kind;
    response->status = 0;
    response->head_done = false;
    response->body = body;
    response->body_size = 0;
    response->body_max = body_max;
    response->body_cut = false;
    response->state = STATE_HEAD;
    response->left = 0;
    response->until_end = false;
    response->line_end = 0;
    response->head_size = 0;
    response->head[0] = '\0';
    if (body)
        body[0] = '\0';
}

/* ---- the head */

/* Everything behind the status line. */
static struct http_fields headers(const struct http_response *response)
{
    struct http_fields fields = {response->head, response->head + response->head_size};
    const char *line;
    size_t size;

    if (!http_fields_line(&fields, &line, &size))
        fields.at = fields.end;
    return fields;
}

bool http_response_header(const struct http_response *response, const char *name, char *value,
                          size_t size)
{
    struct http_fields fields = headers(response);
    struct http_field found;
    size_t fill = 0;
    bool any = false;

    while (http_fields_find(&fields, name, &found)) {
        if (any && fill + 2 < size) {
            memcpy(value + fill, ", ", 2);
            fill += 2;
        }
        any = true;
        for (size_t i = 0; i < found.value_size && fill + 1 < size; i++) {
            unsigned char c = (unsigned char)found.value[i];
            value[fill++] = c < ' ' || c == 0x7f ? ' ' : found.value[i];
        }
    }
    value[fill] = '\0';
    return any;
}

bool http_response_has(const struct http_response *response, const char *name, const char *word)
{
    return http_fields_have(headers(response), name, word);
}

/* "HTTP/1.1 200 OK"; false: it is something else. */
static bool read_status_line(struct http_response *response)
{
    struct http_fields all = {response->head, response->head + response->head_size};
    const char *line;
    size_t size;

    if (!http_fields_line(&all, &line, &size) || size < sizeof "HTTP/1.1 200" - 1 ||
        memcmp(line, BEGINNING, BEGINNING_SIZE) != 0 || line[7] < '0' || line[7] > '9' ||
        line[8] != ' ')
        return false;
    response->status = 0;
    for (int i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9')
            return false;
        response->status = 10 * response->status + (line[i] - '0');
    }
    return response->status >= 100 && response->status < 600 && (size == 12 || line[12] == ' ');
}

/* false: the lengths that the header gives differ, or are none. */
static bool read_content_length(struct http_response *response, bool *given)
{
    struct http_fields fields = headers(response);
    struct http_field field;

    *given = false;
    while (http_fields_find(&fields, "content-length", &field)) {
        uint64_t length;
        if (!http_field_length(&field, &length) || (*given && length != response->left))
            return false;
        response->left = length;
        *given = true;
    }
    return true;
}

/* Every line must be a header: what is none could hide a length (RFC 9112, 5). */
static bool headers_are_whole(const struct http_response *response)
{
    struct http_fields fields = headers(response);
    struct http_field field;
    const char *line;
    size_t size;

    while (http_fields_line(&fields, &line, &size) && size > 0)
        if (!http_field_split(line, size, &field))
            return false;
    return true;
}

/* The head is whole: how does the body end? (RFC 9112, 6.3) */
static enum http_response_result begin_body(struct http_response *response)
{
    bool given;

    if (!read_status_line(response) || !headers_are_whole(response) ||
        !read_content_length(response, &given))
        return HTTP_RESPONSE_MALFORMED;
    if (response->status / 100 == 1 && response->status != 101) {
        /* An interim answer: the real one is still to come. */
        response->head_size = 0;
        response->line_end = 0;
        response->head[0] = '\0';
        return HTTP_RESPONSE_MORE;
    }
    response->head_done = true;
    if (response->status == 101 || response->status == 204 || response->status == 304 ||
        (response->kind == HTTP_RESPONSE_CONNECT && response->status / 100 == 2)) {
        response->state = STATE_DONE;
    } else if (http_response_has(response, "transfer-encoding", "chunked")) {
        response->state = STATE_CHUNK_SIZE;
        response->left = 0;
        response->line_end = 0;
    } else {
        response->state = given && response->left == 0 ? STATE_DONE : STATE_BODY;
        response->until_end = !given;
    }
    return response->state == STATE_DONE ? HTTP_RESPONSE_DONE : HTTP_RESPONSE_MORE;
}

/* An empty line, with or without carriage returns, ends the head. */
static enum http_response_result receive_head(struct http_response *response, char byte)
{
    if (byte == '\0')
        return HTTP_RESPONSE_MALFORMED;
    if (response->head_size >= HTTP_RESPONSE_HEAD_MAX)
        return HTTP_RESPONSE_TOO_LARGE;
    response->head[response->head_size++] = byte;
    response->head[response->head_size] = '\0';
    /* Something that is not HTTP is recognized before it has filled the head. */
    if (response->head_size <= BEGINNING_SIZE && byte != BEGINNING[response->head_size - 1])
        return HTTP_RESPONSE_MALFORMED;
    if (byte == '\n') {
        if (response->line_end > 0)
            return begin_body(response);
        response->line_end = 1;
    } else if (byte != '\r' || response->line_end == 2) {
        response->line_end = 0;
    } else if (response->line_end == 1) {
        response->line_end = 2;
    }
    return HTTP_RESPONSE_MORE;
}

/* ---- the body */

static void keep_body(struct http_response *response, const uint8_t *bytes, size_t size)
{
    size_t room = response->body_max - response->body_size;

    if (size > room) {
        response->body_cut = true;
        size = room;
    }
    if (!response->body || size == 0)
        return;
    memcpy(response->body + response->body_size, bytes, size);
    response->body_size += size;
    response->body[response->body_size] = '\0';
}

/* Takes what of size belongs to the body or chunk. */
static size_t take_body(struct http_response *response, const uint8_t *bytes, size_t size)
{
    if (!response->until_end && size > response->left)
        size = (size_t)response->left;
    keep_body(response, bytes, size);
    if (!response->until_end)
        response->left -= size;
    return size;
}

/* A byte of what surrounds chunks. line_end counts digits of a size, or bytes of a trailer line. */
static enum http_response_result receive_between(struct http_response *response, char byte)
{
    int digit;

    switch (response->state) {
    case STATE_CHUNK_SIZE:
        digit = bytes_hex_digit(byte);
        if (digit >= 0 && response->left <= CHUNK_MAX >> 4) {
            response->left = response->left << 4 | (uint64_t)digit;
            response->line_end = 1;
            return HTTP_RESPONSE_MORE;
        }
        if (digit >= 0 || response->line_end == 0)
            return HTTP_RESPONSE_MALFORMED;
        response->state = STATE_CHUNK_EXTENSION;
        /* fallthrough */
    case STATE_CHUNK_EXTENSION:
        if (byte != '\n')
            return HTTP_RESPONSE_MORE;
        response->line_end = 0;
        response->state = response->left > 0 ? STATE_CHUNK : STATE_TRAILER;
        return HTTP_RESPONSE_MORE;
    case STATE_CHUNK_END:
        if (byte == '\r')
            return HTTP_RESPONSE_MORE;
        response->state = STATE_CHUNK_SIZE;
        return byte == '\n' ? HTTP_RESPONSE_MORE : HTTP_RESPONSE_MALFORMED;
    default:
        if (byte == '\n' && response->line_end == 0) {
            response->state = STATE_DONE;
            return HTTP_RESPONSE_DONE;
        }
        response->line_end = byte == '\r' ? response->line_end : byte != '\n';
        return HTTP_RESPONSE_MORE;
    }
}

enum http_response_result http_response_receive(struct http_response *response,
                                                const uint8_t *bytes, size_t size, size_t *consumed)
{
    enum http_response_result result = HTTP_RESPONSE_MORE;
    size_t at = 0;

    while (at < size && result == HTTP_RESPONSE_MORE) {
        if (response->state == STATE_BODY || response->state == STATE_CHUNK) {
            at += take_body(response, bytes + at, size - at);
            if (response->until_end || response->left > 0)
                continue;
            if (response->state == STATE_BODY) {
                response->state = STATE_DONE;
                result = HTTP_RESPONSE_DONE;
            } else {
                response->state = STATE_CHUNK_END;
            }
        } else if (response->state == STATE_HEAD) {
            result = receive_head(response, (char)bytes[at++]);
        } else {
            result = receive_between(response, (char)bytes[at++]);
        }
    }
    *consumed = at;
    return result;
}

bool http_response_has_begun(const struct http_response *response)
{
    return response->head_size >= BEGINNING_SIZE &&
           memcmp(response->head, BEGINNING, BEGINNING_SIZE) == 0;
}

enum http_response_result http_response_end(struct http_response *response)
{
    if (response->state != STATE_BODY || !response->until_end)
        return HTTP_RESPONSE_MALFORMED;
    response->state = STATE_DONE;
    return HTTP_RESPONSE_DONE;
}

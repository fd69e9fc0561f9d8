#include "http/response.h"

#include <string.h>

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

/* Far beyond any body of interest, and shifts do not overflow. */
#define LENGTH_MAX (UINT64_MAX >> 8)

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

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool same(const char *a, const char *b, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (lower(a[i]) != lower(b[i]))
            return false;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The line that begins at text, without its end; NULL after the last one. */
static const char *next_line(const char *text, const char **line, size_t *size)
{
    const char *end = strchr(text, '\n');

    if (!end)
        return NULL;
    *line = text;
    *size = (size_t)(end - text);
    if (*size > 0 && text[*size - 1] == '\r')
        --*size;
    return end + 1;
}

/* Cuts NAME: VALUE apart; false: it is no header, or one folded over lines (RFC 9112, 5.2). */
static bool split_header(const char *line, size_t size, size_t *name_size, const char **value,
                         size_t *value_size)
{
    const char *colon = memchr(line, ':', size);

    if (!colon || colon == line || is_blank(line[0]) || is_blank(colon[-1]))
        return false;
    *name_size = (size_t)(colon - line);
    *value = colon + 1;
    *value_size = size - *name_size - 1;
    while (*value_size > 0 && is_blank(**value)) {
        ++*value;
        --*value_size;
    }
    while (*value_size > 0 && is_blank((*value)[*value_size - 1]))
        --*value_size;
    return true;
}

/* The next value of the header from *at on; false: there is no further one. */
static bool next_value(const char **at, const char *name, const char **value, size_t *size)
{
    size_t wanted = strlen(name);
    const char *line;
    size_t line_size;
    const char *next;

    while ((next = next_line(*at, &line, &line_size))) {
        size_t name_size;
        *at = next;
        if (split_header(line, line_size, &name_size, value, size) && name_size == wanted &&
            same(line, name, wanted))
            return true;
    }
    return false;
}

static const char *headers(const struct http_response *response)
{
    const char *end = strchr(response->head, '\n');

    return end ? end + 1 : response->head + response->head_size;
}

bool http_response_header(const struct http_response *response, const char *name, char *value,
                          size_t size)
{
    const char *at = headers(response);
    const char *found;
    size_t found_size;
    size_t fill = 0;
    bool any = false;

    while (next_value(&at, name, &found, &found_size)) {
        if (any && fill + 2 < size) {
            memcpy(value + fill, ", ", 2);
            fill += 2;
        }
        any = true;
        for (size_t i = 0; i < found_size && fill + 1 < size; i++) {
            unsigned char c = (unsigned char)found[i];
            value[fill++] = c < ' ' || c == 0x7f ? ' ' : found[i];
        }
    }
    value[fill] = '\0';
    return any;
}

bool http_response_has(const struct http_response *response, const char *name, const char *word)
{
    const char *at = headers(response);
    size_t wanted = strlen(word);
    const char *value;
    size_t size;

    while (next_value(&at, name, &value, &size)) {
        while (size > 0) {
            const char *comma = memchr(value, ',', size);
            size_t part = comma ? (size_t)(comma - value) : size;
            size_t start = 0;
            size_t end = part;
            while (start < end && is_blank(value[start]))
                start++;
            while (end > start && is_blank(value[end - 1]))
                end--;
            if (end - start == wanted && same(value + start, word, wanted))
                return true;
            size -= part + (comma != NULL);
            value += part + (comma != NULL);
        }
    }
    return false;
}

/* "HTTP/1.1 200 OK"; false: it is something else. */
static bool read_status_line(struct http_response *response)
{
    const char *line;
    size_t size;

    if (!next_line(response->head, &line, &size) || size < sizeof "HTTP/1.1 200" - 1 ||
        memcmp(line, "HTTP/1.", 7) != 0 || line[7] < '0' || line[7] > '9' || line[8] != ' ')
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
static bool read_length(struct http_response *response, bool *given)
{
    const char *at = headers(response);
    const char *value;
    size_t size;

    *given = false;
    while (next_value(&at, "content-length", &value, &size)) {
        uint64_t length = 0;
        if (size == 0)
            return false;
        for (size_t i = 0; i < size; i++) {
            if (value[i] < '0' || value[i] > '9' || length > LENGTH_MAX / 10)
                return false;
            length = 10 * length + (uint64_t)(value[i] - '0');
        }
        if (*given && length != response->left)
            return false;
        response->left = length;
        *given = true;
    }
    return true;
}

/* Every line must be a header: what is none could hide a length (RFC 9112, 5). */
static bool headers_are_whole(const struct http_response *response)
{
    const char *at = headers(response);
    const char *line;
    const char *value;
    size_t size;
    size_t name_size;
    size_t value_size;

    while ((at = next_line(at, &line, &size)) && size > 0)
        if (!split_header(line, size, &name_size, &value, &value_size))
            return false;
    return true;
}

/* The head is whole: how does the body end? (RFC 9112, 6.3) */
static enum http_response_result begin_body(struct http_response *response)
{
    bool given;

    if (!read_status_line(response) || !headers_are_whole(response) ||
        !read_length(response, &given))
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
    if (response->head_size <= 7 && byte != "HTTP/1."[response->head_size - 1])
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

static void keep(struct http_response *response, const uint8_t *bytes, size_t size)
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
static size_t take(struct http_response *response, const uint8_t *bytes, size_t size)
{
    if (!response->until_end && size > response->left)
        size = (size_t)response->left;
    keep(response, bytes, size);
    if (!response->until_end)
        response->left -= size;
    return size;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A byte of what surrounds chunks. line_end counts digits of a size, or bytes of a trailer line. */
static enum http_response_result receive_between(struct http_response *response, char byte)
{
    int digit;

    switch (response->state) {
    case STATE_CHUNK_SIZE:
        digit = hex_digit(byte);
        if (digit >= 0 && response->left <= LENGTH_MAX >> 4) {
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
            at += take(response, bytes + at, size - at);
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

enum http_response_result http_response_end(struct http_response *response)
{
    if (response->state != STATE_BODY || !response->until_end)
        return HTTP_RESPONSE_MALFORMED;
    response->state = STATE_DONE;
    return HTTP_RESPONSE_DONE;
}

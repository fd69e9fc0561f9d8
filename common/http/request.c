#include "http/request.h"

#include <string.h>

#include "base/bytes.h"
#include "http/field.h"

enum state {
    STATE_METHOD,
    STATE_TARGET,
    STATE_VERSION,
    STATE_REQUEST_LINE_END,
    STATE_FIELD, /* the beginning of a header line, or of the empty one */
    STATE_NAME,
    STATE_VALUE,
    STATE_FIELD_END,
    STATE_HEAD_END,
    STATE_OVER,
};

static const char VERSION[] = "HTTP/1.1";

void http_request_init(struct http_request *request, char *head, size_t head_max)
{
    *request = (struct http_request){.head = head, .head_max = head_max, .state = STATE_METHOD};
}

char *http_request_move(struct http_request *request, char *head, size_t head_max)
{
    char *before = request->head;

    memcpy(head, before, request->head_size);
    byte_wipe(before, request->head_size);
    request->head = head;
    request->head_max = head_max;
    return before;
}

static enum http_request_result reject_malformed(struct http_request *request, const char *problem)
{
    request->problem = problem;
    request->state = STATE_OVER;
    return HTTP_REQUEST_MALFORMED;
}

const char *http_request_problem(const struct http_request *request)
{
    return request->problem;
}

/* ---- the request line */

/* What RFC 3986 lets a path and a query have. */
static bool is_target_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("/?:@-._~!$&'()*+,;=%", c));
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The byte at this place of "HTTP/1.1": digits may differ. */
static bool fits_version(size_t place, char byte)
{
    if (place >= sizeof VERSION - 1)
        return false;
    return is_digit(VERSION[place]) ? is_digit(byte) : byte == VERSION[place];
}

static enum http_request_result end_request_line(struct http_request *request)
{
    const char *target = request->head + request->target;
    const char *version = request->head + request->version;
    size_t size = request->version - request->target - 1;

    if (version[5] != '1') {
        request->state = STATE_OVER;
        return HTTP_REQUEST_VERSION;
    }
    /* 1.2, should there ever be one, is to be read as 1.1 (RFC 9110, 2.5). */
    request->minor = version[7] == '0' ? 0 : 1;
    if (target[0] != '/')
        return reject_malformed(request, "the target of the request is not a path");
    for (size_t i = 0; i < size; i++)
        if (!is_target_character(target[i]))
            return reject_malformed(request, "the target of the request has a fragment, or a "
                                             "character that must be percent-encoded");
    const char *query = memchr(target, '?', size);
    request->path_size = query ? (size_t)(query - target) : size;
    request->fields = request->head_size;
    request->state = STATE_FIELD;
    return HTTP_REQUEST_MORE;
}

static enum http_request_result receive_request_line(struct http_request *request, char byte)
{
    switch (request->state) {
    case STATE_METHOD:
        if (http_is_token(byte)) {
            request->method_size++;
            return HTTP_REQUEST_MORE;
        }
        if (byte != ' ' || request->method_size == 0)
            return reject_malformed(request, "it does not begin like an HTTP request");
        request->target = request->head_size;
        request->state = STATE_TARGET;
        return HTTP_REQUEST_MORE;
    case STATE_TARGET:
        if (byte > ' ' && byte < 0x7f)
            return HTTP_REQUEST_MORE;
        if (byte != ' ' || request->head_size - 1 == request->target)
            return reject_malformed(request, "the request line is not METHOD TARGET VERSION");
        request->version = request->head_size;
        request->state = STATE_VERSION;
        return HTTP_REQUEST_MORE;
    case STATE_VERSION:
        if (fits_version(request->head_size - 1 - request->version, byte))
            return HTTP_REQUEST_MORE;
        if (byte != '\r' || request->head_size - 1 - request->version != sizeof VERSION - 1)
            return reject_malformed(request, "the request line does not end with an HTTP version");
        request->state = STATE_REQUEST_LINE_END;
        return HTTP_REQUEST_MORE;
    default:
        if (byte != '\n')
            return reject_malformed(request, "a carriage return is not followed by a line feed");
        return end_request_line(request);
    }
}

/* ---- the header lines */

static struct http_fields request_fields(const struct http_request *request)
{
    return (struct http_fields){request->head + request->fields,
                                request->head + request->head_size};
}

/* uri-host [":" port] (RFC 9112, 3.2); an empty one is allowed. */
static bool host_is_sound(const struct http_request *request)
{
    struct http_fields fields = request_fields(request);
    struct http_field host;

    if (!http_fields_find(&fields, "host", &host))
        return true;
    for (size_t i = 0; i < host.value_size; i++) {
        char c = host.value[i];
        if (c == '/' || c == '?' || c == '@' || (c != '[' && c != ']' && !is_target_character(c)))
            return false;
    }
    return true;
}

/* Is there a body, and could somebody else see its end elsewhere? (RFC 9112, 6.3) */
static enum http_request_result check_framing(struct http_request *request)
{
    struct http_fields fields = request_fields(request);
    size_t lengths = http_request_header_count(request, "content-length");
    size_t codings = http_request_header_count(request, "transfer-encoding");
    struct http_field field;
    uint64_t length = 0;

    if (lengths > 1 || (lengths > 0 && codings > 0))
        return reject_malformed(request, "the length of the body is given more than once");
    if (codings > 0 && request->minor == 0)
        return reject_malformed(request, "HTTP/1.0 has no Transfer-Encoding");
    if (lengths > 0 && (!http_fields_find(&fields, "content-length", &field) ||
                        !http_field_length(&field, &length)))
        return reject_malformed(request, "Content-Length is not a number");
    request->body_size = codings > 0 ? UINT64_MAX : length;
    return HTTP_REQUEST_DONE;
}

static enum http_request_result end_head(struct http_request *request)
{
    size_t hosts = http_request_header_count(request, "host");

    request->state = STATE_OVER;
    if (hosts > 1)
        return reject_malformed(request, "there is more than one Host header");
    if (hosts == 0 && request->minor > 0)
        return reject_malformed(request, "the Host header is missing");
    if (!host_is_sound(request))
        return reject_malformed(request, "the value of the Host header is not a host");
    enum http_request_result result = check_framing(request);
    /* Ends strings where a blank or the question mark was. */
    request->head[request->method_size] = '\0';
    request->head[request->target + request->path_size] = '\0';
    return result;
}

static enum http_request_result receive_field(struct http_request *request, char byte)
{
    switch (request->state) {
    case STATE_FIELD:
        if (byte == ' ' || byte == '\t')
            return reject_malformed(request, "a header line is folded");
        request->state = byte == '\r' ? STATE_HEAD_END : STATE_NAME;
        if (byte != '\r' && !http_is_token(byte))
            return reject_malformed(request, "a header line does not begin with a name");
        return HTTP_REQUEST_MORE;
    case STATE_NAME:
        if (byte == ':')
            request->state = STATE_VALUE;
        else if (!http_is_token(byte))
            return reject_malformed(request,
                                    "the name of a header has a character that is not allowed");
        return HTTP_REQUEST_MORE;
    case STATE_VALUE:
        if (byte == '\r')
            request->state = STATE_FIELD_END;
        else if (byte != '\t' && ((unsigned char)byte < ' ' || byte == 0x7f))
            return reject_malformed(request, "the value of a header has a control character");
        return HTTP_REQUEST_MORE;
    case STATE_FIELD_END:
        request->state = STATE_FIELD;
        if (byte != '\n')
            return reject_malformed(request, "a carriage return is not followed by a line feed");
        return HTTP_REQUEST_MORE;
    default:
        if (byte != '\n')
            return reject_malformed(request, "a carriage return is not followed by a line feed");
        return end_head(request);
    }
}

enum http_request_result http_request_receive(struct http_request *request, const void *bytes,
                                              size_t size, size_t *consumed)
{
    const char *at = bytes;
    enum http_request_result result = HTTP_REQUEST_MORE;

    for (*consumed = 0; *consumed < size && result == HTTP_REQUEST_MORE; ++*consumed) {
        char byte = at[*consumed];
        if (request->head_size == request->head_max)
            return HTTP_REQUEST_FULL;
        request->head[request->head_size++] = byte;
        result = request->state < STATE_FIELD ? receive_request_line(request, byte)
                                              : receive_field(request, byte);
    }
    return result;
}

/* ---- what it says */

bool http_request_is_head(const struct http_request *request)
{
    return request->target > 0 && request->method_size == 4 &&
           memcmp(request->head, "HEAD", 4) == 0;
}

const char *http_request_method(const struct http_request *request)
{
    return request->head;
}

const char *http_request_path(const struct http_request *request)
{
    return request->head + request->target;
}

int http_request_minor(const struct http_request *request)
{
    return request->minor;
}

uint64_t http_request_body_size(const struct http_request *request)
{
    return request->body_size;
}

bool http_request_header(const struct http_request *request, const char *name, char *value,
                         size_t size)
{
    struct http_fields fields = request_fields(request);
    struct http_field field;
    struct http_field second;

    value[0] = '\0';
    if (!http_fields_find(&fields, name, &field) || http_fields_find(&fields, name, &second) ||
        field.value_size >= size)
        return false;
    memcpy(value, field.value, field.value_size);
    value[field.value_size] = '\0';
    return true;
}

size_t http_request_header_count(const struct http_request *request, const char *name)
{
    struct http_fields fields = request_fields(request);
    struct http_field field;
    size_t count = 0;

    while (http_fields_find(&fields, name, &field))
        count++;
    return count;
}

bool http_request_has(const struct http_request *request, const char *name, const char *word)
{
    return http_fields_have(request_fields(request), name, word);
}

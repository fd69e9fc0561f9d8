/*
 * The head of one HTTP/1.x request, as a server gets it from anybody: as strict as RFC 9112 lets a
 * server be, and stricter in that only the origin form of a target ("/path?query") is taken.
 *
 * Lines end in CRLF, there is no folding, no blank before a colon, no control character; HTTP/1.1
 * has exactly one Host; lengths that could be read in two ways (RFC 9112, 6.3) are malformed. So
 * nothing between the client and the server can have understood the same bytes differently.
 *
 * Each byte is looked at once as it comes, and once more for each header that is asked for. The
 * caller's buffer bounds the head, and holds secrets (Authorization): the caller wipes it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_request_result {
    HTTP_REQUEST_MORE = 0,
    HTTP_REQUEST_DONE = 1, /* the head is whole; bytes that were not taken are not part of it */
    HTTP_REQUEST_FULL = 2, /* the head needs a larger buffer: http_request_move(), or give up */
    HTTP_REQUEST_MALFORMED = -1,
    HTTP_REQUEST_VERSION = -2, /* some version of HTTP, but not 1.x; HTTP/2's preface above all */
};

/* Private; initialize with http_request_init(). */
struct http_request {
    char *head; /* the caller's */
    size_t head_max;
    size_t head_size;
    int state;
    int minor;
    size_t method_size;
    size_t target; /* where it begins in head */
    size_t path_size;
    size_t version;
    size_t fields;
    uint64_t body_size; /* UINT64_MAX: it comes in chunks */
    const char *problem;
};

void http_request_init(struct http_request *request, char *head, size_t head_max);
/* Goes on in a larger buffer. Returns the one before, wiped. */
char *http_request_move(struct http_request *request, char *head, size_t head_max);
/* Takes *consumed bytes. After MALFORMED, VERSION or DONE no further call. */
enum http_request_result http_request_receive(struct http_request *request, const void *bytes,
                                              size_t size, size_t *consumed);
/* After MALFORMED: what is wrong, for people: "a header line is folded". */
const char *http_request_problem(const struct http_request *request);

/* Whether the method is HEAD, whose answers have no body (RFC 9110, 9.3.2); any time, so also of a
 * request that is malformed behind that. */
bool http_request_is_head(const struct http_request *request);

/* ---- After DONE: */

const char *http_request_method(const struct http_request *request);
/* Without the query, as it came: nothing is decoded. */
const char *http_request_path(const struct http_request *request);
/* 0 for HTTP/1.0, 1 for HTTP/1.1. */
int http_request_minor(const struct http_request *request);
/* Of the body that is announced; 0: none is. UINT64_MAX: it comes in chunks. */
uint64_t http_request_body_size(const struct http_request *request);

/*
 * Copies the value of a header, the name without regard to case, into size bytes with the NUL.
 * false, and "" in value: it is not there, comes more than once, or does not fit.
 */
bool http_request_header(const struct http_request *request, const char *name, char *value,
                         size_t size);
/* How many headers of that name there are. */
size_t http_request_header_count(const struct http_request *request, const char *name);
/* Whether one of the comma-separated elements of such headers is word, without regard to case. */
bool http_request_has(const struct http_request *request, const char *name, const char *word);

/*
 * A response of HTTP/1.x (RFC 9112) as a client gets it: to CONNECT, to the upgrade to a WebSocket,
 * to a request for a token.
 *
 * Bounded: the head as a whole, and what is kept of the body. A body may be as long as it likes
 * where only its beginning is wanted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_RESPONSE_HEAD_MAX 16384

enum http_response_result {
    HTTP_RESPONSE_MORE = 0, /* all bytes were taken, more are needed */
    HTTP_RESPONSE_DONE = 1, /* the answer is whole; bytes that were not taken are not part of it */
    HTTP_RESPONSE_MALFORMED = -1,
    HTTP_RESPONSE_TOO_LARGE = -2, /* the head is longer than HTTP_RESPONSE_HEAD_MAX */
};

/* What the answer is to: it decides where it ends (RFC 9112, 6.3). */
enum http_response_kind {
    HTTP_RESPONSE_ORDINARY,
    HTTP_RESPONSE_CONNECT, /* a 2xx has no body: what follows is the tunnel */
};

/* Private but for status, head_done and the body; initialize with http_response_init(). */
struct http_response {
    enum http_response_kind kind;
    int status; /* 100 to 599; 101 ends the answer, other 1xx are skipped */
    bool head_done;
    char *body; /* what of it is kept, NUL terminated; the caller's memory */
    size_t body_size;
    size_t body_max;
    bool body_cut; /* there was more of it */

    int state;
    uint64_t left; /* of the body or a chunk */
    bool until_end;
    uint8_t line_end; /* how much of an empty line has been seen */
    size_t head_size;
    char head[HTTP_RESPONSE_HEAD_MAX + 1];
};

/* body: room for body_max bytes and a NUL; NULL with 0: none of it is kept. */
void http_response_init(struct http_response *response, enum http_response_kind kind, char *body,
                        size_t body_max);
/* Takes *consumed bytes. After another result than MORE no further call. */
enum http_response_result http_response_receive(struct http_response *response,
                                                const uint8_t *bytes, size_t size,
                                                size_t *consumed);
/* Whether it begins as HTTP/1.x does, even if it goes on in another way. */
bool http_response_has_begun(const struct http_response *response);
/* The connection has ended: DONE if that is how this answer ends, MALFORMED if it is cut short. */
enum http_response_result http_response_end(struct http_response *response);

/*
 * Once head_done: copies the value of a header, the name without regard to case, "" if it is not
 * there. Values of a header that comes several times are joined with ", ". Control characters are
 * replaced by blanks, what does not fit is cut. false: it is not there.
 */
bool http_response_header(const struct http_response *response, const char *name, char *value,
                          size_t size);
/* Whether one of the header's comma-separated elements is word, without regard to case. */
bool http_response_has(const struct http_response *response, const char *name, const char *word);

/*
 * What a server says: the answer to one request, after which it closes the connection; or 101,
 * after which the connection is a WebSocket (RFC 6455, 4.2.2).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Room for any answer whose body is HTTP_ANSWER_BODY_MAX at the most. */
#define HTTP_ANSWER_MAX 1024
#define HTTP_ANSWER_BODY_MAX 512

struct http_answer {
    int status;
    const char *date; /* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7) */
    const char *body; /* text; it ends in a line end */
    bool head;        /* to HEAD: the body is not sent, its length is */
};

/*
 * Writes the answer, with the headers that its status wants: Allow, WWW-Authenticate, Upgrade and
 * Sec-WebSocket-Version, Retry-After. Returns its size. A body that is too long is cut.
 */
size_t http_answer_write(const struct http_answer *answer, char out[HTTP_ANSWER_MAX]);

/* Writes 101. accept: the value of Sec-WebSocket-Accept; protocol: the subprotocol, or NULL.
 * Returns the size. */
size_t http_answer_upgrade(const char *accept, const char *protocol, char out[HTTP_ANSWER_MAX]);

/*
 * What a server says: the answer to one request, after which it closes the connection; or 101,
 * after which the connection is a WebSocket (RFC 6455, 4.2.2).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Room for the head of any answer. */
#define HTTP_ANSWER_HEAD_MAX 1024

struct http_answer {
    int status;
    const char *date;    /* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7) */
    const char *type;    /* of the body; NULL: it is plain text */
    const char *headers; /* more of them, each with its line end; NULL: none */
    const char *allow;   /* with 405: what can be done; NULL: "GET, HEAD" */
    size_t size;         /* of the body that follows, or would but for HEAD */
};

/*
 * Writes the head of an answer, with the headers that its status wants: Allow, WWW-Authenticate,
 * Upgrade and Sec-WebSocket-Version, Retry-After. Returns its size.
 */
size_t http_answer_head(const struct http_answer *answer, char out[HTTP_ANSWER_HEAD_MAX]);

/* Writes 101. accept: the value of Sec-WebSocket-Accept; protocol: the subprotocol, or NULL.
 * Returns the size. */
size_t http_answer_upgrade(const char *accept, const char *protocol,
                           char out[HTTP_ANSWER_HEAD_MAX]);

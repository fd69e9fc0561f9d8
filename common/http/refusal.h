/*
 * What an HTTP answer means that came instead of 101: who gave it, and what the person can do. A
 * function of the request and the answer alone, so that each case can be tested.
 */
#pragma once

#include "http/hop.h"
#include "http/response.h"

/* What was asked for. */
struct http_refusal_request {
    const char *host; /* without brackets */
    uint16_t port;
    bool tls;
    const char *path;
    bool token;       /* Authorization was sent */
    bool origin;      /* Origin was sent */
    bool certificate; /* there is one, if the server wants it */
};

/* So much of an answer's body is worth keeping: the title of an HTML page is in it. */
#define HTTP_REFUSAL_BODY_MAX 1024

/* A sentence in text. response: its head is whole, its status is not 101. */
enum http_hop http_refusal_explain(const struct http_refusal_request *request,
                                   const struct http_response *response, char *text, size_t size);

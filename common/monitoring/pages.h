/*
 * The status address of a program (--status): pages for people and for monitoring, over plain HTTP,
 * by http/server.h. GET /metrics (Prometheus text format 0.0.4) and /healthz are the same for
 * every program, the others are its own. HEAD is answered as GET is, without the body; a method
 * that a page does not have with 405 and Allow (RFC 9110, 15.5.6), one that HTTP does not have with
 * 501.
 *
 * What is bounded: PAGES_CONNECTIONS at a time (when one more comes another makes way, as in
 * http/handshake_slots.h, so that a probe is answered whoever else holds connections), 16 KiB of
 * headers, 1 KiB of body, which must say its length, and PAGES_LIFE_S from accept to the last byte
 * of the answer: each connection carries one request.
 *
 * Web pages of other origins must neither read nor do anything here, whatever the user's browser
 * runs. So Host must name loopback or, where the address is not on loopback, be an IP address
 * (against DNS rebinding), Origin and Sec-Fetch-Site must be of this origin, and no answer allows
 * other origins anything.
 */
#pragma once

#include "base/text.h"
#include "config/address.h"
#include "io/socket.h"
#include "io/worker.h"

#define PAGES_CONNECTIONS 32
#define PAGES_LIFE_S 10
/* A page larger than this is an error; a full page of figures is some 300 KiB. */
#define PAGES_BODY_MAX ((size_t)4 << 20)

struct pages_request {
    const char *path; /* without a query */
    bool post;        /* else GET, or HEAD, which differs in nothing but that the body stays here */
};

/* What is answered; 200, text/plain and no body to begin with. */
struct pages_answer {
    int status;
    const char *type;
    const char *allow; /* with 405: the methods that the page has */
    struct text body;  /* the room's, when the call is over */
    /* Instead of body: bytes that stay. */
    const void *bytes;
    size_t size;
};

struct pages_owner {
    /* Brings the program's figures up to date. */
    void (*collect)(void *context);
    /* false: there is no such page, or not with this method. A GET changes nothing: it may be asked
     * just to see whether there is a page. */
    bool (*page)(void *context, const struct pages_request *request, struct pages_answer *answer);
};

/* A file of the page for people (scripts/embed); its bytes stay. */
struct pages_file {
    const char *path;
    const char *type;
    const unsigned char *bytes;
    size_t size;
};
/* The file of this path. false: none of them has it. */
bool pages_put_file(struct pages_answer *answer, const struct pages_file *files, size_t count,
                    const char *path);

/* A short plain text. */
void pages_say(struct pages_answer *answer, int status, const char *text);

/* --status ADDR:PORT, numeric. false: error holds a sentence about it. */
bool pages_parse(const char *text, struct socket_address *address, char *error, size_t size);

struct pages;

/* Port 0: the kernel chooses; the event status_page in the log says where it is. NULL: error holds
 * a sentence. */
struct pages *pages_new(struct worker *worker, const struct socket_address *address,
                        const struct pages_owner *owner, void *context, char *error, size_t size);
/* NULL is fine. */
void pages_free(struct pages *pages);

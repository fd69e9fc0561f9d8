/*
 * Reads what must be known of each request out of a client's byte stream, fed in any split.
 *
 * Every request begins with INT16 api_key, INT16 api_version, INT32 correlation_id and, except for
 * one API that is gone, a client id with an INT16 length, flexible version or not. Bodies are
 * skipped by a counter, but for acks of Produce, the mechanism of SaslHandshake, and the user's
 * name in a login.
 */
#pragma once

#include "kafka/login_user.h"
#include "kafka/requests.h"
#include "kafka/sasl.h"
#include "kafka/walk.h"

enum { KAFKA_CLIENT_ID_MAX = 64 }; /* characters kept */

struct kafka_request_reader {
    unsigned state;
    uint8_t head[4 + KAFKA_SASL_LOOK]; /* length and the start of the frame */
    unsigned head_size;
    int32_t length; /* of the frame at hand */
    uint64_t left;  /* bytes of it that are still to come */
    struct kafka_walk walk;
    uint8_t number[2]; /* acks, or a string's length */
    unsigned number_size;
    char *text; /* where the string at hand is kept, or NULL */
    unsigned text_size;
    unsigned text_max;
    uint64_t text_left;
    struct kafka_request request;
    bool any;          /* a frame has begun before */
    bool drops_tokens; /* with the request at hand, unanswered tokens are void */
    char client_id[KAFKA_CLIENT_ID_MAX + 1];
    char mechanism[32];
    struct kafka_login_user user; /* who has logged in, if the client did that itself */
    const char *reason;           /* after a failure: what the request at hand does */
};

enum kafka_request_result {
    KAFKA_REQUEST_EPROTOCOL = -2, /* r->reason is a whole sentence */
    KAFKA_REQUEST_EFRAME = -1,    /* r->reason goes on after the name of the request */
    KAFKA_REQUEST_MORE = 0,       /* all bytes were used, or a request ends here */
    KAFKA_REQUEST_READY = 1,      /* r->request is complete; go on with the bytes that are left */
};

/* Nothing of a request has come yet since the last one was complete. */
bool kafka_request_reader_idle(const struct kafka_request_reader *r);
void kafka_request_reader_init(struct kafka_request_reader *r);
enum kafka_request_result kafka_request_reader_run(struct kafka_request_reader *r,
                                                   struct kafka_sasl *sasl, const uint8_t *bytes,
                                                   size_t size, size_t *used);

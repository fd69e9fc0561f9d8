/*
 * Asks a broker on a fresh connection whether it speaks Kafka (kafka/bootstrap.h), before a
 * client's bytes go there: what takes connections may hang, and what a broker announces as a node
 * may be another service, which would carry out what a client writes.
 */
#pragma once

#include "io/transport.h"
#include "io/worker.h"

enum proof_result {
    PROOF_GIVEN,
    PROOF_SILENT,  /* nothing came in time */
    PROOF_CLOSED,  /* the other end hung up, or the connection broke */
    PROOF_ALERT,   /* it refused in TLS: it wants another certificate, which TLS 1.3 says late */
    PROOF_FOREIGN, /* something else than Kafka came */
};

/* The connection is the caller's again if the proof was given; else it is closed. why: a sentence
 * about the other end. */
typedef void (*proof_callback)(void *context, enum proof_result result, const char *why);

struct proof;

/* transport belongs to the proof until it is given. Answers later, once, and within timeout_ms
 * whatever comes. */
struct proof *proof_start(struct worker *worker, struct transport *transport, unsigned timeout_ms,
                          proof_callback callback, void *context);
/* Before the callback only; closes the connection. NULL is fine. */
void proof_cancel(struct proof *proof);

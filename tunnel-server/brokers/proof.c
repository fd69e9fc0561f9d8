#include "brokers/proof.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "io/timer.h"
#include "io/watch.h"
#include "kafka/bootstrap.h"

struct proof {
    proof_callback callback;
    void *context;
    struct transport *transport;
    struct watch *readable;
    struct timer *deadline;
    int32_t correlation_id;
    size_t size;
    uint8_t answer[KAFKA_BOOTSTRAP_PROOF_MAX];
};

static void free_proof(struct proof *proof)
{
    watch_free(proof->readable);
    timer_free(proof->deadline);
    free(proof);
}

void proof_cancel(struct proof *proof)
{
    if (!proof)
        return;
    transport_free(proof->transport);
    free_proof(proof);
}

static void finish_proof(struct proof *proof, enum proof_result result, const char *why)
{
    proof_callback callback = proof->callback;
    void *context = proof->context;
    char text[200];

    snprintf(text, sizeof text, "%s", why);
    if (result == PROOF_GIVEN) {
        transport_relax(proof->transport);
        free_proof(proof);
    } else {
        proof_cancel(proof);
    }
    callback(context, result, text);
}

/* The connection has ended. */
static void fail_proof(struct proof *proof, bool broken)
{
    if (!broken)
        finish_proof(proof, PROOF_CLOSED, "it closed the connection");
    else
        finish_proof(proof,
                     transport_failure(proof->transport) == TLS_FAILURE_ALERT ? PROOF_ALERT
                                                                              : PROOF_CLOSED,
                     transport_error(proof->transport));
}

static void on_answer_readable(void *argument)
{
    struct proof *proof = argument;
    const char *why = "";

    /* There is always room: the answer that would fill it is refused by its length. */
    long got = transport_read(proof->transport, proof->answer + proof->size,
                              sizeof proof->answer - proof->size);
    if (got == TRANSPORT_BLOCKED)
        return;
    if (got < 0) {
        fail_proof(proof, got == TRANSPORT_ERROR);
        return;
    }
    proof->size += (size_t)got;
    switch (
        kafka_bootstrap_proof_response(proof->answer, proof->size, proof->correlation_id, &why)) {
    case KAFKA_BOOTSTRAP_OK:
        finish_proof(proof, PROOF_GIVEN, "");
        break;
    case KAFKA_BOOTSTRAP_MORE:
        break;
    default:
        finish_proof(proof, PROOF_FOREIGN, why);
    }
}

static void on_answer_overdue(void *argument)
{
    finish_proof(argument, PROOF_SILENT, "it accepts connections but does not answer");
}

/* A fresh connection takes so few bytes at once; if it is broken, reading says so. */
static void ask_for_proof(struct proof *proof)
{
    uint8_t request[KAFKA_BOOTSTRAP_REQUEST_MAX];

    if (RAND_bytes((unsigned char *)&proof->correlation_id, sizeof proof->correlation_id) != 1)
        abort();
    size_t size = kafka_bootstrap_proof_request(request, proof->correlation_id);
    int sent = transport_commit(proof->transport, request, size);
    if (sent == 0)
        sent = transport_flush(proof->transport);
    /* TLS may have read ahead what no event will announce. */
    if (sent < 0 || transport_pending(proof->transport))
        watch_fire(proof->readable);
}

struct proof *proof_start(struct worker *worker, struct transport *transport, unsigned timeout_ms,
                          proof_callback callback, void *context)
{
    struct proof *proof = memory_new(sizeof *proof);

    proof->transport = transport;
    proof->callback = callback;
    proof->context = context;
    proof->readable =
        watch_new(worker, transport_fd(transport), WATCH_READ, on_answer_readable, proof);
    proof->deadline = timer_new(worker, on_answer_overdue, proof);
    watch_want(proof->readable, true);
    timer_start_ms(proof->deadline, timeout_ms);
    ask_for_proof(proof);
    return proof;
}

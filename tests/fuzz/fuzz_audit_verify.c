/*
 * Audit records that somebody had in their hands: whatever they are, in whatever pieces, the same
 * is found, and only what the writer has written, as it was, is without a problem. Input: a byte
 * that says how large pieces are; then the file, where the bytes 0xff and N stand for the N-th
 * record of a chain that is in order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tunnel-server/audit/audit_verify.h"
#include "check.h"

enum { RECORDS = 8 };

struct outcome {
    uint64_t told;
    uint64_t problems;
    uint64_t sum;
};

static void on_finding(void *context, const struct audit_finding *finding)
{
    struct outcome *outcome = context;

    CHECK(finding->file && finding->what && finding->line > 0);
    outcome->told++;
    outcome->problems += finding->problem;
    outcome->sum = outcome->sum * 31 + finding->line + strlen(finding->what);
}

static size_t write_chain(char records[RECORDS][AUDIT_LINE_MAX])
{
    struct audit_chain chain = {.id = "0123456789abcdef"};
    char body[AUDIT_BODY_MAX];
    size_t size = 0;

    memset(chain.hash, '0', sizeof chain.hash - 1);
    for (size_t i = 0; i < RECORDS; i++) {
        const struct log_field field = log_u64(i == 0 ? "torn_bytes" : "number", i);
        size = audit_body_write(body, 0, i == 0 ? "audit_opened" : "noted", &field, 1);
        size = audit_line_write(&chain, body, size, records[i]);
        records[i][size] = '\0';
    }
    return size;
}

static struct outcome run(const char *text, size_t size, size_t step,
                          struct audit_verifier *verifier)
{
    struct outcome outcome = {0};

    audit_verify_begin(verifier, on_finding, &outcome);
    audit_verify_file(verifier, "a");
    for (size_t at = 0; at < size; at += step)
        audit_verify_bytes(verifier, text + at, size - at < step ? size - at : step);
    audit_verify_file_end(verifier);
    audit_verify_end(verifier);
    CHECK(outcome.problems == verifier->problems);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char records[RECORDS][AUDIT_LINE_MAX];
    static struct audit_verifier verifier;
    static const size_t steps[] = {1, 3, 100, 5000, SIZE_MAX};

    if (size == 0)
        return 0;
    if (!records[0][0])
        write_chain(records);
    size_t step = steps[data[0] % (sizeof steps / sizeof steps[0])];
    size_t room = size * 512 + 1;
    size_t fill = 0;
    size_t taken = 0; /* records, from the first one on, with nothing in between */
    bool pure = true;
    char *text = malloc(room);

    CHECK(text);
    for (size_t i = 1; i < size; i++) {
        if (data[i] != 0xff || i + 1 == size) {
            text[fill++] = (char)data[i];
            pure = false;
            continue;
        }
        size_t which = data[++i] % RECORDS;
        size_t length = strlen(records[which]);
        CHECK(fill + length <= room);
        memcpy(text + fill, records[which], length);
        fill += length;
        pure = pure && which == taken;
        taken++;
    }
    struct outcome outcome = run(text, fill, step < fill ? step : fill + 1, &verifier);
    if (pure)
        CHECK(outcome.told == 0 && verifier.records == taken);
    else
        CHECK(outcome.problems > 0);
    struct outcome again = run(text, fill, fill + 1, &verifier);
    CHECK(again.told == outcome.told && again.sum == outcome.sum);
    free(text);
    return 0;
}

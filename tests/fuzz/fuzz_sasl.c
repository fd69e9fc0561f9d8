/*
 * What a broker says in SASL's rounds: no login succeeds without its signature, nothing is said
 * that does not fit, and no reason has the secret or what steers a terminal in it.
 * Input: a byte for the mechanism; then each answer behind a byte with its length.
 */
#include "check.h"
#include "sasl/exchange.h"

#define SECRET "open-sesame"

static void check_answer(struct sasl_exchange *exchange, enum sasl_step step)
{
    CHECK(exchange->message_size <= SASL_MESSAGE_MAX);
    if (step >= 0)
        return;
    size_t size = strlen(exchange->reason);
    CHECK(size > 0 && !strstr(exchange->reason, SECRET));
    for (size_t i = 0; i < size; i++)
        CHECK((unsigned char)exchange->reason[i] >= ' ' && exchange->reason[i] < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sasl_scram_keys keys;
    struct sasl_exchange exchange;
    size_t at = 1;

    if (size < 1)
        return 0;
    const struct sasl_credentials credentials = {
        .mechanism = data[0] % SASL_MECHANISMS, .user = "user", .secret = SECRET, .keys = &keys};
    enum sasl_step step = sasl_exchange_begin(&exchange, &credentials, "rOprNGfwEbeRWgbNEkqO");
    CHECK(step == SASL_SEND);
    for (int round = 0; step == SASL_SEND && at < size; round++) {
        size_t length = data[at++];
        length = length < size - at ? length : size - at;
        uint8_t *answer = malloc(length > 0 ? length : 1);
        CHECK(answer && round < 3);
        memcpy(answer, data + at, length);
        at += length;
        step = sasl_exchange_answer(&exchange, answer, length);
        check_answer(&exchange, step);
        free(answer);
    }
    /* The corpus has no signature of this password. */
    if (credentials.mechanism == SASL_SCRAM_SHA_256 || credentials.mechanism == SASL_SCRAM_SHA_512)
        CHECK(step != SASL_DONE);
    sasl_exchange_wipe(&exchange);
    return 0;
}

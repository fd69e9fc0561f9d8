/*
 * What a broker answers from SaslHandshake to the end of a login: none succeeds without what its
 * mechanism demands, no request is longer than its buffer, and no reason has the secret or what
 * steers a terminal in it.
 * Input: a byte for the mechanism; then each response behind two bytes with its length. Its
 * correlation id is put right, so that responses get further.
 */
#include "../../tunnel-server/broker_login/login_exchange.h"
#include "base/bytes.h"
#include "check.h"

#define SECRET "open-sesame"

static void check_failure(const struct login_exchange *exchange)
{
    size_t size = strlen(exchange->reason);

    CHECK(size > 0 && !strstr(exchange->reason, SECRET));
    for (size_t i = 0; i < size; i++)
        CHECK((unsigned char)exchange->reason[i] >= ' ' && exchange->reason[i] != 0x7f);
}

/* Of exactly its size, so that a sanitizer sees every byte read beyond it. */
static enum login_step give_response(struct login_exchange *exchange, const uint8_t *data,
                                     size_t size)
{
    uint8_t *response = malloc(size > 0 ? size : 1);

    CHECK(response);
    memcpy(response, data, size);
    if (size >= 8)
        byte_store_u32(response + 4, (uint32_t)exchange->correlation_id);
    enum login_step step = login_exchange_answer(exchange, response, size);
    free(response);
    return step;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t entropy[SASL_NONCE_RANDOM + 4];
    static struct sasl_scram_keys keys;
    static struct login_exchange exchange;
    static uint8_t request[LOGIN_REQUEST_MAX];
    size_t at = 1;

    if (size < 1)
        return 0;
    const struct sasl_credentials credentials = {
        .mechanism = data[0] % SASL_MECHANISMS, .user = "user", .secret = SECRET, .keys = &keys};
    enum login_step step = login_exchange_begin(&exchange, &credentials, entropy);
    CHECK(step == LOGIN_SEND);
    for (int round = 0; step == LOGIN_SEND && at + 2 <= size; round++) {
        CHECK(round < 4 && login_exchange_request(&exchange, request) <= sizeof request);
        size_t length = byte_load_u16(data + at);
        at += 2;
        length = length < size - at ? length : size - at;
        step = give_response(&exchange, data + at, length);
        at += length;
    }
    if (step == LOGIN_FAILED)
        check_failure(&exchange);
    /* The corpus has no signature of this password. */
    if (step == LOGIN_DONE)
        CHECK(credentials.mechanism == SASL_PLAIN || credentials.mechanism == SASL_OAUTHBEARER);
    login_exchange_wipe(&exchange);
    return 0;
}

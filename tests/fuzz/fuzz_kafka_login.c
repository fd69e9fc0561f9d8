/*
 * What a broker answers when we log in: a message that goes on lies within the response, a refusal
 * is one line that people may read.
 * Input: the response; its first byte below 128: to SaslHandshake, else to SaslAuthenticate.
 */
#include "check.h"
#include "kafka/login.h"

static void check_reason(const char *reason)
{
    size_t size = strlen(reason);

    CHECK(size > 0 && size < KAFKA_LOGIN_REASON_MAX);
    for (size_t i = 0; i < size; i++)
        CHECK((unsigned char)reason[i] >= ' ' && reason[i] != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char reason[KAFKA_LOGIN_REASON_MAX] = "";
    struct kafka_login_answer answer = {0};
    enum kafka_login_result result;

    if (size < 1)
        return 0;
    /* Of exactly its size, so that a sanitizer sees every byte read beyond it. */
    size_t response_size = size - 1;
    uint8_t *response = malloc(response_size > 0 ? response_size : 1);
    CHECK(response);
    memcpy(response, data + 1, response_size);
    if (data[0] < 128)
        result = kafka_login_handshake_response(response, response_size, 7, "PLAIN", reason);
    else
        result = kafka_login_authenticate_response(response, response_size, 7, "hunter2", &answer,
                                                   reason);
    if (result < 0)
        check_reason(reason);
    if (result == KAFKA_LOGIN_OK && data[0] >= 128)
        CHECK(answer.lifetime_ms >= 0 && answer.message >= response &&
              answer.message + answer.message_size <= response + response_size);
    free(response);
    return 0;
}

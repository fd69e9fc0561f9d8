/*
 * What Snowflake's token endpoint, or something in between, answers: a token is one, and a sentence
 * about anything else is one line that people may read, without what could be a token.
 * Input: four bytes for the status, the dates and what was asked, a Location up to the first NUL,
 * then the body.
 */
#include "../../tunnel-client/credentials/snowflake_answer.h"
#include "check.h"
#include "config/secret.h"

static const int statuses[] = {200, 400, 401, 403, 404, 429, 500, 503, 302, 100, 599};

static void check_sentence(const char *sentence)
{
    size_t size = strlen(sentence);

    CHECK(size > 0 && size < SNOWFLAKE_SENTENCE_MAX);
    CHECK(!strstr(sentence, "eyJ"));
    for (size_t i = 0; i < size; i++)
        CHECK((unsigned char)sentence[i] >= ' ' && sentence[i] != 0x7f);
}

static void check_token(const char *body, size_t size)
{
    const char *token = secret_trim(body, &size);

    CHECK(size > 0 && snowflake_token_check(token, size) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char sentence[SNOWFLAKE_SENTENCE_MAX] = "";

    if (size < 4)
        return 0;
    char *location = fuzz_text(data + 4, size - 4);
    size_t location_size = strlen(location);
    size_t body_at = 4 + location_size + (location_size < size - 4);
    const struct snowflake_question question = {
        .url = "https://myorg-account1.snowflakecomputing.com",
        .account = "MYORG-ACCOUNT1",
        .user = "TUNNEL",
        .role = data[1] & 1 ? "TUNNEL_ROLE" : NULL,
        .fingerprint = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        .endpoint_host = "abc-myorg-account1.snowflakecomputing.app",
    };
    /* Of exactly its size, so that a sanitizer sees every byte read beyond it. */
    size_t body_size = size - body_at;
    char *body = malloc(body_size > 0 ? body_size : 1);
    CHECK(body);
    memcpy(body, data + body_at, body_size);
    const struct snowflake_answer answer = {
        .status = statuses[data[0] % (sizeof statuses / sizeof *statuses)],
        .location = location,
        .date = data[2] > 0 ? 1700000000 + 60 * (int64_t)data[2] : 0,
        .body = body,
        .body_size = body_size,
        .now = 1700000000 + 60 * (int64_t)data[3],
    };

    if (snowflake_answer_read(&answer, &question, sentence) == SNOWFLAKE_TOKEN)
        check_token(body, body_size);
    else
        check_sentence(sentence);
    snowflake_token_check(body, body_size);
    snowflake_token_expiry(body, body_size);
    free(body);
    free(location);
    return 0;
}

/*
 * What a token endpoint, or something in between, answers: a token is one word, and a sentence
 * about anything else is one line that people may read, without what was sent.
 * Input: two bytes for the status and the client, a Location up to the first NUL, then the body.
 */
#include "../../tunnel-server/broker_login/token_request.h"
#include "check.h"
#include "config/secret.h"

static const int statuses[] = {200, 400, 401, 403, 404, 408, 429, 500, 503, 302, 204, 599};

static void check_sentence(const char *sentence)
{
    size_t size = strlen(sentence);

    CHECK(size > 0 && size < TOKEN_SENTENCE_MAX);
    CHECK(!strstr(sentence, "c0rrect horse") && !strstr(sentence, "c0rrect+horse"));
    CHECK(!strstr(sentence, "aWQ6YzBycmVjdCtob3JzZQ=="));
    for (size_t i = 0; i < size; i++)
        CHECK((unsigned char)sentence[i] >= ' ' && sentence[i] != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char sentence[TOKEN_SENTENCE_MAX] = "";
    char *token;
    int64_t lasts_s;

    if (size < 2)
        return 0;
    char *location = fuzz_text(data + 2, size - 2);
    size_t location_size = strlen(location);
    size_t body_at = 2 + location_size + (location_size < size - 2);
    size_t body_size = size - body_at;
    /* Of exactly its size, so that a sanitizer sees every byte read beyond it. */
    char *body = malloc(body_size > 0 ? body_size : 1);
    CHECK(body);
    memcpy(body, data + body_at, body_size);
    const struct token_answer answer = {
        .status = statuses[data[0] % (sizeof statuses / sizeof *statuses)],
        .location = location,
        .body = body,
        .body_size = body_size,
        .now = 1700000000};
    const struct token_client client = {
        .id = "id", .secret = "c0rrect horse", .in_body = data[1] & 1, .scope = "s"};

    enum token_verdict verdict = token_answer_read(&answer, &client, "https://idp.example.com/t",
                                                   &token, &lasts_s, sentence);
    if (verdict == TOKEN_GIVEN) {
        CHECK(token && !secret_check_token(token, strlen(token)) && !*sentence);
        CHECK(lasts_s >= 0);
    } else {
        CHECK(!token);
        check_sentence(sentence);
    }
    secret_free(token);
    token_lifetime(location, 1700000000);
    free(body);
    free(location);
    return 0;
}

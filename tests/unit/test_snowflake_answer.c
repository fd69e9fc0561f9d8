#include "../lib/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tunnel-client/credentials/snowflake_answer.h"
#include "config/secret.h"

#define NOW 1795000000

/* eyJhbGciOiJSUzI1NiJ9 is a header; the payload says when. */
#define JWT_EXP_1795003600 "eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjE3OTUwMDM2MDB9.c2ln"

static const struct snowflake_question question = {.url = "https://acme.snowflakecomputing.com",
                                                   .account = "ACME",
                                                   .user = "TUN",
                                                   .role = "CLIENT_R",
                                                   .fingerprint = "SHA256:fp=",
                                                   .endpoint_host = "x-y.snowflakecomputing.app"};

static struct snowflake_answer answer_of(int status, const char *body)
{
    return (struct snowflake_answer){.status = status,
                                     .location = "",
                                     .date = NOW,
                                     .body = body,
                                     .body_size = strlen(body),
                                     .now = NOW};
}

static void expect(const struct snowflake_answer *answer, enum snowflake_verdict verdict,
                   const char *const *words)
{
    char sentence[SNOWFLAKE_SENTENCE_MAX] = "";

    assert_int_equal(snowflake_answer_read(answer, &question, sentence), verdict);
    assert_true(strlen(sentence) < SNOWFLAKE_SENTENCE_MAX - 1 || verdict == SNOWFLAKE_TOKEN);
    for (; *words; words++)
        if (!strstr(sentence, *words))
            fail_msg("no \"%s\" in: %s", *words, sentence);
    for (const char *at = sentence; *at; at++)
        assert_true((unsigned char)*at >= ' ');
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void expect_refusal(int status, const char *body, const char *const *words)
{
    const struct snowflake_answer answer = answer_of(status, body);

    expect(&answer, SNOWFLAKE_REFUSED, words);
}

static void tokens(void **state)
{
    (void)state;
    struct snowflake_answer answer = answer_of(200, JWT_EXP_1795003600 "\r\n");

    expect(&answer, SNOWFLAKE_TOKEN, WORDS(""));
    answer = answer_of(200, "\r\n " JWT_EXP_1795003600);
    expect(&answer, SNOWFLAKE_TOKEN, WORDS(""));
    answer = answer_of(200, "ver:1-hint:92-ETMsDgAA+/=~");
    expect(&answer, SNOWFLAKE_TOKEN, WORDS(""));
}

static void answers_that_are_no_token(void **state)
{
    (void)state;
    char *huge = malloc(SECRET_TOKEN_MAX + 2);
    struct snowflake_answer nul = answer_of(200, "abc");

    memset(huge, 'a', SECRET_TOKEN_MAX + 1);
    huge[SECRET_TOKEN_MAX + 1] = '\0';
    expect_refusal(200, huge, WORDS("longer than 12 KiB"));
    assert_null(snowflake_token_check(huge, SECRET_TOKEN_MAX));
    free(huge);
    expect_refusal(200, "", WORDS("is empty"));
    expect_refusal(200, " \n", WORDS("is empty"));
    expect_refusal(204, "", WORDS("204", "is empty"));
    expect_refusal(200, "{\"access_token\":\"s3cret\"}", WORDS("is JSON"));
    expect_refusal(200, "<!DOCTYPE html><p>Sign in", WORDS("HTML", "--snowflake-url"));
    expect_refusal(200, "two\nlines", WORDS("characters"));
    expect_refusal(200, "a\"b", WORDS("characters"));
    expect_refusal(200, "a\\b", WORDS("characters"));
    expect_refusal(200, "a\x7f", WORDS("characters"));
    expect_refusal(200, "\xc3\xb6", WORDS("characters"));
    nul.body = "a\0c";
    expect(&nul, SNOWFLAKE_REFUSED, WORDS("characters"));
}

static void expiry_of_tokens(void **state)
{
    (void)state;
    static const char *const none[] = {
        "",
        "abc",
        ".",
        "..",
        "a.b.c",
        "a.!!!!.c",
        "a.e30.c",                    /* {} */
        "a.eyJleHAiOiJ4In0.c",        /* {"exp":"x"} */
        "a.eyJleHAiOi01fQ.c",         /* {"exp":-5} */
        "a.eyJleHAiOjE3OTUwMDM2MDB9", /* no third part */
        "a.W10.c",                    /* [] */
        "a.eyJleHAiOjE3OTUwMDM2MDB9extra.c",
        "a.eyJleHAiOjk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5fQ.c", /* more than 64 bits */
    };

    assert_int_equal(snowflake_token_expiry(JWT_EXP_1795003600, strlen(JWT_EXP_1795003600)),
                     1795003600);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_int_equal(snowflake_token_expiry(none[i], strlen(none[i])), 0);
    /* Deep nesting is for the parser to refuse. */
    char *deep = malloc(9000);
    memcpy(deep, "a.", 2);
    for (size_t i = 2; i < 8002; i += 4)
        memcpy(deep + i, "W1tb", 4); /* [[[ */
    memcpy(deep + 8002, ".c", 3);
    assert_int_equal(snowflake_token_expiry(deep, strlen(deep)), 0);
    free(deep);
}

static void refusals(void **state)
{
    (void)state;
    expect_refusal(401,
                   "{\"code\":\"390144\",\"message\":\"JWT token is invalid. "
                   "[7fb87e37-2f26-4a10-9f9c-72276ea898bf]\",\"data\":null,\"success\":false}",
                   WORDS("401", "390144", "JWT token is invalid",
                         "7fb87e37-2f26-4a10-9f9c-72276ea898bf", "SHA256:fp=", "user TUN",
                         "account ACME", "ALTER USER TUN SET RSA_PUBLIC_KEY"));
    expect_refusal(400, "{\"error\":\"invalid_grant\",\"message\":\"unknown key\"}",
                   WORDS("invalid_grant: unknown key", "RSA_PUBLIC_KEY_FP"));
    expect_refusal(400, "{\"error\":\"role 'CLIENT_R' is not granted to this user\"}",
                   WORDS("GRANT ROLE CLIENT_R TO USER TUN", "--snowflake-role"));
    expect_refusal(403, "{\"code\":390432,\"message\":\"required\"}",
                   WORDS("390432", "network policy"));
    expect_refusal(400, "{\"error\":\"invalid_scope\"}",
                   WORDS("x-y.snowflakecomputing.app", "SHOW ENDPOINTS"));
    expect_refusal(404, "{\"message\":\"no such account\"}", WORDS("--snowflake-account"));
    expect_refusal(403, "<html>blocked by the company</html>",
                   WORDS("403 (an HTML page)", "proxy"));
    expect_refusal(403, "blocked", WORDS("403 (blocked)", "proxy"));
    expect_refusal(400, "{}", WORDS("JSON without a message"));
    expect_refusal(400, "[1]", WORDS("[1]"));
    expect_refusal(400, "", WORDS("400:"));
}

static void names_are_quoted_for_sql(void **state)
{
    (void)state;
    char sentence[SNOWFLAKE_SENTENCE_MAX];
    struct snowflake_question quoted = question;
    struct snowflake_answer answer = answer_of(400, "{\"error\":\"no\"}");

    quoted.user = "A@B.COM";
    quoted.role = NULL;
    snowflake_answer_read(&answer, &quoted, sentence);
    assert_non_null(strstr(sentence, "ALTER USER \"A@B.COM\" SET"));
    answer = answer_of(400, "{\"error\":\"no role\"}");
    snowflake_answer_read(&answer, &quoted, sentence);
    assert_non_null(strstr(sentence, "ALTER USER \"A@B.COM\" SET DEFAULT_ROLE"));
}

static void clocks(void **state)
{
    (void)state;
    static const char key[] = "{\"message\":\"JWT token is invalid\"}";
    struct snowflake_answer answer = answer_of(401, key);

    answer.date = NOW + 300;
    expect(&answer, SNOWFLAKE_REFUSED, WORDS("clock is 300 seconds behind the server's"));
    answer.date = NOW - 61;
    expect(&answer, SNOWFLAKE_REFUSED, WORDS("clock is 61 seconds ahead of the server's"));
    answer.date = NOW - 60;
    expect(&answer, SNOWFLAKE_REFUSED, WORDS("RSA_PUBLIC_KEY"));
    answer.date = 0;
    expect(&answer, SNOWFLAKE_REFUSED, WORDS("RSA_PUBLIC_KEY"));
    answer = answer_of(400, "{\"error\":\"the iat claim is in the future\"}");
    answer.date = NOW - 5;
    expect(&answer, SNOWFLAKE_REFUSED, WORDS("only 5 seconds off"));
    answer.date = 0;
    expect(&answer, SNOWFLAKE_REFUSED, WORDS("clock right?"));
    /* A part of a word is no word. */
    answer = answer_of(400, "{\"error\":\"unexpected; appropriate\"}");
    expect(&answer, SNOWFLAKE_REFUSED, WORDS("RSA_PUBLIC_KEY"));
    /* Both are said where one does not explain the other. */
    answer = answer_of(403, "{\"error\":\"network policy\"}");
    answer.date = NOW + 1000;
    expect(&answer, SNOWFLAKE_REFUSED,
           WORDS("network policy", "; and this machine's clock is 1000"));
    answer = answer_of(403, "<html>");
    answer.date = NOW + 1000;
    expect(&answer, SNOWFLAKE_REFUSED, WORDS("proxy", "clock is 1000 seconds behind"));
    answer.date = INT64_MAX;
    answer.now = 0;
    expect(&answer, SNOWFLAKE_REFUSED, WORDS("seconds behind"));
}

static void redirects(void **state)
{
    (void)state;
    struct snowflake_answer answer = answer_of(302, "");

    answer.location = "https://signin.example.com/x?state=s3cret";
    expect(&answer, SNOWFLAKE_REFUSED, WORDS("302", "https://signin.example.com/x,"));
    answer.location = "";
    expect(&answer, SNOWFLAKE_REFUSED, WORDS("nowhere"));
}

static void faults_that_may_pass(void **state)
{
    (void)state;
    struct snowflake_answer answer = answer_of(503, "<html>");

    expect(&answer, SNOWFLAKE_BUSY, WORDS("503", "HTML"));
    answer = answer_of(429, "{\"message\":\"slow down\"}");
    expect(&answer, SNOWFLAKE_BUSY, WORDS("429", "slow down"));
    answer = answer_of(500, JWT_EXP_1795003600);
    expect(&answer, SNOWFLAKE_BUSY, WORDS("500 ((...))"));
}

/* A server that repeats what it was sent, or a token in the wrong place, brings nothing into the
 * log. */
static void secrets_in_answers_are_not_shown(void **state)
{
    (void)state;
    static const char secret[] =
        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJBQ01FLlRVTi5TSEEyNTY6In0.c2lnbmF0dXJl";
    static const char *const wraps[] = {
        "%s",         "{\"message\":\"bad assertion=%s\"}", "{\"data\":\"%s\"}", "<html>%s",
        "{\"%s\":1}", "{\"message\":\"a %s, b\"}"};
    static const int statuses[] = {200, 302, 400, 401, 500};

    for (size_t i = 0; i < sizeof wraps / sizeof wraps[0]; i++) {
        for (size_t s = 0; s < sizeof statuses / sizeof statuses[0]; s++) {
            char body[300];
            char sentence[SNOWFLAKE_SENTENCE_MAX] = "";
            snprintf(body, sizeof body, wraps[i], secret);
            struct snowflake_answer answer = answer_of(statuses[s], body);
            answer.location = secret;
            snowflake_answer_read(&answer, &question, sentence);
            assert_null(strstr(sentence, "eyJpc3M"));
        }
    }
}

static void long_answers_are_cut(void **state)
{
    (void)state;
    char *body = malloc(60001);

    for (size_t i = 0; i < 60000; i++)
        body[i] = i % 7 == 6 ? ' ' : 'w';
    body[60000] = '\0';
    memcpy(body, "{\"message\":\"", 12);
    memcpy(body + 59990, "\"}", 3);
    expect_refusal(400, body, WORDS("RSA_PUBLIC_KEY"));
    body[0] = 'x';
    expect_refusal(400, body, WORDS("proxy"));
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens),
        cmocka_unit_test(answers_that_are_no_token),
        cmocka_unit_test(expiry_of_tokens),
        cmocka_unit_test(refusals),
        cmocka_unit_test(names_are_quoted_for_sql),
        cmocka_unit_test(clocks),
        cmocka_unit_test(redirects),
        cmocka_unit_test(faults_that_may_pass),
        cmocka_unit_test(secrets_in_answers_are_not_shown),
        cmocka_unit_test(long_answers_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

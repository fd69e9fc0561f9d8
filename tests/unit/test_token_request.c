/* Asking a token endpoint: what is sent, and what the answers mean. */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tunnel-server/broker_login/token_request.h"
#include "config/secret.h"

static const char url[] = "https://idp.example.com/token";
static const struct token_client client = {.id = "orders", .secret = "s3cret+of/orders"};
static char sentence[TOKEN_SENTENCE_MAX];
static int64_t lasts_s;

static void expect_text(char *text, const char *expected)
{
    assert_string_equal(text, expected);
    secret_free(text);
}

/* RFC 6749, 4.4.2 and 2.3.1; names and secrets with everything that a form gives a meaning. */
static void what_is_sent(void **state)
{
    (void)state;
    const struct token_client simple = {.id = "s6BhdRkqt3", .secret = "7Fjfp0ZBr1KtDRbnfVdmIw"};
    const struct token_client odd = {.id = "a:b c", .secret = "&=%+/\xc3\xa4~"};
    struct token_client in_body = odd;

    expect_text(token_request_body(&simple), "grant_type=client_credentials");
    expect_text(token_request_header(&simple),
                "Authorization: Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3");
    /* a%3Ab+c:%26%3D%25%2B%2F%C3%A4~ */
    expect_text(token_request_header(&odd),
                "Authorization: Basic YSUzQWIrYzolMjYlM0QlMjUlMkIlMkYlQzMlQTR+");
    in_body.in_body = true;
    in_body.scope = "kafka read";
    in_body.audience = "https://kafka";
    assert_null(token_request_header(&in_body));
    expect_text(token_request_body(&in_body),
                "grant_type=client_credentials&scope=kafka+read&audience=https%3A%2F%2Fkafka"
                "&client_id=a%3Ab+c&client_secret=%26%3D%25%2B%2F%C3%A4~");
}

static enum token_verdict answer(int status, const char *body, char **token)
{
    const struct token_answer given = {.status = status,
                                       .location = "https://login.example.com/?next=s3cret",
                                       .body = body,
                                       .body_size = strlen(body),
                                       .now = 1000000000};

    return token_answer_read(&given, &client, url, token, &lasts_s, sentence);
}

static void given(const char *body, const char *expected, int64_t seconds)
{
    char *token;

    if (answer(200, body, &token) != TOKEN_GIVEN)
        fail_msg("%s: %s", body, sentence);
    assert_string_equal(token, expected);
    assert_int_equal(lasts_s, seconds);
    assert_string_equal(sentence, "");
    secret_free(token);
}

static void tokens(void **state)
{
    (void)state;
    given("{\"access_token\":\"2YotnFZFEjr1zCsicMWpAA\",\"token_type\":\"Bearer\","
          "\"expires_in\":3600,\"scope\":\"x\"}",
          "2YotnFZFEjr1zCsicMWpAA", 3600);
    given("{\"access_token\":\"t\",\"token_type\":\"bearer\",\"expires_in\":\"300\"}", "t", 300);
    given("{\"access_token\":\"t\",\"expires_in\":59.9}", "t", 59);
    given("{\"access_token\":\"t\"}", "t", 0);
    given("{\"access_token\":\"t\",\"expires_in\":-5}", "t", 0);
    given("{\"access_token\":\"t\",\"expires_in\":\"soon\"}", "t", 0);
    given("{\"access_token\":\"t\",\"expires_in\":9223372036854775807}", "t", 316224000);
    given("{\"access_token\":\"t\",\"expires_in\":1e300}", "t", 0);
    /* {"exp":1000000600} */
    given("{\"access_token\":\"e30.eyJleHAiOjEwMDAwMDA2MDB9.c2ln\"}",
          "e30.eyJleHAiOjEwMDAwMDA2MDB9.c2ln", 600);
    assert_int_equal(token_lifetime("e30.eyJleHAiOjEwMDAwMDA2MDB9.c2ln", 1000000600), 1);
    assert_int_equal(token_lifetime("e30.eyJleHAiOjEwMDAwMDA2MDB9", 1000000000), 0);
    assert_int_equal(token_lifetime("a.!!.c", 1000000000), 0);
    assert_int_equal(token_lifetime("opaque", 1000000000), 0);
}

static void refused(int status, const char *body, enum token_verdict verdict, const char *words)
{
    char *token;

    assert_int_equal(answer(status, body, &token), verdict);
    assert_null(token);
    assert_string_equal(sentence, words);
}

static void other_answers(void **state)
{
    (void)state;
    refused(401,
            "{\"error\":\"invalid_client\",\"error_description\":\"no client orders with "
            "s3cret+of/orders, b3JkZXJzOnMzY3JldCUyQm9mJTJGb3JkZXJz or s3cret%2Bof%2Forders\"}",
            TOKEN_REFUSED,
            "https://idp.example.com/token answered the request for a token with 401 "
            "(invalid_client: no client orders with (...), (...) or (...))");
    refused(400, "{\"error\":\"\\u001b[31mred\\u202e\"}", TOKEN_REFUSED,
            "https://idp.example.com/token answered the request for a token with 400 "
            "([31mred\\u202e)");
    refused(503, "<html>s3cret</html>", TOKEN_BUSY,
            "https://idp.example.com/token answered the request for a token with 503");
    refused(429, "", TOKEN_BUSY,
            "https://idp.example.com/token answered the request for a token with 429");
    refused(302, "", TOKEN_REFUSED,
            "https://idp.example.com/token redirected the request for a token (302) to "
            "https://login.example.com/, which is not followed");
    refused(200, "<html>", TOKEN_REFUSED,
            "https://idp.example.com/token answered the request for a token, but the answer is no "
            "JSON object");
    refused(200, "{\"access_token\":7}", TOKEN_REFUSED,
            "https://idp.example.com/token answered the request for a token, but the answer has no "
            "access_token");
    refused(200, "{\"access_token\":\"a b\"}", TOKEN_REFUSED,
            "https://idp.example.com/token answered the request for a token, but the answer has an "
            "access_token that contains a space; a token is a single word");
    refused(200, "{\"access_token\":\"a\",\"token_type\":\"mac\"}", TOKEN_REFUSED,
            "https://idp.example.com/token answered the request for a token, but the answer has a "
            "token whose token_type is not Bearer");
    refused(200, "{\"access_token\":\"a\",\"access_token\":\"b\"}", TOKEN_REFUSED,
            "https://idp.example.com/token answered the request for a token, but the answer is no "
            "JSON object");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent),
        cmocka_unit_test(tokens),
        cmocka_unit_test(other_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A login at a broker, from SaslHandshake to the broker's consent, and what does not lead there. */
#include "../lib/cmocka.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../../tunnel-server/broker_login/login_exchange.h"
#include "base/bytes.h"

static const uint8_t entropy[SASL_NONCE_RANDOM + 4] = {1, 2, 3, 4, 5, 6, 7, 8, 9, [27] = 0xff};

static const struct sasl_credentials plain = {
    .mechanism = SASL_PLAIN, .user = "svc", .secret = "open-sesame"};
static const struct sasl_credentials scram = {
    .mechanism = SASL_SCRAM_SHA_256, .user = "svc", .secret = "open-sesame"};
static const struct sasl_credentials oauth = {
    .mechanism = SASL_OAUTHBEARER, .user = "", .secret = "t0ken"};

static struct login_exchange x;
static uint8_t request[LOGIN_REQUEST_MAX];
static size_t request_size;
static uint8_t response[KAFKA_LOGIN_RESPONSE_MAX];

static void ask(void)
{
    request_size = login_exchange_request(&x, request);
    assert_int_equal(byte_load_u32(request), request_size - 4);
}

/* The SASL message of a SaslAuthenticate request. */
static const char *said(size_t *size)
{
    const size_t head = 4 + 8 + 2 + strlen("kafka-tunnel") + 4;

    assert_int_equal(byte_load_u16(request + 4), 36);
    *size = request_size - head;
    assert_int_equal(byte_load_u32(request + head - 4), *size);
    return (const char *)request + head;
}

static struct byte_writer begin_response(void)
{
    struct byte_writer w;

    byte_writer_init(&w, response, sizeof response);
    byte_writer_u32(&w, 0);
    byte_writer_bytes(&w, request + 8, 4);
    return w;
}

static enum login_step answer(struct byte_writer *w)
{
    size_t size = byte_writer_size(w);

    byte_store_u32(response, (uint32_t)(size - 4));
    for (size_t some = 0; some < size; some++)
        assert_int_equal(login_exchange_answer(&x, response, some), LOGIN_MORE);
    return login_exchange_answer(&x, response, size);
}

static enum login_step answer_handshake(uint16_t error)
{
    struct byte_writer w = begin_response();

    assert_int_equal(byte_load_u16(request + 4), 17);
    byte_writer_u16(&w, error);
    byte_writer_u32(&w, 1);
    byte_writer_u16(&w, 5);
    byte_writer_bytes(&w, "PLAIN", 5);
    return answer(&w);
}

static enum login_step answer_authenticate(uint16_t error, const char *words, const char *message,
                                           size_t size, uint64_t lifetime_ms)
{
    struct byte_writer w = begin_response();

    byte_writer_u16(&w, error);
    byte_writer_u16(&w, words ? (uint16_t)strlen(words) : 0xffff);
    byte_writer_bytes(&w, words, words ? strlen(words) : 0);
    byte_writer_u32(&w, (uint32_t)size);
    byte_writer_bytes(&w, message, size);
    byte_writer_u64(&w, lifetime_ms);
    return answer(&w);
}

static enum login_step answer_text(const char *message, uint64_t lifetime_ms)
{
    return answer_authenticate(0, NULL, message, strlen(message), lifetime_ms);
}

/* Up to the first SASL message. */
static void shake_hands(const struct sasl_credentials *credentials)
{
    assert_int_equal(login_exchange_begin(&x, credentials, entropy), LOGIN_SEND);
    ask();
    assert_int_equal(answer_handshake(0), LOGIN_SEND);
    ask();
}

static void plain_in_two_requests(void **state)
{
    (void)state;
    size_t size;

    shake_hands(&plain);
    const char *message = said(&size);
    assert_int_equal(size, 16);
    assert_memory_equal(message, "\0svc\0open-sesame", size);
    assert_int_equal(answer_text("", 3600000), LOGIN_DONE);
    assert_int_equal(x.lifetime_ms, 3600000);
    login_exchange_wipe(&x);
}

static void every_request_has_its_own_id(void **state)
{
    (void)state;
    uint32_t first;

    assert_int_equal(login_exchange_begin(&x, &plain, entropy), LOGIN_SEND);
    ask();
    first = byte_load_u32(request + 8);
    assert_int_equal(answer_handshake(0), LOGIN_SEND);
    /* The same answer again is none to the next request. */
    assert_int_equal(login_exchange_answer(&x, response, 4 + byte_load_u32(response)),
                     LOGIN_FAILED);
    assert_int_equal(x.failure, LOGIN_IMPOSSIBLE);
    assert_string_equal(x.reason, "its answer to the login does not match the request");
    ask();
    assert_int_equal(byte_load_u32(request + 8), first + 1);
}

/* ---- a server that knows a password, RFC 5802 with SHA-256 */

#define SALT "0123456789abcdef"

static void hmac(const uint8_t key[32], const char *text, size_t size, uint8_t out[32])
{
    unsigned length = 32;

    assert_non_null(HMAC(EVP_sha256(), key, 32, (const uint8_t *)text, size, out, &length));
}

/* The client's first message: what is signed of it, and its nonce. */
static void server_first(char first[200], char bare[200], unsigned iterations)
{
    char salt[64];
    size_t size;
    const char *message = said(&size);

    assert_memory_equal(message, "n,,n=svc,r=", 11);
    snprintf(bare, 200, "%.*s", (int)size - 3, message + 3);
    EVP_EncodeBlock((uint8_t *)salt, (const uint8_t *)SALT, 16);
    snprintf(first, 200, "r=%sSERVER,s=%s,i=%u", strstr(bare, "r=") + 2, salt, iterations);
}

static void server_final(const char *password, const char *first, const char *bare,
                         unsigned iterations, char final[100])
{
    uint8_t salted[32];
    uint8_t key[32];
    uint8_t signature[32];
    char signed_text[800];
    size_t size;
    const char *message = said(&size);
    const char *proof = strstr(message, ",p=");

    assert_non_null(proof);
    snprintf(signed_text, sizeof signed_text, "%s,%s,%.*s", bare, first, (int)(proof - message),
             message);
    PKCS5_PBKDF2_HMAC(password, (int)strlen(password), (const uint8_t *)SALT, 16, (int)iterations,
                      EVP_sha256(), 32, salted);
    hmac(salted, "Server Key", 10, key);
    hmac(key, signed_text, strlen(signed_text), signature);
    memcpy(final, "v=", 2);
    EVP_EncodeBlock((uint8_t *) final + 2, signature, 32);
}

static enum login_step log_in_by_scram(const char *password, unsigned iterations)
{
    char first[200];
    char bare[200];
    char final[100];

    shake_hands(&scram);
    server_first(first, bare, iterations);
    if (answer_text(first, 0) != LOGIN_SEND)
        return LOGIN_FAILED;
    ask();
    server_final(password, first, bare, iterations, final);
    return answer_text(final, 10000);
}

static void scram_ends_with_the_servers_signature(void **state)
{
    (void)state;
    assert_int_equal(log_in_by_scram("open-sesame", 4096), LOGIN_DONE);
    assert_int_equal(x.lifetime_ms, 10000);
}

static void a_server_that_does_not_know_the_password(void **state)
{
    (void)state;
    assert_int_equal(log_in_by_scram("a guess", 4096), LOGIN_FAILED);
    assert_int_equal(x.failure, LOGIN_IMPOSSIBLE);
    assert_string_equal(x.reason, "its SCRAM signature is wrong: it does not know the password, "
                                  "and may not be the broker it claims to be");
}

static void consent_alone_is_not_enough(void **state)
{
    (void)state;
    char first[200];
    char bare[200];

    shake_hands(&scram);
    assert_int_equal(answer_text("", 0), LOGIN_FAILED);
    shake_hands(&scram);
    server_first(first, bare, 4096);
    assert_int_equal(answer_text(first, 0), LOGIN_SEND);
    ask();
    assert_int_equal(answer_text("", 0), LOGIN_FAILED);
    assert_int_equal(x.failure, LOGIN_IMPOSSIBLE);
}

static void more_iterations_than_anybody_needs(void **state)
{
    (void)state;
    assert_int_equal(log_in_by_scram("open-sesame", 999999), LOGIN_FAILED);
    assert_int_equal(x.failure, LOGIN_IMPOSSIBLE);
    assert_non_null(strstr(x.reason, "iterations"));
}

/* ---- refusals */

static void a_mechanism_that_is_not_enabled(void **state)
{
    (void)state;
    assert_int_equal(login_exchange_begin(&x, &scram, entropy), LOGIN_SEND);
    ask();
    assert_int_equal(answer_handshake(33), LOGIN_FAILED);
    assert_int_equal(x.failure, LOGIN_REFUSED);
    assert_string_equal(x.reason, "it does not enable SCRAM-SHA-256; it enables PLAIN");
}

static void a_wrong_password(void **state)
{
    (void)state;
    shake_hands(&plain);
    assert_int_equal(answer_authenticate(58, "Authentication failed", "", 0, 0), LOGIN_FAILED);
    assert_int_equal(x.failure, LOGIN_REFUSED);
    assert_string_equal(x.reason, "it refused: SASL_AUTHENTICATION_FAILED: Authentication failed");
}

static void a_broker_that_repeats_the_secret(void **state)
{
    (void)state;
    shake_hands(&plain);
    assert_int_equal(answer_authenticate(58, "no, not open-sesame", "", 0, 0), LOGIN_FAILED);
    assert_string_equal(x.reason, "it refused: SASL_AUTHENTICATION_FAILED: no, not (...)");
}

/* RFC 7628: the reason comes as JSON, the verdict after one byte more. */
static void a_token_that_is_refused(void **state)
{
    (void)state;
    size_t size;

    shake_hands(&oauth);
    said(&size);
    assert_int_equal(answer_text("{\"status\":\"invalid_token\"}", 0), LOGIN_SEND);
    ask();
    assert_memory_equal(said(&size), "\1", 1);
    assert_int_equal(size, 1);
    assert_int_equal(answer_authenticate(58, "{\"status\":\"invalid_token\"}", "", 0, 0),
                     LOGIN_FAILED);
    assert_int_equal(x.failure, LOGIN_REFUSED);
    assert_non_null(strstr(x.reason, "invalid_token"));
    /* Consent after a refusal is none. */
    shake_hands(&oauth);
    assert_int_equal(answer_text("{}", 0), LOGIN_SEND);
    ask();
    assert_int_equal(answer_text("", 0), LOGIN_FAILED);
    assert_int_equal(x.failure, LOGIN_REFUSED);
}

/* With error 0: SCRAM has an answer of its own for it. */
static void a_refusal_in_scrams_own_words(void **state)
{
    (void)state;
    char first[200];
    char bare[200];

    shake_hands(&scram);
    server_first(first, bare, 4096);
    assert_int_equal(answer_text(first, 0), LOGIN_SEND);
    ask();
    assert_int_equal(answer_text("e=invalid-proof", 0), LOGIN_FAILED);
    assert_int_equal(x.failure, LOGIN_REFUSED);
    assert_string_equal(x.reason, "it refused: invalid-proof");
}

static void what_is_not_kafka(void **state)
{
    (void)state;
    static const char http[] = "HTTP/1.1 400 Bad Request\r\n\r\n";

    assert_int_equal(login_exchange_begin(&x, &plain, entropy), LOGIN_SEND);
    ask();
    assert_int_equal(login_exchange_answer(&x, (const uint8_t *)http, sizeof http - 1),
                     LOGIN_FAILED);
    assert_int_equal(x.failure, LOGIN_IMPOSSIBLE);
    assert_non_null(strstr(x.reason, "HTTP"));
}

static void a_secret_that_cannot_be_one(void **state)
{
    (void)state;
    const struct sasl_credentials bad = {
        .mechanism = SASL_OAUTHBEARER, .user = "", .secret = "two words"};

    assert_int_equal(login_exchange_begin(&x, &bad, entropy), LOGIN_FAILED);
    assert_null(strstr(x.reason, "words"));
}

static void nothing_secret_is_left(void **state)
{
    (void)state;
    shake_hands(&plain);
    login_exchange_wipe(&x);
    const uint8_t *bytes = (const uint8_t *)&x;
    for (size_t i = 0; i + 11 <= sizeof x; i++)
        assert_false(memcmp(bytes + i, "open-sesame", 11) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_in_two_requests),
        cmocka_unit_test(every_request_has_its_own_id),
        cmocka_unit_test(scram_ends_with_the_servers_signature),
        cmocka_unit_test(a_server_that_does_not_know_the_password),
        cmocka_unit_test(consent_alone_is_not_enough),
        cmocka_unit_test(more_iterations_than_anybody_needs),
        cmocka_unit_test(a_mechanism_that_is_not_enabled),
        cmocka_unit_test(a_wrong_password),
        cmocka_unit_test(a_broker_that_repeats_the_secret),
        cmocka_unit_test(a_token_that_is_refused),
        cmocka_unit_test(a_refusal_in_scrams_own_words),
        cmocka_unit_test(what_is_not_kafka),
        cmocka_unit_test(a_secret_that_cannot_be_one),
        cmocka_unit_test(nothing_secret_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

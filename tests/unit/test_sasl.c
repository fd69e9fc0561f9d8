/* What a client says at a login, and which answers it takes. */
#include "../lib/cmocka.h"

#include <stdbool.h>
#include <string.h>

#include "sasl/exchange.h"

/* RFC 7677, 3. */
#define USER_256 "user"
#define PASSWORD_256 "pencil"
#define NONCE_256 "rOprNGfwEbeRWgbNEkqO"
#define FIRST_256 "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
#define SERVER_FIRST_256                                                                           \
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
#define FINAL_256                                                                                  \
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"                                 \
    "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
#define SERVER_FINAL_256 "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

static const struct sasl_credentials pencil = {
    .mechanism = SASL_SCRAM_SHA_256, .user = USER_256, .secret = PASSWORD_256};

static void assert_message(const struct sasl_exchange *exchange, const char *text, size_t size)
{
    assert_int_equal(exchange->message_size, size);
    assert_memory_equal(exchange->message, text, size);
}

static enum sasl_step answer(struct sasl_exchange *exchange, const char *text)
{
    return sasl_exchange_answer(exchange, (const uint8_t *)text, strlen(text));
}

/* Up to where the server's first message is due. */
static void begin(struct sasl_exchange *exchange, const struct sasl_credentials *credentials)
{
    assert_int_equal(sasl_exchange_begin(exchange, credentials, NONCE_256), SASL_SEND);
}

static void names_of_mechanisms(void **state)
{
    (void)state;
    for (enum sasl_mechanism mechanism = 0; mechanism < SASL_MECHANISMS; mechanism++)
        assert_int_equal(sasl_mechanism_find(sasl_mechanism_name(mechanism)), mechanism);
    assert_int_equal(sasl_mechanism_find("GSSAPI"), SASL_MECHANISMS);
    assert_int_equal(sasl_mechanism_find("plain"), SASL_MECHANISMS);
    assert_int_equal(sasl_mechanism_find(""), SASL_MECHANISMS);
}

static void plain_has_no_answer(void **state)
{
    (void)state;
    struct sasl_exchange x;
    const struct sasl_credentials credentials = {
        .mechanism = SASL_PLAIN, .user = "alice", .secret = "it's, a=secret"};

    begin(&x, &credentials);
    assert_message(&x, "\0alice\0it's, a=secret", 21);
    assert_int_equal(answer(&x, ""), SASL_DONE);
}

static void the_vector_of_rfc_7677(void **state)
{
    (void)state;
    struct sasl_exchange x;

    begin(&x, &pencil);
    assert_message(&x, FIRST_256, sizeof FIRST_256 - 1);
    assert_int_equal(answer(&x, SERVER_FIRST_256), SASL_SEND);
    assert_message(&x, FINAL_256, sizeof FINAL_256 - 1);
    assert_int_equal(answer(&x, SERVER_FINAL_256), SASL_DONE);
}

/* RFC 5802 has none for SHA-512; these figures are from Python's hashlib. */
static void scram_with_sha_512(void **state)
{
    (void)state;
    static const char proof[] = "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,"
                                "p=zkMk+dyxVXdzRr5JzDEyuWLohb0TADv4R08rrF46TVEHhFlieKxJKZ/"
                                "e0mHiFuEw0GhWFmjsHDXXUCNiXPf+xw==";
    struct sasl_exchange x;
    const struct sasl_credentials credentials = {
        .mechanism = SASL_SCRAM_SHA_512, .user = "svc-orders", .secret = "S3cr=t,\xc3\xa9"};

    assert_int_equal(sasl_exchange_begin(&x, &credentials, "fyko+d2lbbFgONRv9qkxdawL"), SASL_SEND);
    assert_int_equal(answer(&x, "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,"
                                "s=MDEyMzQ1Njc4OWFiY2RlZjAxMjM=,i=8192"),
                     SASL_SEND);
    assert_message(&x, proof, sizeof proof - 1);
    assert_int_equal(answer(&x, "v=k6gQj1dQMOa5wuO4z3X81Ddx44eEpADwcGf6QT13XxOknx/"
                                "FCA/+zGQqS+xIHv/KPDXiiUoNBcqbHjBb3MJOew=="),
                     SASL_DONE);
}

static void keys_are_kept_for_a_salt(void **state)
{
    (void)state;
    struct sasl_scram_keys keys = {0};
    struct sasl_credentials credentials = pencil;
    struct sasl_exchange x;

    credentials.keys = &keys;
    for (int i = 0; i < 2; i++) {
        begin(&x, &credentials);
        assert_int_equal(answer(&x, SERVER_FIRST_256), SASL_SEND);
        assert_true(keys.known);
        assert_message(&x, FINAL_256, sizeof FINAL_256 - 1);
        /* They are what counts from then on. */
        credentials.secret = "another";
    }
    /* Another salt has other keys, made from the secret. */
    begin(&x, &credentials);
    assert_int_equal(answer(&x, "r=rOprNGfwEbeRWgbNEkqOx,s=MDEyMw==,i=4096"), SASL_SEND);
    assert_int_equal(keys.salt_size, 4);
    credentials.secret = PASSWORD_256;
    begin(&x, &credentials);
    assert_int_equal(answer(&x, SERVER_FIRST_256), SASL_SEND);
    assert_message(&x, FINAL_256, sizeof FINAL_256 - 1);
}

static void names_and_delegation_tokens(void **state)
{
    (void)state;
    static const char first[] = "n,,n=a=2Cb=3Dc,r=" NONCE_256 ",tokenauth=true";
    struct sasl_credentials credentials = {
        .mechanism = SASL_SCRAM_SHA_256, .user = "a,b=c", .secret = "x", .delegation_token = true};
    struct sasl_exchange x;

    begin(&x, &credentials);
    assert_message(&x, first, sizeof first - 1);
}

static void the_server_must_know_the_password(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95A==",
        "v=",
        "v",
        "",
        "x=1,v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct sasl_exchange x;
        begin(&x, &pencil);
        assert_int_equal(answer(&x, SERVER_FIRST_256), SASL_SEND);
        assert_int_equal(answer(&x, wrong[i]), SASL_EFAILED);
        assert_true(x.reason[0] != '\0' && !strstr(x.reason, PASSWORD_256));
    }
}

/* "The server says no" is something else than "this is no server that we trust". */
static void a_server_that_says_no(void **state)
{
    (void)state;
    struct sasl_exchange x;

    for (int rounds = 0; rounds < 2; rounds++) {
        begin(&x, &pencil);
        if (rounds > 0)
            assert_int_equal(answer(&x, SERVER_FIRST_256), SASL_SEND);
        assert_int_equal(answer(&x, "e=invalid-proof \x1b[31m" PASSWORD_256 ",v=x"), SASL_EREFUSED);
        assert_non_null(strstr(x.reason, "it refused: invalid-proof"));
        assert_null(strstr(x.reason, PASSWORD_256));
        assert_null(strchr(x.reason, '\x1b'));
    }
}

static void first_messages_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *reason;
    } wrong[] = {
        {"", "malformed"},
        {"r", "malformed"},
        {"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "malformed"},
        {"m=x,r=" NONCE_256 "1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "extension"},
        {"r=" NONCE_256 ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "nonce"},
        {"r=another,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "nonce"},
        {"r=" NONCE_256 "1,s=,i=4096", "salt"},
        {"r=" NONCE_256 "1,s=W22ZaJ0SNY7soEsUEjb6gQ,i=4096", "salt"},
        {"r=" NONCE_256 "1,s=W22ZaJ0SNY7soEsUEjb6g===,i=4096", "salt"},
        {"r=" NONCE_256 "1,s=W22ZaJ0SNY7soEsUEjb6gR==,i=4096", "salt"},
        {"r=" NONCE_256 "1,s=====,i=4096", "salt"},
        {"r=" NONCE_256 "1,i=4096", "salt"},
        {"r=" NONCE_256 "1,s=W22ZaJ0SNY7soEsUEjb6gQ==", "number of iterations"},
        {"r=" NONCE_256 "1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=", "4096 to 65536"},
        {"r=" NONCE_256 "1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095", "4096 to 65536"},
        {"r=" NONCE_256 "1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=65537", "4096 to 65536"},
        {"r=" NONCE_256 "1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1000000000", "4096 to 65536"},
        {"r=" NONCE_256 "1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=04096", "4096 to 65536"},
        {"r=" NONCE_256 "1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-4096", "4096 to 65536"},
        {"r=" NONCE_256 "1,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096x", "4096 to 65536"},
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct sasl_exchange x;
        begin(&x, &pencil);
        assert_int_equal(answer(&x, wrong[i].text), SASL_EFAILED);
        if (!strstr(x.reason, wrong[i].reason))
            fail_msg("%s: %s", wrong[i].text, x.reason);
    }
}

static void sizes_at_their_bounds(void **state)
{
    (void)state;
    static char text[SASL_SECRET_MAX + 2];
    static char server_first[SASL_ANSWER_MAX + 2];
    char user[SASL_USER_MAX + 2];
    struct sasl_exchange x;

    memset(text, 'a', sizeof text - 2);
    memset(user, ',', sizeof user - 2);
    user[sizeof user - 2] = '\0';
    for (enum sasl_mechanism mechanism = 0; mechanism < SASL_MECHANISMS; mechanism++) {
        struct sasl_credentials credentials = {
            .mechanism = mechanism, .user = user, .secret = text};
        assert_int_equal(sasl_exchange_begin(&x, &credentials, NONCE_256), SASL_SEND);
        text[SASL_SECRET_MAX] = 'a';
        assert_int_equal(sasl_exchange_begin(&x, &credentials, NONCE_256), SASL_EFAILED);
        text[SASL_SECRET_MAX] = '\0';
        user[SASL_USER_MAX] = ',';
        user[SASL_USER_MAX + 1] = '\0';
        assert_int_equal(sasl_exchange_begin(&x, &credentials, NONCE_256), SASL_EFAILED);
        user[SASL_USER_MAX] = '\0';
        credentials.secret = "";
        assert_int_equal(sasl_exchange_begin(&x, &credentials, NONCE_256), SASL_EFAILED);
    }
    /* The longest message that is looked at, with extensions behind what is known. */
    memset(server_first, 'x', sizeof server_first - 1);
    memcpy(server_first, SERVER_FIRST_256 ",z=", sizeof SERVER_FIRST_256 + 2);
    server_first[SASL_ANSWER_MAX] = '\0';
    begin(&x, &pencil);
    assert_int_equal(answer(&x, server_first), SASL_SEND);
    server_first[SASL_ANSWER_MAX] = 'x';
    begin(&x, &pencil);
    assert_int_equal(answer(&x, server_first), SASL_EFAILED);
}

static void tokens_of_oauth(void **state)
{
    (void)state;
    static const char first[] = "n,,\1auth=Bearer abc.def-_~+/=\1\1";
    struct sasl_credentials credentials = {
        .mechanism = SASL_OAUTHBEARER, .user = "", .secret = "abc.def-_~+/="};
    struct sasl_exchange x;

    begin(&x, &credentials);
    assert_message(&x, first, sizeof first - 1);
    assert_int_equal(answer(&x, ""), SASL_DONE);

    begin(&x, &credentials);
    assert_int_equal(answer(&x, "{\"status\":\"invalid_token\"}\n\x1b[31m abc.def-_~+/="),
                     SASL_SEND);
    assert_message(&x, "\1", 1);
    assert_non_null(strstr(x.reason, "invalid_token"));
    assert_null(strchr(x.reason, '\x1b'));
    assert_null(strstr(x.reason, credentials.secret));
    assert_int_equal(answer(&x, ""), SASL_EREFUSED);

    credentials.secret = "abc\1host=elsewhere";
    assert_int_equal(sasl_exchange_begin(&x, &credentials, NONCE_256), SASL_EFAILED);
}

static bool holds(const struct sasl_exchange *exchange, const char *secret)
{
    const char *bytes = (const char *)exchange;

    for (size_t at = 0; at + strlen(secret) <= sizeof *exchange; at++)
        if (memcmp(bytes + at, secret, strlen(secret)) == 0)
            return true;
    return false;
}

/* Nothing secret is left in it. */
static void secrets_are_wiped(void **state)
{
    (void)state;
    const struct sasl_credentials credentials = {
        .mechanism = SASL_PLAIN, .user = "alice", .secret = "open sesame"};
    struct sasl_exchange x;

    begin(&x, &credentials);
    assert_true(holds(&x, "open sesame"));
    assert_int_equal(answer(&x, ""), SASL_DONE);
    assert_false(holds(&x, "open sesame"));
    begin(&x, &credentials);
    sasl_exchange_wipe(&x);
    assert_false(holds(&x, "open sesame"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_mechanisms),
        cmocka_unit_test(plain_has_no_answer),
        cmocka_unit_test(the_vector_of_rfc_7677),
        cmocka_unit_test(scram_with_sha_512),
        cmocka_unit_test(keys_are_kept_for_a_salt),
        cmocka_unit_test(names_and_delegation_tokens),
        cmocka_unit_test(the_server_must_know_the_password),
        cmocka_unit_test(a_server_that_says_no),
        cmocka_unit_test(first_messages_that_are_refused),
        cmocka_unit_test(sizes_at_their_bounds),
        cmocka_unit_test(tokens_of_oauth),
        cmocka_unit_test(secrets_are_wiped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

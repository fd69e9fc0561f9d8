/* What can be chosen of TLS, and what contexts make of it. */
#include "../lib/cmocka.h"

#include <openssl/err.h>
#include <stdint.h>
#include <string.h>

#include "../lib/certificate.h"
#include "tls/tls.h"
#include "tls/tls_policy.h"

/* The names that a context offers, in order. */
static void list_ciphers(const struct tls_policy *policy, char *list, size_t size)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    tls_harden(context, policy);
    SSL *ssl = SSL_new(context);
    STACK_OF(SSL_CIPHER) *all = SSL_get1_supported_ciphers(ssl);
    list[0] = '\0';
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++)
        snprintf(list + strlen(list), size - strlen(list), "%s%s", i ? ":" : "",
                 SSL_CIPHER_get_name(sk_SSL_CIPHER_value(all, i)));
    sk_SSL_CIPHER_free(all);
    SSL_free(ssl);
    SSL_CTX_free(context);
}

static void expect_list(bool only_1_3, const char *chosen, const char *wanted)
{
    struct tls_policy policy;
    char error[300] = "";
    char list[1000];

    if (!tls_policy_choose(&policy, only_1_3, chosen, error, sizeof error))
        fail_msg("%s: %s", chosen ? chosen : "nothing chosen", error);
    list_ciphers(&policy, list, sizeof list);
    assert_string_equal(list, wanted);
}

static void expect_no_list(bool only_1_3, const char *chosen, const char *words)
{
    struct tls_policy policy;
    char error[300] = "";

    if (tls_policy_choose(&policy, only_1_3, chosen, error, sizeof error))
        fail_msg("%s is taken", chosen);
    if (!strstr(error, words))
        fail_msg("no \"%s\" in: %s", words, error);
}

#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

static void what_is_usual(void **state)
{
    char list[1000];

    (void)state;
    list_ciphers(NULL, list, sizeof list);
    assert_memory_equal(list, SUITES, strlen(SUITES));
    assert_non_null(strstr(list, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"));
    assert_null(strstr(list, "CBC"));
    assert_null(strstr(list, ":AES"));
    expect_list(false, NULL, list);
    expect_list(true, NULL, SUITES);
}

static void a_choice(void **state)
{
    (void)state;
    expect_list(false, "TLS_AES_256_GCM_SHA384:ECDHE-RSA-AES256-GCM-SHA384",
                "TLS_AES_256_GCM_SHA384:ECDHE-RSA-AES256-GCM-SHA384");
    expect_list(false, " TLS_CHACHA20_POLY1305_SHA256, TLS_AES_128_GCM_SHA256 ",
                "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256");
    expect_list(false, "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256");
    expect_list(true, "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256",
                "TLS_AES_128_GCM_SHA256");
    expect_list(false, "TLS_AES_128_GCM_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_GCM_SHA256",
                "TLS_AES_128_GCM_SHA256");
}

static void what_cannot_be_chosen(void **state)
{
    (void)state;
    expect_no_list(false, "TLS_AES_128_GCM_SHA265", "did you mean TLS_AES_128_GCM_SHA256?");
    expect_no_list(false, "AES128-SHA", "AES128-SHA is none of the ciphers");
    expect_no_list(false, "ALL", "is none of");
    expect_no_list(false, "ECDHE-RSA-AES128-GCM-SHA256:!aNULL", "!aNULL is none of");
    expect_no_list(false, "@SECLEVEL=0", "is none of");
    expect_no_list(false, "eNULL", "is none of");
    expect_no_list(false, "", "names no cipher");
    expect_no_list(false, " :,", "names no cipher");
    expect_no_list(true, "ECDHE-ECDSA-AES128-GCM-SHA256", "no cipher of TLS 1.3");
}

static bool shake_hands(SSL_CTX *client_context, SSL_CTX *server_context)
{
    SSL *client = SSL_new(client_context);
    SSL *server = SSL_new(server_context);
    BIO *at_client;
    BIO *at_server;
    int asked = -1;
    int answered = -1;

    assert_int_equal(BIO_new_bio_pair(&at_client, 1 << 16, &at_server, 1 << 16), 1);
    SSL_set_bio(client, at_client, at_client);
    SSL_set_bio(server, at_server, at_server);
    for (unsigned turn = 0; turn < 8 && (asked != 1 || answered != 1); turn++) {
        asked = SSL_connect(client);
        answered = SSL_accept(server);
    }
    SSL_free(client);
    SSL_free(server);
    ERR_clear_error();
    return asked == 1 && answered == 1;
}

/* Whether one side, hardened, agrees to that group, which is all that the other side has. */
static bool agrees_to(const char *group, bool server_hardened)
{
    struct tls_material *material = certificate_make(0);
    SSL_CTX *client = SSL_CTX_new(TLS_client_method());
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());

    assert_int_equal(SSL_CTX_use_certificate(server, material->certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(server, material->key), 1);
    tls_harden(server_hardened ? server : client, NULL);
    /* OpenSSL's macro takes const away, which clang does not let pass. */
    char *list = (char *)(uintptr_t)group;
    bool known = SSL_CTX_set1_groups_list(server_hardened ? client : server, list) == 1;
    bool agreed = known && shake_hands(client, server);
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    tls_material_free(material);
    ERR_clear_error();
    return agreed;
}

/* One handshake with ffdhe8192 takes as long as hundreds with X25519, and costs whoever asks for it
 * nothing. */
static void no_dear_key_exchange(void **state)
{
    static const char *const good[] = {"X25519", "P-256", "P-384", "P-521"};
    static const char *const dear[] = {"ffdhe2048", "ffdhe3072", "ffdhe4096", "ffdhe6144",
                                       "ffdhe8192"};

    (void)state;
    for (unsigned server = 0; server < 2; server++) {
        for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
            if (!agrees_to(good[i], server))
                fail_msg("the %s does not agree to %s", server ? "server" : "client", good[i]);
        for (size_t i = 0; i < sizeof dear / sizeof dear[0]; i++)
            if (agrees_to(dear[i], server))
                fail_msg("the %s agrees to %s", server ? "server" : "client", dear[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_usual),
        cmocka_unit_test(a_choice),
        cmocka_unit_test(what_cannot_be_chosen),
        cmocka_unit_test(no_dear_key_exchange),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What can be chosen of TLS, and what contexts make of it. */
#include "../lib/cmocka.h"

#include <string.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_usual),
        cmocka_unit_test(a_choice),
        cmocka_unit_test(what_cannot_be_chosen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

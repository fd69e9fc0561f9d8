#include "tls/tls_policy.h"

#include <openssl/err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/nearest.h"

/* AES-128-GCM first: it is the fastest that is safe. */
static const char *const usual_suites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                           "TLS_CHACHA20_POLY1305_SHA256"};
/* Each with a key exchange of its own for the connection, and authenticated. */
static const char *const usual_ciphers[] = {
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"};

enum {
    SUITES = sizeof usual_suites / sizeof usual_suites[0],
    CIPHERS = sizeof usual_ciphers / sizeof usual_ciphers[0],
};

static void append_to_list(char list[TLS_POLICY_LIST_MAX], const char *name)
{
    size_t fill = strlen(list);

    snprintf(list + fill, TLS_POLICY_LIST_MAX - fill, "%s%s", fill > 0 ? ":" : "", name);
}

/* As it is written; NULL: it is none of them. */
static const char *find_cipher(const char *const *names, size_t count, const char *name,
                               size_t size)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == size && memcmp(names[i], name, size) == 0)
            return names[i];
    return NULL;
}

static bool explain_cipher(const char *name, size_t size, char *error, size_t error_size)
{
    struct nearest nearest;

    nearest_begin(&nearest, name, size);
    for (size_t i = 0; i < SUITES; i++)
        nearest_offer(&nearest, usual_suites[i]);
    for (size_t i = 0; i < CIPHERS; i++)
        nearest_offer(&nearest, usual_ciphers[i]);
    snprintf(error, error_size, "%.*s is none of the ciphers that can be chosen%s%s%s",
             size < 60 ? (int)size : 60, name, nearest.best ? ": did you mean " : "",
             nearest.best ? nearest.best : "",
             nearest.best ? "?" : "; docs/security.md lists them (TLS)");
    return false;
}

/* A name that is there twice counts once, so that all fit. */
static bool take_cipher(struct tls_policy *policy, const char *name, size_t size, char *error,
                        size_t error_size)
{
    const char *suite = find_cipher(usual_suites, SUITES, name, size);
    const char *cipher = find_cipher(usual_ciphers, CIPHERS, name, size);

    if (suite && !strstr(policy->suites, suite))
        append_to_list(policy->suites, suite);
    if (cipher && !strstr(policy->ciphers, cipher))
        append_to_list(policy->ciphers, cipher);
    return suite || cipher || explain_cipher(name, size, error, error_size);
}

bool tls_policy_choose(struct tls_policy *policy, bool only_1_3, const char *ciphers, char *error,
                       size_t size)
{
    static const char between[] = ":, \t";

    *policy = (struct tls_policy){.only_1_3 = only_1_3};
    if (!ciphers)
        return true;
    for (const char *at = ciphers + strspn(ciphers, between); *at;) {
        size_t length = strcspn(at, between);
        if (!take_cipher(policy, at, length, error, size))
            return false;
        at += length;
        at += strspn(at, between);
    }
    if (!policy->suites[0] && (only_1_3 || !policy->ciphers[0])) {
        snprintf(error, size, "%s",
                 only_1_3 ? "names no cipher of TLS 1.3 (TLS_...), but --tls-min-version is 1.3"
                          : "names no cipher");
        return false;
    }
    policy->only_1_2 = !policy->suites[0];
    policy->only_1_3 = only_1_3 || !policy->ciphers[0];
    return true;
}

static void join_names(const char *const *names, size_t count, char list[TLS_POLICY_LIST_MAX])
{
    list[0] = '\0';
    for (size_t i = 0; i < count; i++)
        append_to_list(list, names[i]);
}

/* What OpenSSL has from 3.5 on, which may get better, but for what is left out here. */
static const char usual_groups[] = "DEFAULT:-?ffdhe2048:-?ffdhe3072:-?ffdhe4096:-?ffdhe6144:"
                                   "-?ffdhe8192";
static const char *const older_groups[] = {"X25519", "P-256", "X448", "P-384", "P-521"};

static bool use_groups(SSL_CTX *context, const char *list)
{
    /* OpenSSL's macro takes const away, which clang does not let pass. */
    return SSL_CTX_set1_groups_list(context, (char *)(uintptr_t)list) == 1;
}

/*
 * Keys are exchanged over curves only. With the finite fields that OpenSSL would agree to, a
 * handshake takes up to hundreds of times as long, and whoever asks for one need not calculate
 * anything. A provider that lacks a curve (FIPS) leaves it out.
 */
static void apply_groups(SSL_CTX *context)
{
    enum { OLDER = sizeof older_groups / sizeof older_groups[0] };
    const char *known[OLDER];
    char list[TLS_POLICY_LIST_MAX];
    size_t count = 0;

    if (!use_groups(context, usual_groups)) {
        for (size_t i = 0; i < OLDER; i++)
            if (use_groups(context, older_groups[i]))
                known[count++] = older_groups[i];
        join_names(known, count, list);
        if (count == 0 || !use_groups(context, list))
            abort();
    }
    ERR_clear_error();
}

void tls_policy_apply(const struct tls_policy *policy, SSL_CTX *context)
{
    struct tls_policy used = policy ? *policy : (struct tls_policy){0};

    if (!used.suites[0])
        join_names(usual_suites, SUITES, used.suites);
    if (!used.ciphers[0])
        join_names(usual_ciphers, CIPHERS, used.ciphers);
    if (SSL_CTX_set_min_proto_version(context, used.only_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) !=
            1 ||
        SSL_CTX_set_max_proto_version(context, used.only_1_2 ? TLS1_2_VERSION : 0) != 1)
        abort();
    /* A provider that lacks one of them (FIPS has no ChaCha20) leaves it out. */
    SSL_CTX_set_ciphersuites(context, used.suites);
    SSL_CTX_set_cipher_list(context, used.ciphers);
    apply_groups(context);
}

/*
 * What a person chooses of TLS: the oldest version, and which ciphers. Only what is usual here can
 * be chosen (tls.h): a choice narrows down, it never lets in what is weak.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#define TLS_POLICY_LIST_MAX 400

/* Zeroed: what is usual. */
struct tls_policy {
    bool only_1_3;                     /* not TLS 1.2 */
    bool only_1_2;                     /* the ciphers that were chosen are all of TLS 1.2 */
    char ciphers[TLS_POLICY_LIST_MAX]; /* of TLS 1.2, as OpenSSL has it; "": the usual */
    char suites[TLS_POLICY_LIST_MAX];  /* of TLS 1.3; "": the usual */
};

/*
 * ciphers: names as OpenSSL has them, with colons, commas or blanks between them, those that are
 * liked best first, of both versions; NULL: the usual. A version of which none is named is not
 * spoken. false: error holds a sentence part for after the option's value.
 */
bool tls_policy_choose(struct tls_policy *policy, bool only_1_3, const char *ciphers, char *error,
                       size_t size);
/* policy may be NULL: what is usual. */
void tls_policy_apply(const struct tls_policy *policy, SSL_CTX *context);

/*
 * TLS settings that server and client share; what certificates and errors say.
 *
 * The room tls/ makes OpenSSL's contexts from certificates, keys and authorities, and says what is
 * wrong with them. It moves no bytes (io/transport.h does) and knows no event loop.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

struct tls_policy;

/* What every connection has in common; policy: what somebody has chosen (tls_policy.h), or NULL. */
void tls_harden(SSL_CTX *context, const struct tls_policy *policy);

/* A sentence for the person who gave the files. */
struct tls_error {
    char text[600];
};

/* A certificate for people; dates as "2027-01-31". */
struct tls_certificate_text {
    char subject[100];
    char issuer[100];
    char from[32];
    char until[32];
};
void tls_certificate_describe(const X509 *certificate, struct tls_certificate_text *text);
/* Whether it is valid by this machine's clock. */
bool tls_certificate_is_current(const X509 *certificate);
/* Whether a client that has dialled host, a name or an IP literal, takes it for that host's. */
bool tls_certificate_is_for(X509 *certificate, const char *host);
/* The hosts that it is for: "localhost, 127.0.0.1", cut to fit; "": none. */
void tls_certificate_hosts(const X509 *certificate, char *text, size_t size);

/* Before a client's handshake: it shall fail unless the server's certificate is for host, a name or
 * an IP literal; the server is told host, if it is a name (SNI). */
void tls_expect_peer(SSL *ssl, const char *host);

/* After a handshake that succeeded: frees the keys of its key exchange. Nothing uses them any more,
 * and OpenSSL would keep them as long as the connection: with ML-KEM 7 KiB, a third of what it has
 * for an idle one. */
void tls_forget_key_exchange(SSL *ssl);

/* What a person must look at when a client's handshake has failed. */
enum tls_failure {
    TLS_FAILURE_OTHER = 0,
    TLS_FAILURE_TRUST,   /* the certificate is not trusted, or there is none where one must be */
    TLS_FAILURE_DATES,   /* it is not valid yet, or no longer, by this machine's clock */
    TLS_FAILURE_NAME,    /* the certificate is for another host */
    TLS_FAILURE_ALERT,   /* the peer refused */
    TLS_FAILURE_NOT_TLS, /* the peer spoke something else */
};
/* After a handshake that failed; code: the first of OpenSSL's error queue (ERR_get_error()). */
enum tls_failure tls_failure_of(const SSL *ssl, unsigned long code);
/* The part of a sentence that says what an error of OpenSSL's was, cut to fit. code: as above. */
void tls_describe(unsigned long code, char *text, size_t size);

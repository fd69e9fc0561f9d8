/* TLS settings that server and client share; files that a person has named. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>

/* TLS 1.2 at least, modern ciphers, AES-128-GCM first: it is the fastest that is safe. */
void tls_harden(SSL_CTX *context);

/* A sentence for the person who gave the files. */
struct tls_error {
    char text[512];
};

/*
 * Looks whether the files hold what their names say, and key fits certificate. Each may be NULL.
 * false: error names the file and what is wrong with it.
 */
bool tls_check_files(const char *cert_file, const char *key_file, const char *ca_file,
                     struct tls_error *error);

/*
 * A client's context: verifies the server against the system's CAs and ca_file (if not NULL),
 * presents cert_file and key_file (if not NULL). NULL: see error.
 */
SSL_CTX *tls_client_context(const char *ca_file, const char *cert_file, const char *key_file,
                            struct tls_error *error);

/* Before a client's handshake: it shall fail unless the server's certificate is for host, a name or
 * an IP literal; the server is told host, if it is a name (SNI). */
void tls_expect_peer(SSL *ssl, const char *host);

/* What a person must look at when a client's handshake has failed. */
enum tls_failure {
    TLS_FAILURE_OTHER = 0,
    TLS_FAILURE_TRUST,   /* the certificate is not trusted, or out of date */
    TLS_FAILURE_NAME,    /* the certificate is for another host */
    TLS_FAILURE_ALERT,   /* the peer refused */
    TLS_FAILURE_NOT_TLS, /* the peer spoke something else */
};
enum tls_failure tls_failure_of(const SSL *ssl, unsigned long code);
/* "bad certificate": the alert of that number. */
const char *tls_alert_name(int alert);
/* One sentence for an error of OpenSSL's. */
void tls_describe(unsigned long code, char *text, size_t size);

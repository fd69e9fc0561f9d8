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

/* Whether the server's certificate is for host, a name or an IP literal. */
bool tls_peer_is(SSL *ssl, const char *host);

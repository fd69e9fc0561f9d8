/*
 * Certificates, private keys and authorities in files that options name.
 *
 * Each file is read once and parsed from memory, so that a pipe does as well (config/input.h), and
 * nobody is asked for a passphrase. What is wrong is a sentence that names option and file.
 */
#pragma once

#include <openssl/x509.h>

#include "tls/tls.h"
#include "tls/tls_policy.h"

/* Names of options are without --. A file may be NULL: there is none. */
struct tls_files {
    const char *cert_option;
    const char *cert_file; /* a chain in PEM, the own certificate first */
    const char *key_option;
    const char *key_file;        /* of the own certificate: given if that is */
    const char *passphrase_file; /* its first line opens the key */
    const char *passphrase;      /* or this does */
    const char *ca_option;
    const char *ca_file; /* trusted certificates: roots, intermediates or single ones */
    const char *crl_option;
    const char *crl_file; /* lists of revoked certificates: one of each authority that is trusted */
    const struct tls_policy *policy; /* or NULL; it must live as long as what is made of it */
    bool strict;                     /* key and passphrase must be guarded (secret_is_guarded()) */
};

/* What was in the files. */
struct tls_material {
    X509 *certificate; /* NULL: none was wanted; so for each of these */
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
    STACK_OF(X509) * authorities;
    STACK_OF(X509_CRL) * revoked;
    const struct tls_policy *policy;
    bool certificate_once; /* it came out of a pipe, and cannot be read again */
    bool key_once;
    bool authorities_once;
    bool revoked_once;
};

/*
 * Reads the files. What came out of pipes the last time is taken from before, if that is not NULL.
 * NULL: error says what is wrong.
 */
struct tls_material *tls_material_read(const struct tls_files *files,
                                       const struct tls_material *before, struct tls_error *error);
void tls_material_free(struct tls_material *material);

/* Whether both have the same certificate, chain and authorities. (One key has one certificate.) */
bool tls_material_same_identity(const struct tls_material *a, const struct tls_material *b);
bool tls_material_same_authorities(const struct tls_material *a, const struct tls_material *b);
bool tls_material_same_revoked(const struct tls_material *a, const struct tls_material *b);
/* Whether one of the lists of revoked certificates says that there is a newer one. */
bool tls_material_revoked_is_old(const struct tls_material *material);

/*
 * A server's context: shows the material's certificate, and demands one of clients that one of its
 * authorities has signed, if it has any. HTTP/1.1 is the only protocol (ALPN), nothing is resumed,
 * there is no early data. NULL: see error.
 */
SSL_CTX *tls_server_context(const struct tls_material *material, struct tls_error *error);

/*
 * The same for a port that clients of another protocol than HTTP dial: ALPN is left alone. A client
 * that shows a certificate must show one that one of the material's authorities has signed, if it
 * has any; demands: each client must show one then.
 */
SSL_CTX *tls_listener_context(const struct tls_material *material, bool demands,
                              struct tls_error *error);

/*
 * A client's context: trusts the system's CAs and the material's, and shows its certificate if
 * shows_certificate. NULL: see error.
 */
SSL_CTX *tls_client_context(const struct tls_material *material, bool shows_certificate,
                            struct tls_error *error);
/* The same, but trusts nobody beside the material's authorities. */
SSL_CTX *tls_closed_context(const struct tls_material *material, struct tls_error *error);

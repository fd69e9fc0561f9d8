/*
 * A certificate authority of one's own: a key and a certificate that others are told to trust, and
 * the short-lived certificates that it issues. P-256 throughout.
 *
 * The authority's certificate is constrained (RFC 5280, 4.2.1.10): it vouches for servers of a few
 * names only, and for no authority below it. So whoever steals its key can pose as one of these and
 * as nobody else.
 *
 * Names are host names and IP literals. Times come from the caller.
 */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "tls/tls_files.h"

enum {
    TLS_AUTHORITY_DAYS = 3650,
    TLS_ISSUED_DAYS = 30, /* so long is what it issues valid */
};

struct tls_authority_names {
    const char *const *names;
    size_t count;
};

struct tls_authority {
    X509 *certificate;
    EVP_PKEY *key;
};

/* Loopback: each authority vouches for it, whatever else it is for. All of 127.0.0.0/8, and with
 * localhost all names below it, which lead nowhere else (RFC 6761, 6.3). */
extern const struct tls_authority_names tls_authority_loopback;

/* Makes one for loopback and for names. place: goes into its own name, for people. */
void tls_authority_make(struct tls_authority *authority, const char *place,
                        const struct tls_authority_names *names, time_t now);
/* Key and certificate in PEM, for secret_free(); with a NUL behind them. */
char *tls_authority_write(const struct tls_authority *authority);
/* The certificate alone. The caller frees it. */
char *tls_authority_write_certificate(const struct tls_authority *authority);
/* What tls_authority_write() has written. NULL, or what is wrong with it, a part of a sentence. */
const char *tls_authority_read(struct tls_authority *authority, const char *pem, size_t size);
/* NULL members are fine. */
void tls_authority_clear(struct tls_authority *authority);

/* The first of the names that it may not vouch for; NULL: it may for all. */
const char *tls_authority_lacks(const struct tls_authority *authority,
                                const struct tls_authority_names *names);
/* The names that it may vouch for: "localhost, 127.0.0.0/8, ::1, broker.example", cut to fit. */
void tls_authority_describe(const struct tls_authority *authority, char *text, size_t size);
/* SHA-256 of the certificate: "AB:CD:...". */
#define TLS_FINGERPRINT_SIZE (32 * 3)
void tls_authority_fingerprint(const struct tls_authority *authority,
                               char text[TLS_FINGERPRINT_SIZE]);

/* A certificate for loopback and for names, with a key of its own; tls_material_free() ends it. It
 * ends with the authority at the latest. */
struct tls_material *tls_authority_issue(const struct tls_authority *authority,
                                         const struct tls_authority_names *names, time_t now);
/* Whether a certificate is to be replaced: a third of its time is left, or the clock says that it
 * is not valid. */
bool tls_issued_is_due(const X509 *certificate, time_t now);
/* Whether a certificate's time is over. */
bool tls_has_expired(const X509 *certificate, time_t now);

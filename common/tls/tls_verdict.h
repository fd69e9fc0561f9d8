/* Why a server's chain of certificates was not taken, and what to do about it. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "tls/tls.h"

struct tls_verdict {
    int error;      /* X509_V_...; X509_V_OK: none */
    int depth;      /* of the certificate that it is about; the server's own is at 0 */
    int sent;       /* how many certificates the server has sent */
    bool is_public; /* it says where its issuer's certificate is to be had (RFC 5280, 4.2.2.1), as
                    those of public authorities do */
    struct tls_certificate_text certificate; /* that it is about */
};

/* From OpenSSL's callback, when it has found something. */
void tls_verdict_note(struct tls_verdict *verdict, X509_STORE_CTX *store);
/* A sentence. whose: "server", "proxy"; ca_option: what names a file of CAs; now: this machine's.
 */
void tls_verdict_explain(const struct tls_verdict *verdict, const char *whose,
                         const char *ca_option, time_t now, char *text, size_t size);

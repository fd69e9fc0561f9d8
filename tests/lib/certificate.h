/* A throwaway certificate and key for tests that have a TLS server or client in their process. */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>

#include "tls/tls_files.h"

/* Self-signed, for localhost; material->authorities has the same certificate if it is trusted.
 * tls_material_free() ends it. */
static inline struct tls_material *certificate_make(int trusted)
{
    struct tls_material *material = calloc(1, sizeof *material);
    X509 *certificate = X509_new();
    EVP_PKEY *key = EVP_EC_gen("P-256");

    if (!material || !certificate || !key)
        abort();
    X509_NAME *name = X509_get_subject_name(certificate);
    if (X509_set_version(certificate, 2) != 1 ||
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) != 1 ||
        !X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) ||
        !X509_gmtime_adj(X509_getm_notAfter(certificate), 24L * 3600) ||
        X509_set_pubkey(certificate, key) != 1 ||
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1,
                                   -1, 0) != 1 ||
        X509_set_issuer_name(certificate, name) != 1 ||
        X509_sign(certificate, key, EVP_sha256()) == 0)
        abort();
    material->certificate = certificate;
    material->key = key;
    if (!trusted)
        return material;
    material->authorities = sk_X509_new_null();
    X509_up_ref(certificate);
    if (!material->authorities || sk_X509_push(material->authorities, certificate) == 0)
        abort();
    return material;
}

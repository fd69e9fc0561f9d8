#include "authentication/certificate_identity.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- subject */

/* RFC 2253, but UTF-8 stays readable: escaped, a Cyrillic name would be three times as long. */
#define NAME_FLAGS (XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB)

static const char *take_subject(X509 *certificate, char identity[HTTP_IDENTITY_MAX])
{
    const X509_NAME *name = X509_get_subject_name(certificate);
    BIO *bio = BIO_new(BIO_s_mem());
    const char *why;
    char *text;

    if (!bio)
        abort();
    if (X509_NAME_entry_count(name) == 0) {
        BIO_free(bio);
        return "has no subject; --identity-from san-uri, san-dns or san-email takes the identity "
               "from its subject alternative name";
    }
    int written = X509_NAME_print_ex(bio, name, 0, NAME_FLAGS);
    long size = BIO_get_mem_data(bio, &text);
    if (written < 0 || size < 0) {
        why = "has a subject that cannot be read";
    } else if (size > IDENTITY_MAX) {
        why = "has a subject of more than 255 bytes; --identity-from san-uri, san-dns or san-email "
              "takes the identity from its subject alternative name";
    } else if (identity_check(text, (size_t)size)) {
        why = "has a subject with control characters or other invisible characters";
    } else {
        why = NULL;
        memcpy(identity, text, (size_t)size);
        identity[size] = '\0';
    }
    BIO_free(bio);
    ERR_clear_error();
    return why;
}

/* ---- subject alternative name (RFC 5280, 4.2.1.6) */

struct san_kind {
    int type; /* GEN_URI, ... */
    const char *none;
    const char *several;
    const char *unusable;
};

static const struct san_kind san_kinds[] = {
    [IDENTITY_FROM_SAN_URI] = {GEN_URI,
                               "has no URI in its subject alternative name (--identity-from "
                               "san-uri)",
                               "has several URIs in its subject alternative name, so the identity "
                               "is ambiguous (--identity-from san-uri)",
                               "has a URI in its subject alternative name that is empty, longer "
                               "than 255 bytes, or not printable ASCII"},
    [IDENTITY_FROM_SAN_DNS] = {GEN_DNS,
                               "has no DNS name in its subject alternative name (--identity-from "
                               "san-dns)",
                               "has several DNS names in its subject alternative name, so the "
                               "identity is ambiguous (--identity-from san-dns)",
                               "has a DNS name in its subject alternative name that is empty, "
                               "longer than 255 bytes, or not printable ASCII"},
    [IDENTITY_FROM_SAN_EMAIL] = {GEN_EMAIL,
                                 "has no e-mail address in its subject alternative name "
                                 "(--identity-from san-email)",
                                 "has several e-mail addresses in its subject alternative name, so "
                                 "the identity is ambiguous (--identity-from san-email)",
                                 "has an e-mail address in its subject alternative name that is "
                                 "empty, longer than 255 bytes, or not printable ASCII"},
};

/* All three are IA5String, so ASCII; but nothing keeps a CA from putting a NUL there, behind which
 * some would not look. */
static bool take_ascii(const ASN1_IA5STRING *value, char identity[HTTP_IDENTITY_MAX])
{
    const unsigned char *bytes = ASN1_STRING_get0_data(value);
    int size = ASN1_STRING_length(value);

    if (size <= 0 || size > IDENTITY_MAX)
        return false;
    for (int i = 0; i < size; i++)
        if (bytes[i] <= ' ' || bytes[i] >= 0x7f)
            return false;
    memcpy(identity, bytes, (size_t)size);
    identity[size] = '\0';
    return true;
}

static const char *take_san_name(const GENERAL_NAMES *names, const struct san_kind *kind,
                                 char identity[HTTP_IDENTITY_MAX])
{
    const GENERAL_NAME *found = NULL;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != kind->type)
            continue;
        if (found)
            return kind->several;
        found = name;
    }
    if (!found)
        return kind->none;
    return take_ascii(found->d.ia5, identity) ? NULL : kind->unusable;
}

static const char *take_san(X509 *certificate, const struct san_kind *kind,
                            char identity[HTTP_IDENTITY_MAX])
{
    int critical;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, NULL);

    ERR_clear_error();
    /* -1: there is none; -2: there are several, which RFC 5280 forbids. */
    if (!names)
        return critical == -1 ? kind->none : "has a subject alternative name that cannot be read";
    const char *why = take_san_name(names, kind, identity);
    GENERAL_NAMES_free(names);
    return why;
}

const char *certificate_identity(X509 *certificate, enum identity_from from,
                                 char identity[HTTP_IDENTITY_MAX])
{
    return from == IDENTITY_FROM_SUBJECT ? take_subject(certificate, identity)
                                         : take_san(certificate, &san_kinds[from], identity);
}

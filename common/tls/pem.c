#include "tls/pem.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "config/secret.h"

/* ---- formats that are not PEM */

static bool begins(const char *bytes, size_t size, const char *beginning)
{
    size_t length = strlen(beginning);

    return size >= length && memcmp(bytes, beginning, length) == 0;
}

static bool mentions(const char *bytes, size_t size, const char *words)
{
    size_t length = strlen(words);

    for (size_t i = 0; i + length <= size; i++)
        if (memcmp(bytes + i, words, length) == 0)
            return true;
    return false;
}

/* Each frees what it has parsed; true: it is one. */
static bool is_pkcs12(const unsigned char *at, long size)
{
    PKCS12 *found = d2i_PKCS12(NULL, &at, size);

    PKCS12_free(found);
    return found != NULL;
}

static bool is_certificate(const unsigned char *at, long size)
{
    X509 *found = d2i_X509(NULL, &at, size);

    X509_free(found);
    return found != NULL;
}

static bool is_pkcs7(const unsigned char *at, long size)
{
    PKCS7 *found = d2i_PKCS7(NULL, &at, size);

    PKCS7_free(found);
    return found != NULL;
}

static bool is_private_key(const unsigned char *at, long size)
{
    const unsigned char *again = at;
    EVP_PKEY *found = d2i_AutoPrivateKey(NULL, &at, size);
    X509_SIG *encrypted = found ? NULL : d2i_X509_SIG(NULL, &again, size);
    bool is = found || encrypted;

    EVP_PKEY_free(found);
    X509_SIG_free(encrypted);
    return is;
}

/* NULL: it is none of these. */
static const char *explain_der(const char *bytes, size_t size, enum pem_wanted wanted)
{
    const unsigned char *der = (const unsigned char *)bytes;
    long length = (long)size;

    if (is_pkcs12(der, length))
        return wanted == PEM_KEY ? "is PKCS#12, but PEM is required: openssl pkcs12 -in FILE "
                                   "-nocerts -nodes -out KEY.pem"
                                 : "is PKCS#12, but PEM is required: openssl pkcs12 -in FILE "
                                   "-nokeys -out CERTIFICATE.pem";
    if (is_certificate(der, length))
        return wanted == PEM_KEY
                   ? "is a certificate (DER), but a private key in PEM is required"
                   : "is DER, but PEM is required: openssl x509 -inform DER -in FILE -out FILE.pem";
    if (is_pkcs7(der, length))
        return "is PKCS#7 (DER), but PEM is required: openssl pkcs7 -inform DER -print_certs -in "
               "FILE -out FILE.pem";
    if (is_private_key(der, length))
        return wanted == PEM_KEY
                   ? "is DER, but PEM is required: openssl pkey -inform DER -in FILE -out FILE.pem"
                   : "is a private key (DER), but certificates in PEM are required";
    return NULL;
}

static const char *explain_binary(const char *bytes, size_t size, enum pem_wanted wanted)
{
    const char *why =
        bytes[0] == 0x30 && size <= LONG_MAX ? explain_der(bytes, size, wanted) : NULL;

    ERR_clear_error();
    if (why)
        return why;
    if (begins(bytes, size, "\xfe\xed\xfe\xed"))
        return "is a Java keystore (JKS), but PEM is required: keytool -importkeystore "
               "-srckeystore FILE -destkeystore FILE.p12 -deststoretype PKCS12, then openssl "
               "pkcs12";
    /* In DER NUL bytes say nothing of UTF-16. */
    return bytes[0] == 0x30 ? NULL : secret_check_encoding(bytes, size);
}

/* ---- PEM */

static const char *explain_no_certificate(const char *bytes, size_t size)
{
    if (mentions(bytes, size, "-----BEGIN PKCS7"))
        return "is PKCS#7: openssl pkcs7 -print_certs -in FILE -out FILE.pem extracts the "
               "certificates";
    if (mentions(bytes, size, "-----BEGIN CERTIFICATE REQUEST") ||
        mentions(bytes, size, "-----BEGIN NEW CERTIFICATE REQUEST"))
        return "is a certificate signing request (CSR); give the certificate that the CA issued";
    if (mentions(bytes, size, "-----BEGIN CERTIFICATE") ||
        mentions(bytes, size, "-----BEGIN X509 CERTIFICATE") ||
        mentions(bytes, size, "-----BEGIN TRUSTED CERTIFICATE"))
        return "is damaged: it begins as a certificate in PEM but does not continue as one";
    if (mentions(bytes, size, "PRIVATE KEY-----"))
        return "contains a private key and no certificate; did you swap two files?";
    return "is not a certificate in PEM (-----BEGIN CERTIFICATE-----)";
}

static const char *explain_no_key(const char *bytes, size_t size)
{
    if (mentions(bytes, size, "-----BEGIN OPENSSH PRIVATE KEY"))
        return "is in OpenSSH's format: convert a copy of it to PEM with ssh-keygen -p -m PEM -f "
               "FILE";
    if (mentions(bytes, size, "PRIVATE KEY-----"))
        return "is damaged: it begins as a private key in PEM but does not continue as one";
    if (mentions(bytes, size, "-----BEGIN PUBLIC KEY"))
        return "is the public key; give the private key";
    if (mentions(bytes, size, "-----BEGIN CERTIFICATE"))
        return "contains a certificate and no private key; did you swap two files?";
    return "is not a private key in PEM (-----BEGIN PRIVATE KEY-----)";
}

const char *pem_explain(const char *bytes, size_t size, enum pem_wanted wanted)
{
    const char *why;

    if (size == 0)
        return "is empty";
    why = explain_binary(bytes, size, wanted);
    if (why)
        return why;
    return wanted == PEM_KEY ? explain_no_key(bytes, size) : explain_no_certificate(bytes, size);
}

size_t pem_mark(const char *bytes, size_t size)
{
    static const char mark[] = "\xef\xbb\xbf";

    return begins(bytes, size, mark) ? sizeof mark - 1 : 0;
}

/* ---- private keys */

/* What OpenSSL asks for a passphrase, instead of the terminal. */
struct passphrase {
    const char *text; /* NULL: there is none */
    bool wanted;
    bool too_long;
};

static int give_passphrase(char *out, int size, int writing, void *context)
{
    struct passphrase *passphrase = context;

    (void)writing;
    passphrase->wanted = true;
    if (!passphrase->text)
        return -1;
    /* Its first line, as out of a file: $(cat FILE) of some tools keeps the line's end. */
    size_t have = strcspn(passphrase->text, "\r\n");
    if (have > (size_t)size) {
        passphrase->too_long = true;
        return -1;
    }
    memcpy(out, passphrase->text, have);
    return (int)have;
}

/* An algorithm that no provider has: PKCS#8 of former days, encrypted by MD5 and DES. */
static bool is_unsupported(unsigned long code)
{
    int reason = ERR_GET_REASON(code);

    return ERR_GET_LIB(code) == ERR_LIB_EVP &&
           (reason == ERR_R_UNSUPPORTED || reason == EVP_R_UNSUPPORTED_ALGORITHM ||
            reason == EVP_R_UNKNOWN_PBE_ALGORITHM);
}

static bool stands_in_quotes(const char *passphrase)
{
    size_t size = strcspn(passphrase, "\r\n");

    return size > 1 && strchr("\"'", passphrase[0]) && passphrase[0] == passphrase[size - 1];
}

static const char *explain_locked_key(const char *bytes, size_t size,
                                      const struct passphrase *passphrase)
{
    bool unsupported = false;
    unsigned long code;

    while ((code = ERR_get_error()) != 0)
        unsupported = unsupported || is_unsupported(code);
    if (passphrase->too_long)
        return "is encrypted, and the passphrase is longer than OpenSSL accepts";
    if (passphrase->wanted && !passphrase->text)
        return "is encrypted";
    if (mentions(bytes, size, "-----BEGIN ENCRYPTED PRIVATE KEY") && unsupported)
        return "is encrypted in a way that OpenSSL 3 no longer supports: encrypt it again with "
               "openssl pkcs8 -topk8 -v2 aes256";
    if (!passphrase->wanted)
        return NULL;
    return stands_in_quotes(passphrase->text)
               ? "is encrypted, and the passphrase does not decrypt it: the passphrase is in "
                 "quotes, which count as part of it"
               : "is encrypted, and the passphrase does not decrypt it";
}

EVP_PKEY *pem_read_key(const char *bytes, size_t size, const char *passphrase, bool *locked,
                       const char **why)
{
    struct passphrase given = {.text = passphrase};

    size_t mark = pem_mark(bytes, size);
    bytes += mark;
    size -= mark;
    BIO *bio = size <= INT_MAX ? BIO_new_mem_buf(bytes, (int)size) : NULL;
    EVP_PKEY *key;

    if (!bio)
        abort();
    ERR_clear_error();
    key = PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, &given);
    BIO_free(bio);
    *locked = !key && given.wanted && !given.text;
    *why = NULL;
    if (!key) {
        *why = explain_locked_key(bytes, size, &given);
        if (!*why)
            *why = pem_explain(bytes, size, PEM_KEY);
    }
    ERR_clear_error();
    return key;
}

const char *pem_passphrase_line(char *text)
{
    const char *why = secret_check_encoding(text, strlen(text));

    if (why)
        return why;
    text[strcspn(text, "\r\n")] = '\0';
    return text[0] ? NULL : "has an empty first line; write the passphrase there";
}

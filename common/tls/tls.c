#include "tls/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "config/address.h"
#include "tls/tls_policy.h"

void tls_harden(SSL_CTX *context, const struct tls_policy *policy)
{
    tls_policy_apply(policy, context);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE);
}

/* The key itself is OpenSSL's, and stays. To give it a type, whichever, frees what is in it. */
static void empty_key(EVP_PKEY *key)
{
    EVP_PKEY_set_type(key, EVP_PKEY_X25519);
    EVP_PKEY_free(key);
}

void tls_forget_key_exchange(SSL *ssl)
{
    EVP_PKEY *key;

    if (SSL_get_peer_tmp_key(ssl, &key) == 1)
        empty_key(key);
    if (SSL_get_tmp_key(ssl, &key) == 1)
        empty_key(key);
    ERR_clear_error();
}

static void describe_name(const X509_NAME *name, char *text, size_t size)
{
    BIO *memory = BIO_new(BIO_s_mem());
    int length;

    if (!memory)
        abort();
    X509_NAME_print_ex(memory, name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB & ~XN_FLAG_SPC_EQ);
    length = BIO_read(memory, text, (int)size - 1);
    text[length > 0 ? length : 0] = '\0';
    BIO_free(memory);
}

static void describe_date(const ASN1_TIME *time, char *text, size_t size)
{
    struct tm date;

    if (ASN1_TIME_to_tm(time, &date) != 1 || strftime(text, size, "%Y-%m-%d", &date) == 0)
        snprintf(text, size, "?");
}

void tls_certificate_describe(const X509 *certificate, struct tls_certificate_text *text)
{
    describe_name(X509_get_subject_name(certificate), text->subject, sizeof text->subject);
    describe_name(X509_get_issuer_name(certificate), text->issuer, sizeof text->issuer);
    describe_date(X509_get0_notBefore(certificate), text->from, sizeof text->from);
    describe_date(X509_get0_notAfter(certificate), text->until, sizeof text->until);
}

bool tls_certificate_is_current(const X509 *certificate)
{
    return X509_cmp_current_time(X509_get0_notBefore(certificate)) < 0 &&
           X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0;
}

bool tls_certificate_is_for(X509 *certificate, const char *host)
{
    char name[ADDRESS_HOST_MAX + 1];

    address_host_undotted(host, name);
    return X509_check_ip_asc(certificate, name, 0) == 1 ||
           X509_check_host(certificate, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

/* "" for what names no host. */
static void describe_host(const GENERAL_NAME *name, char text[ADDRESS_HOST_MAX + 1])
{
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
    const unsigned char *bytes = ASN1_STRING_get0_data(value);
    int size = ASN1_STRING_length(value);

    *text = '\0';
    if (type == GEN_DNS)
        snprintf(text, ADDRESS_HOST_MAX + 1, "%.*s", size, (const char *)bytes);
    else if (type == GEN_IPADD && (size == 4 || size == 16))
        inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes, text, ADDRESS_HOST_MAX + 1);
}

void tls_certificate_hosts(const X509 *certificate, char *text, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    size_t fill = 0;

    *text = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && fill < size; i++) {
        char host[ADDRESS_HOST_MAX + 1];
        describe_host(sk_GENERAL_NAME_value(names, i), host);
        if (*host)
            fill += (size_t)snprintf(text + fill, size - fill, "%s%s", fill > 0 ? ", " : "", host);
    }
    GENERAL_NAMES_free(names);
}

void tls_expect_peer(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *expected = SSL_get0_param(ssl);
    char name[ADDRESS_HOST_MAX + 1];

    address_host_undotted(host, name);
    X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_ip_asc(expected, name) == 1)
        return;
    if (X509_VERIFY_PARAM_set1_host(expected, name, 0) != 1 ||
        SSL_set_tlsext_host_name(ssl, name) != 1)
        abort();
}

static bool is_alert(unsigned long code)
{
    return ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) >= SSL_AD_REASON_OFFSET;
}

enum tls_failure tls_failure_of(const SSL *ssl, unsigned long code)
{
    long verified = SSL_get_verify_result(ssl);

    if (verified == X509_V_ERR_HOSTNAME_MISMATCH || verified == X509_V_ERR_IP_ADDRESS_MISMATCH)
        return TLS_FAILURE_NAME;
    if (verified == X509_V_ERR_CERT_NOT_YET_VALID || verified == X509_V_ERR_CERT_HAS_EXPIRED)
        return TLS_FAILURE_DATES;
    if (verified != X509_V_OK)
        return TLS_FAILURE_TRUST;
    if (is_alert(code))
        return TLS_FAILURE_ALERT;
    if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
        ERR_GET_REASON(code) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        return TLS_FAILURE_TRUST;
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER ||
                                             ERR_GET_REASON(code) == SSL_R_PACKET_LENGTH_TOO_LONG))
        return TLS_FAILURE_NOT_TLS;
    return TLS_FAILURE_OTHER;
}

/* "bad certificate": the alert of that number. */
static const char *alert_name(int alert)
{
    /* RFC 8446, 6.2; OpenSSL 3.0 has no text for it. */
    return alert == 116 ? "certificate required" : SSL_alert_desc_string_long(alert);
}

void tls_describe(unsigned long code, char *text, size_t size)
{
    const char *reason = ERR_reason_error_string(code);
    int alert = ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET;

    if (is_alert(code))
        snprintf(text, size, "the peer refused with the TLS alert %s", alert_name(alert));
    else
        snprintf(text, size, "%s", reason ? reason : "TLS error");
}

#include "net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/address.h"

void tls_harden(SSL_CTX *context)
{
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                      "TLS_CHACHA20_POLY1305_SHA256");
    SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!eNULL");
}

static bool fail(struct tls_error *error, const char *what, const char *file, const char *why)
{
    snprintf(error->text, sizeof error->text, "%s %s: %s", what, file, why);
    return false;
}

static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    ERR_clear_error();
    return reason ? reason : "not what it should be";
}

static bool readable(const char *what, const char *file, struct tls_error *error)
{
    if (!file || access(file, R_OK) == 0)
        return true;
    return fail(error, what, file, strerror(errno));
}

static bool load_identity(SSL_CTX *context, const char *cert_file, const char *key_file,
                          struct tls_error *error)
{
    if (!readable("cannot read the certificate", cert_file, error) ||
        !readable("cannot read the private key", key_file, error))
        return false;
    ERR_clear_error();
    if (cert_file && SSL_CTX_use_certificate_chain_file(context, cert_file) != 1)
        return fail(error, "no certificate could be read from", cert_file, openssl_reason());
    if (key_file && SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1)
        return fail(error, "no private key that fits the certificate could be read from", key_file,
                    openssl_reason());
    return true;
}

static bool load_authorities(SSL_CTX *context, const char *ca_file, struct tls_error *error)
{
    if (!readable("cannot read the CA certificates", ca_file, error))
        return false;
    ERR_clear_error();
    if (ca_file && SSL_CTX_load_verify_locations(context, ca_file, NULL) != 1)
        return fail(error, "no CA certificate could be read from", ca_file, openssl_reason());
    return true;
}

static bool load(SSL_CTX *context, const char *ca_file, const char *cert_file, const char *key_file,
                 struct tls_error *error)
{
    if (!context) {
        snprintf(error->text, sizeof error->text, "OpenSSL could not be set up");
        return false;
    }
    return load_authorities(context, ca_file, error) &&
           load_identity(context, cert_file, key_file, error);
}

bool tls_check_files(const char *cert_file, const char *key_file, const char *ca_file,
                     struct tls_error *error)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    bool good = load(context, ca_file, cert_file, key_file, error);

    SSL_CTX_free(context);
    return good;
}

SSL_CTX *tls_client_context(const char *ca_file, const char *cert_file, const char *key_file,
                            struct tls_error *error)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (!load(context, ca_file, cert_file, key_file, error)) {
        SSL_CTX_free(context);
        return NULL;
    }
    tls_harden(context);
    SSL_CTX_set_default_verify_paths(context);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    return context;
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
    if (verified != X509_V_OK)
        return TLS_FAILURE_TRUST;
    if (is_alert(code))
        return TLS_FAILURE_ALERT;
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER ||
                                             ERR_GET_REASON(code) == SSL_R_PACKET_LENGTH_TOO_LONG))
        return TLS_FAILURE_NOT_TLS;
    return TLS_FAILURE_OTHER;
}

void tls_describe(unsigned long code, char *text, size_t size)
{
    const char *reason = ERR_reason_error_string(code);
    int alert = ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET;

    if (is_alert(code))
        snprintf(text, size, "the peer refused with the TLS alert %s", tls_alert_name(alert));
    else
        snprintf(text, size, "%s", reason ? reason : "TLS error");
}

const char *tls_alert_name(int alert)
{
    /* RFC 8446, 6.2; OpenSSL 3.0 has no text for it. */
    return alert == 116 ? "certificate required" : SSL_alert_desc_string_long(alert);
}

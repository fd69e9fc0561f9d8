#include "tls/tls_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "config/config.h"
#include "config/input.h"
#include "tls/pem.h"
#include "tls/system_authorities.h"

static bool fail_option(struct tls_error *error, const char *option, const char *what)
{
    snprintf(error->text, sizeof error->text, "--%s: %s", option, what);
    return false;
}

static bool fail_file(struct tls_error *error, const char *option, const char *file,
                      const char *why)
{
    snprintf(error->text, sizeof error->text, "--%s: %s %s", option, file, why);
    return false;
}

static bool read_input(const char *option, const char *file, struct input *input,
                       struct tls_error *error)
{
    char why[SECRET_ERROR_MAX];

    return input_read(file, input, why) || fail_option(error, option, why);
}

/* The same of a secret. */
static bool read_secret_input(const struct tls_files *files, const char *option, const char *file,
                              struct input *input, struct tls_error *error)
{
    char why[SECRET_ERROR_MAX];

    if (!read_input(option, file, input, error))
        return false;
    return input->is_pipe || secret_is_guarded(file, input->content.exposed, files->strict, why) ||
           fail_option(error, option, why);
}

/* ---- certificates */

/* A certificate file is not encrypted; were it, nobody would be asked. */
static int give_none(char *out, int size, int writing, void *context)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

/* All that are in the bytes; NULL: there is none, or one is damaged. */
static STACK_OF(X509) * parse_certificates(const struct secret_bytes *content)
{
    size_t mark = pem_mark(content->bytes, content->size);
    BIO *bio = BIO_new_mem_buf(content->bytes + mark, (int)(content->size - mark));
    STACK_OF(X509) *all = sk_X509_new_null();
    X509 *certificate;

    if (!bio || !all)
        abort();
    ERR_clear_error();
    while ((certificate = PEM_read_bio_X509_AUX(bio, NULL, give_none, NULL)))
        if (sk_X509_push(all, certificate) <= 0)
            abort();
    unsigned long code = ERR_peek_last_error();
    bool at_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    BIO_free(bio);
    if (at_end && sk_X509_num(all) > 0)
        return all;
    sk_X509_pop_free(all, X509_free);
    return NULL;
}

static STACK_OF(X509) * read_certificates(const char *option, const char *file,
                                          enum pem_wanted wanted, bool *once,
                                          struct tls_error *error)
{
    struct input input;
    STACK_OF(X509) * all;

    if (!read_input(option, file, &input, error))
        return NULL;
    *once = input.is_pipe;
    all = parse_certificates(&input.content);
    if (!all)
        fail_file(error, option, file,
                  pem_explain(input.content.bytes, input.content.size, wanted));
    secret_bytes_free(&input.content);
    return all;
}

/* ---- lists of revoked certificates */

static STACK_OF(X509_CRL) * parse_revoked(const struct secret_bytes *content)
{
    size_t mark = pem_mark(content->bytes, content->size);
    BIO *bio = BIO_new_mem_buf(content->bytes + mark, (int)(content->size - mark));
    STACK_OF(X509_CRL) *all = sk_X509_CRL_new_null();
    X509_CRL *list;

    if (!bio || !all)
        abort();
    ERR_clear_error();
    while ((list = PEM_read_bio_X509_CRL(bio, NULL, give_none, NULL)))
        if (sk_X509_CRL_push(all, list) <= 0)
            abort();
    unsigned long code = ERR_peek_last_error();
    bool at_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    BIO_free(bio);
    if (at_end && sk_X509_CRL_num(all) > 0)
        return all;
    sk_X509_CRL_pop_free(all, X509_CRL_free);
    return NULL;
}

static STACK_OF(X509_CRL) * share_revoked(STACK_OF(X509_CRL) * lists)
{
    STACK_OF(X509_CRL) *copy = sk_X509_CRL_dup(lists);

    if (!copy)
        abort();
    for (int i = 0; i < sk_X509_CRL_num(copy); i++)
        X509_CRL_up_ref(sk_X509_CRL_value(copy, i));
    return copy;
}

static bool load_revoked(struct tls_material *material, const struct tls_files *files,
                         const struct tls_material *before, struct tls_error *error)
{
    struct input input;

    if (before && before->revoked_once) {
        material->revoked = share_revoked(before->revoked);
        material->revoked_once = true;
        return true;
    }
    if (!read_input(files->crl_option, files->crl_file, &input, error))
        return false;
    material->revoked_once = input.is_pipe;
    material->revoked = parse_revoked(&input.content);
    secret_bytes_free(&input.content);
    return material->revoked ||
           fail_file(error, files->crl_option, files->crl_file,
                     "holds no list of revoked certificates in PEM (BEGIN X509 CRL), or a damaged "
                     "one; of one in DER: openssl crl -inform DER -in FILE -out FILE.pem");
}

/* ---- the private key */

static void explain_locked_file(const struct tls_files *files, struct tls_error *error)
{
    char option[CONFIG_VARIABLE_MAX];
    char variable[CONFIG_VARIABLE_MAX];

    snprintf(option, sizeof option, "%s-passphrase", files->key_option);
    config_variable(option, variable);
    snprintf(error->text, sizeof error->text,
             "--%s: %s is encrypted: give --%s-file, or the passphrase in %s", files->key_option,
             files->key_file, option, variable);
}

/* The passphrase of the file, if one is named. */
static bool read_key_passphrase(const struct tls_files *files, struct input *input,
                                struct tls_error *error)
{
    char option[CONFIG_VARIABLE_MAX];
    const char *why;

    if (!files->passphrase_file)
        return true;
    snprintf(option, sizeof option, "%s-passphrase-file", files->key_option);
    if (!read_secret_input(files, option, files->passphrase_file, input, error))
        return false;
    why = pem_passphrase_line(input->content.bytes);
    return !why || fail_file(error, option, files->passphrase_file, why);
}

static EVP_PKEY *read_private_key(const struct tls_files *files, bool *once,
                                  struct tls_error *error)
{
    struct input passphrase = {0};
    struct input input = {0};
    EVP_PKEY *key = NULL;
    bool locked = false;
    const char *why = NULL;

    if (read_key_passphrase(files, &passphrase, error) &&
        read_secret_input(files, files->key_option, files->key_file, &input, error)) {
        /* A key cannot be opened anew without its passphrase either. */
        *once = input.is_pipe || passphrase.is_pipe;
        key = pem_read_key(input.content.bytes, input.content.size,
                           files->passphrase_file ? passphrase.content.bytes : files->passphrase,
                           &locked, &why);
        if (locked)
            explain_locked_file(files, error);
        else if (!key)
            fail_file(error, files->key_option, files->key_file, why);
    }
    secret_bytes_free(&passphrase.content);
    secret_bytes_free(&input.content);
    return key;
}

/* ---- all of them */

/* One more reference to each; NULL stays NULL. */
static STACK_OF(X509) * share_certificates(STACK_OF(X509) * certificates)
{
    STACK_OF(X509) *copy = certificates ? X509_chain_up_ref(certificates) : NULL;

    if (certificates && !copy)
        abort();
    return copy;
}

static bool load_certificate(struct tls_material *material, const struct tls_files *files,
                             const struct tls_material *before, struct tls_error *error)
{
    if (before && before->certificate_once) {
        X509_up_ref(before->certificate);
        material->certificate = before->certificate;
        material->chain = share_certificates(before->chain);
        material->certificate_once = true;
        return true;
    }
    material->chain = read_certificates(files->cert_option, files->cert_file, PEM_CERTIFICATE,
                                        &material->certificate_once, error);
    if (material->chain)
        material->certificate = sk_X509_shift(material->chain);
    return material->certificate != NULL;
}

static bool load_private_key(struct tls_material *material, const struct tls_files *files,
                             const struct tls_material *before, struct tls_error *error)
{
    if (before && before->key_once) {
        EVP_PKEY_up_ref(before->key);
        material->key = before->key;
        material->key_once = true;
    } else {
        material->key = read_private_key(files, &material->key_once, error);
    }
    if (!material->key)
        return false;
    if (X509_check_private_key(material->certificate, material->key) == 1)
        return true;
    ERR_clear_error();
    snprintf(error->text, sizeof error->text,
             "--%s: %s is not the private key of the (first) certificate in %s (--%s)",
             files->key_option, files->key_file, files->cert_file, files->cert_option);
    return false;
}

static bool load_authorities(struct tls_material *material, const struct tls_files *files,
                             const struct tls_material *before, struct tls_error *error)
{
    if (before && before->authorities_once) {
        material->authorities = share_certificates(before->authorities);
        material->authorities_once = true;
        return true;
    }
    material->authorities = read_certificates(files->ca_option, files->ca_file, PEM_AUTHORITIES,
                                              &material->authorities_once, error);
    return material->authorities != NULL;
}

struct tls_material *tls_material_read(const struct tls_files *files,
                                       const struct tls_material *before, struct tls_error *error)
{
    struct tls_material *material = memory_new(sizeof *material);

    material->policy = files->policy;
    if ((!files->ca_file || load_authorities(material, files, before, error)) &&
        (!files->crl_file || load_revoked(material, files, before, error)) &&
        (!files->cert_file || (load_certificate(material, files, before, error) &&
                               load_private_key(material, files, before, error))))
        return material;
    tls_material_free(material);
    return NULL;
}

void tls_material_free(struct tls_material *material)
{
    if (!material)
        return;
    X509_free(material->certificate);
    sk_X509_pop_free(material->chain, X509_free);
    EVP_PKEY_free(material->key);
    sk_X509_pop_free(material->authorities, X509_free);
    sk_X509_CRL_pop_free(material->revoked, X509_CRL_free);
    free(material);
}

static bool same_stack(const STACK_OF(X509) * a, const STACK_OF(X509) * b)
{
    int count = a ? sk_X509_num(a) : 0;

    if (count != (b ? sk_X509_num(b) : 0))
        return false;
    for (int i = 0; i < count; i++)
        if (X509_cmp(sk_X509_value(a, i), sk_X509_value(b, i)) != 0)
            return false;
    return true;
}

bool tls_material_same_identity(const struct tls_material *a, const struct tls_material *b)
{
    if (!a->certificate || !b->certificate)
        return a->certificate == b->certificate;
    return X509_cmp(a->certificate, b->certificate) == 0 && same_stack(a->chain, b->chain);
}

bool tls_material_same_authorities(const struct tls_material *a, const struct tls_material *b)
{
    return same_stack(a->authorities, b->authorities);
}

bool tls_material_same_revoked(const struct tls_material *a, const struct tls_material *b)
{
    int count = a->revoked ? sk_X509_CRL_num(a->revoked) : 0;

    if (count != (b->revoked ? sk_X509_CRL_num(b->revoked) : 0))
        return false;
    for (int i = 0; i < count; i++)
        if (X509_CRL_match(sk_X509_CRL_value(a->revoked, i), sk_X509_CRL_value(b->revoked, i)) != 0)
            return false;
    return true;
}

bool tls_material_revoked_is_old(const struct tls_material *material)
{
    for (int i = 0; material->revoked && i < sk_X509_CRL_num(material->revoked); i++) {
        const ASN1_TIME *next = X509_CRL_get0_nextUpdate(sk_X509_CRL_value(material->revoked, i));
        if (next && X509_cmp_current_time(next) < 0)
            return true;
    }
    return false;
}

/* ---- contexts */

static bool fail_openssl(struct tls_error *error, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    snprintf(error->text, sizeof error->text, "%s: %s", what, reason ? reason : "OpenSSL failed");
    ERR_clear_error();
    return false;
}

static bool use_identity(SSL_CTX *context, const struct tls_material *material,
                         struct tls_error *error)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate(context, material->certificate) != 1 ||
        SSL_CTX_set1_chain(context, material->chain) != 1)
        return fail_openssl(error, "the certificate cannot be used");
    if (SSL_CTX_use_PrivateKey(context, material->key) != 1)
        return fail_openssl(error, "the private key cannot be used");
    return true;
}

/* A certificate that a person has named is trusted, whether it is a root or not. */
static void trust(SSL_CTX *context, const struct tls_material *material)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context);

    for (int i = 0; material->authorities && i < sk_X509_num(material->authorities); i++)
        if (X509_STORE_add_cert(store, sk_X509_value(material->authorities, i)) != 1)
            abort();
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    for (int i = 0; material->revoked && i < sk_X509_CRL_num(material->revoked); i++)
        if (X509_STORE_add_crl(store, sk_X509_CRL_value(material->revoked, i)) != 1)
            abort();
    /* Of an authority without a list nobody could say what it has revoked. */
    if (material->revoked)
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

static SSL_CTX *make_client_context(const struct tls_material *material, bool trusts_system,
                                    bool shows_certificate, struct tls_error *error)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (!context)
        abort();
    tls_harden(context, material->policy);
    if (trusts_system)
        system_authorities_load(context, "");
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    trust(context, material);
    if (!shows_certificate || !material->certificate || use_identity(context, material, error))
        return context;
    SSL_CTX_free(context);
    return NULL;
}

SSL_CTX *tls_client_context(const struct tls_material *material, bool shows_certificate,
                            struct tls_error *error)
{
    return make_client_context(material, true, shows_certificate, error);
}

SSL_CTX *tls_closed_context(const struct tls_material *material, struct tls_error *error)
{
    return make_client_context(material, false, true, error);
}

/* HTTP/1.1 is all there is; who offers only other protocols (HTTP/2) is told so by an alert. */
static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                           const unsigned char *offered, unsigned size, void *argument)
{
    static const char wanted[] = "http/1.1";

    (void)ssl;
    (void)argument;
    /* OpenSSL has looked that the sizes fit. */
    for (unsigned at = 0; at < size; at += 1u + offered[at]) {
        if (offered[at] != sizeof wanted - 1 ||
            memcmp(offered + at + 1, wanted, sizeof wanted - 1) != 0)
            continue;
        *out = offered + at + 1;
        *out_size = offered[at];
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* A client comes back rarely; what would let it resume TLS is one thing less that can go wrong, and
 * a certificate that is no longer accepted is looked at again. */
static void forbid_resumption(SSL_CTX *context)
{
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_max_early_data(context, 0);
}

/* demands: else a client may show none. */
static void ask_for_certificate(SSL_CTX *context, const struct tls_material *material, bool demands)
{
    trust(context, material);
    /* Which of its certificates a client shows may depend on this list. */
    for (int i = 0; i < sk_X509_num(material->authorities); i++)
        if (SSL_CTX_add_client_CA(context, sk_X509_value(material->authorities, i)) != 1)
            abort();
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (demands ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                       NULL);
}

SSL_CTX *tls_listener_context(const struct tls_material *material, bool demands,
                              struct tls_error *error)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (!context)
        abort();
    tls_harden(context, material->policy);
    forbid_resumption(context);
    if (material->authorities)
        ask_for_certificate(context, material, demands);
    if (use_identity(context, material, error))
        return context;
    SSL_CTX_free(context);
    return NULL;
}

SSL_CTX *tls_server_context(const struct tls_material *material, struct tls_error *error)
{
    SSL_CTX *context = tls_listener_context(material, true, error);

    if (context)
        SSL_CTX_set_alpn_select_cb(context, select_protocol, NULL);
    return context;
}

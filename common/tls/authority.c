#include "tls/authority.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum {
    DAY_S = 24 * 3600,
    SLACK_S = 3600,         /* clocks of clients that are behind */
    COMMON_NAME_MAX = 64,   /* RFC 5280, ub-common-name */
    SERIAL_BYTES = 16,      /* random, and positive in 20 octets (RFC 5280, 4.1.2.2) */
    ADDRESS_BYTES_MAX = 32, /* an IPv6 address and its mask */
};

static const char *const loopback_names[] = {"localhost", "127.0.0.1", "::1"};
const struct tls_authority_names tls_authority_loopback = {loopback_names, 3};

/* What can only fail without memory. */
static void must(bool done)
{
    if (!done)
        abort();
}

/* ---- names */

/* An IP address in the form of a subjectAltName; 0: it is a host name. */
static size_t read_address(const char *name, unsigned char bytes[16])
{
    if (inet_pton(AF_INET, name, bytes) == 1)
        return 4;
    return inet_pton(AF_INET6, name, bytes) == 1 ? 16 : 0;
}

static GENERAL_NAME *make_general_name(int type, const void *bytes, size_t size)
{
    GENERAL_NAME *general = GENERAL_NAME_new();
    ASN1_STRING *value =
        type == GEN_IPADD ? (ASN1_STRING *)ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();

    must(general && value && ASN1_STRING_set(value, bytes, (int)size) == 1);
    GENERAL_NAME_set0_value(general, type, value);
    return general;
}

/* As a certificate names a server. */
static GENERAL_NAME *make_alternative(const char *name)
{
    unsigned char bytes[16];
    size_t size = read_address(name, bytes);

    return size > 0 ? make_general_name(GEN_IPADD, bytes, size)
                    : make_general_name(GEN_DNS, name, strlen(name));
}

/* As a constraint permits it: an address with its mask. */
static GENERAL_NAME *make_base(const char *name)
{
    unsigned char bytes[ADDRESS_BYTES_MAX];
    size_t size = read_address(name, bytes);

    if (size == 0)
        return make_general_name(GEN_DNS, name, strlen(name));
    memset(bytes + size, 0xff, size);
    if (size == 4 && bytes[0] == 127) {
        memset(bytes + 1, 0, 3);
        memset(bytes + 5, 0, 3);
    }
    return make_general_name(GEN_IPADD, bytes, 2 * size);
}

static void add_alternatives(GENERAL_NAMES *all, const struct tls_authority_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        GENERAL_NAME *one = make_alternative(names->names[i]);
        bool known = false;
        for (int at = 0; at < sk_GENERAL_NAME_num(all); at++)
            known = known || GENERAL_NAME_cmp(sk_GENERAL_NAME_value(all, at), one) == 0;
        if (known)
            GENERAL_NAME_free(one);
        else
            must(sk_GENERAL_NAME_push(all, one) > 0);
    }
}

static void permit(NAME_CONSTRAINTS *constraints, const struct tls_authority_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        GENERAL_SUBTREE *subtree = GENERAL_SUBTREE_new();
        must(subtree != NULL);
        GENERAL_NAME_free(subtree->base);
        subtree->base = make_base(names->names[i]);
        bool known = false;
        for (int at = 0; at < sk_GENERAL_SUBTREE_num(constraints->permittedSubtrees); at++)
            known = known || GENERAL_NAME_cmp(
                                 sk_GENERAL_SUBTREE_value(constraints->permittedSubtrees, at)->base,
                                 subtree->base) == 0;
        if (known)
            GENERAL_SUBTREE_free(subtree);
        else
            must(sk_GENERAL_SUBTREE_push(constraints->permittedSubtrees, subtree) > 0);
    }
}

static void add_constraints(X509 *certificate, const struct tls_authority_names *names)
{
    NAME_CONSTRAINTS *constraints = NAME_CONSTRAINTS_new();

    must(constraints && (constraints->permittedSubtrees = sk_GENERAL_SUBTREE_new_null()) != NULL);
    permit(constraints, &tls_authority_loopback);
    permit(constraints, names);
    must(X509_add1_ext_i2d(certificate, NID_name_constraints, constraints, 1, 0) == 1);
    NAME_CONSTRAINTS_free(constraints);
}

static void add_server_names(X509 *certificate, const struct tls_authority_names *names)
{
    GENERAL_NAMES *all = GENERAL_NAMES_new();

    must(all != NULL);
    add_alternatives(all, &tls_authority_loopback);
    add_alternatives(all, names);
    must(X509_add1_ext_i2d(certificate, NID_subject_alt_name, all, 0, 0) == 1);
    GENERAL_NAMES_free(all);
}

/* ---- certificates */

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    must(extension && X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static void set_serial(X509 *certificate)
{
    unsigned char bytes[SERIAL_BYTES];

    must(RAND_bytes(bytes, sizeof bytes) == 1);
    BIGNUM *number = BN_bin2bn(bytes, sizeof bytes, NULL);
    must(number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL);
    BN_free(number);
}

static void set_common_name(X509_NAME *name, const char *text)
{
    must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)text, -1, -1,
                                    0) == 1);
}

static void set_validity(X509 *certificate, time_t from, time_t until)
{
    must(ASN1_TIME_adj(X509_getm_notBefore(certificate), from, 0, 0) != NULL &&
         ASN1_TIME_adj(X509_getm_notAfter(certificate), until, 0, 0) != NULL);
}

static EVP_PKEY *make_p256_key(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");

    must(key != NULL);
    return key;
}

static X509 *begin_certificate(EVP_PKEY *key, const char *common_name)
{
    X509 *certificate = X509_new();

    must(certificate && X509_set_version(certificate, X509_VERSION_3) == 1 &&
         X509_set_pubkey(certificate, key) == 1);
    set_serial(certificate);
    set_common_name(X509_get_subject_name(certificate), common_name);
    return certificate;
}

/* Host names are ASCII; whatever else a system calls itself would be no UTF-8 for sure. */
static void compose_common_name(char text[COMMON_NAME_MAX + 1], const char *place)
{
    snprintf(text, COMMON_NAME_MAX + 1, "kafka-tunnel listeners on %s", place);
    for (char *at = text; *at; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
}

void tls_authority_make(struct tls_authority *authority, const char *place,
                        const struct tls_authority_names *names, time_t now)
{
    char common_name[COMMON_NAME_MAX + 1];

    compose_common_name(common_name, place);
    authority->key = make_p256_key();
    X509 *certificate = begin_certificate(authority->key, common_name);
    must(X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1);
    set_validity(certificate, now - SLACK_S, now + (time_t)TLS_AUTHORITY_DAYS * DAY_S);
    add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
    add_extension(certificate, certificate, NID_ext_key_usage, "serverAuth");
    add_constraints(certificate, names);
    add_extension(certificate, certificate, NID_subject_key_identifier, "hash");
    must(X509_sign(certificate, authority->key, EVP_sha256()) > 0);
    authority->certificate = certificate;
}

void tls_authority_clear(struct tls_authority *authority)
{
    X509_free(authority->certificate);
    EVP_PKEY_free(authority->key);
    *authority = (struct tls_authority){0};
}

static time_t end_of(const X509 *certificate)
{
    struct tm date;

    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &date) != 1)
        return 0;
    return timegm(&date);
}

struct tls_material *tls_authority_issue(const struct tls_authority *authority,
                                         const struct tls_authority_names *names, time_t now)
{
    struct tls_material *material = memory_new(sizeof *material);
    time_t until = now + (time_t)TLS_ISSUED_DAYS * DAY_S;
    time_t last = end_of(authority->certificate);

    material->key = make_p256_key();
    X509 *certificate = begin_certificate(material->key, "kafka-tunnel listener");
    must(X509_set_issuer_name(certificate, X509_get_subject_name(authority->certificate)) == 1);
    set_validity(certificate, now - SLACK_S, until < last ? until : last);
    add_extension(certificate, authority->certificate, NID_basic_constraints, "critical,CA:FALSE");
    add_extension(certificate, authority->certificate, NID_key_usage, "critical,digitalSignature");
    add_extension(certificate, authority->certificate, NID_ext_key_usage, "serverAuth");
    add_server_names(certificate, names);
    add_extension(certificate, authority->certificate, NID_subject_key_identifier, "hash");
    add_extension(certificate, authority->certificate, NID_authority_key_identifier, "keyid");
    must(X509_sign(certificate, authority->key, EVP_sha256()) > 0);
    material->certificate = certificate;
    return material;
}

/* ---- as text */

static char *take_text(BIO *memory)
{
    char *bytes;
    long size = BIO_get_mem_data(memory, &bytes);
    char *text = memory_raw((size_t)size + 1);

    memcpy(text, bytes, (size_t)size);
    text[size] = '\0';
    BIO_free(memory);
    return text;
}

static BIO *open_secure_memory(void)
{
    BIO *memory = BIO_new(BIO_s_secmem());

    must(memory != NULL);
    return memory;
}

char *tls_authority_write(const struct tls_authority *authority)
{
    BIO *memory = open_secure_memory();

    must(PEM_write_bio_PKCS8PrivateKey(memory, authority->key, NULL, NULL, 0, NULL, NULL) == 1 &&
         PEM_write_bio_X509(memory, authority->certificate) == 1);
    return take_text(memory);
}

char *tls_authority_write_certificate(const struct tls_authority *authority)
{
    BIO *memory = open_secure_memory();

    must(PEM_write_bio_X509(memory, authority->certificate) == 1);
    return take_text(memory);
}

/* Nobody is asked for a passphrase: the key was written without one. */
static int give_no_passphrase(char *out, int size, int writing, void *context)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

static const char *check_authority(const struct tls_authority *authority)
{
    if (!authority->key)
        return "has no private key that can be read";
    if (!authority->certificate)
        return "has no certificate that can be read";
    if (X509_check_private_key(authority->certificate, authority->key) != 1)
        return "has a private key that is not the certificate's";
    if (X509_check_ca(authority->certificate) != 1 ||
        X509_get_ext_by_NID(authority->certificate, NID_name_constraints, -1) < 0)
        return "is not the certificate of a local CA";
    if (X509_verify(authority->certificate, authority->key) != 1)
        return "has a certificate whose signature is wrong";
    return NULL;
}

const char *tls_authority_read(struct tls_authority *authority, const char *pem, size_t size)
{
    BIO *memory = BIO_new_mem_buf(pem, (int)size);

    must(memory != NULL);
    authority->key = PEM_read_bio_PrivateKey(memory, NULL, give_no_passphrase, NULL);
    authority->certificate = PEM_read_bio_X509(memory, NULL, give_no_passphrase, NULL);
    BIO_free(memory);
    const char *why = check_authority(authority);
    ERR_clear_error();
    if (why)
        tls_authority_clear(authority);
    return why;
}

void tls_authority_fingerprint(const struct tls_authority *authority,
                               char text[TLS_FINGERPRINT_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    must(X509_digest(authority->certificate, EVP_sha256(), digest, &size) == 1 && size == 32);
    for (unsigned i = 0; i < size; i++)
        snprintf(text + (size_t)3 * i, 4, i + 1 < size ? "%02X:" : "%02X", digest[i]);
}

/* ---- what it vouches for */

/* What a client would say to a certificate for that name. */
static int try_constraints(const struct tls_authority *authority, NAME_CONSTRAINTS *constraints,
                           const char *name)
{
    const struct tls_authority_names one = {&name, 1};
    struct tls_material *issued = tls_authority_issue(authority, &one, time(NULL));

    /* This makes OpenSSL look at the extensions. */
    X509_check_purpose(issued->certificate, -1, 0);
    int verdict = NAME_CONSTRAINTS_check(issued->certificate, constraints);
    tls_material_free(issued);
    ERR_clear_error();
    return verdict;
}

const char *tls_authority_lacks(const struct tls_authority *authority,
                                const struct tls_authority_names *names)
{
    NAME_CONSTRAINTS *constraints =
        X509_get_ext_d2i(authority->certificate, NID_name_constraints, NULL, NULL);
    const char *lacking = NULL;

    if (!constraints)
        return names->count > 0 ? names->names[0] : NULL;
    for (size_t i = 0; !lacking && i < names->count; i++)
        if (try_constraints(authority, constraints, names->names[i]) != X509_V_OK)
            lacking = names->names[i];
    NAME_CONSTRAINTS_free(constraints);
    return lacking;
}

static unsigned count_bits(const unsigned char *mask, size_t size)
{
    unsigned bits = 0;

    while (bits < 8 * size && (mask[bits / 8] >> (7 - bits % 8) & 1))
        bits++;
    return bits;
}

/* A subtree: a name, an address, or a network of them. */
static void describe_base(const GENERAL_NAME *base, char *text, size_t size)
{
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(base, &type);
    char address[INET6_ADDRSTRLEN] = "?";

    *text = '\0';
    if (type == GEN_DNS)
        snprintf(text, size, "%.*s", ASN1_STRING_length(value),
                 (const char *)ASN1_STRING_get0_data(value));
    if (type != GEN_IPADD)
        return;
    const unsigned char *bytes = ASN1_STRING_get0_data(value);
    size_t half = (size_t)ASN1_STRING_length(value) / 2;
    if (half != 4 && half != 16)
        return;
    inet_ntop(half == 4 ? AF_INET : AF_INET6, bytes, address, sizeof address);
    unsigned bits = count_bits(bytes + half, half);
    if (bits == 8 * half)
        snprintf(text, size, "%s", address);
    else
        snprintf(text, size, "%s/%u", address, bits);
}

void tls_authority_describe(const struct tls_authority *authority, char *text, size_t size)
{
    NAME_CONSTRAINTS *constraints =
        X509_get_ext_d2i(authority->certificate, NID_name_constraints, NULL, NULL);
    size_t fill = 0;

    *text = '\0';
    for (int i = 0;
         constraints && i < sk_GENERAL_SUBTREE_num(constraints->permittedSubtrees) && fill < size;
         i++) {
        char base[300];
        describe_base(sk_GENERAL_SUBTREE_value(constraints->permittedSubtrees, i)->base, base,
                      sizeof base);
        int put = snprintf(text + fill, size - fill, "%s%s", i > 0 ? ", " : "", base);
        fill += put > 0 ? (size_t)put : 0;
    }
    NAME_CONSTRAINTS_free(constraints);
}

/* ---- time */

bool tls_has_expired(const X509 *certificate, time_t now)
{
    return X509_cmp_time(X509_get0_notAfter(certificate), &now) < 0;
}

bool tls_issued_is_due(const X509 *certificate, time_t now)
{
    time_t soon = now + (time_t)TLS_ISSUED_DAYS * DAY_S / 3;

    return X509_cmp_time(X509_get0_notBefore(certificate), &now) > 0 ||
           X509_cmp_time(X509_get0_notAfter(certificate), &soon) < 0;
}

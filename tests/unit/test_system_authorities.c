/* Where the system's authorities are found, with the layouts of several systems below a root. */
#include "../lib/cmocka.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls/system_authorities.h"

enum { PATH_SIZE = 600 };

static char root[] = "/tmp/kafka-tunnel-authorities-XXXXXX";
static X509 *authority;
static EVP_PKEY *authority_key;

static int make_authority(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_EC_gen("P-256");

    authority = X509_new();
    X509_set_version(authority, 2);
    X509_gmtime_adj(X509_getm_notBefore(authority), -60);
    X509_gmtime_adj(X509_getm_notAfter(authority), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(authority), "CN", MBSTRING_ASC,
                               (const unsigned char *)"an authority", -1, -1, 0);
    X509_set_issuer_name(authority, X509_get_subject_name(authority));
    X509_set_pubkey(authority, key);
    X509_EXTENSION *constraint =
        X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
    X509_add_ext(authority, constraint, -1);
    X509_EXTENSION_free(constraint);
    assert_true(X509_sign(authority, key, EVP_sha256()) > 0);
    authority_key = key;
    assert_non_null(mkdtemp(root));
    unsetenv(X509_get_default_cert_file_env());
    unsetenv(X509_get_default_cert_dir_env());
    return 0;
}

static int free_authority(void **state)
{
    (void)state;
    char command[PATH_SIZE];

    snprintf(command, sizeof command, "rm -rf %s", root);
    X509_free(authority);
    EVP_PKEY_free(authority_key);
    return system(command);
}

/* With the directories above it; whole: or text that is no certificate. */
static void put_bundle(const char *path, bool whole)
{
    char name[PATH_SIZE];

    snprintf(name, sizeof name, "%s%s", root, path);
    for (char *slash = name + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(name, 0700);
        *slash = '/';
    }
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    if (whole)
        assert_true(PEM_write_X509(file, authority) == 1);
    else
        fputs("no certificate\n", file);
    fclose(file);
}

static void drop_bundle(const char *path)
{
    char name[PATH_SIZE];

    snprintf(name, sizeof name, "%s%s", root, path);
    unlink(name);
}

/* NULL: the context trusts nothing that is below the root. */
static void expect_taken(const char *path)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    const char *taken = system_authorities_load(context, root);
    int count = sk_X509_OBJECT_num(X509_STORE_get0_objects(store));
    int own = 0;

    if (path)
        assert_string_equal(taken, path);
    else
        assert_null(taken);
    for (int i = 0; i < count; i++) {
        X509 *found =
            X509_OBJECT_get0_X509(sk_X509_OBJECT_value(X509_STORE_get0_objects(store), i));
        own += found && X509_cmp(found, authority) == 0;
    }
    assert_int_equal(own, path ? 1 : 0);
    SSL_CTX_free(context);
}

static void nobody_has_any(void **state)
{
    (void)state;
    expect_taken(NULL);
}

static void each_system_has_its_place(void **state)
{
    (void)state;
    static const char *const places[] = {
        "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        put_bundle(places[i], true);
        expect_taken(places[i]);
        drop_bundle(places[i]);
    }
}

/* A file that cannot be used is passed over. */
static void a_broken_bundle(void **state)
{
    (void)state;
    put_bundle("/etc/ssl/certs/ca-certificates.crt", false);
    expect_taken(NULL);
    put_bundle("/etc/ssl/ca-bundle.pem", true);
    expect_taken("/etc/ssl/ca-bundle.pem");
    drop_bundle("/etc/ssl/certs/ca-certificates.crt");
    drop_bundle("/etc/ssl/ca-bundle.pem");
}

/* Nothing is looked for where OpenSSL has its own, or somebody has said where. */
static void openssl_comes_first(void **state)
{
    (void)state;
    char hashed[PATH_SIZE - sizeof root];

    put_bundle("/etc/ssl/ca-bundle.pem", true);
    put_bundle(X509_get_default_cert_file(), true);
    expect_taken(NULL);
    drop_bundle(X509_get_default_cert_file());
    snprintf(hashed, sizeof hashed, "%s/1d3472b9.0", X509_get_default_cert_dir());
    put_bundle(hashed, true);
    expect_taken(NULL);
    drop_bundle(hashed);
    setenv(X509_get_default_cert_file_env(), "/nonexistent", 1);
    expect_taken(NULL);
    unsetenv(X509_get_default_cert_file_env());
    expect_taken("/etc/ssl/ca-bundle.pem");
    drop_bundle("/etc/ssl/ca-bundle.pem");
}

/* What a context says of a certificate that the authority has issued: an X509_V_ERR_... */
static int verify_with(SSL_CTX *context, X509 *certificate)
{
    X509_STORE_CTX *check = X509_STORE_CTX_new();

    assert_int_equal(X509_STORE_CTX_init(check, SSL_CTX_get_cert_store(context), certificate, NULL),
                     1);
    X509_verify_cert(check);
    int verdict = X509_STORE_CTX_get_error(check);
    X509_STORE_CTX_free(check);
    return verdict;
}

static int certificates_in(SSL_CTX *context)
{
    return sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(context)));
}

static X509 *issue(const char *issuer)
{
    X509 *certificate = X509_dup(authority);
    X509_NAME *name = X509_NAME_new();

    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "OU", MBSTRING_ASC,
                               (const unsigned char *)"below", -1, -1, 0);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)issuer, -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    assert_true(X509_sign(certificate, authority_key, EVP_sha256()) > 0);
    X509_NAME_free(name);
    return certificate;
}

/* OpenSSL's own file is read when it is needed, once, and then all of it counts. */
static void a_file_that_is_not_read_at_once(void **state)
{
    (void)state;
    char bundle[PATH_SIZE];
    X509 *known = issue("an authority");
    X509 *unknown = issue("somebody else");

    put_bundle("/bundle.pem", true);
    snprintf(bundle, sizeof bundle, "%s/bundle.pem", root);
    setenv(X509_get_default_cert_file_env(), bundle, 1);
    setenv(X509_get_default_cert_dir_env(), root, 1);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert_null(system_authorities_load(context, root));
    unsetenv(X509_get_default_cert_file_env());
    unsetenv(X509_get_default_cert_dir_env());
    assert_int_equal(certificates_in(context), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(verify_with(context, known), X509_V_OK);
        assert_int_equal(certificates_in(context), 1);
        drop_bundle("/bundle.pem"); /* it is not asked for again */
        assert_int_equal(verify_with(context, unknown),
                         X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
    }
    SSL_CTX_free(context);
    X509_free(known);
    X509_free(unknown);
}

/* Who has the issuer already does not need the file. */
static void a_file_that_is_not_needed(void **state)
{
    (void)state;
    char bundle[PATH_SIZE];
    X509 *known = issue("an authority");

    put_bundle("/bundle.pem", true);
    snprintf(bundle, sizeof bundle, "%s/bundle.pem", root);
    setenv(X509_get_default_cert_file_env(), bundle, 1);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert_null(system_authorities_load(context, root));
    unsetenv(X509_get_default_cert_file_env());
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority);
    put_bundle("/bundle.pem", false);
    assert_int_equal(verify_with(context, known), X509_V_OK);
    assert_int_equal(certificates_in(context), 1);
    drop_bundle("/bundle.pem");
    SSL_CTX_free(context);
    X509_free(known);
}

/* The file may have lists of revoked certificates as well. */
static void revoked_in_the_file(void **state)
{
    (void)state;
    char bundle[PATH_SIZE];
    X509 *known = issue("an authority");
    X509_CRL *list = X509_CRL_new();
    X509_REVOKED *revoked = X509_REVOKED_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, -60), *later = X509_gmtime_adj(NULL, 3600);

    X509_CRL_set_version(list, 1);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(authority));
    X509_CRL_set1_lastUpdate(list, now);
    X509_CRL_set1_nextUpdate(list, later);
    X509_REVOKED_set_serialNumber(revoked, X509_get_serialNumber(known));
    X509_REVOKED_set_revocationDate(revoked, now);
    assert_int_equal(X509_CRL_add0_revoked(list, revoked), 1);
    assert_true(X509_CRL_sign(list, authority_key, EVP_sha256()) > 0);
    snprintf(bundle, sizeof bundle, "%s/bundle.pem", root);
    FILE *file = fopen(bundle, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509_CRL(file, list), 1);
    fclose(file);
    setenv(X509_get_default_cert_file_env(), bundle, 1);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert_null(system_authorities_load(context, root));
    unsetenv(X509_get_default_cert_file_env());
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    X509_STORE_add_cert(store, authority);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(verify_with(context, known), X509_V_ERR_CERT_REVOKED);
    drop_bundle("/bundle.pem");
    SSL_CTX_free(context);
    X509_CRL_free(list);
    X509_free(known);
    ASN1_TIME_free(now);
    ASN1_TIME_free(later);
}

/* One that cannot be read is as none, and leaves no error behind for others to find. */
static void a_file_that_is_not_there(void **state)
{
    (void)state;
    X509 *certificate = issue("an authority");

    setenv(X509_get_default_cert_file_env(), "/nonexistent", 1);
    setenv(X509_get_default_cert_dir_env(), root, 1);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert_null(system_authorities_load(context, root));
    unsetenv(X509_get_default_cert_file_env());
    unsetenv(X509_get_default_cert_dir_env());
    ERR_clear_error();
    assert_int_equal(verify_with(context, certificate),
                     X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
    assert_int_equal(ERR_peek_error(), 0);
    SSL_CTX_free(context);
    X509_free(certificate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_has_any),
        cmocka_unit_test(each_system_has_its_place),
        cmocka_unit_test(a_broken_bundle),
        cmocka_unit_test(openssl_comes_first),
        cmocka_unit_test(a_file_that_is_not_read_at_once),
        cmocka_unit_test(a_file_that_is_not_needed),
        cmocka_unit_test(revoked_in_the_file),
        cmocka_unit_test(a_file_that_is_not_there),
    };

    return cmocka_run_group_tests(tests, make_authority, free_authority);
}

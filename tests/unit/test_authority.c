/* A local CA and what it issues: OpenSSL's own verification says what it vouches for, and when. */
#include "../lib/cmocka.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "config/secret.h"
#include "tls/authority.h"

enum { DAY = 24 * 3600 };
static const time_t NOW = 1800000000;

static const char *const own_names[] = {"sidecar.example", "10.1.2.3", "2001:db8::7", "localhost"};
static const struct tls_authority_names own = {own_names, 4};
static const struct tls_authority_names none = {NULL, 0};

static int set_up(void **state)
{
    static struct tls_authority authority;

    tls_authority_make(&authority, "a machine with a name that is longer than a CN may be, by far",
                       &own, NOW);
    *state = &authority;
    return 0;
}

static int tear_down(void **state)
{
    tls_authority_clear(*state);
    return 0;
}

/* As a client at that time that dials the name. */
static int verify(const struct tls_authority *authority, X509 *leaf, const char *name, time_t now)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();

    assert_int_equal(X509_STORE_add_cert(store, authority->certificate), 1);
    assert_int_equal(X509_STORE_CTX_init(context, store, leaf, NULL), 1);
    X509_VERIFY_PARAM *wanted = X509_STORE_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_time(wanted, now);
    X509_VERIFY_PARAM_set_purpose(wanted, X509_PURPOSE_SSL_SERVER);
    X509_VERIFY_PARAM_set_flags(wanted, X509_V_FLAG_X509_STRICT);
    if (name && X509_VERIFY_PARAM_set1_ip_asc(wanted, name) != 1)
        assert_int_equal(X509_VERIFY_PARAM_set1_host(wanted, name, 0), 1);
    ERR_clear_error();
    X509_verify_cert(context);
    int verdict = X509_STORE_CTX_get_error(context);
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    return verdict;
}

static int verify_issued(const struct tls_authority *authority,
                         const struct tls_authority_names *names, const char *name, time_t now)
{
    struct tls_material *material = tls_authority_issue(authority, names, NOW);
    int verdict = verify(authority, material->certificate, name, now);

    assert_int_equal(X509_check_private_key(material->certificate, material->key), 1);
    tls_material_free(material);
    return verdict;
}

static void vouches_for_its_names(void **state)
{
    static const char *const all[] = {"localhost",       "127.0.0.1", "::1",
                                      "sidecar.example", "10.1.2.3",  "2001:db8::7"};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        assert_int_equal(verify_issued(*state, &own, all[i], NOW), X509_V_OK);
    assert_int_equal(verify_issued(*state, &own, "other.example", NOW),
                     X509_V_ERR_HOSTNAME_MISMATCH);
    assert_int_equal(verify_issued(*state, &none, "10.1.2.3", NOW), X509_V_ERR_IP_ADDRESS_MISMATCH);
}

/* As people read it, and as a client compares it with what it has dialled. */
static void hosts_can_be_told(void **state)
{
    struct tls_material *issued = tls_authority_issue(*state, &own, NOW);
    char hosts[200];

    tls_certificate_hosts(issued->certificate, hosts, sizeof hosts);
    assert_string_equal(hosts, "localhost, 127.0.0.1, ::1, sidecar.example, 10.1.2.3, 2001:db8::7");
    tls_certificate_hosts(issued->certificate, hosts, 12);
    assert_string_equal(hosts, "localhost, ");
    assert_true(tls_certificate_is_for(issued->certificate, "localhost"));
    assert_true(tls_certificate_is_for(issued->certificate, "sidecar.example."));
    assert_true(tls_certificate_is_for(issued->certificate, "2001:db8:0::7"));
    assert_false(tls_certificate_is_for(issued->certificate, "127.0.0.2"));
    assert_false(tls_certificate_is_for(issued->certificate, "x.sidecar.example"));
    tls_material_free(issued);
}

/* Whoever has stolen the key may issue what it likes: clients refuse it. */
static void vouches_for_no_others(void **state)
{
    static const char *const others[] = {"bank.example", "10.1.2.4", "2001:db8::8",
                                         "sidecar.example.evil.example"};

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const struct tls_authority_names one = {&others[i], 1};
        assert_int_equal(verify_issued(*state, &one, NULL, NOW), X509_V_ERR_PERMITTED_VIOLATION);
        assert_ptr_equal(tls_authority_lacks(*state, &one), others[i]);
    }
    static const char *const also[] = {"x.localhost", "127.8.9.10", "x.sidecar.example"};
    const struct tls_authority_names fine = {also, 3};
    assert_null(tls_authority_lacks(*state, &fine));
    assert_null(tls_authority_lacks(*state, &own));
    assert_int_equal(verify_issued(*state, &fine, "127.8.9.10", NOW), X509_V_OK);
}

/* Nor does it vouch for another authority below it, or for clients. */
static void is_for_servers_only(void **state)
{
    const struct tls_authority *authority = *state;
    struct tls_material *material = tls_authority_issue(authority, &own, NOW);

    assert_int_equal(X509_check_ca(material->certificate), 0);
    assert_int_equal(X509_check_purpose(material->certificate, X509_PURPOSE_SSL_CLIENT, 0), 0);
    assert_int_equal(X509_get_pathlen(authority->certificate), 0);
    tls_material_free(material);
}

static void has_its_time(void **state)
{
    const struct tls_authority *authority = *state;
    struct tls_material *issued = tls_authority_issue(authority, &own, NOW);
    const X509 *leaf = issued->certificate;

    assert_int_equal(verify_issued(authority, &own, NULL, NOW - 1800), X509_V_OK);
    assert_int_equal(verify_issued(authority, &own, NULL, NOW + 29 * DAY), X509_V_OK);
    assert_int_equal(verify_issued(authority, &own, NULL, NOW + 31 * DAY),
                     X509_V_ERR_CERT_HAS_EXPIRED);
    assert_false(tls_issued_is_due(leaf, NOW));
    assert_false(tls_issued_is_due(leaf, NOW + 19 * DAY));
    assert_true(tls_issued_is_due(leaf, NOW + 21 * DAY));
    assert_true(tls_issued_is_due(leaf, NOW + 400 * DAY));
    /* The clock was set back. */
    assert_true(tls_issued_is_due(leaf, NOW - DAY));
    tls_material_free(issued);
}

/* What it issues at the end of its time is no longer valid than it is. */
static void nothing_outlives_it(void **state)
{
    const struct tls_authority *authority = *state;
    time_t late = NOW + (time_t)(TLS_AUTHORITY_DAYS - 5) * DAY;
    struct tls_material *issued = tls_authority_issue(authority, &own, late);

    assert_int_equal(ASN1_TIME_compare(X509_get0_notAfter(issued->certificate),
                                       X509_get0_notAfter(authority->certificate)),
                     0);
    assert_false(tls_has_expired(authority->certificate, late));
    assert_true(tls_has_expired(authority->certificate, late + 6 * DAY));
    tls_material_free(issued);
}

static void is_read_as_written(void **state)
{
    const struct tls_authority *authority = *state;
    struct tls_authority again = {0};
    char *pem = tls_authority_write(authority);
    char mine[TLS_FINGERPRINT_SIZE], its[TLS_FINGERPRINT_SIZE], names[300];

    assert_null(tls_authority_read(&again, pem, strlen(pem)));
    tls_authority_fingerprint(authority, mine);
    tls_authority_fingerprint(&again, its);
    assert_string_equal(mine, its);
    tls_authority_describe(&again, names, sizeof names);
    assert_string_equal(names,
                        "localhost, 127.0.0.0/8, ::1, sidecar.example, 10.1.2.3, 2001:db8::7");
    tls_authority_describe(&again, names, 12);
    assert_string_equal(names, "localhost, ");
    tls_authority_clear(&again);
    secret_free(pem);
    pem = tls_authority_write_certificate(authority);
    assert_null(strstr(pem, "PRIVATE"));
    secret_free(pem);
}

/* Any byte that is lost or changed is noticed, or changes nothing. */
static void damage_is_noticed(void **state)
{
    const struct tls_authority *authority = *state;
    char *pem = tls_authority_write(authority);
    size_t size = strlen(pem);
    size_t refused = 0;

    for (size_t i = 0; i < size; i++) {
        struct tls_authority again = {0};
        assert_non_null(i + 2 < size ? tls_authority_read(&again, pem, i) : "short of an end");
        char kept = pem[i];
        pem[i] = kept == 'A' ? 'B' : 'A';
        if (tls_authority_read(&again, pem, size)) {
            refused++;
            assert_null(again.key);
            assert_null(again.certificate);
        } else {
            assert_int_equal(X509_cmp(again.certificate, authority->certificate), 0);
            assert_int_equal(EVP_PKEY_eq(again.key, authority->key), 1);
        }
        pem[i] = kept;
        tls_authority_clear(&again);
        assert_int_equal(ERR_peek_error(), 0);
    }
    /* The rest is line ends, and bits that Base64 does not use. */
    assert_in_range(refused, size / 10 * 9, size);
    secret_free(pem);
}

/* A certificate that is its own, but not one of a local CA: it would vouch for everything. */
static void others_are_refused(void **state)
{
    const struct tls_authority *authority = *state;
    struct tls_material *issued = tls_authority_issue(authority, &own, NOW);
    struct tls_authority odd = {issued->certificate, issued->key};
    struct tls_authority again = {0};
    char *pem = tls_authority_write(&odd);

    assert_string_equal(tls_authority_read(&again, pem, strlen(pem)),
                        "is not the certificate of a local CA");
    secret_free(pem);
    tls_material_free(issued);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vouches_for_its_names), cmocka_unit_test(vouches_for_no_others),
        cmocka_unit_test(is_for_servers_only),   cmocka_unit_test(has_its_time),
        cmocka_unit_test(nothing_outlives_it),   cmocka_unit_test(is_read_as_written),
        cmocka_unit_test(damage_is_noticed),     cmocka_unit_test(others_are_refused),
        cmocka_unit_test(hosts_can_be_told),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}

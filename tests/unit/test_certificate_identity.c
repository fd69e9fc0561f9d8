/* Who a client certificate is for; and what an identity may be at all. */
#include "../lib/cmocka.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "../../tunnel-server/authentication/certificate_identity.h"

/* ---- making certificates */

static X509 *new_certificate(void)
{
    X509 *certificate = X509_new();

    assert_non_null(certificate);
    return certificate;
}

static void add_part(X509 *certificate, const char *field, int type, const char *bytes, int size,
                     int set)
{
    X509_NAME *name = X509_NAME_dup(X509_get_subject_name(certificate));

    assert_int_equal(
        X509_NAME_add_entry_by_txt(name, field, type, (const unsigned char *)bytes, size, -1, set),
        1);
    assert_int_equal(X509_set_subject_name(certificate, name), 1);
    X509_NAME_free(name);
}

static void add_text(X509 *certificate, const char *field, const char *text)
{
    add_part(certificate, field, MBSTRING_UTF8, text, -1, 0);
}

static void add_name(GENERAL_NAMES *names, int type, const char *bytes, int size)
{
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();
    GENERAL_NAME *name = GENERAL_NAME_new();

    assert_int_equal(ASN1_STRING_set(value, bytes, size), 1);
    GENERAL_NAME_set0_value(name, type, value);
    sk_GENERAL_NAME_push(names, name);
}

static void add_san(X509 *certificate, GENERAL_NAMES *names)
{
    assert_int_equal(
        X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, X509V3_ADD_APPEND), 1);
    GENERAL_NAMES_free(names);
}

/* ---- looking at them */

static void expect_identity(X509 *certificate, enum identity_from from, const char *wanted)
{
    char identity[HTTP_IDENTITY_MAX];
    const char *why = certificate_identity(certificate, from, identity);

    if (why)
        fail_msg("%s: %s", wanted, why);
    assert_string_equal(identity, wanted);
    assert_null(identity_check(identity, strlen(identity)));
}

static void expect_none(X509 *certificate, enum identity_from from, const char *words)
{
    char identity[HTTP_IDENTITY_MAX] = "";
    const char *why = certificate_identity(certificate, from, identity);

    if (!why)
        fail_msg("%s, not %s", identity, words);
    if (!strstr(why, words))
        fail_msg("no \"%s\" in: %s", words, why);
}

/* ---- subjects */

static void subjects(void **state)
{
    X509 *certificate = new_certificate();

    (void)state;
    add_text(certificate, "C", "DE");
    add_text(certificate, "O", "Example, Inc.");
    add_text(certificate, "CN", "alice");
    expect_identity(certificate, IDENTITY_FROM_SUBJECT, "CN=alice,O=Example\\, Inc.,C=DE");
    X509_free(certificate);
    certificate = new_certificate();
    add_text(certificate, "CN", "J\xc3\xbcrgen");
    add_part(certificate, "UID", MBSTRING_UTF8, "4711", -1, -1);
    expect_identity(certificate, IDENTITY_FROM_SUBJECT, "UID=4711+CN=J\xc3\xbcrgen");
    X509_free(certificate);
}

/* The subject in the notation of OpenSSL's X509_NAME_oneline() was the same for these. */
static void subjects_that_look_alike(void **state)
{
    static const struct {
        const char *parts[4][2];
        const char *identity;
    } cases[] = {
        {{{"O", "x"}, {"CN", "alice"}}, "CN=alice,O=x"},
        {{{"O", "x/CN=alice"}}, "O=x/CN=alice"},
        {{{"O", "x,CN=alice"}}, "O=x\\,CN=alice"},
        {{{"CN", "alice,O=x"}}, "CN=alice\\,O=x"},
        {{{"CN", "alice+O=x"}}, "CN=alice\\+O=x"},
        {{{"CN", "alice"}, {"O", "x"}}, "O=x,CN=alice"},
        {{{"O", "x"}, {"CN", "alice "}}, "CN=alice\\ ,O=x"},
        {{{"O", "x"}, {"CN", " alice"}}, "CN=\\ alice,O=x"},
        {{{"O", "x"}, {"CN", "#alice"}}, "CN=\\#alice,O=x"},
        {{{"O", "x"}, {"CN", "al\\ice"}}, "CN=al\\\\ice,O=x"},
        {{{"O", "x"}, {"CN", "\"alice\""}}, "CN=\\\"alice\\\",O=x"},
        {{{"O", "x"}, {"CN", "alice\n"}}, "CN=alice\\0A,O=x"},
        {{{"O", "x"}, {"CN", "alice\\0A"}}, "CN=alice\\\\0A,O=x"},
        {{{"O", "x"}, {"CN", "\\x0A"}}, "CN=\\\\x0A,O=x"},
    };
    enum { COUNT = sizeof cases / sizeof cases[0] };

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        X509 *certificate = new_certificate();
        for (size_t j = 0; cases[i].parts[j][0]; j++)
            add_text(certificate, cases[i].parts[j][0], cases[i].parts[j][1]);
        expect_identity(certificate, IDENTITY_FROM_SUBJECT, cases[i].identity);
        X509_free(certificate);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(cases[i].identity, cases[j].identity);
    }
}

static void a_nul_in_a_subject(void **state)
{
    X509 *certificate = new_certificate();

    (void)state;
    add_part(certificate, "CN", V_ASN1_UTF8STRING, "alice\0.evil", 11, 0);
    expect_identity(certificate, IDENTITY_FROM_SUBJECT, "CN=alice\\00.evil");
    X509_free(certificate);
}

static void fields_that_have_no_name(void **state)
{
    X509 *certificate = new_certificate();

    (void)state;
    add_text(certificate, "1.3.6.1.4.1.99999.1", "abc");
    expect_identity(certificate, IDENTITY_FROM_SUBJECT, "1.3.6.1.4.1.99999.1=#0C03616263");
    X509_free(certificate);
}

static void characters_that_cannot_be_seen(void **state)
{
    static const char *const names[] = {"alice\xc2\x85", "\342\200\256ecila", "al\342\200\213ice"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        X509 *certificate = new_certificate();
        add_text(certificate, "CN", names[i]);
        expect_none(certificate, IDENTITY_FROM_SUBJECT, "invisible");
        X509_free(certificate);
    }
}

/* Two certificates that are the same in their first 255 bytes: neither is cut. */
static void long_subjects(void **state)
{
    char unit[65];
    char wanted[300] = "CN=a";

    (void)state;
    memset(unit, 'u', 64);
    unit[64] = '\0';
    X509 *certificate = new_certificate();
    for (int i = 0; i < 3; i++)
        add_text(certificate, "OU", unit);
    unit[64 - 21] = '\0';
    add_text(certificate, "OU", unit);
    add_text(certificate, "CN", "a");
    unit[64 - 21] = 'u';
    sprintf(wanted + strlen(wanted), ",OU=%.*s", 64 - 21, unit);
    for (int i = 0; i < 3; i++)
        strcat(strcat(wanted, ",OU="), unit);
    assert_int_equal(strlen(wanted), 255);
    expect_identity(certificate, IDENTITY_FROM_SUBJECT, wanted);
    X509_free(certificate);

    for (int i = 0; i < 2; i++) {
        certificate = new_certificate();
        add_text(certificate, "O", i == 0 ? "this" : "that");
        for (int j = 0; j < 4; j++)
            add_text(certificate, "OU", unit);
        expect_none(certificate, IDENTITY_FROM_SUBJECT, "more than 255 bytes");
        X509_free(certificate);
    }
}

static void no_subject(void **state)
{
    X509 *certificate = new_certificate();

    (void)state;
    expect_none(certificate, IDENTITY_FROM_SUBJECT, "--identity-from");
    X509_free(certificate);
}

/* ---- subject alternative names */

static X509 *with_names(const char *uri, const char *dns, const char *email)
{
    X509 *certificate = new_certificate();
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();

    add_name(names, GEN_URI, uri, (int)strlen(uri));
    add_name(names, GEN_DNS, dns, (int)strlen(dns));
    add_name(names, GEN_EMAIL, email, (int)strlen(email));
    add_san(certificate, names);
    return certificate;
}

static void one_name_of_each_kind(void **state)
{
    X509 *certificate = with_names("spiffe://example.org/ns/kafka/sa/alice", "laptop.example.org",
                                   "alice@example.org");

    (void)state;
    expect_identity(certificate, IDENTITY_FROM_SAN_URI, "spiffe://example.org/ns/kafka/sa/alice");
    expect_identity(certificate, IDENTITY_FROM_SAN_DNS, "laptop.example.org");
    expect_identity(certificate, IDENTITY_FROM_SAN_EMAIL, "alice@example.org");
    expect_none(certificate, IDENTITY_FROM_SUBJECT, "has no subject");
    X509_free(certificate);
}

static const struct {
    enum identity_from from;
    int type;
    const char *none;
    const char *several;
} kinds[] = {
    {IDENTITY_FROM_SAN_URI, GEN_URI, "has no URI", "has several URIs"},
    {IDENTITY_FROM_SAN_DNS, GEN_DNS, "has no DNS name", "has several DNS names"},
    {IDENTITY_FROM_SAN_EMAIL, GEN_EMAIL, "has no e-mail address", "has several e-mail addresses"},
};

static void none_or_several(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        X509 *certificate = new_certificate();
        GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();

        add_text(certificate, "CN", "alice");
        expect_none(certificate, kinds[i].from, kinds[i].none);
        add_name(names, kinds[(i + 1) % 3].type, "x:y", 3);
        add_san(certificate, names);
        expect_none(certificate, kinds[i].from, kinds[i].none);
        X509_free(certificate);

        certificate = new_certificate();
        names = sk_GENERAL_NAME_new_null();
        add_name(names, kinds[i].type, "x:a", 3);
        add_name(names, kinds[(i + 1) % 3].type, "x:y", 3);
        add_name(names, kinds[i].type, "x:b", 3);
        add_san(certificate, names);
        expect_none(certificate, kinds[i].from, kinds[i].several);
        X509_free(certificate);
    }
}

static void names_that_are_unusable(void **state)
{
    char huge[256];
    const struct {
        const char *bytes;
        int size;
    } names[] = {{"a\0b", 3}, {"alice\0", 6}, {"\0", 1},       {"", 0},    {"a b", 3},
                 {"a\nb", 3}, {"a\x7f", 2},   {"\xc3\xbc", 2}, {huge, 256}};

    (void)state;
    memset(huge, 'a', sizeof huge);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (size_t kind = 0; kind < 3; kind++) {
            X509 *certificate = new_certificate();
            GENERAL_NAMES *all = sk_GENERAL_NAME_new_null();

            add_name(all, kinds[kind].type, names[i].bytes, names[i].size);
            add_san(certificate, all);
            expect_none(certificate, kinds[kind].from, "longer than 255 bytes, or not printable");
            X509_free(certificate);
        }
    }
    X509 *certificate = new_certificate();
    GENERAL_NAMES *all = sk_GENERAL_NAME_new_null();
    char wanted[256];
    add_name(all, GEN_URI, huge, 255);
    add_san(certificate, all);
    memcpy(wanted, huge, 255);
    wanted[255] = '\0';
    expect_identity(certificate, IDENTITY_FROM_SAN_URI, wanted);
    X509_free(certificate);
}

static void extensions_that_cannot_be_read(void **state)
{
    static const unsigned char garbage[] = {0x30, 0x82, 0xff, 0xff, 0x86};
    ASN1_OCTET_STRING *bytes = ASN1_OCTET_STRING_new();
    X509 *certificate = new_certificate();

    (void)state;
    ASN1_OCTET_STRING_set(bytes, garbage, sizeof garbage);
    X509_EXTENSION *extension = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, bytes);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    ASN1_OCTET_STRING_free(bytes);
    expect_none(certificate, IDENTITY_FROM_SAN_URI, "cannot be read");
    X509_free(certificate);

    certificate = with_names("a:b", "c", "d");
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    add_name(names, GEN_URI, "e:f", 3);
    add_san(certificate, names); /* a second extension of the kind */
    expect_none(certificate, IDENTITY_FROM_SAN_URI, "cannot be read");
    X509_free(certificate);
}

/* ---- identities */

static void identities(void **state)
{
    char text[257];

    (void)state;
    memset(text, 'x', sizeof text);
    assert_null(identity_check(text, 255));
    assert_string_equal(identity_check(text, 256), "is longer than 255 bytes");
    assert_string_equal(identity_check("", 0), "is empty");
    assert_null(identity_check("Bob B. \xd0\x91\xf0\x9f\x98\x80", 13));
    assert_string_equal(identity_check("\xff", 1), "is not UTF-8");
    assert_string_equal(identity_check("a\xc3", 2), "is not UTF-8");
    assert_string_equal(identity_check("\xc0\x80", 2), "is not UTF-8");
    assert_non_null(strstr(identity_check("a\0b", 3), "control character"));
    assert_non_null(strstr(identity_check("a\tb", 3), "control character"));
    assert_non_null(strstr(identity_check("a\xc2\x9b"
                                          "b",
                                          4),
                           "control character"));
    assert_non_null(strstr(identity_check("\xe2\x80\xae", 3), "invisible"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subjects),
        cmocka_unit_test(subjects_that_look_alike),
        cmocka_unit_test(a_nul_in_a_subject),
        cmocka_unit_test(fields_that_have_no_name),
        cmocka_unit_test(characters_that_cannot_be_seen),
        cmocka_unit_test(long_subjects),
        cmocka_unit_test(no_subject),
        cmocka_unit_test(one_name_of_each_kind),
        cmocka_unit_test(none_or_several),
        cmocka_unit_test(names_that_are_unusable),
        cmocka_unit_test(extensions_that_cannot_be_read),
        cmocka_unit_test(identities),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

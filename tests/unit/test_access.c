/* Who is let in, and as whom: every combination of what is asked for and what is presented. */
#include "../lib/cmocka.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../tunnel-server/authentication/access.h"
#include "../../tunnel-server/authentication/certificate_identity.h"
#include "../../tunnel-server/authentication/grant.h"

enum { HEAD_MAX = 20000 };

static const char tokens[] = "tok-alice alice\n"
                             "tok-dn CN=laptop\n"
                             "tok-any\n"
                             "tok-old until=2001-12-31 alice\n";

struct fixture {
    char path[40];
    char lines[8000];
    size_t size;
    struct log log;
    struct worker worker;
    struct options options;
    struct access *access;
    X509 *certificate; /* CN=laptop, spiffe://x/laptop */
    X509 *nameless;    /* nothing at all */
};

static void on_line(void *context, const char *line, size_t size)
{
    struct fixture *f = context;

    assert_true(f->size + size < sizeof f->lines);
    memcpy(f->lines + f->size, line, size);
    f->size += size;
    f->lines[f->size] = '\0';
}

static X509 *make_certificate(void)
{
    X509 *certificate = X509_new();
    X509_NAME *name = X509_NAME_new();
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *uri = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();

    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"laptop", -1, -1,
                               0);
    X509_set_subject_name(certificate, name);
    X509_NAME_free(name);
    ASN1_STRING_set(text, "spiffe://x/laptop", -1);
    GENERAL_NAME_set0_value(uri, GEN_URI, text);
    sk_GENERAL_NAME_push(names, uri);
    X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, X509V3_ADD_APPEND);
    GENERAL_NAMES_free(names);
    return certificate;
}

static void on_access_ended(void *context)
{
    (void)context;
}

static const struct access_owner owner = {.ended = on_access_ended, .renewed = on_access_ended};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const struct log_settings settings = {
        .level = LOG_LEVEL_DEBUG, .sink = on_line, .sink_context = f};

    strcpy(f->path, "/tmp/test_access.XXXXXX");
    int fd = mkstemp(f->path);
    if (fd < 0 || write(fd, tokens, sizeof tokens - 1) != (ssize_t)sizeof tokens - 1)
        return -1;
    close(fd);
    log_init(&f->log, &settings);
    worker_init(&f->worker, &f->log, 1 << 20);
    f->certificate = make_certificate();
    f->nameless = X509_new();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    access_free(f->access);
    X509_free(f->certificate);
    X509_free(f->nameless);
    worker_clear(&f->worker);
    unlink(f->path);
    free(f);
    return 0;
}

/* What the server is configured with. */
enum { TOKENS = 1, CERTIFICATES = 2, INGRESS = 4, OPTIONAL = 8 };

static void configure(struct fixture *f, int wants)
{
    char error[700];

    access_free(f->access);
    f->options = (struct options){.identity_header = IDENTITY_HEADER_DEFAULT,
                                  .token_file = wants & TOKENS ? f->path : NULL,
                                  .client_ca = wants & CERTIFICATES ? "ca.pem" : NULL,
                                  .trust_ingress = wants & OPTIONAL  ? TRUST_INGRESS_OPTIONAL
                                                   : wants & INGRESS ? TRUST_INGRESS_YES
                                                                     : TRUST_INGRESS_NO};
    f->access = access_new(&f->worker, &f->options, &owner, f, error, sizeof error);
    if (!f->access)
        fail_msg("%s", error);
}

/* headers: whole lines. Returns the status; admission is filled in. */
static int ask(struct fixture *f, const char *headers, X509 *certificate,
               struct http_admission *admission)
{
    static char head[HEAD_MAX];
    char *text = malloc(strlen(headers) + 100);
    struct http_request request;
    size_t consumed;

    int size = sprintf(text, "GET /tunnel HTTP/1.1\r\nHost: x\r\n%s\r\n", headers);
    http_request_init(&request, head, sizeof head);
    assert_int_equal(http_request_receive(&request, text, (size_t)size, &consumed),
                     HTTP_REQUEST_DONE);
    free(text);
    const struct http_upgrade upgrade = {
        .request = &request, .certificate = certificate, .peer = "192.0.2.7:1234"};
    f->size = 0;
    f->lines[0] = '\0';
    return access_authorize(f->access, &upgrade, admission);
}

static void expect_in(struct fixture *f, const char *headers, X509 *certificate, const char *who)
{
    struct http_admission admission = {.body = ""};
    int status = ask(f, headers, certificate, &admission);

    if (status != 101)
        fail_msg("%s: %d %s", headers, status, admission.body);
    assert_string_equal(admission.identity, who);
    assert_int_equal(admission.pass != NULL, f->options.token_file != NULL);
    assert_int_equal(grant_state(admission.pass), GRANT_GOOD);
    grant_release(admission.pass);
    assert_int_equal(f->size, 0);
}

/* Refused, with the words for whom it concerns, and in one line of the log. */
static void expect_out(struct fixture *f, const char *headers, X509 *certificate, const char *words)
{
    struct http_admission admission = {.body = ""};
    int status = ask(f, headers, certificate, &admission);
    const char *body = admission.body;

    if (status != 401)
        fail_msg("%s: %d %s, not %s", headers, status, admission.identity, words);
    assert_null(admission.pass);
    if (!strstr(body, words) || !strstr(f->lines, words))
        fail_msg("no \"%s\" in: %s%s", words, body, f->lines);
    assert_int_equal(body[strlen(body) - 1], '\n');
    assert_ptr_equal(strchr(f->lines, '\n'), f->lines + f->size - 1);
    assert_non_null(strstr(f->lines, "192.0.2.7:1234"));
    assert_null(strstr(body, "tok-"));
    assert_null(strstr(f->lines, "tok-"));
}

#define ALICE "Authorization: Bearer tok-alice\r\n"
#define DN "Authorization: Bearer tok-dn\r\n"
#define ANY "Authorization: Bearer tok-any\r\n"
#define WRONG "Authorization: Bearer tok-wrong\r\n"
#define USER(name) "Sf-Context-Current-User: " name "\r\n"

static void nothing_is_asked_for(void **state)
{
    struct fixture *f = *state;

    configure(f, 0);
    expect_in(f, "", NULL, "anonymous");
    expect_in(f, ALICE USER("bob"), f->certificate, "anonymous");
}

static void tokens_alone(void **state)
{
    struct fixture *f = *state;

    configure(f, TOKENS);
    expect_in(f, ALICE, NULL, "alice");
    expect_in(f, ALICE USER("bob"), f->certificate, "alice");
    expect_in(f, ANY, NULL, "token of line 3");
    expect_in(f, "authorization:bEARER   tok-alice\t\r\n", NULL, "alice");
    expect_in(f, "Authorization: snowflake Token=\"tok-alice\"\r\n", NULL, "alice");
    expect_out(f, "", NULL, "this tunnel requires a token");
    expect_out(f, WRONG, NULL, "not one of those");
    expect_out(f, "Authorization: Bearer\r\n", NULL, "requires a token");
    expect_out(f, "Authorization: Bearer \r\n", NULL, "requires a token");
    expect_out(f, "Authorization: Basic dG9rLWFsaWNl\r\n", NULL, "something else");
    expect_out(f, "Authorization: tok-alice\r\n", NULL, "something else");
    expect_out(f, ALICE ALICE, NULL, "several Authorization headers");
    expect_out(f, "Authorization: Bearer tok-alic\r\n", NULL, "not one of those");
    expect_out(f, "Authorization: Bearer tok-alice alice\r\n", NULL, "not one of those");
    expect_out(f, "Authorization: Bearer tok-old\r\n", NULL, "the token has expired");
}

static void a_token_that_is_too_long(void **state)
{
    struct fixture *f = *state;
    char headers[14000] = "Authorization: Bearer tok-alice";

    configure(f, TOKENS);
    memset(headers + strlen(headers), 'x', 13000);
    strcat(headers, "\r\n");
    expect_out(f, headers, NULL, "longer than any");
}

static void certificates_alone(void **state)
{
    struct fixture *f = *state;

    configure(f, CERTIFICATES);
    expect_in(f, "", f->certificate, "CN=laptop");
    expect_in(f, ALICE USER("bob"), f->certificate, "CN=laptop");
    expect_out(f, ALICE USER("bob"), NULL, "requires a client certificate");
    expect_out(f, "", f->nameless, "has no subject; --identity-from");
    f->options.identity_from = IDENTITY_FROM_SAN_URI;
    expect_in(f, "", f->certificate, "spiffe://x/laptop");
    expect_out(f, "", f->nameless, "has no URI");
}

static void the_ingress_alone(void **state)
{
    struct fixture *f = *state;

    configure(f, INGRESS);
    expect_in(f, USER("BOB"), NULL, "BOB");
    expect_in(f, "sf-context-current-user:\t Bob B.  \r\n", NULL, "Bob B.");
    expect_in(f, ALICE USER("J\xc3\xbcrgen"), f->certificate, "J\xc3\xbcrgen");
    expect_out(f, "", NULL, "the header Sf-Context-Current-User is missing");
    expect_out(f, ALICE, f->certificate, "the header Sf-Context-Current-User is missing");
    expect_out(f, "Sf_Context_Current_User: bob\r\n", NULL, "is missing");
}

static void headers_that_name_nobody(void **state)
{
    struct fixture *f = *state;
    char header[400] = "Sf-Context-Current-User: ";
    size_t name = strlen(header);

    for (int optional = 0; optional < 2; optional++) {
        configure(f, optional ? INGRESS | OPTIONAL : INGRESS);
        expect_out(f, USER(""), NULL, "is empty");
        expect_out(f, USER(" \t "), NULL, "is empty");
        expect_out(f, USER("bob") USER("alice"), NULL, "more than once");
        expect_out(f, USER("bob") "sf-context-current-USER: bob\r\n", NULL, "more than once");
        expect_out(f, USER("bob, alice"), NULL, "contains a comma");
        expect_out(f, USER("bob,"), NULL, "contains a comma");
        expect_out(f, USER("b\xffob"), NULL, "is not UTF-8");
        expect_out(f, USER("b\xc2\x9bob"), NULL, "control character");
        expect_out(f, USER("b\xe2\x80\xaeob"), NULL, "invisible");
        memset(header + name, 'u', 255);
        strcpy(header + name + 255, "\r\n");
        header[name + 255] = '\0';
        char *wanted = strdup(header + name);
        strcat(header, "\r\n");
        expect_in(f, header, NULL, wanted);
        free(wanted);
        memset(header + name, 'u', 256);
        strcpy(header + name + 256, "\r\n");
        expect_out(f, header, NULL, "longer than 255 bytes");
    }
}

static void an_ingress_that_need_not_name_anybody(void **state)
{
    struct fixture *f = *state;

    configure(f, INGRESS | OPTIONAL);
    expect_in(f, "", NULL, "anonymous");
    expect_in(f, USER("bob"), NULL, "bob");
}

static void another_header(void **state)
{
    struct fixture *f = *state;

    configure(f, INGRESS);
    f->options.identity_header = "X-Forwarded-User";
    expect_in(f, "x-forwarded-user: bob\r\n" USER("mallory"), NULL, "bob");
    expect_out(f, USER("mallory"), NULL, "the header X-Forwarded-User is missing");
}

/* A token with a name is for whom the certificate names; one without for anybody. */
static void tokens_beside_certificates(void **state)
{
    struct fixture *f = *state;

    configure(f, TOKENS | CERTIFICATES);
    expect_in(f, DN, f->certificate, "CN=laptop");
    expect_in(f, ANY, f->certificate, "CN=laptop");
    expect_out(f, ALICE, f->certificate, "to a user other than the client certificate's");
    expect_out(f, "", f->certificate, "requires a token");
    expect_out(f, WRONG, f->certificate, "not one of those");
    expect_out(f, ANY, NULL, "requires a client certificate");
    expect_out(f, ANY, f->nameless, "has no subject");
}

static void tokens_beside_the_ingress(void **state)
{
    struct fixture *f = *state;

    configure(f, TOKENS | INGRESS);
    expect_in(f, ALICE USER("alice"), NULL, "alice");
    expect_in(f, ANY USER("bob"), NULL, "bob");
    expect_out(f, ALICE USER("bob"), NULL, "to a user other than the one that the ingress names");
    expect_out(f, ALICE USER("ALICE"), NULL, "to a user other than");
    expect_out(f, ALICE, NULL, "is missing");
    expect_out(f, USER("alice"), NULL, "requires a token");
    expect_out(f, WRONG USER("alice"), NULL, "not one of those");
    configure(f, TOKENS | INGRESS | OPTIONAL);
    expect_in(f, ALICE, NULL, "alice");
    expect_in(f, ANY, NULL, "token of line 3");
    expect_in(f, ALICE USER("alice"), NULL, "alice");
    expect_out(f, ALICE USER("bob"), NULL, "to a user other than");
    expect_out(f, USER("alice"), NULL, "requires a token");
}

/* The certificate is the ingress's own: it has to be there, and says nothing of the client. */
static void an_ingress_with_a_certificate(void **state)
{
    struct fixture *f = *state;

    configure(f, CERTIFICATES | INGRESS);
    expect_in(f, USER("bob"), f->certificate, "bob");
    expect_in(f, USER("bob"), f->nameless, "bob");
    expect_out(f, USER("bob"), NULL, "requires a client certificate");
    expect_out(f, "", f->certificate, "is missing");
    configure(f, CERTIFICATES | INGRESS | OPTIONAL);
    expect_in(f, "", f->certificate, "anonymous");
    configure(f, TOKENS | CERTIFICATES | INGRESS);
    expect_in(f, ALICE USER("alice"), f->certificate, "alice");
    expect_in(f, ANY USER("bob"), f->certificate, "bob");
    expect_out(f, DN USER("bob"), f->certificate, "to a user other than");
    expect_out(f, ALICE USER("alice"), NULL, "requires a client certificate");
}

static void the_file_is_followed(void **state)
{
    struct fixture *f = *state;
    struct reload reload = {0};

    configure(f, TOKENS);
    FILE *file = fopen(f->path, "we");
    fputs("tok-alice bob\n", file);
    fclose(file);
    struct http_admission admission = {.body = ""};
    assert_int_equal(ask(f, ALICE, NULL, &admission), 101);
    assert_string_equal(admission.identity, "bob");
    grant_release(admission.pass);
    assert_int_equal(truncate(f->path, 0), 0);
    access_reload(f->access, &reload);
    assert_int_equal(reload.failed, 1);
    expect_in(f, ALICE, NULL, "bob");
    configure(f, 0);
}

static void a_file_that_cannot_be_used(void **state)
{
    struct fixture *f = *state;
    char error[700];

    f->options = (struct options){.token_file = "/nonexistent/tokens"};
    assert_null(access_new(&f->worker, &f->options, &owner, f, error, sizeof error));
    assert_non_null(strstr(error, "--token-file: cannot open /nonexistent/tokens"));
}

/* ---- the options about it */

static const char *check(struct options *options, bool good)
{
    static char error[600];

    options->listen = "127.0.0.1:0";
    options->path = "/tunnel";
    if (!options->identity_header)
        options->identity_header = IDENTITY_HEADER_DEFAULT;
    const char *items[] = {"x=127.0.0.1:1"};
    options->tcp = (struct config_list){.items = items, .count = 1};
    error[0] = '\0';
    bool got = options_check(options, error, sizeof error);
    if (got != good)
        fail_msg("%s", good ? error : options->identity_header);
    options_free(options);
    return error;
}

static void options_that_go_together(void **state)
{
    static const char *const reserved[] = {
        "Authorization",  "host",   "Connection", "upgrade", "Sec-WebSocket-Key",
        "Content-Length", "Origin", "User-Agent", "COOKIE",  "Transfer-Encoding"};
    static const char *const malformed[] = {"X User", "X-User:", "", "X\xc3\xbc", "X\r\nY", "a,b"};

    (void)state;
    check(&(struct options){.trust_ingress = TRUST_INGRESS_YES}, true);
    check(&(struct options){.trust_ingress = TRUST_INGRESS_OPTIONAL,
                            .identity_header = "X-Auth-Request-User"},
          true);
    check(&(struct options){.identity_header = "sf-context-current-user"}, true);
    assert_non_null(strstr(check(&(struct options){.identity_header = "X-User"}, false),
                           "--identity-header X-User: it has no effect without --trust-ingress"));
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        assert_non_null(strstr(check(&(struct options){.trust_ingress = TRUST_INGRESS_YES,
                                                       .identity_header = reserved[i]},
                                     false),
                               "clients send this header themselves"));
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++)
        assert_non_null(strstr(check(&(struct options){.trust_ingress = TRUST_INGRESS_YES,
                                                       .identity_header = malformed[i]},
                                     false),
                               "a header's name has"));
    struct options options = {
        .client_ca = "ca", .tls_cert = "c", .tls_key = "k", .identity_from = IDENTITY_FROM_SAN_DNS};
    check(&options, true);
    options.client_ca = NULL;
    options.tls_cert = options.tls_key = NULL;
    assert_non_null(strstr(check(&(struct options){.identity_from = IDENTITY_FROM_SAN_URI}, false),
                           "--identity-from san-uri: it has no effect without --client-ca"));
    assert_non_null(strstr(check(&(struct options){.identity_from = IDENTITY_FROM_SAN_EMAIL,
                                                   .client_ca = "ca",
                                                   .tls_cert = "c",
                                                   .tls_key = "k",
                                                   .trust_ingress = TRUST_INGRESS_YES},
                                 false),
                           "with --trust-ingress a certificate is the ingress's"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tokens_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_token_that_is_too_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(certificates_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_ingress_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(headers_that_name_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_ingress_that_need_not_name_anybody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_header, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tokens_beside_certificates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tokens_beside_the_ingress, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_ingress_with_a_certificate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_file_is_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_used, set_up, tear_down),
        cmocka_unit_test(options_that_go_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The client's command that the server shows: what it names, and what it never does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "../../tunnel-server/client_command.h"

#define WORDS_MAX 24

/* The command for a server that was started like this, and listens at 8443. */
static void expect_command(const char *const *words, const char *expected)
{
    struct options options = {0};
    struct config config;
    struct text text;
    char error[600];
    char *argv[WORDS_MAX] = {strdup("tunnel-server")};
    char *nothing[] = {NULL};
    int argc = 1;

    for (; words[argc - 1]; argc++)
        argv[argc] = strdup(words[argc - 1]);
    assert_int_equal(config_load(&config, &options_program, &options, argc, argv, nothing), 0);
    if (!options_check(&options, error, sizeof error))
        fail_msg("%s", error);
    text_init(&text, 4096);
    client_command_write(&options, 8443, &text);
    text_bytes(&text, "", 1);
    assert_string_equal(text.bytes, expected);
    text_clear(&text);
    options_free(&options);
    config_free(&config);
    while (argc > 0)
        free(argv[--argc]);
}

#define EXPECT(expected, ...) expect_command((const char *const[]){__VA_ARGS__, NULL}, expected)

/* A self-signed certificate for names, in a file that the caller removes. */
static void write_certificate(const char *path, const char *names)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509V3_CTX context;
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    X509_set_version(certificate, 2);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, names);
    assert_non_null(extension);
    X509_add_ext(certificate, extension, -1);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    fclose(file);
    X509_EXTENSION_free(extension);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void without_a_certificate(void **state)
{
    (void)state;
    EXPECT("tunnel-client --server http://127.0.0.1:8443", "--listen", "127.0.0.1:0", "--kafka",
           "b:9092");
    EXPECT("tunnel-client --server http://[::1]:8443", "--listen", "[::1]:0", "--kafka", "b:9092");
    /* Behind an ingress, whose name it does not know. */
    EXPECT("tunnel-client --server https://HOST --token-file token", "--listen", "0.0.0.0:0",
           "--kafka", "b:9092", "--trust-ingress");
    EXPECT("tunnel-client --server https://HOST/kafka --token-file token", "--listen", "0.0.0.0:0",
           "--kafka", "b:9092", "--path", "/kafka", "--token-file", "/etc/s3cret-place/tokens");
    EXPECT("tunnel-client --server https://HOST/PATH --token-file token", "--listen", "0.0.0.0:0",
           "--kafka", "b:9092", "--path", "/$(reboot)", "--trust-ingress");
}

static void its_names(void **state)
{
    (void)state;
    EXPECT("tunnel-client --server http://127.0.0.1:8443 --kafka 9092 --kafka staging=9192 --tcp "
           "registry=8081",
           "--kafka", "b:9092", "--kafka", "staging=c:9092", "--tcp", "registry=d:8081");
    EXPECT("tunnel-client --server http://127.0.0.1:8443 --kafka staging=9092", "--kafka",
           "staging=c:9092");
}

static void with_a_certificate(void **state)
{
    (void)state;
    char directory[] = "/tmp/client-command.XXXXXX";
    char path[64], odd[64];

    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/own.pem", directory);
    snprintf(odd, sizeof odd, "%s/o'wn $x", directory);
    write_certificate(path, "DNS:*.example.com,DNS:server.example.com,IP:10.0.0.1");
    EXPECT("tunnel-client --server https://server.example.com:8443 --ca own.pem --token-file token",
           "--listen", "0.0.0.0:0", "--kafka", "b:9092", "--tls-cert", path, "--tls-key", "k",
           "--token-file", "t");
    EXPECT("tunnel-client --server https://server.example.com:8443 --ca own.pem --cert client.pem "
           "--key client.key",
           "--listen", "0.0.0.0:0", "--kafka", "b:9092", "--tls-cert", path, "--tls-key", "k",
           "--client-ca", "c");
    write_certificate(odd, "DNS:a b;reboot,IP:10.0.0.1");
    EXPECT("tunnel-client --server https://HOST:8443 --ca server.pem --token-file token",
           "--listen", "0.0.0.0:0", "--kafka", "b:9092", "--tls-cert", odd, "--tls-key", "k",
           "--token-file", "t");
    EXPECT("tunnel-client --server https://10.0.0.7:8443 --ca server.pem --token-file token",
           "--listen", "10.0.0.7:0", "--kafka", "b:9092", "--tls-cert", odd, "--tls-key", "k",
           "--token-file", "t");
    unlink(path);
    unlink(odd);
    /* The server has refused to start long before, if it is not there. */
    EXPECT("tunnel-client --server https://10.0.0.7:8443 --token-file token", "--listen",
           "10.0.0.7:0", "--kafka", "b:9092", "--tls-cert", odd, "--tls-key", "k", "--token-file",
           "t");
    rmdir(directory);
}

/* Its certificate has been read already: nobody writes it a second time. */
static void with_a_certificate_from_a_pipe(void **state)
{
    char directory[] = "/tmp/client-command-XXXXXX";
    char path[sizeof directory + 5];

    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/cert", directory);
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(10);
    EXPECT("tunnel-client --server https://127.0.0.1:8443 --tcp t=1", "--listen", "127.0.0.1:8443",
           "--tls-cert", path, "--tls-key", "key", "--tcp", "t=h:1");
    alarm(0);
    unlink(path);
    rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_certificate),
        cmocka_unit_test(its_names),
        cmocka_unit_test(with_a_certificate),
        cmocka_unit_test(with_a_certificate_from_a_pipe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Certificates and keys in files of every kind: what is taken, what is said of the others, what a
 * client then trusts, and what happens when the files are exchanged. */
#include "../lib/cmocka.h"

#include <event2/event.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/pkcs7.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/tls_keeper.h"
#include "tls/tls_files.h"

/* A root, an intermediate that it has signed, and a server that the intermediate has signed. */
struct party {
    X509 *certificate;
    EVP_PKEY *key;
};

static struct party root, intermediate, server, stranger;
static char directory[] = "/tmp/kafka-tunnel-tls-XXXXXX";

/* ---- certificates */

static void add_extension(X509 *certificate, int nid, const char *value)
{
    X509V3_CTX context;

    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

static struct party make_party(const char *name, const struct party *issuer, bool authority)
{
    static long serial = 1;
    struct party made = {.certificate = X509_new(), .key = EVP_EC_gen("P-256")};
    X509 *certificate = made.certificate;
    X509_NAME *subject = X509_get_subject_name(certificate);

    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 24 * 3600);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(certificate,
                         issuer ? X509_get_subject_name(issuer->certificate) : subject);
    X509_set_pubkey(certificate, made.key);
    add_extension(certificate, NID_basic_constraints,
                  authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (!authority)
        add_extension(certificate, NID_subject_alt_name, "DNS:localhost");
    assert_true(X509_sign(certificate, issuer ? issuer->key : made.key, EVP_sha256()) > 0);
    return made;
}

static void free_party(struct party *party)
{
    X509_free(party->certificate);
    EVP_PKEY_free(party->key);
}

static int make_all(void **state)
{
    (void)state;
    root = make_party("Root", NULL, true);
    intermediate = make_party("Intermediate", &root, true);
    server = make_party("Server", &intermediate, false);
    stranger = make_party("Stranger", NULL, true);
    return mkdtemp(directory) ? 0 : -1;
}

static int free_all(void **state)
{
    char command[sizeof directory + 20];

    (void)state;
    free_party(&root);
    free_party(&intermediate);
    free_party(&server);
    free_party(&stranger);
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command);
}

/* ---- files */

#define PATH_SIZE (sizeof directory + 40)

static const char *path_of(const char *name)
{
    static char paths[64][PATH_SIZE]; /* more than a test uses */
    static size_t next;
    char *path = paths[next++ % 64];

    snprintf(path, PATH_SIZE, "%s/%s", directory, name);
    return path;
}

static const char *write_file(const char *name, const void *bytes, size_t size)
{
    const char *path = path_of(name);
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

static const char *write_bio(const char *name, BIO *bio)
{
    char *bytes;
    long size = BIO_get_mem_data(bio, &bytes);
    const char *path = write_file(name, bytes, (size_t)size);

    BIO_free(bio);
    return path;
}

static BIO *pem_of(const struct party *first, const struct party *second)
{
    BIO *bio = BIO_new(BIO_s_mem());

    PEM_write_bio_X509(bio, first->certificate);
    if (second)
        PEM_write_bio_X509(bio, second->certificate);
    return bio;
}

static const char *write_certificates(const char *name, const struct party *first,
                                      const struct party *second)
{
    return write_bio(name, pem_of(first, second));
}

/* passphrase NULL: not encrypted. */
static const char *write_key(const char *name, EVP_PKEY *key, bool traditional,
                             const char *passphrase)
{
    BIO *bio = BIO_new(BIO_s_mem());
    const EVP_CIPHER *cipher = passphrase ? EVP_aes_256_cbc() : NULL;
    int size = passphrase ? (int)strlen(passphrase) : 0;
    void *password = (void *)(uintptr_t)passphrase;

    if (traditional)
        PEM_write_bio_PrivateKey_traditional(bio, key, cipher, password, size, NULL, NULL);
    else
        PEM_write_bio_PKCS8PrivateKey(bio, key, cipher, password, size, NULL, NULL);
    return write_bio(name, bio);
}

static struct tls_files files_of(const char *cert, const char *key, const char *ca)
{
    return (struct tls_files){.cert_option = "tls-cert",
                              .cert_file = cert,
                              .key_option = "tls-key",
                              .key_file = key,
                              .ca_option = "client-ca",
                              .ca_file = ca};
}

static struct tls_material *read_good(const struct tls_files *files)
{
    struct tls_error error = {""};
    struct tls_material *material = tls_material_read(files, NULL, &error);

    if (!material)
        fail_msg("%s", error.text);
    return material;
}

static void expect_error(const struct tls_files *files, const char *words)
{
    struct tls_error error = {""};

    assert_null(tls_material_read(files, NULL, &error));
    if (!strstr(error.text, words))
        fail_msg("no \"%s\" in: %s", words, error.text);
    assert_int_equal(error.text[0], '-');
}

/* ---- what is taken */

static void a_chain_and_its_key(void **state)
{
    struct tls_files files = files_of(write_certificates("chain", &server, &intermediate),
                                      write_key("key", server.key, false, NULL),
                                      write_certificates("two", &root, &stranger));
    struct tls_material *material = read_good(&files);

    (void)state;
    assert_int_equal(X509_cmp(material->certificate, server.certificate), 0);
    assert_int_equal(sk_X509_num(material->chain), 1);
    assert_int_equal(EVP_PKEY_eq(material->key, server.key), 1);
    assert_int_equal(sk_X509_num(material->authorities), 2);
    tls_material_free(material);
    const struct tls_files none = files_of(NULL, NULL, NULL);
    tls_material_free(read_good(&none));
}

static void a_byte_order_mark(void **state)
{
    BIO *bio = BIO_new(BIO_s_mem());
    struct tls_files files = files_of(NULL, NULL, NULL);

    (void)state;
    BIO_write(bio, "\xef\xbb\xbf", 3);
    PEM_write_bio_X509(bio, root.certificate);
    files.ca_file = write_bio("bom", bio);
    tls_material_free(read_good(&files));
}

static void text_around_certificates(void **state)
{
    BIO *bio = BIO_new(BIO_s_mem());
    struct tls_files files = files_of(NULL, NULL, NULL);

    (void)state;
    BIO_puts(bio, "subject=CN = Root\n\n");
    PEM_write_bio_PrivateKey(bio, root.key, NULL, NULL, 0, NULL, NULL);
    PEM_write_bio_X509(bio, root.certificate);
    BIO_puts(bio, "# the end");
    files.ca_file = write_bio("text", bio);
    struct tls_material *material = read_good(&files);
    assert_int_equal(sk_X509_num(material->authorities), 1);
    tls_material_free(material);
}

static void encrypted_keys(void **state)
{
    char long_word[3000];

    (void)state;
    memset(long_word, 'x', sizeof long_word - 1);
    long_word[sizeof long_word - 1] = '\0';
    for (int traditional = 0; traditional < 2; traditional++) {
        struct tls_files files =
            files_of(write_certificates("cert", &server, NULL),
                     write_key("locked", server.key, traditional, "open sesame"), NULL);
        expect_error(&files, "is encrypted: give --tls-key-passphrase-file, or the passphrase in "
                             "TUNNEL_TLS_KEY_PASSPHRASE");
        files.passphrase = "open barley";
        expect_error(&files, "the passphrase does not decrypt it");
        files.passphrase = long_word;
        expect_error(&files, "longer than OpenSSL accepts");
        files.passphrase = "open sesame";
        tls_material_free(read_good(&files));
        files.passphrase = "open sesame\r\n";
        tls_material_free(read_good(&files));
        files.passphrase = NULL;
        files.passphrase_file = write_file("word", "open sesame\r\nsecond line\n", 25);
        tls_material_free(read_good(&files));
        files.passphrase_file = write_file("word", "\nopen sesame\n", 13);
        expect_error(&files, "--tls-key-passphrase-file: ");
        expect_error(&files, "has an empty first line");
        files.passphrase_file = write_file("word", "\xef\xbb\xbfopen sesame\n", 15);
        expect_error(&files, "byte order mark");
        files.passphrase_file = path_of("missing");
        expect_error(&files, "--tls-key-passphrase-file: ");
    }
}

/* ---- what is said of the others */

enum place { CERT, KEY, CA };

static void expect_as(enum place what, const char *path, const char *words)
{
    struct tls_files files =
        files_of(write_certificates("cert", &server, NULL),
                 write_key("key", server.key, false, NULL), write_certificates("ca", &root, NULL));

    if (what == CERT)
        files.cert_file = path;
    else if (what == KEY)
        files.key_file = path;
    else
        files.ca_file = path;
    expect_error(&files, words);
    expect_error(&files, path);
    expect_error(&files, what == CERT  ? "--tls-cert: "
                         : what == KEY ? "--tls-key: "
                                       : "--client-ca: ");
}

static void other_formats(void **state)
{
    BIO *bio = BIO_new(BIO_s_mem());
    PKCS12 *store =
        PKCS12_create("secret", "name", server.key, server.certificate, NULL, 0, 0, 0, 0, 0);
    PKCS7 *envelope = PKCS7_new();

    (void)state;
    i2d_PKCS12_bio(bio, store);
    PKCS12_free(store);
    const char *path = write_bio("server.p12", bio);
    expect_as(CERT, path, "is PKCS#12, but PEM is required: openssl pkcs12 -in FILE -nokeys");
    expect_as(CA, path, "is PKCS#12, but PEM is required: openssl pkcs12 -in FILE -nokeys");
    expect_as(KEY, path, "is PKCS#12, but PEM is required: openssl pkcs12 -in FILE -nocerts");

    bio = BIO_new(BIO_s_mem());
    i2d_X509_bio(bio, server.certificate);
    path = write_bio("server.der", bio);
    expect_as(CERT, path, "openssl x509 -inform DER -in FILE");
    expect_as(CA, path, "openssl x509 -inform DER -in FILE");
    expect_as(KEY, path, "is a certificate (DER)");

    bio = BIO_new(BIO_s_mem());
    i2d_PKCS8PrivateKey_bio(bio, server.key, NULL, NULL, 0, NULL, NULL);
    path = write_bio("key.der", bio);
    expect_as(KEY, path, "openssl pkey -inform DER -in FILE");
    expect_as(CERT, path, "is a private key (DER)");
    bio = BIO_new(BIO_s_mem());
    i2d_PKCS8PrivateKey_bio(bio, server.key, EVP_aes_256_cbc(), "secret", 6, NULL, NULL);
    expect_as(KEY, write_bio("locked.der", bio), "openssl pkey -inform DER -in FILE");

    PKCS7_set_type(envelope, NID_pkcs7_signed);
    PKCS7_content_new(envelope, NID_pkcs7_data);
    PKCS7_add_certificate(envelope, root.certificate);
    bio = BIO_new(BIO_s_mem());
    i2d_PKCS7_bio(bio, envelope);
    expect_as(CA, write_bio("root.p7b", bio), "openssl pkcs7 -inform DER -print_certs");
    bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS7(bio, envelope);
    expect_as(CA, write_bio("root.p7", bio), "openssl pkcs7 -print_certs");
    PKCS7_free(envelope);

    expect_as(CA, write_file("jks", "\xfe\xed\xfe\xed\0\0\0\2", 8), "keytool -importkeystore");
    expect_as(CERT, write_file("utf16", "\xff\xfe-\0-\0", 6), "UTF-16");
    expect_as(KEY, write_file("utf16", "-\0-\0-\0", 6), "UTF-16");
}

static void files_that_hold_something_else(void **state)
{
    static const char openssh[] = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n"
                                  "-----END OPENSSH PRIVATE KEY-----\n";
    static const char request[] = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"
                                  "-----END CERTIFICATE REQUEST-----\n";
    char *large = malloc((1 << 20) + 1);
    char *pem;

    (void)state;
    memset(large, '\n', (1 << 20) + 1);
    expect_as(CERT, write_key("key2", server.key, false, NULL), "did you swap two files?");
    expect_as(KEY, write_certificates("cert2", &server, NULL), "did you swap two files?");
    expect_as(KEY, write_key("other", stranger.key, false, NULL),
              "is not the private key of the (first) certificate in ");
    expect_as(KEY, write_file("ssh", openssh, sizeof openssh - 1), "ssh-keygen -p -m PEM");
    expect_as(CERT, write_file("csr", request, sizeof request - 1), "CSR");
    expect_as(CERT, write_file("none", "", 0), "is empty");
    expect_as(KEY, write_file("junk", "not a key\n", 10), "is not a private key in PEM");
    expect_as(CA, write_file("junk", "not a CA\n", 9), "is not a certificate in PEM");
    expect_as(CA, path_of("missing"), "cannot be read: No such file");
    expect_as(CA, directory, "is a directory");
    expect_as(CA, "/dev/null", "is neither a regular file nor a pipe");
    expect_as(CA, write_file("large", large, (1 << 20) + 1), "is larger than 1 MiB");
    free(large);
    /* Half of the second one is missing: no CA is left out in silence. */
    BIO *bio = pem_of(&root, &stranger);
    long size = BIO_get_mem_data(bio, &pem);
    expect_as(CA, write_file("cut", pem, (size_t)size - 100), "is damaged");
    BIO_free(bio);
}

/* ---- pipes */

struct writer {
    pthread_t thread;
    const char *path;
    char *bytes;
    size_t size;
};

static void *write_slowly(void *context)
{
    struct writer *writer = context;
    int fd = open(writer->path, O_WRONLY | O_CLOEXEC);
    size_t half = writer->size / 2;

    assert_int_equal(write(fd, writer->bytes, half), half);
    usleep(20000); /* so that it comes in two pieces */
    assert_int_equal(write(fd, writer->bytes + half, writer->size - half), writer->size - half);
    close(fd);
    return NULL;
}

static void pipes_are_read_once(void **state)
{
    const char *pipe = path_of("pipe");
    struct tls_files files = files_of(write_certificates("cert", &server, NULL),
                                      write_key("key", server.key, false, NULL), pipe);
    BIO *bio = pem_of(&root, &intermediate);
    struct writer writer = {.path = pipe};
    struct tls_error error = {""};

    (void)state;
    writer.size = (size_t)BIO_get_mem_data(bio, &writer.bytes);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(pthread_create(&writer.thread, NULL, write_slowly, &writer), 0);
    struct tls_material *first = read_good(&files);
    pthread_join(writer.thread, NULL);
    assert_int_equal(sk_X509_num(first->authorities), 2);
    /* Nobody writes the second time; the other files are read anew. */
    files.cert_file = write_certificates("cert", &root, NULL);
    files.key_file = write_key("key", root.key, false, NULL);
    struct tls_material *second = tls_material_read(&files, first, &error);
    assert_non_null(second);
    assert_true(tls_material_same_authorities(first, second));
    assert_false(tls_material_same_identity(first, second));
    tls_material_free(first);
    assert_int_equal(sk_X509_num(second->authorities), 2);
    tls_material_free(second);
    BIO_free(bio);
}

/* ---- what a client trusts */

static SSL *server_side(SSL_CTX **context)
{
    *context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(*context, server.certificate);
    SSL_CTX_use_PrivateKey(*context, server.key);
    SSL_CTX_add1_chain_cert(*context, intermediate.certificate);
    SSL *ssl = SSL_new(*context);
    SSL_set_accept_state(ssl);
    return ssl;
}

/* What OpenSSL says of the certificate of a server, when this is the CA file. */
static long verdict(const char *ca, const char *host)
{
    struct tls_files files = files_of(NULL, NULL, ca);
    struct tls_material *material = read_good(&files);
    struct tls_error error;
    SSL_CTX *client_context = tls_client_context(material, false, &error);
    SSL_CTX *server_context;
    SSL *there = server_side(&server_context);
    SSL *here = SSL_new(client_context);
    BIO *a, *b;

    tls_expect_peer(here, host);
    SSL_set_connect_state(here);
    BIO_new_bio_pair(&a, 0, &b, 0);
    SSL_set_bio(here, a, a);
    SSL_set_bio(there, b, b);
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(here);
        SSL_do_handshake(there);
    }
    long result = SSL_get_verify_result(here);
    assert_int_equal(SSL_is_init_finished(here), result == X509_V_OK);
    SSL_free(here);
    SSL_free(there);
    SSL_CTX_free(client_context);
    SSL_CTX_free(server_context);
    tls_material_free(material);
    return result;
}

static void what_is_trusted(void **state)
{
    (void)state;
    assert_int_equal(verdict(write_certificates("ca", &root, NULL), "localhost"), X509_V_OK);
    assert_int_equal(verdict(write_certificates("ca", &intermediate, NULL), "localhost"),
                     X509_V_OK);
    assert_int_equal(verdict(write_certificates("ca", &server, NULL), "localhost"), X509_V_OK);
    assert_int_not_equal(verdict(write_certificates("ca", &stranger, NULL), "localhost"),
                         X509_V_OK);
    assert_int_equal(verdict(write_certificates("ca", &root, NULL), "localhost."), X509_V_OK);
    assert_int_equal(verdict(write_certificates("ca", &root, NULL), "localhost.evil."),
                     X509_V_ERR_HOSTNAME_MISMATCH);
}

/* ---- files that are exchanged */

struct fixture {
    struct worker worker;
    struct log log;
    char logged[8 * LOG_LINE_MAX];
    unsigned used;
    bool refuses; /* what is read cannot be used */
    X509 *certificate;
};

static void keep_line(void *context, const char *line, size_t size)
{
    struct fixture *f = context;

    snprintf(f->logged + strlen(f->logged), sizeof f->logged - strlen(f->logged), "%.*s\n",
             (int)size, line);
}

static bool use(void *context, const struct tls_material *material, struct tls_error *error)
{
    struct fixture *f = context;

    if (f->refuses) {
        snprintf(error->text, sizeof error->text, "refused by the test");
        return false;
    }
    f->used++;
    f->certificate = material->certificate;
    event_base_loopbreak(f->worker.base);
    return true;
}

static void begin(struct fixture *f)
{
    struct log_settings settings = {
        .level = LOG_LEVEL_DEBUG, .format = LOG_FORMAT_JSON, .sink = keep_line, .sink_context = f};

    memset(f, 0, sizeof *f);
    log_init(&f->log, &settings);
    worker_init(&f->worker, &f->log, 1 << 20);
}

static void expect_reload(struct fixture *f, struct tls_keeper *keeper, unsigned renewed,
                          unsigned failed, const char *words)
{
    struct reload reload = {0};

    f->logged[0] = '\0';
    tls_keeper_reload(keeper, &reload);
    if (!strstr(f->logged, words))
        fail_msg("no \"%s\" in: %s", words, f->logged);
    assert_int_equal(reload.renewed, renewed);
    assert_int_equal(reload.failed, failed);
}

static void files_are_exchanged(void **state)
{
    struct fixture f;
    struct tls_error error;
    struct tls_files files =
        files_of(write_certificates("cert", &server, NULL),
                 write_key("key", server.key, false, NULL), write_certificates("ca", &root, NULL));

    (void)state;
    begin(&f);
    struct tls_keeper *keeper = tls_keeper_new(&f.worker, &files, use, &f, &error);
    assert_non_null(keeper);
    assert_int_equal(f.used, 1);
    assert_string_equal(f.logged, "");
    expect_reload(&f, keeper, 0, 0, "");
    write_certificates("ca", &root, &stranger);
    expect_reload(&f, keeper, 1, 0, "authorities_renewed");
    write_certificates("cert", &stranger, NULL);
    expect_reload(&f, keeper, 0, 1, "is not the private key");
    assert_int_equal(X509_cmp(f.certificate, server.certificate), 0);
    write_key("key", stranger.key, false, NULL);
    expect_reload(&f, keeper, 1, 0, "CN=Stranger");
    assert_non_null(strstr(f.logged, "valid_until"));
    assert_int_equal(X509_cmp(f.certificate, stranger.certificate), 0);
    f.refuses = true;
    expect_reload(&f, keeper, 0, 1, "refused by the test");
    f.refuses = false;
    write_file("ca", "junk", 4);
    expect_reload(&f, keeper, 0, 1, "is not a certificate in PEM");
    assert_int_equal(X509_cmp(f.certificate, stranger.certificate), 0);
    tls_keeper_free(keeper);
    worker_clear(&f.worker);
}

/* It is used, for what else is there; but whose fault it is stands in the log of who can mend it.
 */
static void a_certificate_that_has_expired(void **state)
{
    struct fixture f;
    struct tls_error error;
    struct party expired = make_party("Expired", NULL, false);

    (void)state;
    X509_gmtime_adj(X509_getm_notAfter(expired.certificate), -10);
    assert_true(X509_sign(expired.certificate, expired.key, EVP_sha256()) > 0);
    struct tls_files files = files_of(write_certificates("cert", &expired, NULL),
                                      write_key("key", expired.key, false, NULL), NULL);
    begin(&f);
    struct tls_keeper *keeper = tls_keeper_new(&f.worker, &files, use, &f, &error);
    assert_non_null(keeper);
    assert_int_equal(f.used, 1);
    assert_non_null(strstr(f.logged, "certificate_out_of_date"));
    assert_non_null(strstr(f.logged, "CN=Expired"));
    tls_keeper_free(keeper);
    worker_clear(&f.worker);
    free_party(&expired);
}

/* As Kubernetes exchanges a secret: a symbolic link leads elsewhere, with nobody being told. */
static void a_change_is_noticed(void **state)
{
    struct fixture f;
    struct tls_error error;
    const char *link = path_of("link");
    const char *next = path_of("link.next");
    struct tls_files files = files_of(NULL, NULL, link);
    const struct timeval patience = {20, 0};

    (void)state;
    begin(&f);
    write_certificates("ca1", &root, NULL);
    write_certificates("ca2", &stranger, NULL);
    assert_int_equal(symlink("ca1", link), 0);
    struct tls_keeper *keeper = tls_keeper_new(&f.worker, &files, use, &f, &error);
    assert_non_null(keeper);
    assert_int_equal(symlink("ca2", next), 0);
    assert_int_equal(rename(next, link), 0);
    event_base_loopexit(f.worker.base, &patience);
    event_base_dispatch(f.worker.base);
    assert_int_equal(f.used, 2);
    assert_non_null(strstr(f.logged, "authorities_renewed"));
    tls_keeper_free(keeper);
    worker_clear(&f.worker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_and_its_key),
        cmocka_unit_test(a_byte_order_mark),
        cmocka_unit_test(text_around_certificates),
        cmocka_unit_test(encrypted_keys),
        cmocka_unit_test(other_formats),
        cmocka_unit_test(files_that_hold_something_else),
        cmocka_unit_test(pipes_are_read_once),
        cmocka_unit_test(what_is_trusted),
        cmocka_unit_test(files_are_exchanged),
        cmocka_unit_test(a_certificate_that_has_expired),
        cmocka_unit_test(a_change_is_noticed),
    };

    return cmocka_run_group_tests(tests, make_all, free_all);
}

#include "listener_ca.h"

#include <stdio.h>
#include <stdlib.h>

#include "listeners/local_ca.h"

/* Each client family, and what it has instead of a file of CAs in its configuration. FILE stands
 * for the certificate's path. */
static const struct {
    const char *family;
    const char *setting;
    const char *then; /* another line; NULL: there is none */
} families[] = {
    {"Java", "ssl.truststore.type=PEM", "ssl.truststore.location=%s"},
    {"librdkafka (C, Python's confluent-kafka, .NET, Rust)", "ssl.ca.location=%s", NULL},
    {"kafka-python", "ssl_cafile=\"%s\"", NULL},
    {"aiokafka", "ssl_context=ssl.create_default_context(cafile=\"%s\")", NULL},
    {"Go (franz-go, Sarama, kafka-go)",
     "tls.Config{RootCAs: pool}, where pool.AppendCertsFromPEM has got the contents of", "%s"},
    {"Node (kafkajs), in its environment", "NODE_EXTRA_CA_CERTS=%s", NULL},
};

static void print_line(const char *format, const char *file)
{
    const char *at = format;

    printf("#     ");
    for (; *at; at++) {
        if (at[0] == '%' && at[1] == 's') {
            fputs(file, stdout);
            at++;
        } else {
            putchar(*at);
        }
    }
    putchar('\n');
}

static void print_settings(const char *file)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        printf("# %s:\n", families[i].family);
        print_line(families[i].setting, file);
        if (families[i].then)
            print_line(families[i].then, file);
    }
}

static void print_authority(const struct local_ca *ca)
{
    struct tls_certificate_text text;
    char fingerprint[TLS_FINGERPRINT_SIZE];
    char names[1000];
    char *pem = tls_authority_write_certificate(&ca->authority);

    tls_certificate_describe(ca->authority.certificate, &text);
    tls_authority_fingerprint(&ca->authority, fingerprint);
    tls_authority_describe(&ca->authority, names, sizeof names);
    printf("# The local CA of tunnel-client's listeners (--listener-tls)\n"
           "# file:        %s\n"
           "# private key: %s\n"
           "# subject:     %s\n"
           "# valid until: %s\n"
           "# SHA-256:     %s\n"
           "# vouches for: %s, and for nothing else\n"
           "#\n"
           "# Set a client's security.protocol to SSL, or to SASL_SSL if it logs in, and let it "
           "trust this CA:\n",
           ca->file, ca->key_file, text.subject, text.until, fingerprint, names);
    print_settings(ca->file);
    fputs(pem, stdout);
    free(pem);
}

int listener_ca_print(const struct options *options)
{
    const struct listener_tls_settings settings = options_listener_tls(options);
    struct local_ca ca;
    char error[1500];

    if (!local_ca_open(&ca, settings.state_directory, &settings.names, time(NULL), error,
                       sizeof error)) {
        fprintf(stderr, "tunnel-client: %s\n", error);
        return 1;
    }
    print_authority(&ca);
    tls_authority_clear(&ca.authority);
    return fflush(stdout) == 0 ? 0 : 1;
}

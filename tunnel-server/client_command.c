#include "client_command.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "config/input.h"

/* Listeners for the further clusters are so far apart. */
enum { FIRST_PORT = 9092, PORT_STEP = 100, LISTED_MAX = 8 };

#define PLAIN_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"

/* Whether a shell and a terminal take it as it stands. */
static bool is_plain_word(const char *text, size_t size)
{
    return size > 0 && text[0] != '-' && strspn(text, PLAIN_CHARACTERS) >= size;
}

/* The name of a file as it may be called on another machine. */
static const char *file_name(const char *path, const char *otherwise)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;

    return is_plain_word(name, strlen(name)) ? name : otherwise;
}

static X509 *read_leaf(const char *path)
{
    /* What was in a pipe is gone, and opening it would wait for another writer. */
    FILE *file = input_is_pipe(path) ? NULL : fopen(path, "re");

    if (!file)
        return NULL;
    X509 *leaf = PEM_read_X509_AUX(file, NULL, NULL, NULL);
    ERR_clear_error();
    fclose(file);
    return leaf;
}

/* The first DNS name that is one machine's; false: there is none. */
static bool name_of_certificate(const X509 *leaf, char *name, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    bool found = false;

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
        const GENERAL_NAME *at = sk_GENERAL_NAME_value(names, i);
        if (at->type != GEN_DNS)
            continue;
        const char *text = (const char *)ASN1_STRING_get0_data(at->d.dNSName);
        size_t length = (size_t)ASN1_STRING_length(at->d.dNSName);
        found = length < size && is_plain_word(text, length) && memchr(text, '\0', length) == NULL;
        if (found)
            snprintf(name, size, "%.*s", (int)length, text);
    }
    GENERAL_NAMES_free(names);
    return found;
}

static void write_url(const struct options *options, const X509 *leaf, unsigned port,
                      struct text *out)
{
    const struct address *listen = &options->listen_address;
    char name[256] = "HOST";
    char address[ADDRESS_TEXT_MAX];
    struct socket_address parsed;
    bool any = strcmp(listen->host, "0.0.0.0") == 0 || strcmp(listen->host, "::") == 0;
    bool loopback = socket_parse(listen->host, 0, &parsed) && socket_is_loopback(&parsed);
    bool named = leaf && name_of_certificate(leaf, name, sizeof name);

    if (!options->tls_cert && !loopback) {
        /* An ingress has the certificate, and a port of its own. */
        text_string(out, "https://HOST");
    } else {
        if (!named && !any)
            snprintf(name, sizeof name, "%s", listen->host);
        address_format(name, (uint16_t)port, address);
        text_format(out, "%s://%s", options->tls_cert ? "https" : "http", address);
    }
    if (strcmp(options->path, "/tunnel") != 0)
        text_string(out, is_plain_word(options->path + 1, strlen(options->path + 1)) ? options->path
                                                                                     : "/PATH");
}

static void write_listeners(const struct options *options, struct text *out)
{
    bool usual = options->cluster_count == 1 && options->target_count == 0 &&
                 strcmp(options->clusters[0].name, ADDRESS_DEFAULT_CLUSTER) == 0;
    unsigned port = FIRST_PORT;

    for (size_t i = 0; i < options->cluster_count && i < LISTED_MAX && !usual; i++) {
        const char *name = options->clusters[i].name;
        bool is_default = strcmp(name, ADDRESS_DEFAULT_CLUSTER) == 0;
        text_format(out, " --kafka %s%s%u", is_default ? "" : name, is_default ? "" : "=", port);
        port += PORT_STEP;
    }
    for (size_t i = 0; i < options->target_count && i < LISTED_MAX; i++)
        text_format(out, " --tcp %s=%u", options->targets[i].name,
                    options->targets[i].address.port);
}

void client_command_write(const struct options *options, unsigned port, struct text *out)
{
    X509 *leaf = options->tls_cert ? read_leaf(options->tls_cert) : NULL;

    text_string(out, "tunnel-client --server ");
    write_url(options, leaf, port, out);
    /* Its own authority: nobody trusts it unless told to. */
    if (leaf && X509_check_issued(leaf, leaf) == X509_V_OK)
        text_format(out, " --ca %s", file_name(options->tls_cert, "server.pem"));
    if (options->client_ca)
        text_string(out, " --cert client.pem --key client.key");
    else if (options->token_file || options->oidc_issuer || options->trust_ingress)
        text_string(out, " --token-file token");
    write_listeners(options, out);
    X509_free(leaf);
}

#include "tls/system_authorities.h"

#include <dirent.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 512 };

static const char *const BUNDLES[] = {
    "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Alpine, Arch */
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* Fedora, RHEL, Amazon Linux */
    "/etc/pki/tls/certs/ca-bundle.crt",                  /* older ones of these */
    "/etc/ssl/ca-bundle.pem",                            /* openSUSE */
    "/etc/ssl/cert.pem",                                 /* macOS, OpenBSD, FreeBSD */
};

static bool is_readable(const char *root, const char *path)
{
    char whole[PATH_SIZE];

    return snprintf(whole, sizeof whole, "%s%s", root, path) < PATH_SIZE &&
           access(whole, R_OK) == 0;
}

/* Certificates under the hashes of their names (openssl rehash): 1d3472b9.0 */
static bool has_hashed(const char *root, const char *path)
{
    char whole[PATH_SIZE];
    bool found = false;

    if (snprintf(whole, sizeof whole, "%s%s", root, path) >= PATH_SIZE)
        return false;
    DIR *directory = opendir(whole);
    for (const struct dirent *entry; directory && !found && (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.');
        found = dot == entry->d_name + 8 && strspn(dot + 1, "0123456789") == strlen(dot + 1);
    }
    if (directory)
        closedir(directory);
    return found;
}

/* Whether somebody has said where they are, or they are where OpenSSL looks. */
static bool openssl_has_some(const char *root)
{
    return getenv(X509_get_default_cert_file_env()) || getenv(X509_get_default_cert_dir_env()) ||
           is_readable(root, X509_get_default_cert_file()) ||
           has_hashed(root, X509_get_default_cert_dir());
}

const char *system_authorities_load(SSL_CTX *context, const char *root)
{
    const char *taken = NULL;
    char whole[PATH_SIZE];

    SSL_CTX_set_default_verify_paths(context);
    if (openssl_has_some(root))
        return NULL;
    for (size_t i = 0; !taken && i < sizeof BUNDLES / sizeof *BUNDLES; i++) {
        if (snprintf(whole, sizeof whole, "%s%s", root, BUNDLES[i]) < PATH_SIZE &&
            SSL_CTX_load_verify_locations(context, whole, NULL) == 1)
            taken = BUNDLES[i];
    }
    ERR_clear_error();
    return taken;
}

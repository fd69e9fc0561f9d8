#include "tls/system_authorities.h"

#include <dirent.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

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

/* ---- a file that is read when an issuer is found nowhere else */

struct unread_bundle {
    X509_LOOKUP_METHOD *method; /* its own, and ends with it */
    atomic_bool is_read;
    char *path;
};

static void read_bundle(X509_LOOKUP *lookup, struct unread_bundle *bundle)
{
    if (atomic_load(&bundle->is_read))
        return;
    ERR_set_mark();
    X509_load_cert_crl_file(lookup, bundle->path, X509_FILETYPE_PEM);
    ERR_pop_to_mark();
    atomic_store(&bundle->is_read, true);
}

/* Who asks counts one reference too many (X509_LOOKUP_meth_new(3), NOTES): the one that is set
 * here. */
static bool show_found(const X509_OBJECT *object, X509_OBJECT *found)
{
    X509 *certificate = X509_OBJECT_get0_X509(object);
    X509_CRL *revoked = X509_OBJECT_get0_X509_CRL(object);

    if (certificate && X509_OBJECT_set1_X509(found, certificate)) {
        X509_free(certificate);
        return true;
    }
    if (revoked && X509_OBJECT_set1_X509_CRL(found, revoked)) {
        X509_CRL_free(revoked);
        return true;
    }
    return false;
}

/* Called for certificates that the store does not have, and for each list of revoked ones. Threads
 * share a context: to read the file twice does no harm, and what another thread has just read is
 * looked for again. */
static int find_in_bundle(X509_LOOKUP *lookup, X509_LOOKUP_TYPE type, const X509_NAME *name,
                          X509_OBJECT *found)
{
    X509_STORE *store = X509_LOOKUP_get_store(lookup);

    read_bundle(lookup, X509_LOOKUP_get_method_data(lookup));
    X509_STORE_lock(store);
    const X509_OBJECT *object =
        X509_OBJECT_retrieve_by_subject(X509_STORE_get0_objects(store), type, name);
    bool set = object && show_found(object, found);
    X509_STORE_unlock(store);
    return set;
}

static void free_bundle(X509_LOOKUP *lookup)
{
    struct unread_bundle *bundle = X509_LOOKUP_get_method_data(lookup);

    X509_LOOKUP_meth_free(bundle->method);
    free(bundle->path);
    free(bundle);
}

static void add_unread_bundle(X509_STORE *store, const char *path)
{
    struct unread_bundle *bundle = memory_new(sizeof *bundle);
    X509_LOOKUP_METHOD *method = X509_LOOKUP_meth_new("a file of authorities");
    X509_LOOKUP *lookup = NULL;

    if (method && X509_LOOKUP_meth_set_get_by_subject(method, find_in_bundle) &&
        X509_LOOKUP_meth_set_free(method, free_bundle))
        lookup = X509_STORE_add_lookup(store, method);
    if (!lookup)
        abort();
    bundle->method = method;
    bundle->path = memory_text(path);
    X509_LOOKUP_set_method_data(lookup, bundle);
}

/* As SSL_CTX_set_default_verify_paths(), which reads the file at once. */
static void use_openssl_paths(SSL_CTX *context)
{
    const char *file = getenv(X509_get_default_cert_file_env());

    SSL_CTX_set_default_verify_dir(context);
    SSL_CTX_set_default_verify_store(context);
    add_unread_bundle(SSL_CTX_get_cert_store(context), file ? file : X509_get_default_cert_file());
    ERR_clear_error();
}

const char *system_authorities_load(SSL_CTX *context, const char *root)
{
    const char *taken = NULL;
    char whole[PATH_SIZE];

    use_openssl_paths(context);
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

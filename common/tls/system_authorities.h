/*
 * The authorities that the system trusts.
 *
 * OpenSSL looks where it was built to look. A program that is linked with an OpenSSL of its own
 * runs on systems that keep them elsewhere, each distribution in one file.
 */
#pragma once

#include <openssl/ssl.h>

/*
 * Where OpenSSL looks (SSL_CERT_FILE and SSL_CERT_DIR included), and where there is nothing, in the
 * first of the known files that there is. OpenSSL's own file is only read when an issuer is found
 * nowhere else: its 140 certificates take 1.5 MB, and whoever has an authority of their own, or a
 * directory with these certificates, never needs them.
 * root is "" but for tests: what comes before each path.
 * Returns the file that was taken; NULL: OpenSSL has its own, or nobody has any.
 */
const char *system_authorities_load(SSL_CTX *context, const char *root);

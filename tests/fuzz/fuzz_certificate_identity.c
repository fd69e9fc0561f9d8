/*
 * The identity in a client's certificate: whole, printable, and the same each time; or a reason.
 * Input: a byte that says where it comes from, then the certificate (DER).
 */
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdint.h>
#include <string.h>

#include "../../tunnel-server/authentication/certificate_identity.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char identity[2][HTTP_IDENTITY_MAX];

    if (size == 0)
        return 0;
    enum identity_from from = (enum identity_from)(data[0] % 4);
    const unsigned char *der = data + 1;
    X509 *certificate = d2i_X509(NULL, &der, (long)(size - 1));
    ERR_clear_error();
    if (!certificate)
        return 0;
    memset(identity, 0xff, sizeof identity);
    const char *why = certificate_identity(certificate, from, identity[0]);
    CHECK(certificate_identity(certificate, from, identity[1]) == why);
    CHECK(ERR_peek_error() == 0);
    if (!why) {
        const char *end = memchr(identity[0], '\0', sizeof identity[0]);
        CHECK(end && identity_check(identity[0], (size_t)(end - identity[0])) == NULL);
        CHECK(strcmp(identity[0], identity[1]) == 0);
    }
    X509_free(certificate);
    return 0;
}

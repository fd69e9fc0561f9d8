/*
 * Who a client certificate is for. TLS has verified the certificate; what it says is still what
 * somebody else wrote.
 *
 * Certificates of different subjects have different identities. A subject is written as RFC 2253
 * has it, the most specific part first and with everything escaped that could be taken for
 * something else: CN=alice\, admin,O=Example. Letters beyond ASCII stand as UTF-8.
 */
#pragma once

#include <openssl/x509.h>

#include "identity.h"

/* --identity-from, in the order of its words. */
enum identity_from {
    IDENTITY_FROM_SUBJECT,
    IDENTITY_FROM_SAN_URI, /* SPIFFE */
    IDENTITY_FROM_SAN_DNS,
    IDENTITY_FROM_SAN_EMAIL,
};

/* NULL, and the identity is filled in. Or the reason why there is none: a static sentence part that
 * follows "the client certificate", with the option that may help. */
const char *certificate_identity(X509 *certificate, enum identity_from from,
                                 char identity[HTTP_IDENTITY_MAX]);

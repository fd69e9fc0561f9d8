/*
 * Who may open a tunnel, and who that is.
 *
 * Sources that may say who a client is; all that are configured must say yes:
 *
 *     --token-file      the token is one of the file's; its name, if it has one, says who
 *     --oidc-issuer     or it is one that the issuer has signed; its claims say who (oidc/oidc.h)
 *     --client-ca       TLS has verified the certificate (http/server.h); it says who,
 *                       as --identity-from has it (certificate_identity.h)
 *     --trust-ingress   exactly one header --identity-header, which says who
 *
 * The first two are one source: tokens. None beats another. A token with a name is for the one whom
 * the certificate or the header names and for nobody else; one without a name is for whoever they
 * name. With --trust-ingress a certificate is that of the ingress, for it is the ingress whose
 * connection this is: it must be there, and says nothing of the client. With --trust-ingress
 * optional a header that is not there says nothing, but one that is malformed is refused. Whoever
 * is named by nothing is "anonymous".
 */
#pragma once

#include "http/server.h"
#include "io/reload.h"
#include "options.h"
#include "rule_choices.h"

/* The identity of whoever is named by nothing. */
#define ACCESS_ANONYMOUS "anonymous"

struct access;

struct access_owner {
    /* Grants have ended: of clients that are in, those whose grant is not good any more have to go.
     */
    void (*ended)(void *context);
    /* Other tokens are in force, whose users may have other rules. */
    void (*renewed)(void *context);
};

/* NULL: error holds a sentence. options must live as long. */
struct access *access_new(struct worker *worker, const struct options *options,
                          const struct access_owner *owner, void *context, char *error,
                          size_t size);
/* NULL is fine. */
void access_free(struct access *access);

/* Which rules users have by name, without a reference; until renewed(). NULL: none has. */
struct rule_choices *access_choices(const struct access *access);

/* Reads the token file and the issuer's keys again now. */
void access_reload(struct access *access, struct reload *reload);

/* As struct http_server_owner's authorize(). Nothing of what was presented is kept. The pass is a
 * struct grant with a reference, or NULL. */
int access_authorize(struct access *access, const struct http_upgrade *upgrade,
                     struct http_admission *admission);

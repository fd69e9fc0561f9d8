/*
 * --oidc-issuer: logins with tokens that an OpenID provider has signed for somebody, such as a CI
 * job. The provider's keys are found as it says (OpenID Connect Discovery 1.0, 4), kept, and looked
 * at again every ten minutes; sooner if a token names a key that nobody knows, but then not more
 * often than every ten seconds, whoever sends what.
 *
 * A token is judged at once, by the keys that there are. As long as there are none, or a look that
 * may bring the missing one is under way, it is told to come back in a second.
 */
#pragma once

#include "http/server.h"
#include "io/reload.h"
#include "io/worker.h"
#include "oidc/claims.h"

struct oidc_settings {
    struct claims_rules rules; /* its issuer is an URL that oidc_check_issuer() has seen */
    const struct tls_policy *policy;
    const char *ca_file;   /* beside the system's CAs; NULL: none */
    const char *ca_option; /* its name, without -- */
};

enum oidc_verdict {
    OIDC_ADMITTED, /* identity and until are filled in */
    OIDC_REFUSED,  /* reason says why */
    OIDC_LATER,    /* reason says what it waits for */
};

struct oidc_answer {
    char identity[HTTP_IDENTITY_MAX];
    int64_t until; /* seconds since 1970, when the token is over */
    char reason[CLAIMS_REASON_MAX];
};

struct oidc;

/* NULL, or what is wrong with an issuer's URL, a sentence part. */
const char *oidc_check_issuer(const char *url);

/* Begins to ask for the keys. NULL: error holds a sentence. What settings point at must live as
 * long. */
struct oidc *oidc_new(struct worker *worker, const struct oidc_settings *settings, char *error,
                      size_t size);
/* NULL is fine. */
void oidc_free(struct oidc *oidc);
/* Reads the CAs again, and asks for the keys. */
void oidc_reload(struct oidc *oidc, struct reload *reload);

/* Nothing of the token is kept. */
enum oidc_verdict oidc_judge(struct oidc *oidc, const char *token, size_t size,
                             struct oidc_answer *answer);

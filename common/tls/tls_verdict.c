#include "tls/tls_verdict.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static bool names_its_issuers_certificate(const X509 *certificate)
{
    AUTHORITY_INFO_ACCESS *access = X509_get_ext_d2i(certificate, NID_info_access, NULL, NULL);
    bool found = false;

    for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(access); i++)
        if (OBJ_obj2nid(sk_ACCESS_DESCRIPTION_value(access, i)->method) == NID_ad_ca_issuers)
            found = true;
    AUTHORITY_INFO_ACCESS_free(access);
    return found;
}

void tls_verdict_note(struct tls_verdict *verdict, X509_STORE_CTX *store)
{
    const X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    const STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(store);

    *verdict = (struct tls_verdict){
        .error = X509_STORE_CTX_get_error(store),
        .depth = X509_STORE_CTX_get_error_depth(store),
        .sent = sent ? sk_X509_num(sent) : 0,
    };
    if (!certificate)
        return;
    tls_certificate_describe(certificate, &verdict->certificate);
    verdict->is_public = names_its_issuers_certificate(certificate);
}

static void explain_dates(const struct tls_verdict *verdict, const char *whose, time_t now,
                          char *text, size_t size)
{
    const struct tls_certificate_text *at = &verdict->certificate;
    char what[60];
    char today[32] = "?";
    struct tm utc;

    snprintf(what, sizeof what,
             verdict->depth == 0 ? "the %s's certificate" : "a CA's certificate in the %s's chain",
             whose);
    if (gmtime_r(&now, &utc))
        strftime(today, sizeof today, "%Y-%m-%d", &utc);
    if (verdict->error == X509_V_ERR_CERT_NOT_YET_VALID)
        snprintf(text, size,
                 "%s (%s, issued by %s) is not valid before %s; check this machine's clock: it "
                 "says that today is %s",
                 what, at->subject, at->issuer, at->from, today);
    else
        snprintf(text, size,
                 "%s (%s, issued by %s) has expired: it was valid until %s; it must be renewed, "
                 "unless this machine's clock is wrong: it says that today is %s",
                 what, at->subject, at->issuer, at->until, today);
}

void tls_verdict_explain(const struct tls_verdict *verdict, const char *whose,
                         const char *ca_option, time_t now, char *text, size_t size)
{
    const struct tls_certificate_text *at = &verdict->certificate;
    bool alone = verdict->depth == 0 && verdict->sent <= 1;

    switch (verdict->error) {
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
        explain_dates(verdict, whose, now, text, size);
        return;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        snprintf(text, size,
                 "the %s's certificate (%s) is self-signed, and not one that %s names; if it is "
                 "the right one, name its file there; otherwise, something in between intercepts "
                 "TLS",
                 whose, at->subject, ca_option);
        return;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        if (alone && verdict->is_public)
            snprintf(
                text, size,
                "the %s does not send its intermediate certificate: %s was issued by %s, which is "
                "not a trusted CA; its certificate file must also contain that intermediate "
                "certificate, after its own. Until then, a file with it in %s helps",
                whose, at->subject, at->issuer, ca_option);
        else if (alone)
            snprintf(text, size,
                     "the %s's certificate (%s, issued by %s) is not trusted: the issuer is not a "
                     "trusted CA, and its certificate is not sent. If it is your own CA, name its "
                     "file with %s; if it is an intermediate CA, the %s must send its certificate; "
                     "if it is neither, something in between intercepts TLS",
                     whose, at->subject, at->issuer, ca_option, whose);
        else
            snprintf(text, size,
                     "the %s's certificate is not trusted: its chain ends at %s, issued by %s, "
                     "which is not a trusted CA. If it is your own CA, name its file with %s; "
                     "otherwise, something in between intercepts TLS",
                     whose, at->subject, at->issuer, ca_option);
        return;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        snprintf(text, size,
                 "the %s's certificate is not trusted: its chain ends at %s, which is not a "
                 "trusted CA. If it is your own CA, name its file with %s; otherwise, something in "
                 "between intercepts TLS",
                 whose, at->subject, ca_option);
        return;
    case X509_V_ERR_CERT_REVOKED:
        snprintf(text, size, "the certificate of %s in the %s's chain has been revoked by %s",
                 at->subject, whose, at->issuer);
        return;
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_CRL_HAS_EXPIRED:
        snprintf(text, size,
                 "the %s's certificate is not trusted: there is no %s of %s in the file of revoked "
                 "certificates, so %s may have been revoked",
                 whose, verdict->error == X509_V_ERR_UNABLE_TO_GET_CRL ? "list" : "current list",
                 at->issuer, at->subject);
        return;
    default:
        snprintf(text, size, "the %s's certificate (%s, issued by %s) is not trusted: %s", whose,
                 at->subject, at->issuer, X509_verify_cert_error_string(verdict->error));
    }
}

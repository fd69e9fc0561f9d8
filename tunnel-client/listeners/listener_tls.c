#include "listeners/listener_tls.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "io/timer.h"
#include "io/tls_keeper.h"
#include "listeners/local_ca.h"

/* How often the age of what the local CA has issued is looked at. The clock may be set, and the
 * machine sleep. */
enum { LOOK_MS = 3600 * 1000 };

struct listener_tls {
    struct worker *worker;
    struct listener_tls_settings settings;
    struct tls_keeper *keeper;        /* of the files */
    const struct tls_material *files; /* the keeper's */
    struct tls_authority authority;   /* the local CA; NULL members: files have the certificate */
    struct tls_material *issued;      /* by the local CA; NULL: see there */
    SSL_CTX *contexts[LISTENER_SECURE + 1]; /* by enum listener_security; none for plain */
    struct timer *renewal;
    char **names; /* all that it issues for, beside loopback: the settings', then those added */
    size_t name_count;
    bool lacks_names; /* the present certificate does not have all of them */
};

static time_t clock_of(const struct listener_tls *tls)
{
    return tls->settings.now ? tls->settings.now() : time(NULL);
}

/* ---- contexts */

static void drop_contexts(SSL_CTX *contexts[LISTENER_SECURE + 1])
{
    for (size_t i = 0; i <= LISTENER_SECURE; i++)
        SSL_CTX_free(contexts[i]);
}

/* With files' authorities, and the certificate of files or of the local CA. */
static bool make_contexts(struct listener_tls *tls, const struct tls_material *files,
                          const struct tls_material *issued, struct tls_error *error)
{
    SSL_CTX *contexts[LISTENER_SECURE + 1] = {NULL};
    struct tls_material used = issued ? *issued : *files;

    used.authorities = files->authorities;
    used.revoked = files->revoked;
    used.policy = files->policy;
    for (enum listener_security i = LISTENER_EITHER; i <= LISTENER_SECURE; i++) {
        contexts[i] = tls_listener_context(&used, i == LISTENER_SECURE, error);
        if (contexts[i])
            continue;
        drop_contexts(contexts);
        return false;
    }
    drop_contexts(tls->contexts);
    memcpy(tls->contexts, contexts, sizeof contexts);
    return true;
}

SSL_CTX *listener_tls_context(const struct listener_tls *tls, enum listener_security security)
{
    return tls->contexts[security];
}

const X509 *listener_tls_certificate(const struct listener_tls *tls)
{
    return tls->issued ? tls->issued->certificate : tls->files->certificate;
}

bool listener_tls_is_issued(const struct listener_tls *tls)
{
    return tls->issued != NULL;
}

/* ---- the local CA */

static void say_issued(const struct listener_tls *tls, bool renewed)
{
    struct tls_certificate_text text;

    tls_certificate_describe(tls->issued->certificate, &text);
    const struct log_field fields[] = {log_str("issuer", text.issuer),
                                       log_str("valid_until", text.until)};
    if (renewed)
        log_event(tls->worker->log, LOG_LEVEL_INFO, "listener_certificate_renewed",
                  "The local CA has issued a new certificate for the listeners", fields, 2);
    else
        log_event(tls->worker->log, LOG_LEVEL_INFO, "listener_certificate",
                  "The listeners for Kafka speak TLS with a certificate of the local CA; "
                  "`tunnel-client listener-ca` says how clients trust it",
                  fields, 2);
}

static struct tls_material *issue(const struct listener_tls *tls)
{
    const struct tls_authority_names names = {(const char *const *)tls->names, tls->name_count};

    return tls_authority_issue(&tls->authority, &names, clock_of(tls));
}

static void renew_issued(struct listener_tls *tls)
{
    time_t now = clock_of(tls);
    struct tls_certificate_text text;
    struct tls_error error;

    if (!tls->lacks_names && !tls_issued_is_due(tls->issued->certificate, now))
        return;
    if (tls_has_expired(tls->authority.certificate, now)) {
        tls_certificate_describe(tls->authority.certificate, &text);
        log_error(tls->worker->log, "listener_ca_expired",
                  "The local CA for --listener-tls has expired, so clients refuse its "
                  "certificates: remove its files (tunnel-client listener-ca names them), restart, "
                  "and tell clients to trust the new CA",
                  log_str("subject", text.subject), log_str("valid_until", text.until));
        return;
    }
    struct tls_material *issued = issue(tls);
    if (!make_contexts(tls, tls->files, issued, &error)) {
        log_error(tls->worker->log, "listener_certificate_failed",
                  "A new certificate of the local CA cannot be used for the listeners; the old one "
                  "stays until the next try",
                  log_str("reason", error.text));
        tls_material_free(issued);
        return;
    }
    tls_material_free(tls->issued);
    tls->issued = issued;
    tls->lacks_names = false;
    say_issued(tls, true);
}

static void on_renewal(void *argument)
{
    renew_issued(argument);
}

static bool open_local_ca(struct listener_tls *tls, char *error, size_t size)
{
    const struct listener_tls_settings *settings = &tls->settings;
    struct local_ca ca;

    if (!local_ca_open(&ca, tls->settings.state_directory, &tls->settings.names, clock_of(tls),
                       error, size))
        return false;
    tls->authority = ca.authority;
    if (ca.made)
        log_info(tls->worker->log, "listener_ca_made",
                 "A local CA was made for the listeners; `tunnel-client listener-ca` says how "
                 "clients trust it",
                 log_str("file", ca.file));
    tls->names =
        memory_new_array(settings->names.count + LISTENER_TLS_MORE_NAMES_MAX, sizeof *tls->names);
    for (size_t i = 0; i < settings->names.count; i++)
        tls->names[tls->name_count++] = memory_text(settings->names.names[i]);
    tls->issued = issue(tls);
    tls->renewal = timer_new(tls->worker, on_renewal, tls);
    timer_repeat_ms(tls->renewal, LOOK_MS);
    return true;
}

/* ---- more names */

static bool is_among_names(const struct listener_tls *tls, const char *name)
{
    for (size_t i = 0; i < tls->name_count; i++)
        if (strcasecmp(tls->names[i], name) == 0)
            return true;
    return false;
}

bool listener_tls_add_name(struct listener_tls *tls, const char *name)
{
    const struct tls_authority_names one = {&name, 1};

    if (!tls->issued)
        return X509_check_host(tls->files->certificate, name, 0, 0, NULL) == 1 ||
               X509_check_ip_asc(tls->files->certificate, name, 0) == 1;
    if (is_among_names(tls, name))
        return true;
    if (tls->name_count == tls->settings.names.count + LISTENER_TLS_MORE_NAMES_MAX ||
        tls_authority_lacks(&tls->authority, &one))
        return false;
    tls->names[tls->name_count++] = memory_text(name);
    tls->lacks_names = true;
    return true;
}

void listener_tls_renew(struct listener_tls *tls)
{
    if (tls->lacks_names)
        renew_issued(tls);
}

/* ---- life */

static bool use_listener_files(void *context, const struct tls_material *material,
                               struct tls_error *error)
{
    struct listener_tls *tls = context;

    if (!make_contexts(tls, material, tls->issued, error))
        return false;
    tls->files = material;
    return true;
}

void listener_tls_reload(struct listener_tls *tls, struct reload *reload)
{
    if (tls)
        tls_keeper_reload(tls->keeper, reload);
}

void listener_tls_free(struct listener_tls *tls)
{
    if (!tls)
        return;
    tls_keeper_free(tls->keeper);
    timer_free(tls->renewal);
    drop_contexts(tls->contexts);
    tls_material_free(tls->issued);
    for (size_t i = 0; i < tls->name_count; i++)
        free(tls->names[i]);
    free(tls->names);
    tls_authority_clear(&tls->authority);
    free(tls);
}

struct listener_tls *listener_tls_new(struct worker *worker,
                                      const struct listener_tls_settings *settings, char *error,
                                      size_t size)
{
    struct listener_tls *tls = memory_new(sizeof *tls);
    struct tls_error why;

    tls->worker = worker;
    tls->settings = *settings;
    if (!settings->files.cert_file && !open_local_ca(tls, error, size)) {
        listener_tls_free(tls);
        return NULL;
    }
    tls->keeper = tls_keeper_new(worker, &settings->files, use_listener_files, tls, &why);
    if (!tls->keeper) {
        snprintf(error, size, "%s", why.text);
        listener_tls_free(tls);
        return NULL;
    }
    if (tls->issued)
        say_issued(tls, false);
    return tls;
}

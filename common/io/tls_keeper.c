#include "io/tls_keeper.h"

#include <stdlib.h>

#include "base/memory.h"
#include "io/file_watch.h"

struct tls_keeper {
    struct worker *worker;
    struct tls_files files;
    struct tls_material *material;
    tls_keeper_use use;
    void *context;
    struct file_watch *watch;
};

/* ---- what is said */

static void say_certificate(const struct tls_keeper *keeper, bool renewed)
{
    struct tls_certificate_text text;
    const struct tls_files *files = &keeper->files;

    if (!keeper->material->certificate)
        return;
    tls_certificate_describe(keeper->material->certificate, &text);
    const struct log_field fields[] = {
        log_str("option", files->cert_option), log_str("file", files->cert_file),
        log_str("subject", text.subject),      log_str("issuer", text.issuer),
        log_str("valid_from", text.from),      log_str("valid_until", text.until)};
    if (renewed)
        log_event(keeper->worker->log, LOG_LEVEL_INFO, "certificate_renewed",
                  "A certificate was read again; new connections get the new one", fields,
                  sizeof fields / sizeof fields[0]);
    if (!tls_certificate_is_current(keeper->material->certificate))
        log_event(keeper->worker->log, LOG_LEVEL_WARNING, "certificate_out_of_date",
                  "A certificate is not valid now, and others will refuse it", fields,
                  sizeof fields / sizeof fields[0]);
}

static void say_authorities(const struct tls_keeper *keeper)
{
    const STACK_OF(X509) *all = keeper->material->authorities;

    log_info(keeper->worker->log, "authorities_renewed",
             "CA certificates were read again; new connections are checked with them",
             log_str("option", keeper->files.ca_option), log_str("file", keeper->files.ca_file),
             log_i64("certificates", all ? sk_X509_num(all) : 0));
}

/* Whatever says that it is out of date is refused by OpenSSL, with all that it would vouch for. */
static void say_revoked(const struct tls_keeper *keeper, bool renewed)
{
    const STACK_OF(X509_CRL) *all = keeper->material->revoked;
    const struct tls_files *files = &keeper->files;

    if (renewed)
        log_info(keeper->worker->log, "crl_renewed",
                 "Lists of revoked certificates were read again; new connections are checked with "
                 "them",
                 log_str("option", files->crl_option), log_str("file", files->crl_file),
                 log_i64("lists", all ? sk_X509_CRL_num(all) : 0));
    if (tls_material_revoked_is_old(keeper->material))
        log_warning(keeper->worker->log, "crl_out_of_date",
                    "A list of revoked certificates says that there is a newer one; certificates "
                    "of its CA are refused until that is here",
                    log_str("option", files->crl_option), log_str("file", files->crl_file));
}

static void say_unusable(const struct tls_keeper *keeper, const struct tls_error *error)
{
    log_error(keeper->worker->log, "certificate_unusable",
              "New certificates or keys cannot be used; the old ones stay in force",
              log_str("reason", error->text));
}

/* ---- reading */

void tls_keeper_reload(struct tls_keeper *keeper, struct reload *reload)
{
    struct tls_error error;

    if (!keeper)
        return;
    file_watch_reset(keeper->watch);
    struct tls_material *old = keeper->material;
    struct tls_material *new = tls_material_read(&keeper->files, old, &error);
    /* In any case: the system's CAs, which are read with them, may have changed. */
    if (!new || !keeper->use(keeper->context, new, &error)) {
        tls_material_free(new);
        say_unusable(keeper, &error);
        reload->failed++;
        return;
    }
    keeper->material = new;
    if (!tls_material_same_identity(old, new)) {
        say_certificate(keeper, true);
        reload->renewed++;
    }
    if (!tls_material_same_authorities(old, new)) {
        say_authorities(keeper);
        reload->renewed++;
    }
    if (!tls_material_same_revoked(old, new)) {
        say_revoked(keeper, true);
        reload->renewed++;
    }
    tls_material_free(old);
}

static void on_tls_files_changed(void *context)
{
    struct reload reload = {0};

    tls_keeper_reload(context, &reload);
}

/* ---- life */

struct tls_keeper *tls_keeper_new(struct worker *worker, const struct tls_files *files,
                                  tls_keeper_use use, void *context, struct tls_error *error)
{
    struct tls_keeper *keeper = memory_new(sizeof *keeper);
    const char *const paths[] = {files->cert_file, files->key_file, files->passphrase_file,
                                 files->ca_file, files->crl_file};

    *keeper =
        (struct tls_keeper){.worker = worker, .files = *files, .use = use, .context = context};
    keeper->watch =
        file_watch_new(worker, paths, sizeof paths / sizeof paths[0], on_tls_files_changed, keeper);
    keeper->material = tls_material_read(files, NULL, error);
    if (!keeper->material || !use(context, keeper->material, error)) {
        tls_keeper_free(keeper);
        return NULL;
    }
    say_certificate(keeper, false);
    say_revoked(keeper, false);
    return keeper;
}

void tls_keeper_free(struct tls_keeper *keeper)
{
    if (!keeper)
        return;
    file_watch_free(keeper->watch);
    tls_material_free(keeper->material);
    free(keeper);
}

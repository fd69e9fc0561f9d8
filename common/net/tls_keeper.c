#include "net/tls_keeper.h"

#include <stdlib.h>
#include <string.h>

#include "config/file_stamp.h"
#include "config/input.h"

enum { LOOK_S = 2, FILES_MAX = 4 };

struct watched {
    const char *path;
    struct file_stamp read; /* when it was last read, well or not */
    struct file_stamp seen; /* at the last look */
};

struct tls_keeper {
    struct worker *worker;
    struct tls_files files;
    struct tls_material *material;
    tls_keeper_use use;
    void *context;
    struct event *look;
    struct watched watched[FILES_MAX];
    size_t watched_count;
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
             "CA certificates were read again; new connections are checked by them",
             log_str("option", keeper->files.ca_option), log_str("file", keeper->files.ca_file),
             log_i64("certificates", all ? sk_X509_num(all) : 0));
}

static void say_unusable(const struct tls_keeper *keeper, const struct tls_error *error)
{
    log_error(keeper->worker->log, "certificate_unusable",
              "New certificates or keys cannot be used; the old ones stay in force",
              log_str("reason", error->text));
}

/* ---- reading */

static void note_stamps(struct tls_keeper *keeper)
{
    for (size_t i = 0; i < keeper->watched_count; i++) {
        struct watched *watched = &keeper->watched[i];
        file_stamp_take(watched->path, &watched->read);
        watched->seen = watched->read;
    }
}

void tls_keeper_reload(struct tls_keeper *keeper, struct reload *reload)
{
    struct tls_error error;

    if (!keeper)
        return;
    /* Before the files are read: a change in between is then noticed at the next look. */
    note_stamps(keeper);
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
    tls_material_free(old);
}

/* Whether a file has changed since it was read, and none since the last look: files that belong
 * together are not written in one moment. */
static bool has_settled(struct tls_keeper *keeper)
{
    bool changed = false;
    bool settled = true;

    for (size_t i = 0; i < keeper->watched_count; i++) {
        struct watched *watched = &keeper->watched[i];
        struct file_stamp now;
        file_stamp_take(watched->path, &now);
        changed = changed || !file_stamp_equal(&now, &watched->read);
        settled = settled && file_stamp_equal(&now, &watched->seen);
        watched->seen = now;
    }
    return changed && settled;
}

static void on_look(evutil_socket_t fd, short what, void *argument)
{
    struct tls_keeper *keeper = argument;
    struct reload reload = {0};

    (void)fd;
    (void)what;
    if (has_settled(keeper))
        tls_keeper_reload(keeper, &reload);
}

/* ---- life */

/* A pipe is read once. */
static void watch(struct tls_keeper *keeper, const char *path)
{
    if (path && !input_is_pipe(path))
        keeper->watched[keeper->watched_count++].path = path;
}

struct tls_keeper *tls_keeper_new(struct worker *worker, const struct tls_files *files,
                                  tls_keeper_use use, void *context, struct tls_error *error)
{
    struct tls_keeper *keeper = calloc(1, sizeof *keeper);
    const struct timeval pause = {LOOK_S, 0};

    if (!keeper)
        abort();
    *keeper =
        (struct tls_keeper){.worker = worker, .files = *files, .use = use, .context = context};
    watch(keeper, files->cert_file);
    watch(keeper, files->key_file);
    watch(keeper, files->passphrase_file);
    watch(keeper, files->ca_file);
    note_stamps(keeper);
    keeper->material = tls_material_read(files, NULL, error);
    if (!keeper->material || !use(context, keeper->material, error)) {
        tls_keeper_free(keeper);
        return NULL;
    }
    say_certificate(keeper, false);
    if (keeper->watched_count == 0)
        return keeper;
    keeper->look = event_new(worker->base, -1, EV_PERSIST, on_look, keeper);
    if (!keeper->look)
        abort();
    event_add(keeper->look, &pause);
    return keeper;
}

void tls_keeper_free(struct tls_keeper *keeper)
{
    if (!keeper)
        return;
    if (keeper->look)
        event_free(keeper->look);
    tls_material_free(keeper->material);
    free(keeper);
}

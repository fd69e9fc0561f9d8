#include "broker_login/login_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "config/secret.h"
#include "io/timer.h"

enum { LOOK_S = 2, ERROR_MAX = SECRET_ERROR_MAX + 300 };

struct login_file {
    struct worker *worker;
    struct login_file_settings settings;
    login_file_use use;
    void *context;
    struct login_book *book;
    struct login_sources *sources; /* of the book */
    struct timer *look;
    char said[ERROR_MAX]; /* the error that was said last; "": the file is good */
};

/* false: why holds a sentence. */
static bool check_book(const struct login_file *file, const struct login_book *book,
                       char why[ERROR_MAX - 20])
{
    const char *exposed = login_book_exposed(book);
    const struct login_rule *command = login_book_command(book);
    char text[ERROR_MAX - 320];

    if (exposed && !secret_is_guarded(exposed, true, file->settings.strict, why))
        return false;
    if (!command || file->settings.may_execute)
        return true;
    rule_file_say(&command->head,
                  "names a command, but none did when the server started, so that it has given up "
                  "executing programs; restart it",
                  text, sizeof text);
    snprintf(why, ERROR_MAX - 20, "%.250s %s", file->settings.path, text);
    return false;
}

/* The book and its sources, which do not ask yet. */
static struct login_book *read_book(const struct login_file *file, struct login_sources **sources,
                                    char error[ERROR_MAX])
{
    char why[ERROR_MAX - 20];
    struct login_book *book =
        login_book_read(file->settings.path, &file->settings.clusters, file->book, why, sizeof why);

    *sources = book && check_book(file, book, why)
                   ? login_sources_new(file->worker, &file->settings.sources, book, why, sizeof why)
                   : NULL;
    if (*sources)
        return book;
    login_book_release(book);
    snprintf(error, ERROR_MAX, "--kafka-login: %s", why);
    return NULL;
}

static void warn_if_exposed(const struct login_file *file)
{
    const char *exposed = login_book_exposed(file->book);

    if (exposed)
        log_warning(file->worker->log, "login_secret_exposed",
                    "Every user of this machine may read or write what --kafka-login or a file "
                    "that it names decides or keeps secret: chmod 600",
                    log_str("file", exposed));
}

/* false: what there was stays. again: commands and endpoints are asked in any case. */
static bool take_book(struct login_file *file, bool again)
{
    char error[ERROR_MAX];
    struct login_sources *sources;
    struct login_book *book = read_book(file, &sources, error);

    if (!book) {
        if (strcmp(error, file->said) != 0)
            log_error(file->worker->log, "logins_unreadable",
                      "The file with logins for brokers cannot be used; the old logins stay in "
                      "force",
                      log_str("reason", error), log_u64("rules", login_book_count(file->book)));
        snprintf(file->said, sizeof file->said, "%s", error);
        return false;
    }
    login_sources_begin(sources, file->sources, again);
    login_sources_free(file->sources);
    file->sources = sources;
    login_book_release(file->book);
    file->book = book;
    file->said[0] = '\0';
    file->use(file->context, book);
    return true;
}

static void note_taken(const struct login_file *file)
{
    log_info(file->worker->log, "logins_read",
             "The logins for brokers have changed and were read again",
             log_u64("rules", login_book_count(file->book)));
    warn_if_exposed(file);
}

/* While the file is of no use, what is in force may have changed as well, and stays. */
static void on_login_look(void *argument)
{
    struct login_file *file = argument;

    if ((file->said[0] || login_book_has_changed(file->book)) && take_book(file, false))
        note_taken(file);
}

void login_file_reload(struct login_file *file, struct reload *reload)
{
    if (!file)
        return;
    bool changed = file->said[0] || login_book_has_changed(file->book);

    if (!take_book(file, true)) {
        reload->failed++;
    } else if (changed) {
        reload->renewed++;
        note_taken(file);
    }
}

struct login_book *login_file_book(const struct login_file *file)
{
    return file->book;
}

void login_file_refused(struct login_file *file, const struct login_book *book, size_t place)
{
    login_sources_refused(file->sources, book, place);
}

bool login_file_runs_commands(const char *path)
{
    return login_book_names_command(path);
}

struct login_file *login_file_new(struct worker *worker, const struct login_file_settings *settings,
                                  login_file_use use, void *context, char *error, size_t size)
{
    struct login_file *file = memory_new(sizeof *file);
    char why[ERROR_MAX];

    *file = (struct login_file){
        .worker = worker, .settings = *settings, .use = use, .context = context};
    file->book = read_book(file, &file->sources, why);
    if (!file->book) {
        snprintf(error, size, "%s", why);
        free(file);
        return NULL;
    }
    warn_if_exposed(file);
    login_sources_begin(file->sources, NULL, true);
    file->look = timer_new(worker, on_login_look, file);
    timer_repeat_ms(file->look, LOOK_S * 1000);
    return file;
}

void login_file_free(struct login_file *file)
{
    if (!file)
        return;
    timer_free(file->look);
    login_sources_free(file->sources);
    login_book_release(file->book);
    free(file);
}

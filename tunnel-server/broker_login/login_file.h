/*
 * --kafka-login, followed while the program runs: the file, and those that it names.
 *
 * What is new counts for connections that begin from then on. A file that cannot be used as a whole
 * leaves in force what there was, which is said once for each error. What it names beside files,
 * commands and token endpoints, is asked meanwhile (login_sources.h).
 */
#pragma once

#include "broker_login/login_book.h"
#include "broker_login/login_sources.h"
#include "io/reload.h"
#include "io/worker.h"

/* book is in force now; whoever keeps it takes a reference. */
typedef void (*login_file_use)(void *context, struct login_book *book);

struct login_file;

struct login_file_settings {
    const char *path;
    bool strict;      /* not if it names a secret that others may read or write */
    bool may_execute; /* else a file that names a command cannot be used */
    struct login_clusters clusters;
    struct login_sources_settings sources;
};

/* Reads the file, and calls use later whenever there is another book. NULL: error holds a sentence.
 * What settings point at must live as long. */
struct login_file *login_file_new(struct worker *worker, const struct login_file_settings *settings,
                                  login_file_use use, void *context, char *error, size_t size);
/* NULL is fine. */
void login_file_free(struct login_file *file);
/* Reads it again in any case. NULL is fine. */
void login_file_reload(struct login_file *file, struct reload *reload);

struct login_book *login_file_book(const struct login_file *file);
/* A broker has refused what the rule at that place of the book has for a secret. */
void login_file_refused(struct login_file *file, const struct login_book *book, size_t place);
/* Whether a process that begins must be able to execute programs, for a rule of the file names a
 * command. */
bool login_file_runs_commands(const char *path);

/*
 * --kafka-login, followed while the program runs: the file, and those that it names.
 *
 * What is new counts for connections that begin from then on. A file that cannot be used as a whole
 * leaves in force what there was, which is said once for each error.
 */
#pragma once

#include "broker_login/login_book.h"
#include "io/reload.h"
#include "io/worker.h"

/* book is in force now; whoever keeps it takes a reference. */
typedef void (*login_file_use)(void *context, struct login_book *book);

struct login_file;

/* Reads the file, and calls use later whenever there is another book. strict: not if it names a
 * secret that others may read or write. NULL: error holds a sentence. path must live as long. */
struct login_file *login_file_new(struct worker *worker, const char *path, bool strict,
                                  const struct login_clusters *clusters, login_file_use use,
                                  void *context, char *error, size_t size);
/* NULL is fine. */
void login_file_free(struct login_file *file);
/* Reads it again in any case. NULL is fine. */
void login_file_reload(struct login_file *file, struct reload *reload);

struct login_book *login_file_book(const struct login_file *file);

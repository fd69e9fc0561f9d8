/*
 * Certificates, keys and authorities that are exchanged while the program runs: the files are read
 * again when one of them has changed, and when somebody asks. What is new is for new connections;
 * those there are go on. Files that cannot be used leave in force what there was.
 */
#pragma once

#include "io/reload.h"
#include "io/worker.h"
#include "tls/tls_files.h"

/*
 * Takes material into use, which lives until the next call. false: it cannot be used, error says
 * why, and what was there before stays in use.
 */
typedef bool (*tls_keeper_use)(void *context, const struct tls_material *material,
                               struct tls_error *error);

struct tls_keeper;

/* Reads the files and calls use. NULL: error says why not. files' texts must live as long. */
struct tls_keeper *tls_keeper_new(struct worker *worker, const struct tls_files *files,
                                  tls_keeper_use use, void *context, struct tls_error *error);
/* NULL is fine. */
void tls_keeper_free(struct tls_keeper *keeper);

/* Reads the files again now, and logs what has changed or what is wrong. NULL is fine. */
void tls_keeper_reload(struct tls_keeper *keeper, struct reload *reload);

/*
 * --access: the rules of who may do what (access_rules.h), followed while the program runs.
 *
 * New rules count at once, also for sessions and connections that there are. A file that cannot be
 * used as a whole leaves the old rules in force; that is said once for each change of the file.
 */
#pragma once

#include "authorization/access_rules.h"
#include "io/reload.h"
#include "io/worker.h"
#include "options.h"

struct access_file;

/* Other rules are in force, without a reference. */
typedef void (*access_file_use)(void *context, struct access_rules *rules);

/* Reads the file. choices: NULL, or which rules users have by name. NULL: error holds a sentence.
 * options must live as long. */
struct access_file *access_file_new(struct worker *worker, const struct options *options,
                                    struct rule_choices *choices, access_file_use use,
                                    void *context, char *error, size_t size);
/* NULL is fine for both. */
void access_file_free(struct access_file *file);
/* Reads the file again now. */
void access_file_reload(struct access_file *file, struct reload *reload);

/* From now on these users have rules by name; NULL: nobody. */
void access_file_choose(struct access_file *file, struct rule_choices *choices);

/* Those in force, without a reference. */
struct access_rules *access_file_rules(const struct access_file *file);

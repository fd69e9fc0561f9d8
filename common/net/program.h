/*
 * What both programs do around their work: options, log, worker, signals, the end.
 */
#pragma once

#include "config/shared.h"
#include "net/worker.h"

struct program {
    const char *name;
    struct config config;
    struct log log;
    struct worker worker;
};

/*
 * Loads options into target (zeroed) and sets up log and worker. false: *exit_code says how to
 * exit; what there is to say (help, version, a usage error) has been printed.
 */
bool program_begin(struct program *program, const struct config_program *description, void *target,
                   const struct shared_options *shared, int argc, char **argv, char **environment,
                   int *exit_code);
void program_end(struct program *program);

/* Prints a usage error and returns the exit code for it, 2. */
int program_usage(const struct program *program, const char *error);

/* Runs the loop until SIGTERM or SIGINT (returns its number), or program_stop() (returns 0). */
int program_run(struct worker *worker);
void program_stop(struct worker *worker);
/* Runs on until done() says so, at most for timeout_ms. */
void program_linger(struct worker *worker, unsigned timeout_ms, bool (*done)(void *context),
                    void *context);

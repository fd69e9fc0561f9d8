/*
 * What both programs do around their work: options, log, worker, signals, the end.
 *
 * The room program/ is what a process owes its system, whatever it is for: signals, the terminal,
 * the service manager, limits.
 */
#pragma once

#include "config/shared.h"
#include "io/reload.h"
#include "io/worker.h"

struct inherited;
struct notify;

/* How a start went, and the exit code for it. */
enum program_start {
    PROGRAM_GOES = 0,
    PROGRAM_FAILED = 1, /* the system refuses something: another time it may go */
    PROGRAM_USAGE = 2,  /* something in the options cannot be used, a file that they name, say */
};

/* What its program gives to the work. */
struct program_context {
    struct worker *worker;
    struct notify *notify;             /* the service manager; NULL: there is none (notify.h) */
    const struct inherited *inherited; /* for the processes that the work starts (inherited.h) */
};

/* What a program is made of. */
struct program_parts {
    const struct config_program *description;
    void *options;                 /* as description says, zeroed; it stays the caller's */
    struct shared_options *shared; /* in options */
    void *work;                    /* passed to the functions below; uninitialized */

    /* Checks what was loaded into options. false: error holds a sentence, a usage error. */
    bool (*check)(void *options, char *error, size_t size);
    /* What a command wants instead of the program's work. true: that is done, *exit_code says what
     * to exit with. NULL: there are no such commands. */
    bool (*instead)(const void *options, struct worker *worker, int *exit_code);
    /* PROGRAM_GOES, or what to exit with; then error holds a sentence. free() is called anyway. */
    enum program_start (*start)(void *work, const struct program_context *context,
                                const void *options, char *error, size_t size);
    /* Reads the files that options name again (SIGHUP), and logs what has changed. */
    void (*reload)(void *work, struct reload *reload);
    /* The program will stop after a while (--stop-delay): it is not ready any more, and serves on.
     */
    void (*leave)(void *work);
    /* Takes on nothing new and lets what is under way come to its end; the loop runs on until
     * stopped() is true, for --drain-timeout at the most. */
    void (*drain)(void *work);
    /* Cuts what is left and says goodbye; the loop runs on for a moment, until stopped() is true.
     */
    void (*stop)(void *work);
    bool (*stopped)(const void *work);
    void (*free)(void *work);

    /* For work that passes signals on and ends by itself, with worker_end(); NULL otherwise.
     * Whether it is so: then SIGQUIT, SIGUSR1 and SIGUSR2 are caught too, SIGHUP is one of them,
     * and what is ignored stays so. */
    bool (*passes_signals)(const void *options);
    /* A signal, if passes_signals(). true: it is dealt with, the program goes on. */
    bool (*signalled)(void *work, int number, bool from_terminal);
    /* What to exit with after the work. */
    int (*exit_code)(const void *work);
};

/*
 * Loads the options, starts, runs until SIGTERM, SIGINT, the terminal's end (program/hangup.h) or
 * worker_end(), drains, stops. Returns the exit code; what there is to say about it has been
 * printed or logged.
 */
int program_main(const struct program_parts *parts, int argc, char **argv);

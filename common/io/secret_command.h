/*
 * A command of the user's that prints a secret: a token or a password. It is run by /bin/sh in a
 * session of its own without a terminal, with /dev/null as standard input and no descriptor of
 * ours; the first line of its standard output is the secret. What it writes to standard error goes
 * to the log, with what could be a secret left out.
 *
 * It ends by itself within its time, or is killed with its process group. Nothing waits for it but
 * the event loop.
 */
#pragma once

#include "io/worker.h"

struct secret_command_settings {
    const char *command;      /* for sh -c */
    char *const *environment; /* ends in NULL */
    /* Entries of it that the command is not told: secrets that only this program needs. NULL: it is
     * told all. */
    bool (*is_hidden)(const char *entry);
    const char *named_by;   /* begins reasons: "--token-command" */
    const char *time_limit; /* what sets its time, for a reason: " (--dial-timeout)"; "": nothing */
    const char *what;       /* it prints: "token", "password" */
    /* Why the line, trimmed, can be none: secret_check_token, or secret_check_line. */
    const char *(*check)(const char *line, size_t size);
};

struct secret_result {
    const char *secret; /* NULL: there is none. Until the callback returns, then it is wiped */
    const char *reason; /* without a secret: what is wrong, and what to do about it */
};

typedef void (*secret_command_callback)(void *context, const struct secret_result *result);

struct secret_command;

/* time_limit, what and functions must live as long; the rest is copied. One run at a time. */
struct secret_command *secret_command_new(struct worker *worker,
                                          const struct secret_command_settings *settings);
/* A run that is under way is cancelled. NULL is fine. */
void secret_command_free(struct secret_command *command);

/* Answers later, once, never from inside this call. */
void secret_command_start(struct secret_command *command, unsigned timeout_ms,
                          secret_command_callback callback, void *context);
/* Kills what runs; the callback does not come. Nothing may be running. */
void secret_command_cancel(struct secret_command *command);

/*
 * --token-command: a program of the user's that prints a token. It is run by /bin/sh in a session
 * of its own without a terminal, with /dev/null as standard input and no descriptor of ours; the
 * first line of its standard output is the token. What it writes to standard error goes to the log,
 * with what could be a secret left out.
 *
 * It ends by itself within its time, or is killed with its process group. Nothing waits for it but
 * the event loop.
 */
#pragma once

#include "credentials/token.h"
#include "io/worker.h"

struct token_command;

/*
 * command: for sh -c. environment: ends in NULL. Both are copied. One run at a time.
 */
struct token_command *token_command_new(struct worker *worker, const char *command,
                                        char *const *environment);
/* A run that is under way is cancelled. NULL is fine. */
void token_command_free(struct token_command *command);

/* Answers later, once, never from inside this call. */
void token_command_start(struct token_command *command, unsigned timeout_ms,
                         token_callback callback, void *context);
/* Kills what runs; the callback does not come. Nothing may be running. */
void token_command_cancel(struct token_command *command);

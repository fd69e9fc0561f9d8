/*
 * What a person at a terminal sees beside the log: how the client is set up, a line that shows that
 * it is connecting and is rewritten in place, and a line when the link is up. Lines of the log get
 * a short time.
 *
 * Only if standard error is a terminal and the log is text; the log is as it always is otherwise.
 */
#pragma once

#include "listeners/ports.h"
#include "options.h"

struct terminal;

/*
 * Takes over where the log is written, and without --log-level leaves out what it shows itself.
 * NULL: standard error is no terminal; all functions below take it and do nothing.
 */
struct terminal *terminal_new(struct worker *worker, const struct options *options);
/* The log is written as before. */
void terminal_free(struct terminal *terminal);

/* How the client is set up; ports are open. */
void terminal_summary(struct terminal *terminal, const struct ports *ports);
void terminal_connecting(struct terminal *terminal);
/* announced: the server has said that it is about to stop; otherwise the log says what there is. */
void terminal_lost(struct terminal *terminal, bool announced);
/* Why an attempt failed, for the line in place: without the server, which is there already, and
 * without what to do, which the log has. */
void terminal_shorten(const char *hop, const char *reason, const char *server, char *out,
                      size_t size);
/* reason: why the last attempt failed. */
void terminal_failed(struct terminal *terminal, const char *hop, const char *reason);
/* how: the protection of the link. */
void terminal_up(struct terminal *terminal, const char *how, bool resumed);
/* Takes the line away: somebody else writes to the terminal from now on. */
void terminal_quiet(struct terminal *terminal);

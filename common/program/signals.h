/*
 * Signals as calls from the loop, and who has sent them: a terminal sends Ctrl-C to every process
 * in its foreground at once, so that it must not be passed on to another one of them. (libevent's
 * signal events do not tell the sender.)
 *
 * One object in a process at a time.
 */
#pragma once

#include "io/worker.h"

typedef void (*signals_callback)(void *context, int number, bool from_terminal);

struct signals;

/* keep_ignored: signals that are ignored (nohup, a shell's &) stay so. NULL: errno says why. */
struct signals *signals_new(struct worker *worker, const int *numbers, size_t count,
                            bool keep_ignored, signals_callback callback, void *context);
/* Where the system does not say who has sent a signal: whether it is one that a terminal sends, and
 * this process is in its foreground. Async-signal-safe. */
bool signals_terminal_may_have_sent(int number);
/* What the signals did before, they do again. */
void signals_free(struct signals *signals);

/*
 * What the filter of system calls refuses (CALL_FILTER_ALONE): the caller gets an error, and the
 * log a line. Linux.
 */
#pragma once

#include "io/worker.h"

/* To be called before the filter is installed. The log's lines end with the worker; what is refused
 * fails with an error all the same. false: there is no pipe for it. */
bool call_refusals_watch(struct worker *worker);

/* The command `wait`: asks a client's status page (GET /readyz) until it says that it is ready. */
#pragma once

#include "io/worker.h"
#include "options.h"

/* Runs the loop until then, --max at the most. Returns the exit code; a failure has been printed.
 */
int wait_until_ready(struct worker *worker, const struct options *options);

/* The command `hosts`: asks the server for the names of the brokers, and prints where a
 * tunnel-client that keeps them lets them lead. */
#pragma once

#include "io/worker.h"
#include "options.h"

/* Returns the exit code. */
int hosts_print(struct worker *worker, const struct options *options);

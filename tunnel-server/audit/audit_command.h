/* tunnel-server audit verify FILE...: whether records are all there and unchanged. */
#pragma once

#include "options.h"

/* NULL, or what is wrong with the command's arguments and options. */
const char *audit_command_check(const struct options *options);
/* Prints what it finds. Returns the exit code: 0 all is in order, 1 it is not, 2 a file cannot be
 * read. */
int audit_command_run(const struct options *options);

/* The command `token`: makes a token, or takes one that there is, and prints its line for
 * --token-file, which holds a digest in place of the token. */
#pragma once

#include "options.h"

/* NULL, or what is wrong with the command's options, after the name of the one that is in *option.
 */
const char *token_maker_check(const struct options *options, const char **option);
/* Returns the exit code; a failure has been printed. */
int token_maker_run(const struct options *options);

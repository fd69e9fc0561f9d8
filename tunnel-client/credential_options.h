/* The options that say who the client is: whether they fit together, and what they mean. */
#pragma once

#include "options.h"

/* After options->url is there; fills in options->token_url. false: error holds a sentence without
 * any secret. */
bool credential_options_check(struct options *options, char *error, size_t size);

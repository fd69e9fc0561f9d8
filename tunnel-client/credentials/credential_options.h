/* The options that say who the client is: whether they fit together, and what they mean. */
#pragma once

#include "options.h"

/* After options->url is there; fills in options->token_url. false: error holds a sentence without
 * any secret. */
bool credential_options_check(struct options *options, char *error, size_t size);

/* Why these bytes, trimmed, cannot be presented as a token: secret_check_token(), and what would
 * end the quoted string that Snowflake's scheme puts it in. NULL: they can. */
const char *credential_options_check_token(const struct options *options, const char *token,
                                           size_t size);

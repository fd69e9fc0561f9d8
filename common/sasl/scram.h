/* SCRAM (RFC 5802): exchange.c's rounds of it. */
#pragma once

#include "sasl/types.h"

/* client-first-message into the exchange's message. */
enum sasl_step sasl_scram_first(struct sasl_exchange *exchange, const char *nonce);
/* server-first-message comes, client-final-message goes. */
enum sasl_step sasl_scram_final(struct sasl_exchange *exchange, const char *answer, size_t size);
/* server-final-message. */
enum sasl_step sasl_scram_verify(struct sasl_exchange *exchange, const char *answer, size_t size);

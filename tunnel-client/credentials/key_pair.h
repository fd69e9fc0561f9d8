/*
 * Tokens by key-pair authentication at Snowflake: for each one the private key is read, a JWT made
 * of it, and exchanged at the account's token endpoint (snowflake_jwt.h, snowflake_answer.h).
 *
 * Each dial gets a token of its own. The last one is kept for the case that the endpoint cannot be
 * reached: then it is given once more, as long as it is good for a minute.
 */
#pragma once

#include "credentials/token.h"
#include "http/way.h"
#include "io/worker.h"
#include "options.h"

struct key_pair;

/*
 * NULL: the key cannot be read; error holds a sentence. options and way must live as long as it.
 */
struct key_pair *key_pair_new(struct worker *worker, struct http_way *way,
                              const struct options *options, char *error, size_t size);
/* What is under way is cancelled. NULL is fine. */
void key_pair_free(struct key_pair *pair);

/* Whether the files hold a key now. false: error holds a sentence. */
bool key_pair_check(const struct key_pair *pair, char *error, size_t size);
/* Answers once, later or from inside this call; one question at a time. */
void key_pair_ask(struct key_pair *pair, unsigned timeout_ms, token_callback callback,
                  void *context);
/* The callback does not come. Nothing may be under way. */
void key_pair_cancel(struct key_pair *pair);
/* The service did not take the last token: it is not used again. */
void key_pair_forget(struct key_pair *pair);

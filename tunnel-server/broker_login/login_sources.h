/*
 * When the secrets of a login book are asked for that are in no file (login_source.h): when the
 * book comes into force, some time before a token is over, and when a broker has refused one; not
 * for each connection. Who does not answer is asked again after pauses that grow, and what there
 * was stays in use meanwhile.
 *
 * All of it is home's: the worker that has the file.
 */
#pragma once

#include "broker_login/login_book.h"
#include "io/worker.h"
#include "tls/tls_policy.h"

struct login_sources;

struct login_sources_settings {
    const struct tls_policy *policy;      /* on the way to token endpoints */
    bool (*is_hidden)(const char *entry); /* from commands (io/secret_command.h) */
};

/* Of the book, of which it takes a reference. Nothing is asked yet. NULL: error holds a sentence.
 */
struct login_sources *login_sources_new(struct worker *worker,
                                        const struct login_sources_settings *settings,
                                        struct login_book *book, char *error, size_t size);
/* Cancels what is under way. NULL is fine. */
void login_sources_free(struct login_sources *sources);

/* Puts secrets of the book before into this one, where they are the same, and asks for the others;
 * with again, for all. To be called once, before the book comes into force. before: NULL is fine;
 * it is to be freed then. */
void login_sources_begin(struct login_sources *sources, const struct login_sources *before,
                         bool again);
/* A broker has refused the secret that the rule at that place of the book has. */
void login_sources_refused(struct login_sources *sources, const struct login_book *book,
                           size_t place);

/* When to ask again for a token that lasts so long; random: any 16 bits. In milliseconds. */
uint64_t login_sources_renewal_ms(int64_t lasts_s, uint16_t random);
/* The pause after so many failures in a row. */
uint64_t login_sources_pause_ms(unsigned failures, uint16_t random);

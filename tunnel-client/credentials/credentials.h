/*
 * What a dial says of who we are: the header fields of --header, and Authorization with a token
 * from the one source that is configured: --token, --token-file, --token-command, or a key pair.
 *
 * It is asked before every dial. The answer comes later or at once, within --dial-timeout.
 */
#pragma once

#include "http/way.h"
#include "io/reload.h"
#include "io/worker.h"
#include "options.h"

struct credentials_result {
    /* "Name: value", NULL at the end, until the callback returns; then they are wiped. NULL: there
     * is no token. */
    const char *const *headers;
    /* Without headers: */
    const char *hop; /* "auth", or where the way to who gives out tokens ended */
    int status;
    const char *reason; /* what is wrong, and what to do about it */
    bool refused;       /* asking again soon is of no use */
};

typedef void (*credentials_callback)(void *context, const struct credentials_result *result);

struct credentials;

/* Reads the files once, to see that there is a token or key in them, though each dial reads them
 * anew. NULL: there is none; error holds a sentence. options and way must live as long as it. */
struct credentials *credentials_new(struct worker *worker, struct http_way *way,
                                    const struct options *options, char *error, size_t size);
/* A question that is under way is cancelled. NULL is fine. */
void credentials_free(struct credentials *credentials);

/* One question at a time; answers once, from inside this call or later. */
void credentials_ask(struct credentials *credentials, credentials_callback callback, void *context);
/* The callback does not come. Nothing may be under way. */
void credentials_cancel(struct credentials *credentials);
/* Files are read for each question anyway: says whether the next one will find a token in them. */
void credentials_reload(struct credentials *credentials, struct reload *reload);
/* The server did not take what the last answer held. */
void credentials_refused(struct credentials *credentials);
/* Whether a file that the last answer came from (a token, a private key, its passphrase) is another
 * one now, or has another content: asking again may be of use, however little time has passed. It
 * costs a stat() or two. */
bool credentials_changed(const struct credentials *credentials);

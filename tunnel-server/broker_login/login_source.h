/*
 * Where the secret of a rule comes from that is in no file: a command that prints it
 * (io/secret_command.h), or a token endpoint (token_request.h). One question at a time; who asks
 * when is login_sources.h's.
 */
#pragma once

#include <stdint.h>

#include "broker_login/login_rules.h"
#include "http/way.h"

struct login_source;

struct login_source_answer {
    const char *secret; /* NULL: there is none. Until the callback returns, then it is wiped */
    int64_t lasts_s;    /* of a token: so long from now; 0: nobody knows */
    /* Without a secret: */
    const char *reason;     /* a sentence, without a secret */
    bool refused;           /* asking again soon is of no use: somebody has to do something */
    unsigned retry_after_s; /* who is asked wants so long a pause; 0: says nothing */
};

typedef void (*login_source_callback)(void *context, const struct login_source_answer *answer);

/* NULL, or what is wrong with the URL of a token endpoint, a sentence part. */
const char *login_source_check_url(const char *text);

/* rule names a command or a token endpoint, and must live as long. way: to the endpoint, NULL if
 * there is none; it must live as long. is_hidden: of the environment (io/secret_command.h). */
struct login_source *login_source_new(struct worker *worker, struct http_way *way,
                                      const struct login_rule *rule,
                                      bool (*is_hidden)(const char *entry));
/* A question that is under way is cancelled. NULL is fine. */
void login_source_free(struct login_source *source);

/* Answers later, once, and in the end whatever is asked; never from inside this call. */
void login_source_ask(struct login_source *source, login_source_callback callback, void *context);

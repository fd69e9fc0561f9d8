/*
 * Logs in again on a connection that clients use, before the broker's session ends (KIP-368):
 * between two of the client's requests, which wait meanwhile (tunnel/relay_kafka.h). The client
 * knows nothing of it.
 *
 * It begins at 75 to 90 % of the session, each connection at another point: somewhat before Kafka's
 * own clients do, for a request that waits at the broker when the session ends is lost as well. The
 * account is looked up again: a password that has changed counts, and a client that is somebody
 * else now must connect again, for brokers refuse another user on a connection. Where brokers have
 * just refused the account, the login waits until it may be tried again, or fails if the session
 * ends before.
 */
#pragma once

#include "broker_login/logins.h"
#include "tunnel/relay.h"

struct relogin;

struct relogin_owner {
    /* The account by which to log in now, with one reference more; NULL: there is none. */
    struct login_account *(*find_account)(void *context);
    /* It is done, and this is who it is. */
    void (*renewed)(void *context, struct login_principal *principal);
    /* It has failed, and the connection must end: the last call. why: a sentence's part about the
     * broker, or about the rules. */
    void (*failed)(void *context, const char *why);
};

/* A connection logs in again once a second at most: a broker whose sessions are shorter than that
 * must not keep the server busy with logins. Such a session ends before; who asks then connects
 * again. */
#define RELOGIN_WAIT_MIN_US (1000 * 1000)

/* When to begin with a session that ends then; random: any 16 bits. */
uint64_t relogin_due(uint64_t now_us, uint64_t expires_us, uint16_t random);

/* principal: of the login before. expires_us: not 0. timeout_ms: of a login, once it has begun. */
struct relogin *relogin_new(struct worker *worker, struct relay *relay,
                            struct login_principal *principal, uint64_t expires_us,
                            unsigned timeout_ms, const struct relogin_owner *owner, void *context);
/* Also from within its callbacks. NULL is fine. */
void relogin_free(struct relogin *relogin);
/* Whether a broker's answer is awaited; NULL: no. */
bool relogin_is_under_way(const struct relogin *relogin);
/* The connection ends otherwise: nothing more is done, and no callback comes. */
void relogin_abandon(struct relogin *relogin);
/* The relay's paused() and answered(). */
void relogin_paused(struct relogin *relogin);
void relogin_answered(struct relogin *relogin, const uint8_t *bytes, size_t size);

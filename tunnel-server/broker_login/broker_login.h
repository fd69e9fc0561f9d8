/*
 * Logs in at a broker on a fresh connection, before a client's bytes go there
 * (login_exchange.h). There is no way past it: a login that fails ends the connection.
 */
#pragma once

#include "broker_login/logins.h"
#include "io/transport.h"
#include "io/worker.h"

enum broker_login_result {
    BROKER_LOGIN_DONE,
    BROKER_LOGIN_SILENT,     /* it was not over in time */
    BROKER_LOGIN_CLOSED,     /* the other end hung up, or the connection broke */
    BROKER_LOGIN_REFUSED,    /* any broker of the cluster would: so it is with the account */
    BROKER_LOGIN_HELD,       /* not tried, for a broker has refused the account a moment ago */
    BROKER_LOGIN_IMPOSSIBLE, /* something else came, or a broker that does not know the password */
};

/* The connection is the caller's again if the login is done; else it is closed. why: a part of a
 * sentence about the other end, "it refused: ...". expires_us: when the broker wants another login,
 * by clock_now_us(); 0: never. */
typedef void (*broker_login_callback)(void *context, enum broker_login_result result,
                                      const char *why, uint64_t expires_us);

struct broker_login;

/* transport belongs to the login until it is done. Another login with the account may have to end
 * first (login_standing.h). Answers later, once, and within timeout_ms for that and timeout_ms for
 * the login, whatever comes. */
struct broker_login *broker_login_start(struct worker *worker, struct transport *transport,
                                        struct login_account *account, unsigned timeout_ms,
                                        broker_login_callback callback, void *context);
/* Before the callback only; closes the connection. NULL is fine. */
void broker_login_cancel(struct broker_login *login);

/* When a session that lasts for lifetime_ms from now on ends; 0: never. */
uint64_t broker_login_expiry(int64_t lifetime_ms, uint64_t now_us);

/*
 * Who logs in at brokers for whom, as one worker sees it: of the rules in force (login_book.h), an
 * account for each that has been needed, and each cluster.
 *
 * New rules, and new secrets, mean new accounts. How brokers have taken a login goes on beyond
 * that, and is the same for all workers (login_standing.h): whoever wants to log in asks first, and
 * may have to wait.
 *
 * An account has the book, and the secret in it, and lives no longer than somebody is about to log
 * in with it. What a connection keeps once it is logged in is a principal.
 */
#pragma once

#include "base/list.h"
#include "broker_login/login_book.h"
#include "broker_login/login_exchange.h"
#include "io/worker.h"

/* Whom brokers take a connection's client for, without a secret; a worker's. */
struct login_principal {
    size_t references;
    enum sasl_mechanism mechanism; /* SASL_MECHANISMS: nobody logs in, there is a certificate */
    char *rule;                    /* its name */
    /* With OAUTHBEARER "". With a certificate alone its subject, written as Kafka does
     * ("CN=orders,O=acme"), cut to fit. */
    char *user;
};

struct login_account {
    size_t references;
    const struct logins *logins;
    struct login_book *book;
    size_t place; /* of the rule in it */
    const struct login_rule *rule;
    struct login_secret
        *secret;  /* NULL: there is no login, but a certificate; or it has not come */
    SSL_CTX *tls; /* to connect to brokers with; the book's; NULL: what others have */
    struct login_principal *principal;
    struct login_standing *standing; /* NULL: there is no login */
    unsigned generation;             /* of the secret, for the standing */
    struct sasl_scram_keys keys;
    struct list waiting; /* struct login_wait, by its node */
    struct timer *ask;   /* for who waits */
};

/* A broker has refused what the rule at that place has for a secret. */
typedef void (*logins_refused)(void *context, struct login_book *book, size_t place);

struct logins {
    logins_refused refused; /* NULL: nobody wants to know */
    void *context;
    const struct worker *worker;
    struct login_book *book; /* NULL: without --kafka-login */
    size_t cluster_count;
    struct login_account **accounts; /* by rule and cluster; NULL: not needed yet */
};

void logins_init(struct logins *logins, const struct worker *worker, size_t cluster_count);
void logins_clear(struct logins *logins);
/* From now on; takes a reference of its own. */
void logins_use(struct logins *logins, struct login_book *book);

/* The account by which to log in, or whose certificate to show, with one reference more; NULL:
 * there is nothing of the kind for this identity at this cluster. cluster: its name, and which it
 * is of all. */
struct login_account *logins_find(struct logins *logins, const char *identity, const char *cluster,
                                  size_t cluster_index);
struct login_account *login_account_reference(struct login_account *account);
/* NULL is fine. */
void login_account_release(struct login_account *account);

/* Whether the server logs in; NULL is fine. */
bool login_account_logs_in(const struct login_account *account);
/* What to log in with, while the account lives. */
struct sasl_credentials login_account_credentials(struct login_account *account);
/* What brokers know its clients as, for people: the user, or with OAUTHBEARER "". */
const char *login_account_user(const struct login_account *account);
const char *login_account_mechanism(const struct login_account *account);

/* ---- principals */

/* With one reference more. NULL stays NULL. */
struct login_principal *login_account_principal(const struct login_account *account);
/* Whether the server logs in as it; NULL is fine. */
bool login_principal_logs_in(const struct login_principal *principal);
/* NULL stays NULL. */
struct login_principal *login_principal_reference(struct login_principal *principal);
/* NULL is fine. */
void login_principal_release(struct login_principal *principal);
/* Whether a connection of the one can be logged in on as the other: brokers refuse another user.
 * Whom a token is for, its rule says. */
bool login_principal_is_same(const struct login_principal *a, const struct login_principal *b);

/* ---- leave to log in, of an account that does */

/* Part of whoever waits for it, who has a reference of the account. */
struct login_wait {
    struct list node; /* list_remove() ends it; must have been initialised */
    /* LOGIN_GIVEN or LOGIN_HELD, from the loop. */
    void (*told)(struct login_wait *wait, enum login_leave leave);
};

/* LOGIN_GIVEN: login_account_settle() must follow. LOGIN_WAIT: told() comes, some day: how long to
 * wait is up to the caller. */
enum login_leave login_account_ask(struct login_account *account, struct login_wait *wait);
/* The login with this account has ended so; why: a broker's words, for LOGIN_DENIED. */
void login_account_settle(struct login_account *account, enum login_outcome outcome,
                          const char *why);
/* Until when nobody should try, at least; 0: anybody may ask. account: NULL is fine, also one that
 * does not log in. */
uint64_t login_account_held_until(const struct login_account *account, uint64_t now_us);
/* Why, for people. */
#define LOGIN_OBSTACLE_MAX 240
void login_account_obstacle(const struct login_account *account, uint64_t now_us,
                            char out[LOGIN_OBSTACLE_MAX]);

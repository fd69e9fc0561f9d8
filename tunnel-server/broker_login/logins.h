/*
 * Who logs in at brokers for whom, as one worker sees it: of the rules in force (login_book.h), an
 * account for each that has been needed, and each cluster.
 *
 * An account keeps what SCRAM derives from its password, so that only the first login of an account
 * takes the milliseconds. It also keeps that a broker has refused it: a client that tries again and
 * again must not lock its user's account, or fill the brokers' log. New rules, and new
 * secrets, mean new accounts.
 */
#pragma once

#include "broker_login/login_book.h"
#include "broker_login/login_exchange.h"
#include "io/worker.h"

struct login_account {
    size_t references;
    const struct logins *logins;
    struct login_book *book;
    size_t place; /* of the rule in it */
    const struct login_rule *rule;
    struct login_secret
        *secret;  /* NULL: there is no login, but a certificate; or it has not come */
    SSL_CTX *tls; /* to connect to brokers with; the book's; NULL: what others have */
    struct sasl_scram_keys keys;
    unsigned refusals;         /* one after another */
    uint64_t refused_until_us; /* nobody asks again before; 0: no broker has refused it */
    char refusal[LOGIN_REASON_MAX];
};

/* A broker has refused what the rule at that place has for a secret. */
typedef void (*logins_refused)(void *context, struct login_book *book, size_t place);

struct logins {
    logins_refused refused; /* NULL: nobody wants to know */
    void *context;
    struct login_book *book; /* NULL: without --kafka-login */
    size_t cluster_count;
    struct login_account **accounts; /* by rule and cluster; NULL: not needed yet */
};

void logins_init(struct logins *logins, size_t cluster_count);
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
/* What brokers know its clients as by the certificate alone: its subject, written as Kafka does
 * ("CN=orders,O=acme"), cut to fit; "" without a certificate of its own. */
void login_account_subject(const struct login_account *account, char *text, size_t size);
const char *login_account_mechanism(const struct login_account *account);
/* A broker has refused it, and why; or taken it. */
void login_account_refused(struct login_account *account, const char *why, uint64_t now_us);
void login_account_taken(struct login_account *account);
/* false: nobody should try now. */
bool login_account_may_try(const struct login_account *account, uint64_t now_us);
/* Then: why, for people. */
#define LOGIN_OBSTACLE_MAX 240
void login_account_obstacle(const struct login_account *account, uint64_t now_us,
                            char out[LOGIN_OBSTACLE_MAX]);

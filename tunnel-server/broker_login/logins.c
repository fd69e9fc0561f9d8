#include "broker_login/logins.h"

#include <openssl/bio.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "io/clock.h"
#include "io/timer.h"

enum {
    /* Who waits for another worker's login looks again after so long; of its own worker's it hears
     * at once. */
    ASK_AGAIN_MS = 20,
    SUBJECT_MAX = 200,
    NO_SECRET_US = 1000 * 1000, /* so long one that has not come yet is waited for at a time */
};

void logins_init(struct logins *logins, const struct worker *worker, size_t cluster_count)
{
    *logins = (struct logins){.worker = worker, .cluster_count = cluster_count};
}

void logins_clear(struct logins *logins)
{
    size_t count = logins->book ? login_book_count(logins->book) * logins->cluster_count : 0;

    for (size_t i = 0; i < count; i++)
        login_account_release(logins->accounts[i]);
    free(logins->accounts);
    login_book_release(logins->book);
    logins->accounts = NULL;
    logins->book = NULL;
}

void logins_use(struct logins *logins, struct login_book *book)
{
    logins_clear(logins);
    logins->book = login_book_reference(book);
    logins->accounts = memory_new_array(login_book_count(book) * logins->cluster_count + 1,
                                        sizeof(struct login_account *));
}

/* ---- principals */

/* "": there is no certificate. */
static void print_subject(const SSL_CTX *tls, char text[SUBJECT_MAX])
{
    const X509 *certificate = tls ? SSL_CTX_get0_certificate(tls) : NULL;
    BIO *memory = certificate ? BIO_new(BIO_s_mem()) : NULL;
    int length = 0;

    if (memory &&
        X509_NAME_print_ex(memory, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0)
        length = BIO_read(memory, text, SUBJECT_MAX - 1);
    text[length > 0 ? length : 0] = '\0';
    BIO_free(memory);
}

static struct login_principal *login_principal_new(const struct login_rule *rule,
                                                   const SSL_CTX *tls)
{
    bool logs_in = rule->mechanism != SASL_MECHANISMS;
    char subject[SUBJECT_MAX] = "";

    struct login_principal *principal = memory_new(sizeof *principal);

    principal->references = 1;
    principal->mechanism = rule->mechanism;
    principal->rule = memory_text(rule->head.name);
    if (!logs_in)
        print_subject(tls, subject);
    principal->user = memory_text(logs_in && rule->user ? rule->user : subject);
    return principal;
}

bool login_principal_logs_in(const struct login_principal *principal)
{
    return principal && principal->mechanism != SASL_MECHANISMS;
}

struct login_principal *login_principal_reference(struct login_principal *principal)
{
    if (principal)
        principal->references++;
    return principal;
}

void login_principal_release(struct login_principal *principal)
{
    if (!principal || --principal->references > 0)
        return;
    free(principal->rule);
    free(principal->user);
    free(principal);
}

struct login_principal *login_account_principal(const struct login_account *account)
{
    return account ? login_principal_reference(account->principal) : NULL;
}

bool login_principal_is_same(const struct login_principal *a, const struct login_principal *b)
{
    return a->mechanism == b->mechanism && strcmp(a->user, b->user) == 0 &&
           (a->mechanism != SASL_OAUTHBEARER || strcmp(a->rule, b->rule) == 0);
}

/* ---- accounts */

static void on_ask_again(void *argument);

/* Takes the reference of secret. */
static struct login_account *login_account_new(const struct logins *logins, size_t place,
                                               size_t cluster, struct login_secret *secret)
{
    struct login_account *account = memory_new(sizeof *account);
    struct login_book *book = logins->book;

    account->references = 1;
    account->logins = logins;
    account->book = login_book_reference(book);
    account->place = place;
    account->rule = login_book_rule(book, place);
    account->secret = secret;
    account->tls = login_book_tls(book, place);
    account->standing = login_standing_reference(login_book_standing(book, place, cluster));
    list_init(&account->waiting);
    account->ask = timer_new(logins->worker, on_ask_again, account);
    account->principal = login_principal_new(account->rule, account->tls);
    if (account->standing)
        account->generation = login_standing_join(account->standing, &account->keys);
    return account;
}

struct login_account *login_account_reference(struct login_account *account)
{
    account->references++;
    return account;
}

void login_account_release(struct login_account *account)
{
    if (!account || --account->references > 0)
        return;
    byte_wipe(&account->keys, sizeof account->keys);
    login_secret_release(account->secret);
    timer_free(account->ask);
    login_principal_release(account->principal);
    login_standing_release(account->standing);
    login_book_release(account->book);
    free(account);
}

/* Makes the account that is not there yet, or whose secret is another one now. */
static void renew_account(const struct logins *logins, size_t place, size_t cluster,
                          struct login_account **account)
{
    struct login_secret *secret = login_book_secret(logins->book, place);
    struct login_account *before = *account;

    if (before && before->secret == secret) {
        login_secret_release(secret);
        return;
    }
    *account = login_account_new(logins, place, cluster, secret);
    login_account_release(before);
}

struct login_account *logins_find(struct logins *logins, const char *identity, const char *cluster,
                                  size_t cluster_index)
{
    if (!logins->book)
        return NULL;
    size_t place = login_book_find(logins->book, identity, cluster);
    if (place == login_book_count(logins->book) ||
        (!login_book_logs_in(logins->book, place) && !login_book_tls(logins->book, place)))
        return NULL;
    struct login_account **account =
        &logins->accounts[place * logins->cluster_count + cluster_index];
    renew_account(logins, place, cluster_index, account);
    return login_account_reference(*account);
}

bool login_account_logs_in(const struct login_account *account)
{
    return account && account->standing;
}

struct sasl_credentials login_account_credentials(struct login_account *account)
{
    const struct login_rule *rule = account->rule;

    return (struct sasl_credentials){.mechanism = rule->mechanism,
                                     .user = login_account_user(account),
                                     .secret = login_secret_text(account->secret),
                                     .delegation_token = rule->delegation_token,
                                     .keys = &account->keys};
}

const char *login_account_user(const struct login_account *account)
{
    return account->rule->user ? account->rule->user : "";
}

const char *login_account_mechanism(const struct login_account *account)
{
    return sasl_mechanism_name(account->rule->mechanism);
}

/* ---- leave to log in */

/* Tells those who wait, in order, until one of them has to wait on. */
static void on_ask_again(void *argument)
{
    struct login_account *account = login_account_reference(argument);

    while (!list_empty(&account->waiting)) {
        enum login_leave leave = login_standing_ask(account->standing, clock_now_us());
        if (leave == LOGIN_WAIT) {
            timer_start_ms(account->ask, ASK_AGAIN_MS);
            break;
        }
        struct login_wait *wait = list_entry(list_pop(&account->waiting), struct login_wait, node);
        wait->told(wait, leave);
    }
    login_account_release(account);
}

enum login_leave login_account_ask(struct login_account *account, struct login_wait *wait)
{
    if (!account->secret)
        return LOGIN_HELD;
    enum login_leave leave = list_empty(&account->waiting)
                                 ? login_standing_ask(account->standing, clock_now_us())
                                 : LOGIN_WAIT;
    if (leave != LOGIN_WAIT)
        return leave;
    if (list_empty(&account->waiting))
        timer_start_ms(account->ask, ASK_AGAIN_MS);
    list_append(&account->waiting, &wait->node);
    return LOGIN_WAIT;
}

void login_account_settle(struct login_account *account, enum login_outcome outcome,
                          const char *why)
{
    if (outcome == LOGIN_TAKEN && account->keys.known)
        login_standing_keep_keys(account->standing, account->generation, &account->keys);
    bool pauses =
        login_standing_settle(account->standing, account->generation, outcome, why, clock_now_us());
    if (!list_empty(&account->waiting))
        timer_fire(account->ask);
    if (pauses && account->logins->refused)
        account->logins->refused(account->logins->context, account->book, account->place);
}

uint64_t login_account_held_until(const struct login_account *account, uint64_t now_us)
{
    char why[LOGIN_HOLD_MAX];

    if (!login_account_logs_in(account))
        return 0;
    return account->secret ? login_standing_hold(account->standing, now_us, why)
                           : now_us + NO_SECRET_US;
}

void login_account_obstacle(const struct login_account *account, uint64_t now_us,
                            char out[LOGIN_OBSTACLE_MAX])
{
    char why[LOGIN_HOLD_MAX];
    uint64_t until_us = login_standing_hold(account->standing, now_us, why);

    if (account->secret)
        snprintf(out, LOGIN_OBSTACLE_MAX, "%s; it is not tried again for %u s", why,
                 until_us > now_us ? (unsigned)((until_us - now_us) / 1000000) + 1 : 0);
    else
        /* What commands and servers say is for the log, and not for whoever connects. */
        snprintf(out, LOGIN_OBSTACLE_MAX,
                 "tunnel-server has no %s for it yet; its log says why if that stays so "
                 "(login_secret_unavailable)",
                 account->rule->mechanism == SASL_OAUTHBEARER ? "token" : "password");
}

#include "broker_login/logins.h"

#include <openssl/bio.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/memory.h"

/* After a refusal: first so long, then twice as long each time. */
enum { HELD_US = 1000 * 1000, HELD_TIMES_MAX = 5 };

void logins_init(struct logins *logins, size_t cluster_count)
{
    *logins = (struct logins){.cluster_count = cluster_count};
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

/* ---- accounts */

/* Takes the reference of secret. */
static struct login_account *login_account_new(const struct logins *logins, size_t place,
                                               struct login_secret *secret)
{
    struct login_account *account = memory_new(sizeof *account);

    account->references = 1;
    account->logins = logins;
    account->book = login_book_reference(logins->book);
    account->place = place;
    account->rule = login_book_rule(logins->book, place);
    account->secret = secret;
    account->tls = login_book_tls(logins->book, place);
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
    login_book_release(account->book);
    free(account);
}

/* Makes the account that is not there yet, or whose secret is another one now. */
static void renew_account(const struct logins *logins, size_t place, struct login_account **account)
{
    struct login_secret *secret = login_book_secret(logins->book, place);
    struct login_account *before = *account;

    if (before && before->secret == secret) {
        login_secret_release(secret);
        return;
    }
    *account = login_account_new(logins, place, secret);
    /* It may be tried at once; but a command that prints another wrong one each time must not get
     * around the pauses. */
    if (before)
        (*account)->refusals = before->refusals;
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
    renew_account(logins, place, account);
    return login_account_reference(*account);
}

bool login_account_logs_in(const struct login_account *account)
{
    return account && account->rule->mechanism != SASL_MECHANISMS;
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

void login_account_subject(const struct login_account *account, char *text, size_t size)
{
    const X509 *certificate = account->tls ? SSL_CTX_get0_certificate(account->tls) : NULL;
    BIO *memory = certificate ? BIO_new(BIO_s_mem()) : NULL;
    int length = 0;

    if (memory &&
        X509_NAME_print_ex(memory, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0)
        length = BIO_read(memory, text, (int)size - 1);
    text[length > 0 ? length : 0] = '\0';
    BIO_free(memory);
}

const char *login_account_mechanism(const struct login_account *account)
{
    return sasl_mechanism_name(account->rule->mechanism);
}

/* ---- refusals */

void login_account_refused(struct login_account *account, const char *why, uint64_t now_us)
{
    /* Several may have been under way: they count as one. */
    if (account->refused_until_us > now_us)
        return;
    unsigned times = account->refusals < HELD_TIMES_MAX ? account->refusals++ : HELD_TIMES_MAX;
    account->refused_until_us = now_us + ((uint64_t)HELD_US << times);
    snprintf(account->refusal, sizeof account->refusal, "%s", why);
    if (account->logins->refused)
        account->logins->refused(account->logins->context, account->book, account->place);
}

void login_account_taken(struct login_account *account)
{
    account->refusals = 0;
    account->refused_until_us = 0;
}

bool login_account_may_try(const struct login_account *account, uint64_t now_us)
{
    return account->refused_until_us <= now_us &&
           (account->secret || !login_account_logs_in(account));
}

void login_account_obstacle(const struct login_account *account, uint64_t now_us,
                            char out[LOGIN_OBSTACLE_MAX])
{
    uint64_t until_us = account->refused_until_us;

    if (account->secret)
        snprintf(out, LOGIN_OBSTACLE_MAX, "%.140s; it is not tried again for %u s",
                 account->refusal,
                 until_us > now_us ? (unsigned)((until_us - now_us) / 1000000) + 1 : 0);
    else
        /* What commands and servers say is for the log, and not for whoever connects. */
        snprintf(out, LOGIN_OBSTACLE_MAX,
                 "tunnel-server has no %s for it yet; its log says why if that stays so "
                 "(login_secret_unavailable)",
                 account->rule->mechanism == SASL_OAUTHBEARER ? "token" : "password");
}

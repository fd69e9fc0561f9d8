#include "oidc/oidc.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/memory.h"
#include "base/redact.h"
#include "config/url.h"
#include "http/fetch.h"
#include "io/clock.h"
#include "io/timer.h"
#include "oidc/jwt.h"

enum {
    FETCH_TIMEOUT_MS = 10 * 1000,
    REFRESH_S = 10 * 60,
    /* After a look that failed, and after one that a token with an unknown key has caused. */
    PAUSE_S = 10,
    PAUSE_MAX_S = 60,
    /* An issuer that takes a key back says so by not publishing it: what nobody has seen for so
     * long is not used any more. */
    KEYS_AGE_MAX_S = 24 * 3600,
    FETCH_REASON_MAX = HTTP_REASON_MAX + 600, /* a URL of ours is in some of them */
    LOCATION_MAX = URL_PATH_MAX + ADDRESS_TEXT_MAX + 20,
};

static const char DISCOVERY_PATH[] = "/.well-known/openid-configuration";
static const uint64_t SECOND_US = 1000 * 1000;

struct oidc {
    struct worker *worker;
    struct oidc_settings settings;
    struct http_way *way;
    struct timer *refresh;
    struct jwk_set *keys;     /* NULL: they have never come */
    uint64_t keys_us;         /* when they came */
    uint64_t asked_us;        /* when the last look began; 0: none has */
    unsigned failures;        /* of looks, in a row */
    struct http_fetch *fetch; /* the look under way */
    struct url url;           /* that it asks */
    char key_url[LOCATION_MAX];
    char said[FETCH_REASON_MAX]; /* the failure that was said last; "": there is none */
};

/* ---- addresses */

/* The issuer with the path of its discovery document behind it. */
static bool discovery_url(const char *issuer, char out[LOCATION_MAX])
{
    size_t size = strlen(issuer);

    while (size > 0 && issuer[size - 1] == '/')
        size--;
    return snprintf(out, LOCATION_MAX, "%.*s%s", (int)size, issuer, DISCOVERY_PATH) < LOCATION_MAX;
}

const char *oidc_check_issuer(const char *text)
{
    char discovery[LOCATION_MAX];
    struct url url;

    if (strpbrk(text, "?#"))
        return "must have neither a query nor a fragment";
    if (!discovery_url(text, discovery))
        return "is too long";
    return http_fetch_check_url(discovery, &url);
}

/* ---- the keys come */

static void look_in(struct oidc *oidc, uint64_t seconds)
{
    unsigned char random;

    if (RAND_bytes(&random, 1) != 1)
        abort();
    /* Spread, so that instances that begin together do not ask together for ever. */
    timer_start_ms(oidc->refresh, seconds * 1000 + seconds * random);
}

static void fail_look(struct oidc *oidc, const char *reason)
{
    uint64_t pause = PAUSE_S;

    for (unsigned i = 0; i < oidc->failures && pause < PAUSE_MAX_S; i++)
        pause *= 2;
    oidc->failures++;
    if (strcmp(reason, oidc->said) != 0)
        log_warning(oidc->worker->log, "oidc_keys_unreachable",
                    oidc->keys ? "The issuer's keys could not be read again; the old ones stay in "
                                 "force for a day"
                               : "The issuer's keys could not be read; nobody can log in with its "
                                 "tokens",
                    log_str("issuer", oidc->settings.rules.issuer), log_str("reason", reason));
    snprintf(oidc->said, sizeof oidc->said, "%s", reason);
    look_in(oidc, pause < PAUSE_MAX_S ? pause : PAUSE_MAX_S);
}

static void take_key_set(struct oidc *oidc, const struct http_fetch_result *result)
{
    char why[200];
    char reason[FETCH_REASON_MAX];
    struct jwk_set *keys = jwk_set_parse(result->body, result->body_size, why, sizeof why);

    if (!keys) {
        snprintf(reason, sizeof reason, "what is at %s %s", oidc->key_url, why);
        fail_look(oidc, reason);
        return;
    }
    if (!oidc->keys || oidc->said[0])
        log_info(oidc->worker->log, "oidc_keys", "The issuer's keys were read",
                 log_str("issuer", oidc->settings.rules.issuer),
                 log_u64("keys", jwk_set_count(keys)));
    jwk_set_free(oidc->keys);
    oidc->keys = keys;
    oidc->keys_us = clock_now_us();
    oidc->failures = 0;
    oidc->said[0] = '\0';
    look_in(oidc, REFRESH_S);
}

/* NULL: the answer is a page of ours to be read. */
static const char *check_answer(const struct oidc *oidc, const struct http_fetch_result *result,
                                char reason[FETCH_REASON_MAX])
{
    if (result->hop != HTTP_HOP_NONE)
        snprintf(reason, FETCH_REASON_MAX, "%s", result->reason);
    else if (result->status != 200)
        snprintf(reason, FETCH_REASON_MAX, "%s://%s%s answered with status %d",
                 oidc->url.tls ? "https" : "http", oidc->url.host, oidc->url.path, result->status);
    else
        return NULL;
    return reason;
}

static void on_key_set(void *context, const struct http_fetch_result *result)
{
    struct oidc *oidc = context;
    char reason[FETCH_REASON_MAX];
    const char *why = check_answer(oidc, result, reason);

    oidc->fetch = NULL;
    if (why)
        fail_look(oidc, why);
    else
        take_key_set(oidc, result);
}

static void start_fetch(struct oidc *oidc, http_fetch_callback callback)
{
    const struct http_fetch_request request = {
        .host = oidc->url.host,
        .port = oidc->url.port,
        .tls = oidc->url.tls,
        .named_by = "--oidc-issuer",
        .method = "GET",
        .path = oidc->url.path,
        .accept = "application/json",
    };

    oidc->fetch = http_fetch_start(oidc->way, &request, FETCH_TIMEOUT_MS, callback, oidc);
}

/* Fills in where the keys are. NULL, or what is wrong with the document. */
static const char *read_discovery(struct oidc *oidc, const struct http_fetch_result *result)
{
    json_t *root = json_loadb(result->body, result->body_size, JSON_REJECT_DUPLICATES, NULL);
    const char *issuer = json_string_value(json_object_get(root, "issuer"));
    const char *keys = json_string_value(json_object_get(root, "jwks_uri"));
    const char *why = NULL;

    if (!json_is_object(root))
        why = "is no JSON object";
    /* Else one issuer could speak for another (OpenID Connect Discovery 1.0, 4.3). */
    else if (!issuer || strcmp(issuer, oidc->settings.rules.issuer) != 0)
        why = "names another issuer than --oidc-issuer, which must be written in the same way";
    else if (!keys || strlen(keys) >= sizeof oidc->key_url)
        why = "does not say where the keys are (jwks_uri)";
    else
        why = http_fetch_check_url(keys, &oidc->url) ? "has a jwks_uri that cannot be used" : NULL;
    if (!why)
        snprintf(oidc->key_url, sizeof oidc->key_url, "%s", keys);
    json_decref(root);
    return why;
}

static void on_discovery(void *context, const struct http_fetch_result *result)
{
    struct oidc *oidc = context;
    char reason[FETCH_REASON_MAX];
    const char *why = check_answer(oidc, result, reason);

    oidc->fetch = NULL;
    if (!why) {
        const char *wrong = read_discovery(oidc, result);
        if (!wrong) {
            start_fetch(oidc, on_key_set);
            return;
        }
        snprintf(reason, sizeof reason, "the document at %s%s %s", oidc->settings.rules.issuer,
                 DISCOVERY_PATH, wrong);
    }
    fail_look(oidc, reason);
}

/* Nothing is under way. */
static void look_for_keys(struct oidc *oidc)
{
    char discovery[LOCATION_MAX];

    timer_stop(oidc->refresh);
    oidc->asked_us = clock_now_us();
    /* They were fine at the start. */
    if (discovery_url(oidc->settings.rules.issuer, discovery) &&
        !http_fetch_check_url(discovery, &oidc->url))
        start_fetch(oidc, on_discovery);
}

static void on_refresh(void *argument)
{
    look_for_keys(argument);
}

/* ---- tokens */

static bool has_fresh_keys(const struct oidc *oidc)
{
    return oidc->keys && clock_now_us() - oidc->keys_us < KEYS_AGE_MAX_S * SECOND_US;
}

/* Whether a key that is not known may yet come. */
static bool may_find_key(struct oidc *oidc)
{
    if (oidc->fetch)
        return true;
    if (clock_now_us() - oidc->asked_us < PAUSE_S * SECOND_US)
        return false;
    log_info(oidc->worker->log, "oidc_key_unknown",
             "A token names a key that the issuer has not published so far; looking again",
             log_str("issuer", oidc->settings.rules.issuer));
    look_for_keys(oidc);
    return true;
}

static enum oidc_verdict answer_with(struct oidc_answer *answer, enum oidc_verdict verdict,
                                     const char *reason)
{
    snprintf(answer->reason, sizeof answer->reason, "%s", reason);
    return verdict;
}

static enum oidc_verdict judge_parsed(struct oidc *oidc, const struct jwt *jwt,
                                      struct oidc_answer *answer)
{
    if (!claims_are_of(jwt->claims, &oidc->settings.rules))
        return answer_with(answer, OIDC_REFUSED,
                           "the token is from another issuer (iss) than --oidc-issuer");
    if (!has_fresh_keys(oidc))
        return answer_with(answer, OIDC_LATER, "the issuer's keys are not known yet");
    EVP_PKEY *key = jwk_set_find(oidc->keys, jwt->has_key_id ? jwt->key_id : NULL, jwt->algorithm);
    if (!key)
        return may_find_key(oidc)
                   ? answer_with(answer, OIDC_LATER, "the issuer's keys are being read again")
                   : answer_with(answer, OIDC_REFUSED,
                                 "the token names a key (kid) that the issuer does not publish for "
                                 "this alg");
    if (!jwt_verify(jwt, key))
        return answer_with(answer, OIDC_REFUSED, "the token's signature is wrong");
    return claims_admit(jwt->claims, &oidc->settings.rules, (int64_t)time(NULL), answer->identity,
                        &answer->until, answer->reason)
               ? OIDC_ADMITTED
               : OIDC_REFUSED;
}

enum oidc_verdict oidc_judge(struct oidc *oidc, const char *token, size_t size,
                             struct oidc_answer *answer)
{
    struct jwt jwt;
    const char *why = jwt_parse(token, size, &jwt);

    *answer = (struct oidc_answer){0};
    if (why) {
        snprintf(answer->reason, sizeof answer->reason, "the token %s", why);
        return OIDC_REFUSED;
    }
    enum oidc_verdict verdict = judge_parsed(oidc, &jwt, answer);
    jwt_clear(&jwt);
    return verdict;
}

/* ---- life */

struct oidc *oidc_new(struct worker *worker, const struct oidc_settings *settings, char *error,
                      size_t size)
{
    struct oidc *oidc = memory_new(sizeof *oidc);
    const struct http_way_settings way = {.files = {.ca_option = settings->ca_option,
                                                    .ca_file = settings->ca_file,
                                                    .policy = settings->policy}};

    oidc->worker = worker;
    oidc->settings = *settings;
    oidc->refresh = timer_new(worker, on_refresh, oidc);
    oidc->way = http_way_new(worker, &way, error, size);
    if (!oidc->way) {
        oidc_free(oidc);
        return NULL;
    }
    look_for_keys(oidc);
    return oidc;
}

void oidc_reload(struct oidc *oidc, struct reload *reload)
{
    http_way_reload(oidc->way, reload);
    if (!oidc->fetch)
        look_for_keys(oidc);
}

void oidc_free(struct oidc *oidc)
{
    if (!oidc)
        return;
    http_fetch_cancel(oidc->fetch);
    timer_free(oidc->refresh);
    http_way_free(oidc->way);
    jwk_set_free(oidc->keys);
    free(oidc);
}

#include "credentials/snowflake_answer.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "base/redact.h"
#include "config/secret.h"

enum {
    CLOCK_OFF_S = 60,
    SAID_MAX = 240,
    ADVICE_MAX = 560,
    WHERE_MAX = 120,
    CLOCK_MAX = 160,
};

/* ---- tokens */

/* token68 (RFC 9110 section 11.2), and the colon of Snowflake's session tokens (ver:1-hint:...).
 * Nothing of it can end the quoted string that the token becomes in the header. */
static bool may_be_in_snowflake_token(char c)
{
    return c != '\0' &&
           (((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || strchr("0123456789-._~+/=:", c) != NULL);
}

const char *snowflake_token_check(const char *token, size_t size)
{
    if (size == 0)
        return "is empty";
    if (size > SECRET_TOKEN_MAX)
        return "is longer than 12 KiB";
    for (size_t i = 0; i < size; i++)
        if (!may_be_in_snowflake_token(token[i]))
            return "contains characters that no token has";
    return NULL;
}

/* Decodes base64url without padding (RFC 7515 section 2) into a new buffer; NULL: it is none. */
static unsigned char *decode_base64url(const char *text, size_t size, size_t *decoded)
{
    size_t padded = (size + 3) / 4 * 4;
    char *standard = memory_raw(padded + 1);
    unsigned char *bytes = memory_raw(padded + 1);
    int got;

    memset(standard, '=', padded);
    for (size_t i = 0; i < size; i++)
        standard[i] = (char)(text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i]);
    got = EVP_DecodeBlock(bytes, (const unsigned char *)standard, (int)padded);
    byte_wipe(standard, padded);
    free(standard);
    if (got < (int)(padded - size)) {
        free(bytes);
        return NULL;
    }
    *decoded = (size_t)got - (padded - size);
    return bytes;
}

int64_t snowflake_token_expiry(const char *token, size_t size)
{
    const char *payload = size <= SECRET_TOKEN_MAX ? memchr(token, '.', size) : NULL;
    const char *end =
        payload ? memchr(payload + 1, '.', size - (size_t)(payload + 1 - token)) : NULL;
    size_t decoded = 0;
    json_int_t expiry = 0;

    if (!end)
        return 0;
    payload++;
    unsigned char *bytes = decode_base64url(payload, (size_t)(end - payload), &decoded);
    if (!bytes)
        return 0;
    json_t *claims = json_loadb((const char *)bytes, decoded, 0, NULL);
    json_t *claim = json_object_get(claims, "exp");
    if (json_is_integer(claim))
        expiry = json_integer_value(claim);
    json_decref(claims);
    byte_wipe(bytes, decoded);
    free(bytes);
    return expiry > 0 ? expiry : 0;
}

/* ---- what an answer says */

/* Adds a part of a JSON answer to what is shown of it; the same is not said twice. */
static void add_said(char said[SAID_MAX], json_t *part)
{
    char text[SAID_MAX];
    size_t size = strlen(said);

    if (json_is_integer(part))
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(part));
    else if (json_is_string(part))
        redact(json_string_value(part), json_string_length(part), NULL, text, sizeof text);
    else
        return;
    if (text[0] && !strstr(said, text))
        snprintf(said + size, SAID_MAX - size, "%s%.*s", size > 0 ? ": " : "",
                 (int)(SAID_MAX - size - 3), text);
}

static bool say_json(json_t *object, char said[SAID_MAX])
{
    static const char *const names[] = {"code",    "error",  "error_description",
                                        "message", "detail", "data"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        add_said(said, json_object_get(object, names[i]));
    return said[0] != '\0';
}

static bool is_html(const char *body, size_t size)
{
    size_t at = 0;

    while (at < size && (unsigned char)body[at] <= ' ')
        at++;
    return (size - at >= 9 && strncasecmp(body + at, "<!doctype", 9) == 0) ||
           (size - at >= 5 && strncasecmp(body + at, "<html", 5) == 0);
}

/* What people can make of the body, for one line; returns whether it is JSON. */
static bool say_body(const struct snowflake_answer *answer, char said[SAID_MAX])
{
    json_t *object = json_loadb(answer->body, answer->body_size, 0, NULL);
    bool is_json = json_is_object(object);

    said[0] = '\0';
    if (is_json && !say_json(object, said))
        snprintf(said, SAID_MAX, "JSON without a message");
    json_decref(object);
    if (is_json)
        return true;
    if (is_html(answer->body, answer->body_size))
        snprintf(said, SAID_MAX, "an HTML page");
    else
        redact(answer->body, answer->body_size, NULL, said, SAID_MAX);
    return false;
}

/* ---- what to do about it */

static bool says_word(const char *said, const char *word)
{
    size_t size = strlen(word);

    for (const char *at = said; (at = strcasestr(at, word)); at++)
        if ((at == said || !isalnum((unsigned char)at[-1])) && !isalnum((unsigned char)at[size]))
            return true;
    return false;
}

static bool says_any(const char *said, const char *const *words)
{
    for (; *words; words++)
        if (says_word(said, *words))
            return true;
    return false;
}

static const char *const network_words[] = {
    "390432", "390422", "network policy", "network_policy", "not allowed to access", NULL};
static const char *const role_words[] = {"role", "roles", NULL};
static const char *const scope_words[] = {"scope", "invalid_scope", "endpoint", "service", NULL};
static const char *const clock_words[] = {"iat",     "exp",           "clock", "expired",
                                          "expires", "not yet valid", "nbf",   NULL};

/* How far this machine's clock is off, as far as the answer tells; "" if it is not. */
static void advise_clock(const struct snowflake_answer *answer, bool is_suspected, char *advice,
                         size_t size)
{
    int64_t off = answer->date > 0 ? answer->now - answer->date : 0;

    advice[0] = '\0';
    if (off > CLOCK_OFF_S || off < -CLOCK_OFF_S)
        snprintf(advice, size,
                 "this machine's clock is %" PRId64 " seconds %s the server's: set it (NTP)",
                 off > 0 ? off : -off, off > 0 ? "ahead of" : "behind");
    else if (is_suspected && answer->date > 0)
        snprintf(advice, size,
                 "it mentions the time, but this machine's clock is only %" PRId64
                 " seconds off the server's",
                 off > 0 ? off : -off);
    else if (is_suspected)
        snprintf(advice, size, "is this machine's clock right? Set it (NTP)");
}

/* A user's or role's name as SQL wants it. */
static void quote_name(const char *name, char *out, size_t size)
{
    bool plain = name[0] != '\0';

    for (const char *at = name; *at && plain; at++)
        plain = isalnum((unsigned char)*at) || *at == '_' || *at == '$';
    snprintf(out, size, plain ? "%.80s" : "\"%.80s\"", name);
}

static void advise_key(const struct snowflake_question *question, char *advice, size_t size)
{
    char user[100];

    quote_name(question->user, user, sizeof user);
    snprintf(advice, size,
             "is the public key with the fingerprint %s registered for user %s in account %.80s? "
             "DESC USER %s shows RSA_PUBLIC_KEY_FP; ALTER USER %s SET RSA_PUBLIC_KEY='...' "
             "registers it",
             question->fingerprint, user, question->account, user, user);
}

static void advise_role(const struct snowflake_question *question, char *advice, size_t size)
{
    char user[100];
    char role[100];

    quote_name(question->user, user, sizeof user);
    quote_name(question->role ? question->role : "...", role, sizeof role);
    if (question->role)
        snprintf(advice, size,
                 "is the role of --snowflake-role granted to the user, and may it use the "
                 "service's endpoint? GRANT ROLE %s TO USER %s; GRANT SERVICE ROLE ... TO ROLE %s",
                 role, user, role);
    else
        snprintf(advice, size,
                 "give --snowflake-role, or the user a default role that may use the service's "
                 "endpoint: ALTER USER %s SET DEFAULT_ROLE=...",
                 user);
}

static void advise_scope(const struct snowflake_question *question, char *advice, size_t size)
{
    snprintf(advice, size,
             "is %.100s (the host of --server) the ingress_url of SHOW ENDPOINTS IN SERVICE, and "
             "may %s use it? GRANT SERVICE ROLE ... TO ROLE ...",
             question->endpoint_host, question->role ? "the role" : "the user's default role");
}

/* A refusal in Snowflake's own words. */
static void advise_refusal(const struct snowflake_question *question, const char *said,
                           char *advice, size_t size)
{
    if (says_any(said, network_words))
        snprintf(
            advice, size,
            "a network policy restricts where this user may connect from: the user needs one that "
            "allows this machine's public address (ALTER USER ... SET NETWORK_POLICY=...)");
    else if (says_any(said, role_words))
        advise_role(question, advice, size);
    else if (says_any(said, scope_words))
        advise_scope(question, advice, size);
    else
        advise_key(question, advice, size);
}

static const char CHECK_URL[] =
    "is --snowflake-account (or --snowflake-url) right, and is there a proxy in between?";

static void explain_redirect(const struct snowflake_answer *answer,
                             const struct snowflake_question *question,
                             char sentence[SNOWFLAKE_SENTENCE_MAX])
{
    char where[WHERE_MAX];

    /* What follows in the address is for a browser, and may be of any size. */
    redact(answer->location, strcspn(answer->location, "?#"), NULL, where, sizeof where);
    snprintf(sentence, SNOWFLAKE_SENTENCE_MAX,
             "%.200s redirected the request for a token (%d) to %s, which is not followed: %s",
             question->url, answer->status, where[0] ? where : "nowhere", CHECK_URL);
}

static void explain_no_token(const struct snowflake_answer *answer,
                             const struct snowflake_question *question,
                             char sentence[SNOWFLAKE_SENTENCE_MAX])
{
    size_t size = answer->body_size;
    const char *body = secret_trim(answer->body, &size);
    const char *why = snowflake_token_check(body, size);

    /* The body is not shown: it may be a token in a wrapping that is not expected. */
    if (is_html(answer->body, answer->body_size))
        why = "is an HTML page";
    else if (size > 0 && body[0] == '{')
        why = "is JSON";
    snprintf(sentence, SNOWFLAKE_SENTENCE_MAX,
             "%.200s answered the request for a token with %d, but the answer %s: %s",
             question->url, answer->status, why, CHECK_URL);
}

/* json: what a JSON answer says; NULL: it is none, so perhaps not Snowflake's. */
static void advise(const struct snowflake_answer *answer, const struct snowflake_question *question,
                   const char *json, char *advice, size_t size)
{
    char clock[CLOCK_MAX];
    bool elsewhere = json && says_any(json, network_words);

    advise_clock(answer, json && says_any(json, clock_words), clock, sizeof clock);
    /* A wrong clock makes every JWT invalid, whatever the answer says of it. */
    if (json && clock[0] && !elsewhere) {
        snprintf(advice, size, "%s", clock);
        return;
    }
    if (!json || answer->status == 404)
        snprintf(advice, size, "%s", CHECK_URL);
    else
        advise_refusal(question, json, advice, size);
    size_t have = strlen(advice);
    if (clock[0])
        snprintf(advice + have, size - have, "; and %s", clock);
}

static bool holds_token(const struct snowflake_answer *answer)
{
    size_t size = answer->body_size;
    const char *token = secret_trim(answer->body, &size);

    return snowflake_token_check(token, size) == NULL;
}

enum snowflake_verdict snowflake_answer_read(const struct snowflake_answer *answer,
                                             const struct snowflake_question *question,
                                             char sentence[SNOWFLAKE_SENTENCE_MAX])
{
    char said[SAID_MAX];
    char advice[ADVICE_MAX];
    int status = answer->status;
    bool busy = status == 429 || status >= 500;

    if (status == 200 && holds_token(answer))
        return SNOWFLAKE_TOKEN;
    if (status >= 200 && status < 300) {
        explain_no_token(answer, question, sentence);
        return SNOWFLAKE_REFUSED;
    }
    if (status >= 300 && status < 400) {
        explain_redirect(answer, question, sentence);
        return SNOWFLAKE_REFUSED;
    }
    bool is_json = say_body(answer, said);
    if (busy)
        snprintf(advice, sizeof advice, "tunnel-client tries again");
    else
        advise(answer, question, is_json ? said : NULL, advice, sizeof advice);
    snprintf(sentence, SNOWFLAKE_SENTENCE_MAX,
             "%.100s answered the request for a token with %d%s%s%s: %s", question->url, status,
             said[0] ? " (" : "", said, said[0] ? ")" : "", advice);
    return busy ? SNOWFLAKE_BUSY : SNOWFLAKE_REFUSED;
}

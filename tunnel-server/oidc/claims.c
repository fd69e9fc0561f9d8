#include "oidc/claims.h"

#include <stdio.h>
#include <string.h>

#include "base/pattern.h"
#include "base/printable.h"

enum { CLAIM_NAME_MAX = 120, CLAIM_TEXT_MAX = 600, SHOWN_VALUE_MAX = 120 };

/* ---- what people write */

/* {CLAIM} at text; the size of it with its braces, 0: none begins here. */
static size_t placeholder_size(const char *text)
{
    const char *end = text[0] == '{' ? strchr(text, '}') : NULL;
    size_t size = end ? (size_t)(end - text) + 1 : 0;

    return size > 2 && size - 2 <= CLAIM_NAME_MAX ? size : 0;
}

const char *claims_check_identity(const char *text)
{
    size_t placeholders = 0;

    if (text[0] == '\0')
        return "is empty";
    if (!strpbrk(text, "{}"))
        return strlen(text) <= CLAIM_NAME_MAX ? NULL : "is too long for a claim's name";
    for (const char *at = text; *at;) {
        size_t size = placeholder_size(at);
        if (size == 0 && (*at == '{' || *at == '}'))
            return "has braces that do not hold a claim's name, as in ci:{project_path}";
        placeholders += size > 0;
        at += size > 0 ? size : 1;
    }
    return placeholders > 0 ? NULL : "names no claim";
}

const char *claims_check_required(const char *text)
{
    const char *equals = strchr(text, '=');

    if (!equals || equals == text || equals[1] == '\0')
        return "must be CLAIM=PATTERN, as in repository=example/*";
    return equals - text <= CLAIM_NAME_MAX ? NULL : "has a claim's name that is too long";
}

/* ---- claims as text */

/* Text, whole numbers and truth as they are written; false: it is none of these, or too long. */
static bool format_claim(const json_t *claim, char out[CLAIM_TEXT_MAX])
{
    int size = -1;

    if (json_is_string(claim)) {
        /* A NUL within would end it early. */
        if (strlen(json_string_value(claim)) != json_string_length(claim))
            return false;
        size = snprintf(out, CLAIM_TEXT_MAX, "%s", json_string_value(claim));
    } else if (json_is_integer(claim)) {
        size = snprintf(out, CLAIM_TEXT_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(claim));
    } else if (json_is_boolean(claim)) {
        size = snprintf(out, CLAIM_TEXT_MAX, "%s", json_is_true(claim) ? "true" : "false");
    }
    return size >= 0 && size < CLAIM_TEXT_MAX;
}

static bool fits_one(const json_t *claim, const char *pattern)
{
    char text[CLAIM_TEXT_MAX];

    return format_claim(claim, text) && pattern_fits(pattern, strlen(pattern), text, strlen(text));
}

static bool fits_claim(const json_t *claim, const char *pattern)
{
    for (size_t i = 0; i < json_array_size(claim); i++)
        if (fits_one(json_array_get(claim, i), pattern))
            return true;
    return !json_is_array(claim) && fits_one(claim, pattern);
}

/* As a reason shows it. */
static void show_claim(const json_t *claim, char out[SHOWN_VALUE_MAX])
{
    char text[CLAIM_TEXT_MAX];

    if (!claim)
        snprintf(out, SHOWN_VALUE_MAX, "missing");
    else if (json_is_array(claim))
        snprintf(out, SHOWN_VALUE_MAX, "a list of others");
    else if (!format_claim(claim, text))
        snprintf(out, SHOWN_VALUE_MAX, "neither text nor a number");
    else
        printable(text, strlen(text), out, SHOWN_VALUE_MAX);
}

/* ---- the issuer's own claims */

bool claims_are_of(const json_t *claims, const struct claims_rules *rules)
{
    const json_t *issuer = json_object_get(claims, "iss");

    return json_is_string(issuer) && json_string_length(issuer) == strlen(rules->issuer) &&
           strcmp(json_string_value(issuer), rules->issuer) == 0;
}

static bool is_audience(const json_t *name, const struct claims_rules *rules)
{
    for (size_t i = 0; json_is_string(name) && i < rules->audiences->count; i++)
        if (strcmp(json_string_value(name), rules->audiences->items[i]) == 0 &&
            json_string_length(name) == strlen(rules->audiences->items[i]))
            return true;
    return false;
}

static bool is_meant_for_us(const json_t *claims, const struct claims_rules *rules)
{
    const json_t *audience = json_object_get(claims, "aud");

    for (size_t i = 0; i < json_array_size(audience); i++)
        if (is_audience(json_array_get(audience, i), rules))
            return true;
    return is_audience(audience, rules);
}

/* Seconds since 1970 (RFC 7519, 2: NumericDate); false: the claim is there, and is none. */
static bool read_moment(const json_t *claims, const char *name, int64_t otherwise, int64_t *moment)
{
    const json_t *claim = json_object_get(claims, name);
    double value = json_number_value(claim);

    *moment = otherwise;
    if (!claim)
        return true;
    if (!json_is_number(claim) || !(value > -1e15 && value < 1e15))
        return false;
    *moment = (int64_t)value;
    return true;
}

/* NULL: now is within the token's time. */
static const char *check_times(const json_t *claims, int64_t now, int64_t *until)
{
    int64_t expires;
    int64_t begins;
    int64_t issued;

    if (!json_object_get(claims, "exp"))
        return "the token has no end (exp)";
    if (!read_moment(claims, "exp", 0, &expires) || !read_moment(claims, "nbf", now, &begins) ||
        !read_moment(claims, "iat", now, &issued))
        return "the token has a time (exp, nbf or iat) that is no number";
    if (expires + CLAIMS_LEEWAY_S <= now)
        return "the token has expired (exp)";
    if (begins - CLAIMS_LEEWAY_S > now)
        return "the token is not valid yet (nbf): compare this machine's clock with the issuer's";
    if (issued - CLAIMS_LEEWAY_S > now)
        return "the token is from the future (iat): compare this machine's clock with the issuer's";
    *until = expires + CLAIMS_LEEWAY_S;
    return NULL;
}

/* ---- rules */

static bool check_one_claim(const json_t *claims, const char *rule, char reason[CLAIMS_REASON_MAX])
{
    char shown[SHOWN_VALUE_MAX];
    char name[CLAIM_NAME_MAX + 1];
    const char *pattern = strchr(rule, '=') + 1;

    snprintf(name, sizeof name, "%.*s", (int)(pattern - 1 - rule), rule);
    const json_t *claim = json_object_get(claims, name);
    if (claim && fits_claim(claim, pattern))
        return true;
    show_claim(claim, shown);
    snprintf(reason, CLAIMS_REASON_MAX, "the token's claim %s is %s, which --oidc-require excludes",
             name, shown);
    return false;
}

/* Appends; false: it does not fit. */
static bool put_identity(char identity[HTTP_IDENTITY_MAX], size_t *fill, const char *text,
                         size_t size)
{
    if (size >= HTTP_IDENTITY_MAX - *fill)
        return false;
    memcpy(identity + *fill, text, size);
    *fill += size;
    identity[*fill] = '\0';
    return true;
}

static const char *put_claim(const json_t *claims, const char *name, size_t size,
                             char identity[HTTP_IDENTITY_MAX], size_t *fill)
{
    char text[CLAIM_TEXT_MAX];
    char key[CLAIM_NAME_MAX + 1];

    snprintf(key, sizeof key, "%.*s", (int)size, name);
    const json_t *claim = json_object_get(claims, key);
    if (!claim || !format_claim(claim, text) || text[0] == '\0')
        return "lacks a claim that --oidc-identity names, or has one that is no text";
    return put_identity(identity, fill, text, strlen(text))
               ? NULL
               : "has claims that make an identity of more than 255 bytes";
}

static const char *make_identity(const json_t *claims, const char *form,
                                 char identity[HTTP_IDENTITY_MAX])
{
    size_t fill = 0;

    if (!strchr(form, '{'))
        return put_claim(claims, form, strlen(form), identity, &fill);
    for (const char *at = form; *at;) {
        size_t size = placeholder_size(at);
        const char *why = NULL;
        if (size > 0)
            why = put_claim(claims, at + 1, size - 2, identity, &fill);
        else if (!put_identity(identity, &fill, at, 1))
            why = "has claims that make an identity of more than 255 bytes";
        if (why)
            return why;
        at += size > 0 ? size : 1;
    }
    return NULL;
}

bool claims_admit(const json_t *claims, const struct claims_rules *rules, int64_t now,
                  char identity[HTTP_IDENTITY_MAX], int64_t *until, char reason[CLAIMS_REASON_MAX])
{
    char shown[SHOWN_VALUE_MAX];
    const char *why = check_times(claims, now, until);

    if (why) {
        snprintf(reason, CLAIMS_REASON_MAX, "%s", why);
        return false;
    }
    if (!claims_are_of(claims, rules) || !is_meant_for_us(claims, rules)) {
        show_claim(json_object_get(claims, "aud"), shown);
        snprintf(reason, CLAIMS_REASON_MAX,
                 "the token is for another audience (aud): %s; --oidc-audience says which is ours",
                 shown);
        return false;
    }
    for (size_t i = 0; i < rules->required->count; i++)
        if (!check_one_claim(claims, rules->required->items[i], reason))
            return false;
    why = make_identity(claims, rules->identity, identity);
    if (!why)
        why = identity_check(identity, strlen(identity));
    if (why)
        snprintf(reason, CLAIMS_REASON_MAX, "the token %s", why);
    return why == NULL;
}

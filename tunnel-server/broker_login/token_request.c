#include "broker_login/token_request.h"

#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/base64url.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "base/printable.h"
#include "base/redact.h"
#include "config/secret.h"

enum {
    SAID_MAX = 200,
    WORDS_MAX = 4096, /* more than that is not looked at for what may be shown */
    /* Ten years: what lasts longer is as good as for ever. */
    LASTS_MAX_S = 10 * 366 * 24 * 3600,
};

/* ---- the request */

/* Room for text and its NUL in application/x-www-form-urlencoded. */
static size_t form_room(const char *text)
{
    return 3 * strlen(text) + 1;
}

/* Returns where the NUL is. What needs no escape in a URL has none here either: servers that do not
 * decode (RFC 6749, 2.3.1, says they must) then still get most secrets as they are. */
static char *put_form(char *at, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    static const char unreserved[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "0123456789-._~";

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (strchr(unreserved, c)) {
            *at++ = (char)c;
        } else if (c == ' ') {
            *at++ = '+';
        } else {
            *at++ = '%';
            *at++ = hex[c >> 4];
            *at++ = hex[c & 15];
        }
    }
    *at = '\0';
    return at;
}

static char *put_form_field(char *at, const char *name, const char *value)
{
    size_t size = strlen(name);

    if (!value)
        return at;
    memcpy(at, name, size);
    return put_form(at + size, value);
}

static size_t field_room(const char *name, const char *value)
{
    return value ? strlen(name) + form_room(value) : 0;
}

char *token_request_body(const struct token_client *client)
{
    static const char grant[] = "grant_type=client_credentials";
    const struct {
        const char *name;
        const char *value;
    } fields[] = {{"&scope=", client->scope},
                  {"&audience=", client->audience},
                  {"&client_id=", client->in_body ? client->id : NULL},
                  {"&client_secret=", client->in_body ? client->secret : NULL}};
    size_t room = sizeof grant;

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        room += field_room(fields[i].name, fields[i].value);
    char *body = memory_raw(room);
    memcpy(body, grant, sizeof grant);
    char *at = body + sizeof grant - 1;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        at = put_form_field(at, fields[i].name, fields[i].value);
    return body;
}

/* id and secret as the header has them, before and after base64; each for secret_free(). */
static char *join_credentials(const struct token_client *client)
{
    char *plain = memory_raw(form_room(client->id) + 1 + form_room(client->secret));
    char *at = put_form(plain, client->id);

    *at++ = ':';
    put_form(at, client->secret);
    return plain;
}

static char *encode_credentials(const struct token_client *client)
{
    char *plain = join_credentials(client);
    size_t size = strlen(plain);
    char *encoded = memory_raw((size + 2) / 3 * 4 + 1);

    EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)plain, (int)size);
    secret_free(plain);
    return encoded;
}

char *token_request_header(const struct token_client *client)
{
    static const char before[] = "Authorization: Basic ";

    if (client->in_body)
        return NULL;
    char *encoded = encode_credentials(client);
    size_t size = strlen(encoded);
    char *header = memory_raw(sizeof before + size);
    memcpy(header, before, sizeof before - 1);
    memcpy(header + sizeof before - 1, encoded, size + 1);
    secret_free(encoded);
    return header;
}

/* ---- how long a token lasts */

int64_t token_lifetime(const char *token, int64_t now)
{
    const char *payload = strchr(token, '.');
    const char *end = payload ? strchr(payload + 1, '.') : NULL;
    json_int_t expiry = 0;

    if (!end || strlen(token) > SECRET_TOKEN_MAX)
        return 0;
    payload++;
    size_t size = 0;
    size_t room = BASE64URL_DECODED_MAX((size_t)(end - payload));
    uint8_t *claims = memory_raw(room);
    if (base64url_decode(payload, (size_t)(end - payload), claims, room, &size)) {
        json_t *root = json_loadb((const char *)claims, size, 0, NULL);
        json_t *claim = json_object_get(root, "exp");
        expiry = json_is_integer(claim) ? json_integer_value(claim)
                 : json_real_value(claim) > 0 && json_real_value(claim) < 1e15
                     ? (json_int_t)json_real_value(claim)
                     : 0;
        json_decref(root);
    }
    byte_wipe(claims, room);
    free(claims);
    if (expiry <= 0)
        return 0;
    int64_t lasts_s = expiry > now ? expiry - now : 1;
    return lasts_s < LASTS_MAX_S ? lasts_s : LASTS_MAX_S;
}

/* expires_in, in seconds; some servers write it as a string. 0: it is not there, or no number. */
static int64_t read_expires_in(const json_t *root)
{
    const json_t *field = json_object_get(root, "expires_in");
    json_int_t seconds = 0;

    if (json_is_integer(field)) {
        seconds = json_integer_value(field);
    } else if (json_is_real(field)) {
        double real = json_real_value(field);
        seconds = real > 0 && real < LASTS_MAX_S ? (json_int_t)real : 0;
    } else if (json_is_string(field)) {
        char *end;
        seconds = strtoll(json_string_value(field), &end, 10);
        if (*end != '\0')
            seconds = 0;
    }
    if (seconds <= 0)
        return 0;
    return seconds < LASTS_MAX_S ? seconds : LASTS_MAX_S;
}

/* ---- the answer */

/* A part of the answer for people, behind what is there already: without what the request said in
 * any of its forms, for a server may repeat it. */
static void add_words(const struct token_client *client, char said[SAID_MAX], const char *words,
                      size_t size)
{
    char *plain = join_credentials(client);
    char *encoded = encode_credentials(client);
    /* The secret once more: blanks that were several are one now. */
    const char *const hidden[] = {client->secret, strchr(plain, ':') + 1, encoded, client->secret};
    char text[2][WORDS_MAX];
    char shown[SAID_MAX];
    const char *from = words;
    size_t have = strlen(said);

    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        redact(from, size, hidden[i], text[i % 2], sizeof text[0]);
        from = text[i % 2];
        size = strlen(from);
    }
    printable(from, size, shown, sizeof shown);
    snprintf(said + have, SAID_MAX - have, "%s%s", have > 0 && *shown ? ": " : "", shown);
    byte_wipe(text, sizeof text);
    secret_free(plain);
    secret_free(encoded);
}

static void say_answer(const struct token_answer *answer, const struct token_client *client,
                       char said[SAID_MAX])
{
    static const char *const names[] = {"error", "error_description"};
    json_t *root = json_loadb(answer->body, answer->body_size, 0, NULL);

    said[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const json_t *part = json_object_get(root, names[i]);
        if (json_is_string(part))
            add_words(client, said, json_string_value(part), json_string_length(part));
    }
    json_decref(root);
}

/* NULL, or what is wrong with an answer that should hold a token. */
static const char *read_token(const struct token_answer *answer, char **token, int64_t *lasts_s,
                              char *what, size_t room)
{
    json_t *root = json_loadb(answer->body, answer->body_size, JSON_REJECT_DUPLICATES, NULL);
    json_t *field = json_object_get(root, "access_token");
    const char *text = json_string_value(field);
    const char *type = json_string_value(json_object_get(root, "token_type"));
    const char *why = text ? secret_check_token(text, strlen(text)) : NULL;

    if (!json_is_object(root))
        snprintf(what, room, "is no JSON object");
    else if (!text)
        snprintf(what, room, "has no access_token");
    else if (why)
        snprintf(what, room, "has an access_token that %s", why);
    else if (type && strcasecmp(type, "Bearer") != 0)
        snprintf(what, room, "has a token whose token_type is not Bearer");
    else
        *token = memory_text(text);
    *lasts_s = read_expires_in(root);
    /* What the parser has copied. */
    if (text)
        byte_wipe((char *)(uintptr_t)text, strlen(text));
    json_decref(root);
    if (!*token)
        return what;
    if (*lasts_s == 0)
        *lasts_s = token_lifetime(*token, answer->now);
    return NULL;
}

static enum token_verdict judge_refusal(const char *url, char sentence[TOKEN_SENTENCE_MAX],
                                        int status, const char *said)
{
    snprintf(sentence, TOKEN_SENTENCE_MAX, "%.200s answered the request for a token with %d%s%s%s",
             url, status, *said ? " (" : "", said, *said ? ")" : "");
    return status == 408 || status == 429 || status >= 500 ? TOKEN_BUSY : TOKEN_REFUSED;
}

enum token_verdict token_answer_read(const struct token_answer *answer,
                                     const struct token_client *client, const char *url,
                                     char **token, int64_t *lasts_s,
                                     char sentence[TOKEN_SENTENCE_MAX])
{
    char said[SAID_MAX];
    char what[100];
    int status = answer->status;

    *token = NULL;
    *lasts_s = 0;
    sentence[0] = '\0';
    if (status == 200) {
        const char *wrong = read_token(answer, token, lasts_s, what, sizeof what);
        if (!wrong)
            return TOKEN_GIVEN;
        snprintf(sentence, TOKEN_SENTENCE_MAX,
                 "%.200s answered the request for a token, but the answer %s", url, wrong);
        return TOKEN_REFUSED;
    }
    if (status >= 300 && status < 400) {
        said[0] = '\0';
        /* What follows in the address is for a browser, and may be of any size. */
        add_words(client, said, answer->location, strcspn(answer->location, "?#"));
        snprintf(sentence, TOKEN_SENTENCE_MAX,
                 "%.200s redirected the request for a token (%d) to %s, which is not followed", url,
                 status, *said ? said : "nowhere");
        return TOKEN_REFUSED;
    }
    say_answer(answer, client, said);
    return judge_refusal(url, sentence, status, said);
}

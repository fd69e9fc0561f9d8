#include "kafka/sasl.h"

#include "kafka/api.h"
#include "kafka/rewrite.h"

#include <string.h>

void kafka_sasl_asked(struct kafka_sasl *s, const char *mechanism)
{
    *s = (struct kafka_sasl){.phase = KAFKA_SASL_ASKED};
    strncpy(s->mechanism, mechanism, sizeof s->mechanism - 1);
}

/* Tokens that each side sends; 0: not known. */
static unsigned rounds(const char *mechanism)
{
    if (strcmp(mechanism, "PLAIN") == 0 || strcmp(mechanism, "OAUTHBEARER") == 0)
        return 1;
    return strncmp(mechanism, "SCRAM-", 6) == 0 ? 2 : 0;
}

static bool looks_like_a_request(const uint8_t *look, int32_t length)
{
    if (length < KAFKA_SASL_LOOK)
        return false;
    int16_t key = (int16_t)byte_load_u16(look);
    int16_t version = (int16_t)byte_load_u16(look + 2);
    int16_t client_id = (int16_t)byte_load_u16(look + 8);
    /* Brokers read every negative length as null. */
    return kafka_api_find(key) && version >= 0 && version <= 30 &&
           client_id <= length - KAFKA_SASL_LOOK;
}

static bool token(struct kafka_sasl *s)
{
    s->client_tokens++;
    return true;
}

static bool over(struct kafka_sasl *s)
{
    s->phase = KAFKA_SASL_NONE;
    return false;
}

bool kafka_sasl_is_token(struct kafka_sasl *s, const uint8_t *look, int32_t length, bool first,
                         bool *guessed)
{
    bool request = looks_like_a_request(look, length);

    *guessed = false;
    switch (s->phase) {
    case KAFKA_SASL_NONE:
        /* 0x60: the ASN.1 tag that GSSAPI tokens begin with (RFC 2743, 3.1). */
        if (!first || length < 2 || look[0] != 0x60 || request)
            return false;
        kafka_sasl_asked(s, "GSSAPI");
        s->phase = KAFKA_SASL_TOKENS;
        return token(s);
    case KAFKA_SASL_ASKED:
        return request ? false : token(s);
    default:
        break;
    }
    /* Too short for a request: OAUTHBEARER ends a failure with one more token of one byte. */
    if (length < 8)
        return token(s);
    if (rounds(s->mechanism) > 0)
        return s->client_tokens < rounds(s->mechanism) ? token(s) : over(s);
    /* GSSAPI's last token has no answer, so the server may still seem to owe one. */
    bool may_end = strcmp(s->mechanism, "GSSAPI") == 0 ? s->server_tokens > 0
                                                       : s->server_tokens >= s->client_tokens;
    if (!request || !may_end)
        return token(s);
    *guessed = true;
    return over(s);
}

static enum kafka_method sasl_method(int16_t version)
{
    return version == 0 ? KAFKA_HOLD_FRAME : KAFKA_PASS;
}

/* Nothing to rewrite, but it says whether tokens follow. */
static int handshake(struct kafka_rewrite *r)
{
    int16_t error = (int16_t)byte_reader_u16(&r->in);

    if (!r->in.failed && r->sasl->phase == KAFKA_SASL_ASKED)
        r->sasl->phase = error == 0 ? KAFKA_SASL_TOKENS : KAFKA_SASL_NONE;
    return kafka_rewrite_finish(r);
}

const struct kafka_handler kafka_sasl_handshake_handler = {sasl_method, NULL, handshake};

#include "kafka/login.h"

#include <stdio.h>
#include <string.h>

#include "base/printable.h"
#include "base/redact.h"
#include "kafka/api.h"
#include "kafka/sniff.h"
#include "kafka/wire.h"

enum { HANDSHAKE_VERSION = 1, AUTHENTICATE_VERSION = 1 };
/* Of Kafka's Errors.java. */
enum {
    UNSUPPORTED_SASL_MECHANISM = 33,
    ILLEGAL_SASL_STATE = 34,
    UNSUPPORTED_VERSION = 35,
    SASL_AUTHENTICATION_FAILED = 58,
};

static const char client_id[] = "kafka-tunnel";

static void begin_login_request(struct byte_writer *w, uint8_t *buffer, size_t room, uint16_t key,
                                uint16_t version, int32_t correlation_id)
{
    byte_writer_init(w, buffer, room);
    byte_writer_u32(w, 0);
    byte_writer_u16(w, key);
    byte_writer_u16(w, version);
    byte_writer_u32(w, (uint32_t)correlation_id);
    byte_writer_u16(w, sizeof client_id - 1);
    byte_writer_bytes(w, client_id, sizeof client_id - 1);
}

static size_t end_login_frame(struct byte_writer *w)
{
    byte_store_u32(w->start, (uint32_t)(byte_writer_size(w) - 4));
    return byte_writer_size(w);
}

size_t kafka_login_handshake_request(uint8_t *buffer, int32_t correlation_id, const char *mechanism)
{
    struct byte_writer w;

    begin_login_request(&w, buffer, KAFKA_LOGIN_HEAD_MAX, KAFKA_KEY_SASL_HANDSHAKE,
                        HANDSHAKE_VERSION, correlation_id);
    byte_writer_u16(&w, (uint16_t)strlen(mechanism));
    byte_writer_bytes(&w, mechanism, strlen(mechanism));
    return end_login_frame(&w);
}

size_t kafka_login_authenticate_request(uint8_t *buffer, int32_t correlation_id,
                                        const uint8_t *message, size_t message_size)
{
    struct byte_writer w;

    begin_login_request(&w, buffer, KAFKA_LOGIN_HEAD_MAX + message_size,
                        KAFKA_KEY_SASL_AUTHENTICATE, AUTHENTICATE_VERSION, correlation_id);
    byte_writer_u32(&w, (uint32_t)message_size);
    byte_writer_bytes(&w, message, message_size);
    return end_login_frame(&w);
}

static enum kafka_login_result fail_login(char reason[KAFKA_LOGIN_REASON_MAX], const char *why)
{
    snprintf(reason, KAFKA_LOGIN_REASON_MAX, "%s", why);
    return KAFKA_LOGIN_EFRAME;
}

/* OK: the response is whole, one to this request, and the only one; *r is behind the correlation
 * id. */
static enum kafka_login_result begin_login_response(struct byte_reader *r, const uint8_t *bytes,
                                                    size_t size, int32_t correlation_id,
                                                    char reason[KAFKA_LOGIN_REASON_MAX])
{
    enum kafka_sniff sniffed = kafka_sniff(bytes, size);

    if (sniffed != KAFKA_SNIFF_KAFKA && sniffed != KAFKA_SNIFF_MORE)
        return fail_login(reason, kafka_sniff_broker_advice(sniffed));
    if (size < 4)
        return KAFKA_LOGIN_MORE;
    uint32_t length = byte_load_u32(bytes);
    if (length < 4 || length > KAFKA_LOGIN_RESPONSE_MAX - 4)
        return fail_login(reason, "its answer to the login has an invalid length");
    if (size - 4 < length)
        return KAFKA_LOGIN_MORE;
    if (size - 4 > length)
        return fail_login(reason, "it sent more than it was asked for");
    byte_reader_init(r, bytes + 4, length);
    if ((int32_t)byte_reader_u32(r) != correlation_id)
        return fail_login(reason, "its answer to the login does not match the request");
    return KAFKA_LOGIN_OK;
}

/* "it does not enable SCRAM-SHA-512; it enables PLAIN, GSSAPI". */
static enum kafka_login_result fail_mechanism(struct byte_reader *r, const char *mechanism,
                                              char reason[KAFKA_LOGIN_REASON_MAX])
{
    int written = snprintf(reason, KAFKA_LOGIN_REASON_MAX, "it does not enable %s", mechanism);
    const char *before = "; it enables ";

    for (uint32_t count = kafka_wire_count(r, false); count > 0 && !r->failed; count--) {
        char name[40];
        size_t size;
        const uint8_t *text = kafka_wire_string(r, false, &size);
        if (r->failed || size == 0 || written >= KAFKA_LOGIN_REASON_MAX - 60)
            break;
        printable((const char *)text, size, name, sizeof name);
        written += snprintf(reason + written, KAFKA_LOGIN_REASON_MAX - (size_t)written, "%s%s",
                            before, name);
        before = ", ";
    }
    return KAFKA_LOGIN_EREFUSED;
}

enum kafka_login_result kafka_login_handshake_response(const uint8_t *bytes, size_t size,
                                                       int32_t correlation_id,
                                                       const char *mechanism,
                                                       char reason[KAFKA_LOGIN_REASON_MAX])
{
    struct byte_reader r;
    enum kafka_login_result result = begin_login_response(&r, bytes, size, correlation_id, reason);

    if (result != KAFKA_LOGIN_OK)
        return result;
    uint16_t error = byte_reader_u16(&r);
    if (r.failed)
        return fail_login(reason, "its SaslHandshake response is malformed");
    if (error == 0)
        return KAFKA_LOGIN_OK;
    if (error == UNSUPPORTED_SASL_MECHANISM)
        return fail_mechanism(&r, mechanism, reason);
    if (error == ILLEGAL_SASL_STATE)
        snprintf(reason, KAFKA_LOGIN_REASON_MAX, "its listener has no SASL (ILLEGAL_SASL_STATE)");
    else
        snprintf(reason, KAFKA_LOGIN_REASON_MAX,
                 "it answered a SaslHandshake request with error %d", (int16_t)error);
    return KAFKA_LOGIN_EREFUSED;
}

static enum kafka_login_result fail_authenticate(int16_t error, const uint8_t *words, size_t size,
                                                 const char *secret,
                                                 char reason[KAFKA_LOGIN_REASON_MAX])
{
    char plain[160];
    char said[160];

    redact((const char *)words, size, secret, plain, sizeof plain);
    printable(plain, strlen(plain), said, sizeof said);
    const char *name = error == SASL_AUTHENTICATION_FAILED ? "SASL_AUTHENTICATION_FAILED"
                       : error == ILLEGAL_SASL_STATE       ? "ILLEGAL_SASL_STATE"
                       : error == UNSUPPORTED_VERSION      ? "UNSUPPORTED_VERSION"
                                                           : NULL;
    if (name)
        snprintf(reason, KAFKA_LOGIN_REASON_MAX, "it refused: %s%s%s", name, *said ? ": " : "",
                 said);
    else
        snprintf(reason, KAFKA_LOGIN_REASON_MAX, "it refused: error %d%s%s", error,
                 *said ? ": " : "", said);
    return KAFKA_LOGIN_EREFUSED;
}

enum kafka_login_result kafka_login_authenticate_response(const uint8_t *bytes, size_t size,
                                                          int32_t correlation_id,
                                                          const char *secret,
                                                          struct kafka_login_answer *answer,
                                                          char reason[KAFKA_LOGIN_REASON_MAX])
{
    struct byte_reader r;
    size_t words_size;
    enum kafka_login_result result = begin_login_response(&r, bytes, size, correlation_id, reason);

    if (result != KAFKA_LOGIN_OK)
        return result;
    int16_t error = (int16_t)byte_reader_u16(&r);
    const uint8_t *words = kafka_wire_string(&r, false, &words_size);
    if (error != 0 && !r.failed)
        return fail_authenticate(error, words, words_size, secret, reason);
    uint32_t message_size = byte_reader_u32(&r);
    *answer = (struct kafka_login_answer){
        .message = byte_reader_bytes(&r, message_size),
        .message_size = message_size,
        .lifetime_ms = (int64_t)byte_reader_u64(&r),
    };
    if (r.failed || byte_reader_left(&r) > 0 || answer->lifetime_ms < 0)
        return fail_login(reason, "its SaslAuthenticate response is malformed");
    return KAFKA_LOGIN_OK;
}

size_t kafka_login_refusal(uint8_t *buffer, bool handshake, int16_t version, int32_t correlation_id,
                           const char *words)
{
    struct byte_writer w;
    const size_t size = strlen(words);
    const bool flexible = !handshake && version >= 2;

    byte_writer_init(&w, buffer, KAFKA_LOGIN_REFUSAL_MAX);
    byte_writer_u32(&w, 0);
    byte_writer_u32(&w, (uint32_t)correlation_id);
    if (flexible)
        byte_writer_u8(&w, 0); /* the header's tags */
    byte_writer_u16(&w, handshake ? UNSUPPORTED_SASL_MECHANISM : ILLEGAL_SASL_STATE);
    if (handshake)
        byte_writer_u32(&w, 1); /* mechanisms */
    if (flexible)
        byte_writer_u8(&w, (uint8_t)(size + 1)); /* below 128: one byte of a varint */
    else
        byte_writer_u16(&w, (uint16_t)size);
    byte_writer_bytes(&w, words, size);
    if (flexible)
        byte_writer_u8(&w, 1); /* an empty message */
    else if (!handshake)
        byte_writer_u32(&w, 0);
    if (!handshake && version >= 1)
        byte_writer_u64(&w, 0); /* lifetime */
    if (flexible)
        byte_writer_u8(&w, 0); /* tags */
    return end_login_frame(&w);
}

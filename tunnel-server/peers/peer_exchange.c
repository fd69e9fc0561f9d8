#include "peers/peer_exchange.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static const uint8_t MAGIC[] = {'K', 'T', 'P', '1'};

static void expect(struct peer_exchange *exchange, size_t needed)
{
    exchange->fill = 0;
    exchange->needed = needed;
}

static void authenticate(const struct peer_exchange *exchange, const char *secret, const char *what,
                         const uint8_t *body, size_t size, uint8_t mac[PEER_MAC_SIZE])
{
    uint8_t text[8 + 2 * PEER_NONCE_SIZE + PEER_BODY_MAX];
    struct byte_writer w;
    unsigned mac_size = PEER_MAC_SIZE;

    byte_writer_init(&w, text, sizeof text);
    byte_writer_bytes(&w, what, strlen(what));
    byte_writer_bytes(&w, exchange->asker_nonce, PEER_NONCE_SIZE);
    byte_writer_bytes(&w, exchange->answerer_nonce, PEER_NONCE_SIZE);
    byte_writer_bytes(&w, body, size);
    if (w.failed || !HMAC(EVP_sha256(), secret, (int)strlen(secret), text, byte_writer_size(&w),
                          mac, &mac_size))
        abort();
}

static bool is_authentic(const struct peer_exchange *exchange, const char *secret, const char *what,
                         const uint8_t *body, size_t size, const uint8_t *mac)
{
    uint8_t due[PEER_MAC_SIZE];

    authenticate(exchange, secret, what, body, size, due);
    return byte_equal_secret(due, mac, PEER_MAC_SIZE);
}

/* ---- asking */

static void put_peer_text(struct byte_writer *w, const char *text)
{
    byte_writer_u16(w, (uint16_t)strlen(text));
    byte_writer_bytes(w, text, strlen(text));
}

static void put_question(struct peer_exchange *exchange, const char *secret)
{
    const struct peer_question *question = &exchange->question;
    uint8_t mac[PEER_MAC_SIZE];
    struct byte_writer w;

    byte_writer_init(&w, exchange->out, sizeof exchange->out);
    byte_writer_u16(&w, 0);
    byte_writer_bytes(&w, question->id, sizeof question->id);
    put_peer_text(&w, question->identity);
    put_peer_text(&w, question->peer);
    size_t size = byte_writer_size(&w) - 2;
    byte_store_u16(exchange->out, (uint16_t)size);
    authenticate(exchange, secret, "ask", exchange->out + 2, size, mac);
    byte_writer_bytes(&w, mac, sizeof mac);
    exchange->out_size = byte_writer_size(&w);
}

void peer_exchange_asker(struct peer_exchange *exchange, const uint8_t nonce[PEER_NONCE_SIZE],
                         const struct peer_question *question)
{
    struct byte_writer w;

    *exchange = (struct peer_exchange){.question = *question, .asks = true};
    memcpy(exchange->asker_nonce, nonce, PEER_NONCE_SIZE);
    byte_writer_init(&w, exchange->out, sizeof exchange->out);
    byte_writer_bytes(&w, MAGIC, sizeof MAGIC);
    byte_writer_bytes(&w, nonce, PEER_NONCE_SIZE);
    exchange->out_size = byte_writer_size(&w);
    expect(exchange, PEER_NONCE_SIZE);
}

static enum peer_exchange_step receive_as_asker(struct peer_exchange *exchange, const char *secret)
{
    if (!exchange->nonces) {
        exchange->nonces = true;
        memcpy(exchange->answerer_nonce, exchange->in, PEER_NONCE_SIZE);
        put_question(exchange, secret);
        expect(exchange, 1 + PEER_MAC_SIZE);
        return PEER_EXCHANGE_SAY;
    }
    if (!is_authentic(exchange, secret, "answer", exchange->in, 1, exchange->in + 1))
        return PEER_EXCHANGE_UNTRUSTED;
    return exchange->in[0] == 1 ? PEER_EXCHANGE_YES : PEER_EXCHANGE_NO;
}

/* ---- answering */

void peer_exchange_answerer(struct peer_exchange *exchange, const uint8_t nonce[PEER_NONCE_SIZE])
{
    *exchange = (struct peer_exchange){.asks = false};
    memcpy(exchange->answerer_nonce, nonce, PEER_NONCE_SIZE);
    expect(exchange, sizeof MAGIC + PEER_NONCE_SIZE);
}

static bool read_peer_text(struct byte_reader *r, char *text, size_t size)
{
    size_t length = byte_reader_u16(r);
    const uint8_t *bytes = byte_reader_bytes(r, length);

    if (!bytes || length >= size || memchr(bytes, '\0', length))
        return false;
    memcpy(text, bytes, length);
    text[length] = '\0';
    return true;
}

static enum peer_exchange_step check_question(struct peer_exchange *exchange, const char *secret,
                                              size_t size)
{
    const uint8_t *body = exchange->in + 2;
    struct peer_question *question = &exchange->question;
    struct byte_reader r;

    if (!is_authentic(exchange, secret, "ask", body, size, body + size))
        return PEER_EXCHANGE_UNTRUSTED;
    byte_reader_init(&r, body, size);
    const uint8_t *id = byte_reader_bytes(&r, MUX_SESSION_ID_SIZE);
    if (!id || !read_peer_text(&r, question->identity, sizeof question->identity) ||
        !read_peer_text(&r, question->peer, sizeof question->peer))
        return PEER_EXCHANGE_MALFORMED;
    memcpy(question->id, id, sizeof question->id);
    return PEER_EXCHANGE_ASKED;
}

static enum peer_exchange_step receive_as_answerer(struct peer_exchange *exchange,
                                                   const char *secret)
{
    if (!exchange->nonces) {
        if (memcmp(exchange->in, MAGIC, sizeof MAGIC) != 0)
            return PEER_EXCHANGE_MALFORMED;
        exchange->nonces = true;
        memcpy(exchange->asker_nonce, exchange->in + sizeof MAGIC, PEER_NONCE_SIZE);
        memcpy(exchange->out, exchange->answerer_nonce, PEER_NONCE_SIZE);
        exchange->out_size = PEER_NONCE_SIZE;
        expect(exchange, 2);
        return PEER_EXCHANGE_SAY;
    }
    size_t size = byte_load_u16(exchange->in);
    if (size > PEER_BODY_MAX)
        return PEER_EXCHANGE_MALFORMED;
    if (exchange->needed == 2) {
        exchange->needed = 2 + size + PEER_MAC_SIZE;
        return PEER_EXCHANGE_MORE;
    }
    return check_question(exchange, secret, size);
}

void peer_exchange_answer(struct peer_exchange *exchange, const char *secret, bool has)
{
    exchange->out[0] = has;
    authenticate(exchange, secret, "answer", exchange->out, 1, exchange->out + 1);
    exchange->out_size = 1 + PEER_MAC_SIZE;
}

/* ---- both */

uint8_t *peer_exchange_room(struct peer_exchange *exchange, size_t *size)
{
    *size = exchange->needed - exchange->fill;
    return exchange->in + exchange->fill;
}

enum peer_exchange_step peer_exchange_received(struct peer_exchange *exchange, const char *secret,
                                               size_t size)
{
    exchange->fill += size;
    if (exchange->fill < exchange->needed)
        return PEER_EXCHANGE_MORE;
    return exchange->asks ? receive_as_asker(exchange, secret)
                          : receive_as_answerer(exchange, secret);
}

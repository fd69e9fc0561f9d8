/*
 * Bytes of another instance, whole and in parts, must come to the same end, and what an answerer
 * believes must be what somebody with the secret has said.
 * Input: one byte for the side that they come to and how a question is proven, one as the seed of
 * the parts, then the peer's bytes.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "../../tunnel-server/peers/peer_exchange.h"
#include "check.h"

static const uint8_t nonce[PEER_NONCE_SIZE] = "0123456789abcde";

struct outcome {
    struct peer_exchange exchange;
    enum peer_exchange_step step;
    size_t taken;
};

static void begin(struct outcome *o, bool asks)
{
    static const struct peer_question question = {
        .id = "session-id-of-16", .identity = "alice", .peer = "192.0.2.7:51234"};

    *o = (struct outcome){.step = PEER_EXCHANGE_MORE};
    if (asks)
        peer_exchange_asker(&o->exchange, nonce, &question);
    else
        peer_exchange_answerer(&o->exchange, nonce);
}

static void feed(struct outcome *o, uint32_t seed, const uint8_t *bytes, size_t size)
{
    while (o->taken < size && o->step <= PEER_EXCHANGE_SAY) {
        size_t room;
        uint8_t *to = peer_exchange_room(&o->exchange, &room);
        CHECK(room > 0 && to >= o->exchange.in &&
              to + room <= o->exchange.in + sizeof o->exchange.in);
        if (seed != 0) {
            seed = seed * 1664525 + 1013904223;
            size_t most = 1 + (seed >> 16) % 20;
            room = room < most ? room : most;
        }
        room = room < size - o->taken ? room : size - o->taken;
        memcpy(to, bytes + o->taken, room);
        o->taken += room;
        o->step = peer_exchange_received(&o->exchange, "secret", room);
        CHECK(o->exchange.out_size <= sizeof o->exchange.out);
    }
}

/* A question with a body of the fuzzer's, and the proof that somebody with the secret would give.
 */
static void prove(uint32_t seed, const uint8_t *body, size_t size)
{
    uint8_t text[3 + 2 * PEER_NONCE_SIZE + PEER_BODY_MAX] = "ask";
    uint8_t message[4 + PEER_NONCE_SIZE + PEER_MESSAGE_MAX] = "KTP1";
    uint8_t *at = message + 4 + PEER_NONCE_SIZE;
    unsigned mac_size = PEER_MAC_SIZE;
    struct outcome o;

    memcpy(text + 3 + PEER_NONCE_SIZE, nonce, PEER_NONCE_SIZE);
    memcpy(text + 3 + 2 * PEER_NONCE_SIZE, body, size);
    *at++ = (uint8_t)(size >> 8);
    *at++ = (uint8_t)size;
    memcpy(at, body, size);
    CHECK(HMAC(EVP_sha256(), "secret", 6, text, 3 + 2 * PEER_NONCE_SIZE + size, at + size,
               &mac_size));
    begin(&o, false);
    feed(&o, seed, message, (size_t)(at - message) + size + PEER_MAC_SIZE);
    CHECK(o.step == PEER_EXCHANGE_ASKED || o.step == PEER_EXCHANGE_MALFORMED);
    if (o.step == PEER_EXCHANGE_MALFORMED)
        return;
    CHECK(memcmp(o.exchange.question.id, body, MUX_SESSION_ID_SIZE) == 0);
    CHECK(strlen(o.exchange.question.identity) < HTTP_IDENTITY_MAX);
    CHECK(strlen(o.exchange.question.peer) < SOCKET_TEXT_MAX);
    peer_exchange_answer(&o.exchange, "secret", true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole;
    static struct outcome parts;

    if (size < 2)
        return 0;
    if (data[0] & 2) {
        prove(data[1], data + 2, size - 2 < PEER_BODY_MAX ? size - 2 : PEER_BODY_MAX);
        return 0;
    }
    begin(&whole, data[0] & 1);
    begin(&parts, data[0] & 1);
    feed(&whole, 0, data + 2, size - 2);
    feed(&parts, data[1] + 1u, data + 2, size - 2);
    CHECK(whole.step == parts.step && whole.taken == parts.taken);
    /* Nobody guesses a proof. */
    CHECK(whole.step != PEER_EXCHANGE_ASKED && whole.step != PEER_EXCHANGE_YES &&
          whole.step != PEER_EXCHANGE_NO);
    return 0;
}

/*
 * What two instances of the server say to each other on --peer-listen before a link is handed on
 * (peers.h has the messages). Sans-I/O: bytes come in and go out by calls.
 *
 * Until the peer has proven that it knows the secret, all that it can make this end hold is the
 * struct, and all that it can make it compute is one HMAC.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/server.h"
#include "io/socket.h"
#include "mux/handshake.h"

#define PEER_NONCE_SIZE 16
#define PEER_MAC_SIZE 32
#define PEER_BODY_MAX (MUX_SESSION_ID_SIZE + 2 + HTTP_IDENTITY_MAX + 2 + SOCKET_TEXT_MAX)
#define PEER_MESSAGE_MAX (2 + PEER_BODY_MAX + PEER_MAC_SIZE)

/* Which link of whom is asked for. */
struct peer_question {
    uint8_t id[MUX_SESSION_ID_SIZE];
    char identity[HTTP_IDENTITY_MAX];
    char peer[SOCKET_TEXT_MAX];
};

enum peer_exchange_step {
    PEER_EXCHANGE_MORE,      /* more bytes are needed */
    PEER_EXCHANGE_SAY,       /* the message in out is to be sent; then it goes on */
    PEER_EXCHANGE_ASKED,     /* answerer: question is proven; see peer_exchange_answer() */
    PEER_EXCHANGE_YES,       /* asker: the peer has the session, proven; the link begins */
    PEER_EXCHANGE_NO,        /* asker: it has not, proven */
    PEER_EXCHANGE_MALFORMED, /* not this protocol */
    PEER_EXCHANGE_UNTRUSTED, /* the proof is wrong: another secret */
};

struct peer_exchange {
    struct peer_question question;
    uint8_t asker_nonce[PEER_NONCE_SIZE];
    uint8_t answerer_nonce[PEER_NONCE_SIZE];
    bool asks;
    bool nonces; /* both are known */
    uint8_t in[PEER_MESSAGE_MAX];
    size_t fill;
    size_t needed;
    uint8_t out[PEER_MESSAGE_MAX];
    size_t out_size;
};

/* nonce: of this end, random. The asker's first message is in out. */
void peer_exchange_asker(struct peer_exchange *exchange, const uint8_t nonce[PEER_NONCE_SIZE],
                         const struct peer_question *question);
void peer_exchange_answerer(struct peer_exchange *exchange, const uint8_t nonce[PEER_NONCE_SIZE]);
/* Where the next bytes belong, and how many there may be: not one of what follows the exchange. */
uint8_t *peer_exchange_room(struct peer_exchange *exchange, size_t *size);
/* So many have come there, at least one. The secret may be another one than before: then the proof
 * fails. After anything but MORE and SAY the exchange is over. */
enum peer_exchange_step peer_exchange_received(struct peer_exchange *exchange, const char *secret,
                                               size_t size);
/* After ASKED: makes the answer in out. */
void peer_exchange_answer(struct peer_exchange *exchange, const char *secret, bool has);

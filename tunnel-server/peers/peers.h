/*
 * The other instances of this server. Behind a load balancer without stickiness a client's next
 * link may come to an instance that does not have its session. That one asks the others who has it
 * and hands the link on to the one that does, so that live connections go on.
 *
 * On --peer-listen, plain TCP inside one service; both sides prove that they know the secret in
 * --peer-secret-file (HMAC-SHA256 over nonces of both). "asker" is the instance with the link:
 *
 *     asker:    "KTP1", nonce (16 bytes)
 *     answerer: nonce (16 bytes)
 *     asker:    size of the body (u16), body, HMAC of "ask", both nonces, body
 *               body: session id (16 bytes), identity and address of the client (each u16 size and
 *               bytes)
 *     answerer: 1 if it has the session, else 0; HMAC of "answer", both nonces, that byte
 *
 * After a 1 the connection carries the tunnel protocol as the client's WebSocket does, without its
 * frames. It is neither encrypted nor authenticated byte for byte: keep it inside the service.
 */
#pragma once

#include "io/reload.h"
#include "io/transport.h"
#include "io/worker.h"
#include "mux/handshake.h"
#include "options.h"

struct peers;
struct peer_search;

struct peers_owner {
    /* Whether this instance has that session. */
    bool (*has)(void *context, const uint8_t id[MUX_SESSION_ID_SIZE]);
    /* A link from another instance, which has checked who the client is. transport is the owner's.
     */
    void (*handed_on)(void *context, struct transport *transport, const char *identity,
                      const char *peer);
};

/* NULL: error holds a sentence. For options with peers only. */
struct peers *peers_new(struct worker *worker, const struct options *options,
                        const struct peers_owner *owner, void *context, char *error, size_t size);
void peers_free(struct peers *peers);
/* Reads the secret again; it is also done when its file has changed. NULL is fine. */
void peers_reload(struct peers *peers, struct reload *reload);

/* transport: a connection to the instance that has the session, ready for the tunnel protocol and
 * the callback's; NULL: nobody has it. */
typedef void (*peer_search_callback)(void *context, struct transport *transport);

/* Answers later, once, unless cancelled. */
struct peer_search *peers_search(struct peers *peers, const uint8_t id[MUX_SESSION_ID_SIZE],
                                 const char *identity, const char *peer,
                                 peer_search_callback callback, void *context);
/* Before the callback only; NULL is fine. */
void peer_search_cancel(struct peer_search *search);

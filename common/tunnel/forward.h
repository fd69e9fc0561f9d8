/*
 * The other end of a link whose session another instance of the server has: what the client says is
 * handed on as it is, over a connection on which the other instance has a link without WebSocket
 * frames (link_new_handed_on()), and what comes back is for the client. Before that connection is
 * there, and while it takes nothing, what the client says is held.
 */
#pragma once

#include "io/transport.h"
#include "io/worker.h"

struct forward;

/* What the connection to the other instance is ready for, as forward_wait() asked. */
struct forward_owner {
    void (*readable)(void *context);
    void (*writable)(void *context);
};

struct forward *forward_new(struct worker *worker, const struct forward_owner *owner,
                            void *context);
/* Closes the connection. NULL is fine. */
void forward_free(struct forward *forward);
/* The connection is there, and the forward's. */
void forward_connect(struct forward *forward, struct transport *transport);
/* What the client says is to be handed on. */
void forward_put(struct forward *forward, const uint8_t *bytes, size_t size);
/* Hands on what the connection takes now. 0; -1: it is broken. */
int forward_flush(struct forward *forward);
/* So much is held that the client is to be read no further. */
bool forward_is_full(const struct forward *forward);
/* While it is full: when it has taken nothing for too long, by clock_now_us(). Nobody hears the
 * client leave meanwhile, as it is not read. */
uint64_t forward_deadline(const struct forward *forward);
/* What the other instance says: bytes, or 0 for none now; -1: it has closed the connection. */
long forward_read(struct forward *forward, uint8_t *buffer, size_t size);
/* What to wait for: reads, or nothing at all when the link is closing. */
void forward_wait(struct forward *forward, bool reads, bool writes);

/*
 * libwebsockets inside a libevent loop.
 *
 * Debian's libwebsockets has no libevent plugin; it has one for libuv that accepts a foreign loop.
 * That loop is never run by itself: its backend descriptor is one event among others in the
 * libevent base, and its next timeout one timer. Public interfaces only.
 *
 * libwebsockets does what it is good at: accept, connect, TLS set-up, HTTP, the WebSocket upgrade.
 * After that a connection is taken away from it (net/transport.h).
 */
#pragma once

#include <event2/event.h>
#include <libwebsockets.h>

struct lws_loop;

/* NULL: libwebsockets could not be set up. info: options, protocols and TLS are the caller's; the
 * loop's fields are filled in. */
struct lws_loop *lws_loop_new(struct event_base *base, struct lws_context_creation_info *info);
void lws_loop_free(struct lws_loop *loop);
struct lws_context *lws_loop_context(const struct lws_loop *loop);
/* To be called after each call of libwebsockets from outside its own callbacks. */
void lws_loop_kick(struct lws_loop *loop);

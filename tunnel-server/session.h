/*
 * A client's session on the server: streams to brokers and targets, and which listeners the client
 * has for which nodes. It outlives its links for the resume window.
 */
#pragma once

#include "net/link.h"
#include "server.h"

/* A link has sent HELLO: the session it belongs to, new or resumed; NULL: *reject says why not. */
struct mux_session *session_hello(struct server *server, struct link *link, const char *identity,
                                  const char *peer, const struct mux_hello *hello,
                                  struct mux_reject *reject, struct session **session);
/* A link of the session is gone; its newest, or one that was replaced. */
void session_link_lost(struct session *session, struct link *link, enum link_end end,
                       const char *reason);
/* Tells all clients that the server stops, and ends their sessions. */
void session_stop_all(struct server *server);

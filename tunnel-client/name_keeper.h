/*
 * What the client does so that brokers keep their names (--keep-names): asks the server for them,
 * opens listeners where they lead, and sees to it that they lead there: the command of `run` gets a
 * hosts file of its own; otherwise the log says which lines the machine's hosts file lacks.
 */
#pragma once

#include "listeners/listener_tls.h"
#include "listeners/ports.h"
#include "mux/session.h"
#include "options.h"
#include "run/run.h"

struct name_keeper;

/* NULL: all clusters have listeners of this machine's own names. For ports whose clusters are open;
 * before ports_plan(). listener_tls: may be NULL. */
struct name_keeper *name_keeper_new(struct ports *ports, struct listener_tls *listener_tls,
                                    const struct options *options);
/* NULL is fine with all of these. */
void name_keeper_free(struct name_keeper *keeper);
/* The command that waits for the names. */
void name_keeper_serve(struct name_keeper *keeper, struct run *run);
/* A new session is up. */
void name_keeper_up(struct name_keeper *keeper, struct mux_session *session,
                    const struct mux_welcome *welcome);
/* A NAMES message has come. withdrawn gets what has made way: struct named_ports_turn. */
void name_keeper_receive(struct name_keeper *keeper, const uint8_t *payload, size_t size,
                         struct list *withdrawn);
/* Listeners may have been opened, and nobody knows of them yet: now the names lead there. */
void name_keeper_publish(struct name_keeper *keeper);
/* Takes back the listeners of names that could not be published, from an answer that nobody has got
 * yet: who heard of them would be led elsewhere. */
void name_keeper_withhold(const struct name_keeper *keeper, struct port_request *requests,
                          size_t count);
/* All names are known: a command may start. */
bool name_keeper_is_ready(const struct name_keeper *keeper);

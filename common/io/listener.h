/*
 * Listening TCP sockets. When the process is out of descriptors, accepting pauses and resumes by
 * itself; connections wait in the kernel's queue meanwhile.
 */
#pragma once

#include "io/congestion.h"
#include "io/socket.h"
#include "io/worker.h"

struct listener;

/* What somebody whose port another program holds can do to learn which one it is. */
#define LISTENER_WHO_HOLDS                                                                         \
    "`ss -ltnp` (Linux) or `lsof -iTCP -sTCP:LISTEN` shows which program uses it"

/* fd: accepted, non-blocking, tuned, the callback's from then on. */
typedef void (*listener_callback)(void *context, int fd, const struct socket_address *peer);

/*
 * name: for the log. Port 0: the kernel chooses (listener_port()). NULL: errno tells why;
 * EADDRINUSE above all.
 */
struct listener *listener_new(struct worker *worker, const char *name,
                              const struct socket_address *address, listener_callback callback,
                              void *context);
/* The same for probes and figures: it takes the last descriptors as well, which other connections
 * leave alone, and "::" is for IPv4, too, where the system has it so. */
struct listener *listener_new_for_pages(struct worker *worker, const char *name,
                                        const struct socket_address *address,
                                        listener_callback callback, void *context);
/* Connections that are accepted from here on have that congestion control (io/congestion.h). false:
 * errno. */
bool listener_use_congestion_control(struct listener *listener, const char *name);
/* The one that they have. */
void listener_congestion_control(const struct listener *listener, char name[CONGESTION_NAME_SIZE]);
/* Warns if the kernel may give the port to an outgoing connection (io/outgoing_ports.h): for one
 * that somebody has chosen, and expects there after the next start. */
void listener_warn_if_at_risk(const struct listener *listener);
/* The same of ports that other listeners will have. */
void listener_warn_of_ports_at_risk(struct worker *worker, const char *name, uint16_t first,
                                    uint16_t last);
void listener_free(struct listener *listener);
/* Accepts what waits in the kernel's queue now. */
void listener_take_all(struct listener *listener);
uint16_t listener_port(const struct listener *listener);
/* "127.0.0.1:9092" */
void listener_format(const struct listener *listener, char text[SOCKET_TEXT_MAX]);

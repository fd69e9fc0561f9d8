/*
 * Tells the service manager how the program fares: the protocol of sd_notify(3), lines KEY=VALUE in
 * datagrams to the socket that NOTIFY_SOCKET names, without libsystemd. With WATCHDOG_USEC the loop
 * says so twice in that time as long as it turns.
 *
 * Never fails its caller: a datagram that cannot be sent is given up.
 */
#pragma once

#include "io/worker.h"

struct notify;

/*
 * Reads NOTIFY_SOCKET (a path, or an abstract socket's name behind @), WATCHDOG_USEC and
 * WATCHDOG_PID and takes them out of the environment: they are not for the programs that this one
 * starts. NULL: nobody wants to know; all functions below take it and do nothing.
 */
struct notify *notify_new(struct worker *worker);
void notify_free(struct notify *notify);

/* The program does what it is for. The first call counts. */
void notify_ready(struct notify *notify);
void notify_stopping(struct notify *notify);
/* Files are read again, between these two; nothing before notify_ready(). */
void notify_reloading(struct notify *notify);
void notify_reloaded(struct notify *notify);
/* One line for people, cut to fit; a newline in it is made a blank. */
void notify_status(struct notify *notify, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

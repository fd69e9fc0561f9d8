/* The client: local listeners, the connections on them, the uplink. */
#pragma once

#include "options.h"
#include "ports.h"
#include "run.h"
#include "terminal.h"
#include "uplink.h"

struct client {
    struct worker *worker;
    const struct options *options;
    struct ports ports;
    struct uplink *uplink;
    struct run *run;           /* NULL: there is no command to run */
    struct terminal *terminal; /* NULL: nobody watches */
    struct list connections;   /* struct local_connection with a stream */
    struct list waiting;       /* struct local_connection without: no link yet; oldest first */
    struct event *waiting_timer;
    bool ready;
};

/* false: error holds a sentence; exit_code says what to exit with. */
bool client_start(struct client *client, struct worker *worker, const struct options *options,
                  char *error, size_t size, int *exit_code);
/* A signal for the command of `run`. true: it has it; false: the program is to end. */
bool client_signalled(struct client *client, int number, bool from_terminal);
/* What to exit with after all. */
int client_exit_code(const struct client *client);
/* Stops accepting and lets what is under way come to its end; client_stopped() tells when. */
void client_drain(struct client *client);
/* Cuts what is left and says goodbye; client_stopped() tells when that is done. */
void client_stop(struct client *client);
bool client_stopped(const struct client *client);
void client_free(struct client *client);

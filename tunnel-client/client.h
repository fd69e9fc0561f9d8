/* The client: local listeners, the connections on them, the uplink. */
#pragma once

#include "io/timer.h"
#include "kafka/peek.h"
#include "listeners/allowed_users.h"
#include "listeners/greeter.h"
#include "listeners/ports.h"
#include "monitoring/telemetry.h"
#include "name_keeper.h"
#include "options.h"
#include "program/confine.h"
#include "program/program.h"
#include "run/run.h"
#include "terminal.h"
#include "tunnel/relay.h"
#include "uplink.h"

struct client {
    struct worker *worker;
    struct notify *notify; /* of the program; NULL: there is no service manager */
    const struct options *options;
    struct telemetry *telemetry;
    struct ports ports;
    struct allowed_users *allowed_users; /* NULL: all of this machine */
    struct listener_tls *listener_tls;   /* NULL: the listeners take bytes as they are */
    struct greeter *greeter;             /* of connections that may be TLS; NULL: as above */
    struct uplink *uplink;
    struct name_keeper *names; /* NULL: brokers get names of this machine's */
    struct run *run;           /* NULL: there is no command to run */
    struct terminal *terminal; /* NULL: nobody watches */
    struct confined confined;  /* what the process has given up */
    struct list connections;   /* struct local_connection with a stream */
    struct list waiting;       /* struct local_connection without: no link yet; oldest first */
    struct timer *waiting_timer;
    bool ready;   /* it has been */
    bool leaving; /* it will stop soon */
};

/* A connection of a local program. */
struct local_connection {
    struct list node;
    struct client *client;
    struct port *port;
    struct relay *relay;         /* NULL while it waits for the link */
    struct transport *transport; /* NULL when the relay or the greeter has it */
    uint64_t accepted_us;
    size_t target; /* in METRICS_TARGET */
    uint32_t id;
    char peer[SOCKET_TEXT_MAX];
    struct kafka_peek peek;
    char *protection;  /* TLS version and cipher of a client that speaks TLS; else NULL */
    char *certificate; /* whose certificate it has shown; NULL: none */
    char *login;       /* as whom the server has logged in for it, in words; NULL: it has not */
};

/* Opens the listeners. If it does not go, error holds a sentence. */
enum program_start client_open(struct client *client, const struct program_context *context,
                               const struct options *options, char *error, size_t size);
/* What a listener takes of clients. */
enum listener_security client_security_of(const struct client *client, const struct port *port);
/* Gives up what a client needs only to start, unless options keep it. */
struct confined client_confine(struct worker *worker, const struct options *options);
/* Gives up what the process does not need any more and then dials, for as long as it takes. A
 * command that is run comes before the former. */
void client_connect(struct client *client);
/* A signal for the command of `run`. true: it has it; false: the program is to end. */
bool client_signalled(struct client *client, int number, bool from_terminal);
/* What to exit with after all. */
int client_exit_code(const struct client *client);
/* Reads again the files that options name. */
void client_reload(struct client *client, struct reload *reload);
/* Will stop soon: not ready any more, but serves on. */
void client_leave(struct client *client);
/* Stops accepting and lets what is under way come to its end; client_stopped() tells when. */
void client_drain(struct client *client);
/* Cuts what is left and says goodbye; client_stopped() tells when that is done. */
void client_stop(struct client *client);
bool client_stopped(const struct client *client);
void client_free(struct client *client);

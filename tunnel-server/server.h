/* The server: what is configured, who is connected. */
#pragma once

#include "access.h"
#include "cluster.h"
#include "net/http_server.h"
#include "net/listener.h"
#include "options.h"

struct session;

struct server {
    struct worker *worker;
    const struct options *options;
    struct access *access;
    struct http_server *http;
    struct listener *listener;
    struct cluster *clusters; /* options->cluster_count */
    struct list sessions;     /* struct session, by its node */
    size_t session_count;
    struct list links; /* upgraded connections, with or without a session */
    size_t greeting;   /* how many of them have not sent HELLO yet */
    uint8_t offers[8192];
    size_t offers_size;
    uint16_t offer_count;
    struct event *probe;
    struct probe *probes; /* one a cluster */
    bool stopping;
};

/* false: error holds a sentence; exit_code says what to exit with. */
bool server_start(struct server *server, struct worker *worker, const struct options *options,
                  char *error, size_t size, int *exit_code);
/* Says goodbye to everybody; the loop should run on for a moment. */
void server_stop(struct server *server);
void server_free(struct server *server);
/* Whether every link has said goodbye since server_stop(). */
bool server_stopped(const struct server *server);
/* The session is freed: links must not name it any more. */
void server_forget_session(struct server *server, struct session *session);

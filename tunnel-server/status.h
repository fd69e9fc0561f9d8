/* The server's status pages (--status): /status.json and probes, beside the figures. */
#pragma once

#include "monitoring/pages.h"
#include "server.h"

/* The answer of /readyz here; lines beyond it are left out. */
#define STATUS_READINESS_MAX 4096

struct status {
    const struct server *server;
    struct pages *pages;                  /* NULL: no --status */
    char readiness[STATUS_READINESS_MAX]; /* what /readyz said last */
};

/* Serves them if --status is given. false: error holds a sentence. */
bool status_start(struct status *status, const struct server *server, char *error, size_t size);
/* Also after status_start() has failed. */
void status_stop(struct status *status);

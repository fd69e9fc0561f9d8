/* The server's status pages (--status): the page for people, /status.json, probes. */
#pragma once

#include "io/timer.h"
#include "monitoring/history.h"
#include "monitoring/pages.h"
#include "program/confine.h"
#include "server.h"

/* The answer of /readyz here; lines beyond it are left out. */
#define STATUS_READINESS_MAX 4096

struct status {
    const struct server *server;
    struct confined confined;             /* what the process has given up */
    struct timer *sample;                 /* once a second; NULL: no --status */
    struct history *history;              /* the last ten minutes, for the graphs */
    struct pages *pages;                  /* NULL: no --status */
    char readiness[STATUS_READINESS_MAX]; /* what /readyz said last */
};

/* Serves them if --status is given. false: error holds a sentence. */
bool status_start(struct status *status, const struct server *server,
                  const struct confined *confined, char *error, size_t size);
/* Also after status_start() has failed. */
void status_stop(struct status *status);

/* The client's status pages (--status): the page for people, /status.json, probes, and quitting. */
#pragma once

#include "client.h"
#include "io/timer.h"
#include "monitoring/history.h"
#include "monitoring/pages.h"

struct status {
    struct client *client;
    struct pages *pages;     /* NULL: no --status */
    struct timer *sample;    /* once a second */
    struct history *history; /* the last ten minutes, for the graphs */
    struct timer *quit;      /* POST /quitquitquit has come; NULL: no --status */
};

/* Serves them if --status is given. false: error holds a sentence. */
bool status_start(struct status *status, struct client *client, char *error, size_t size);
/* Also after status_start() has failed. */
void status_stop(struct status *status);

/* The server's status pages (--status): /status.json and probes, beside the figures. */
#pragma once

#include "server.h"

/* Serves them if --status is given. false: error holds a sentence. */
bool status_start(struct server *server, char *error, size_t size);

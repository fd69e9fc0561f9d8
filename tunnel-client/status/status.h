/* The client's status pages (--status): the page for people, /status.json, probes, and quitting. */
#pragma once

#include "client.h"

/* Serves them if --status is given. false: error holds a sentence. */
bool status_start(struct client *client, char *error, size_t size);
void status_stop(struct client *client);

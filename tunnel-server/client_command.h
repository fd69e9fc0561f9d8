/* The command for the machine of the Kafka clients, to be copied from the server's log. */
#pragma once

#include "base/text.h"
#include "options.h"

/*
 * Writes "tunnel-client --server https://..." for a server with these options that listens at port.
 * It names files for what it must not show: a token, a key. Where the server cannot know
 * its own name (behind an ingress, say), HOST stands for it. Reads --tls-cert.
 */
void client_command_write(const struct options *options, unsigned port, struct text *out);

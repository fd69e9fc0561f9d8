/*
 * The variables that Kubernetes sets for every Service of a namespace, in the manner of Docker's
 * links: a Service tunnel-server gives TUNNEL_SERVER_SERVICE_HOST, TUNNEL_SERVER_PORT_8080_TCP and
 * more (kubernetes.io/docs/concepts/services-networking/service, "Environment variables"). They
 * only look like options.
 */
#pragma once

#include <stdbool.h>

/* entry: NAME=VALUE. Both must look as Kubernetes writes them. */
bool service_link_is(const char *entry);

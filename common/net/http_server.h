/*
 * The HTTP side of a server: health pages, and the upgrade to a WebSocket.
 *
 * libwebsockets does TLS, HTTP and the upgrade; an upgraded connection is taken away from it and
 * handed to the owner as a transport. Connections come from the owner's own listeners, so that
 * limits and pauses are in one place.
 */
#pragma once

#include "net/socket.h"
#include "net/tls.h"
#include "net/transport.h"
#include "net/worker.h"

#define HTTP_IDENTITY_MAX 256

struct http_request {
    const char *path;
    const char *authorization;      /* value of the header; "" if absent. Never log it. */
    const char *ingress_identity;   /* Sf-Context-Current-User, "" if absent */
    const char *client_certificate; /* subject of the verified certificate, "" if there is none */
    const char *peer;               /* address of the TCP peer */
};

struct http_server_owner {
    /*
     * A client asks for the upgrade. 101: allowed, identity (HTTP_IDENTITY_MAX bytes) is filled in;
     * else the status to refuse with, *body a sentence for the person at the other end.
     */
    int (*authorize)(void *context, const struct http_request *request, char *identity,
                     const char **body);
    /* The connection is a WebSocket from now on; the owner takes the transport. */
    void (*upgraded)(void *context, struct transport *transport, const char *identity,
                     const char *peer);
    /* Answers GET for a path that is not the tunnel's: the status, *body (static text). 404 if
     * unknown. */
    int (*page)(void *context, const char *path, const char **body);
};

struct http_server_settings {
    const char *path;      /* where the tunnel is: "/tunnel" */
    const char *cert_file; /* NULL: plain HTTP */
    const char *key_file;
    const char *client_ca_file; /* NULL: no client certificates are asked for */
    unsigned handshakes_max;    /* connections that are not upgraded yet */
    unsigned handshake_timeout_s;
    unsigned headers_max; /* bytes of a request's headers */
};

struct http_server;

/* NULL: TLS could not be set up; error names the file. Paths must live as long as the server. */
struct http_server *http_server_new(struct worker *worker,
                                    const struct http_server_settings *settings,
                                    const struct http_server_owner *owner, void *context,
                                    struct tls_error *error);
void http_server_free(struct http_server *server);
/* Takes an accepted connection. */
void http_server_adopt(struct http_server *server, int fd, const struct socket_address *peer);

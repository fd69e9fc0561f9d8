/*
 * How a client gets to HTTPS servers: which authorities it trusts, which certificate it shows, over
 * which proxy, and at which addresses it finds hosts that were given by hand. What dials to a
 * server and requests for a token have in common.
 */
#pragma once

#include "config/config.h"
#include "config/proxy.h"
#include "io/resolver.h"
#include "io/tls_keeper.h"

struct http_way_settings {
    /* The authorities are trusted beside the system's CAs; the certificate is shown to the server
     * that is dialled, to nobody else. */
    struct tls_files files;
    const char *proxy; /* a URL, or "none"; NULL: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY */
    const struct config_list *overrides; /* of --resolve, checked */
    /* Of connections that are upgraded (io/congestion.h); it must live as long as the way. NULL:
     * the system's. */
    const char *congestion_control;
};

/* Made by http_way_new(); or, to plain HTTP without a proxy: {.worker = worker}. */
struct http_way {
    struct worker *worker;
    struct tls_keeper *keeper;
    /* Exchanged when files have changed: to be looked up for each connection. */
    SSL_CTX *tls;           /* with the certificate */
    SSL_CTX *anonymous_tls; /* without: for proxies and other servers */
    struct proxy proxy;     /* of the option */
    bool has_proxy;
    bool from_environment; /* the option says nothing */
    const char *congestion_control;
    struct address_override *overrides;
    size_t override_count;
};

/* NULL: error holds a sentence about a file or the proxy. */
struct http_way *http_way_new(struct worker *worker, const struct http_way_settings *settings,
                              char *error, size_t size);
void http_way_free(struct http_way *way);
/* Reads certificates, keys and authorities again. */
void http_way_reload(struct http_way *way, struct reload *reload);

/*
 * The proxy for a host, to be cleared by the caller; its host is "" if there is none. The
 * environment is read anew each time; its proxy is not meant for this machine itself, nor for what
 * NO_PROXY names. NULL, or a sentence: the environment's is no proxy that can be used.
 */
const char *http_way_proxy(const struct http_way *way, const char *host, uint16_t port, bool tls,
                           struct proxy *proxy);
/* The addresses of --resolve for the host; false: there are none. */
bool http_way_override(const struct http_way *way, const char *host, uint16_t port,
                       struct resolver_result *result);

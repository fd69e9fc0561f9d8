#include "http/way.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static void load_overrides(struct http_way *way, const struct config_list *list)
{
    way->overrides = memory_new_array(list->count + 1, sizeof *way->overrides);
    for (size_t i = 0; i < list->count; i++)
        if (!address_parse_override(list->items[i], &way->overrides[way->override_count]))
            way->override_count++;
}

static bool use_way_material(void *context, const struct tls_material *material,
                             struct tls_error *error)
{
    struct http_way *way = context;
    SSL_CTX *tls = tls_client_context(material, true, error);
    SSL_CTX *anonymous = tls ? tls_client_context(material, false, error) : NULL;

    if (!anonymous) {
        SSL_CTX_free(tls);
        return false;
    }
    /* Connections have references of their own. */
    SSL_CTX_free(way->tls);
    SSL_CTX_free(way->anonymous_tls);
    way->tls = tls;
    way->anonymous_tls = anonymous;
    return true;
}

struct http_way *http_way_new(struct worker *worker, const struct http_way_settings *settings,
                              char *error, size_t size)
{
    struct http_way *way = memory_new(sizeof *way);
    struct tls_error tls;

    way->worker = worker;
    way->congestion_control = settings->congestion_control;
    way->from_environment = !settings->proxy;
    if (settings->overrides)
        load_overrides(way, settings->overrides);
    if (settings->proxy && strcmp(settings->proxy, "none") != 0) {
        const char *why = proxy_parse(settings->proxy, &way->proxy);
        if (why) {
            snprintf(error, size, "--proxy: %s", why);
            http_way_free(way);
            return NULL;
        }
        way->has_proxy = true;
    }
    way->keeper = tls_keeper_new(worker, &settings->files, use_way_material, way, &tls);
    if (!way->keeper) {
        snprintf(error, size, "%s", tls.text);
        http_way_free(way);
        return NULL;
    }
    return way;
}

void http_way_free(struct http_way *way)
{
    if (!way)
        return;
    proxy_clear(&way->proxy);
    tls_keeper_free(way->keeper);
    SSL_CTX_free(way->tls);
    SSL_CTX_free(way->anonymous_tls);
    free(way->overrides);
    free(way);
}

void http_way_reload(struct http_way *way, struct reload *reload)
{
    tls_keeper_reload(way->keeper, reload);
}

/* ---- which proxy */

static const char *first_set(const char *const *names)
{
    for (; *names; names++) {
        const char *value = getenv(*names);
        if (value && *value)
            return value;
    }
    return NULL;
}

static bool is_this_machine(const char *host)
{
    struct socket_address address;

    if (socket_parse(host, 0, &address))
        return socket_is_loopback(&address);
    return address_same_host(host, "localhost");
}

static const char *environment_proxy(const char *host, uint16_t port, bool tls, struct proxy *proxy)
{
    /* Not HTTP_PROXY: behind a web server a request's header could set it (as curl has it). */
    static const char *const for_tls[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                                          NULL};
    static const char *const for_plain[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
    static const char *const exceptions[] = {"no_proxy", "NO_PROXY", NULL};
    const char *url = first_set(tls ? for_tls : for_plain);
    const char *except = first_set(exceptions);

    if (!url || is_this_machine(host) || (except && proxy_is_excepted(except, host, port)))
        return NULL;
    return proxy_parse(url, proxy);
}

const char *http_way_proxy(const struct http_way *way, const char *host, uint16_t port, bool tls,
                           struct proxy *proxy)
{
    memset(proxy, 0, sizeof *proxy);
    if (way->from_environment)
        return environment_proxy(host, port, tls, proxy);
    if (!way->has_proxy)
        return NULL;
    *proxy = way->proxy;
    if (way->proxy.credentials)
        proxy->credentials = memory_text(way->proxy.credentials);
    return NULL;
}

/* ---- addresses given by hand */

bool http_way_override(const struct http_way *way, const char *host, uint16_t port,
                       struct resolver_result *result)
{
    memset(result, 0, sizeof *result);
    for (size_t i = 0; i < way->override_count && result->count < RESOLVER_ADDRESSES_MAX; i++) {
        const struct address_override *override = &way->overrides[i];
        if (override->at.port == port && address_same_host(override->at.host, host) &&
            socket_parse(override->address, port, &result->addresses[result->count]))
            result->count++;
    }
    return result->count > 0;
}

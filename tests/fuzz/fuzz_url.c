/*
 * A text as a URL, and as each of the addresses that options hold: what is accepted must be within
 * its bounds, and mean the same when it is written down again.
 */
#include <stdio.h>

#include "check.h"
#include "config/url.h"

static void check_host(const char *host)
{
    size_t size = strlen(host);

    CHECK(size > 0 && size <= ADDRESS_HOST_MAX);
    for (size_t i = 0; i < size; i++)
        CHECK(host[i] > ' ' && host[i] < 0x7f && !strchr("[]/@?#,=", host[i]));
}

static void check_url(const char *text)
{
    static const char *const schemes[] = {"http", "https"};
    struct url url;
    struct url again;
    char written[sizeof url.host + sizeof url.path + 32];

    if (url_parse(text, &url) != NULL)
        return;
    check_host(url.host);
    CHECK(url.port != 0 && url.path[0] == '/' && !url_check_path(url.path));
    CHECK(url.is_ipv6 == (strchr(url.host, ':') != NULL));
    snprintf(written, sizeof written, url.is_ipv6 ? "%s://[%s]:%u%s" : "%s://%s:%u%s",
             schemes[url.tls], url.host, (unsigned)url.port, url.path);
    CHECK(url_parse(written, &again) == NULL);
    CHECK(again.tls == url.tls && again.port == url.port && again.is_ipv6 == url.is_ipv6);
    CHECK(strcmp(again.host, url.host) == 0 && strcmp(again.path, url.path) == 0);
}

static void check_address(const struct address *address, bool any_port)
{
    char text[ADDRESS_TEXT_MAX];
    struct address again;

    check_host(address->host);
    CHECK(any_port || address->port != 0);
    address_format(address->host, address->port, text);
    CHECK(strlen(text) < sizeof text);
    if (address->port == 0)
        return;
    CHECK(address_parse(text, &again) == NULL);
    CHECK(again.port == address->port && address_same_host(again.host, address->host));
}

static void check_name(const char *name)
{
    CHECK(strlen(name) > 0 && strlen(name) <= ADDRESS_NAME_MAX);
    CHECK(strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
          strlen(name));
}

static void check_cluster(const char *text)
{
    struct address_cluster cluster;

    if (address_parse_cluster(text, &cluster) != NULL)
        return;
    check_name(cluster.name);
    CHECK(cluster.count > 0 && cluster.count <= ADDRESS_BROKERS_MAX);
    for (size_t i = 0; i < cluster.count; i++)
        check_address(&cluster.brokers[i], false);
}

static void check_named(const char *text)
{
    struct address_named named;
    struct address_named_ports ports;

    if (address_parse_named_listen(text, ADDRESS_DEFAULT_CLUSTER, &named) == NULL) {
        check_name(named.name);
        check_address(&named.address, true);
    }
    if (address_parse_named_listen(text, NULL, &named) == NULL)
        check_name(named.name);
    if (address_parse_target(text, &named) == NULL) {
        check_name(named.name);
        check_address(&named.address, false);
    }
    if (address_parse_ports(text, &ports) == NULL) {
        check_name(ports.name);
        CHECK(ports.ports.first > 0 && ports.ports.first <= ports.ports.last);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    char host[ADDRESS_HOST_MAX + 1];
    struct address address;

    check_url(text);
    if (address_parse(text, &address) == NULL)
        check_address(&address, false);
    if (address_parse_listen(text, &address) == NULL)
        check_address(&address, true);
    if (address_parse_told_host(text, host) == NULL)
        check_host(host);
    check_cluster(text);
    check_named(text);
    free(text);
    return 0;
}

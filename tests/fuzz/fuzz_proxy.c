/*
 * A text as a proxy's URL, as an address given by hand, and as a list of hosts without a proxy.
 * Input: a text; after a first NUL a host, which the list may name.
 */
#include <stdio.h>

#include "check.h"
#include "config/proxy.h"

static void check_proxy(const char *text)
{
    struct proxy proxy;

    if (proxy_parse(text, &proxy) != NULL)
        return;
    CHECK(proxy.host[0] != '\0' && strlen(proxy.host) <= ADDRESS_HOST_MAX && proxy.port != 0);
    CHECK(!strpbrk(proxy.host, "[]@/ "));
    CHECK(!proxy.credentials || strchr(proxy.credentials, ':'));
    CHECK(!proxy.credentials || strlen(proxy.credentials) <= strlen(text));
    proxy_clear(&proxy);
}

static void check_override(const char *text)
{
    struct address_override override;

    if (address_parse_override(text, &override) != NULL)
        return;
    CHECK(override.at.host[0] != '\0' && override.at.port != 0);
    CHECK(strspn(override.address, "0123456789abcdefABCDEF.:") == strlen(override.address));
}

/* A list says the same with more in it that is not meant, and everything is in "*". */
static void check_list(const char *list, const char *host)
{
    size_t size = strlen(list);
    char *longer = malloc(size + 64);

    CHECK(longer);
    snprintf(longer, size + 64, "192.0.2.1:1,%s", list);
    CHECK(proxy_is_excepted(longer, host, 443) == proxy_is_excepted(list, host, 443));
    snprintf(longer, size + 64, "%s,*", list);
    CHECK(proxy_is_excepted(longer, host, 443));
    free(longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    size_t first = strlen(text);

    check_proxy(text);
    check_override(text);
    check_list(text, first < size ? text + first + 1 : "broker1.example.org");
    free(text);
    return 0;
}

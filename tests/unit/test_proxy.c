/* Proxies' URLs, NO_PROXY, and addresses given by hand. */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <string.h>

#include "config/proxy.h"

static void good(const char *text, enum proxy_kind kind, const char *host, uint16_t port,
                 const char *credentials)
{
    struct proxy proxy;
    const char *error = proxy_parse(text, &proxy);

    if (error)
        fail_msg("%s: %s", text, error);
    assert_int_equal(proxy.kind, kind);
    assert_string_equal(proxy.host, host);
    assert_int_equal(proxy.port, port);
    if (credentials)
        assert_string_equal(proxy.credentials, credentials);
    else
        assert_null(proxy.credentials);
    proxy_clear(&proxy);
}

static void urls(void **state)
{
    (void)state;
    good("http://proxy.corp:3128", PROXY_HTTP, "proxy.corp", 3128, NULL);
    good("proxy.corp:8080/", PROXY_HTTP, "proxy.corp", 8080, NULL);
    good("HTTPS://proxy", PROXY_HTTPS, "proxy", 443, NULL);
    good("http://proxy", PROXY_HTTP, "proxy", 80, NULL);
    good("http://[::1]:3128", PROXY_HTTP, "::1", 3128, NULL);
    good("http://user:pass@p:1", PROXY_HTTP, "p", 1, "user:pass");
    good("http://user@p:1", PROXY_HTTP, "p", 1, "user:");
    good("http://DOM%5Cuser:p%40ss%3a%2F%25@p:1", PROXY_HTTP, "p", 1, "DOM\\user:p@ss:/%");
    good("http://a@b:c@p:1", PROXY_HTTP, "p", 1, "a@b:c");
    good(" http://user:pass@p:1\r\n", PROXY_HTTP, "p", 1, "user:pass");
    good("socks5h://proxy", PROXY_SOCKS5H, "proxy", 1080, NULL);
    good("SOCKS5://user:p%40ss@[::1]:9050/", PROXY_SOCKS5, "::1", 9050, "user:p@ss");
    good("socks5h://user@proxy", PROXY_SOCKS5H, "proxy", 1080, "user:");
    good("proxy/\n", PROXY_HTTP, "proxy", 80, NULL);
}

/* A colon of the user's own stays with the user. Each part has a length of one byte in SOCKS. */
static void logins(void **state)
{
    struct proxy proxy;
    char url[2000];

    (void)state;
    assert_null(proxy_parse("socks5://a%3Ab:c:d@p", &proxy));
    assert_string_equal(proxy.credentials, "a:b:c:d");
    assert_int_equal(proxy.user_size, 3);
    proxy_clear(&proxy);
    for (int user = 255; user <= 256; user++) {
        for (int password = 255; password <= 256; password++) {
            bool fits = user == 255 && password == 255;
            snprintf(url, sizeof url, "socks5h://%0*d:%0*d@p", user, 0, password, 0);
            assert_int_equal(proxy_parse(url, &proxy) == NULL, fits);
            proxy_clear(&proxy);
            assert_null(proxy_parse(strstr(url, "://") + 3, &proxy));
            assert_int_equal(strlen(proxy.credentials), user + 1 + password);
            assert_int_equal(proxy.user_size, user);
            proxy_clear(&proxy);
        }
    }
}

static void wrong_urls(void **state)
{
    static const char *const texts[] = {
        "",
        "socks4://proxy:1080",
        "socks://proxy:1080",
        "socks5h://",
        "socks5://:p@proxy",
        "socks5://@proxy",
        "ftp://proxy",
        "http://",
        "http://:3128",
        "http://proxy:0",
        "http://proxy:65536",
        "http://proxy:",
        "http://proxy:3128/path",
        "http://proxy?x",
        "http://user:p%4@proxy",
        "http://user:p%zz@proxy",
        "http://user:p%00@proxy",
        "http://[::1",
        "http://[::1]x",
        "http://p:1 http://q:1",
        "\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct proxy proxy;
        const char *error = proxy_parse(texts[i], &proxy);
        if (!error)
            fail_msg("%s is taken", texts[i]);
        assert_null(proxy.credentials);
        assert_null(strstr(error, "user:p"));
    }
}

static void exceptions(void **state)
{
    static const struct {
        const char *list;
        const char *host;
        bool excepted;
    } cases[] = {
        {"*", "anything.org", true},
        {"", "anything.org", false},
        {"example.org", "example.org", true},
        {"example.org", "EXAMPLE.ORG", true},
        {"example.org", "a.example.org", true},
        {".example.org", "a.b.example.org", true},
        {"example.org", "a.example.org.", true},
        {"a.example.org.", "a.example.org", true},
        {"example.org.", "notexample.org.", false},
        {".example.org", "example.org", true},
        {"*.example.org", "a.example.org", true},
        {"example.org", "notexample.org", false},
        {"example.org", "example.org.evil", false},
        {"a.org, b.org c.org", "c.org", true},
        {"a.org,,b.org", "b.org", true},
        {"example.org:443", "example.org", true},
        {"example.org:80", "example.org", false},
        {"10.1.2.3", "10.1.2.3", true},
        {"10.1.2.3", "110.1.2.3", false},
        {"10.0.0.0/8", "10.200.3.4", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.0.0.0/9", "10.200.3.4", false},
        {"10.0.0.0/0", "11.0.0.1", true},
        {"10.0.0.0/33", "10.0.0.1", false},
        {"10.0.0.0/x", "10.0.0.1", false},
        {"fd00::/8", "fd12::1", true},
        {"fd00::/8", "fe12::1", false},
        {"::1", "::1", true},
        {"[::1]:443", "::1", true},
        {"[::1]:80", "::1", false},
        {"0:0:0:0:0:0:0:1", "::1", true},
        {"10.0.0.0/8", "ten.example.org", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (proxy_is_excepted(cases[i].list, cases[i].host, 443) != cases[i].excepted)
            fail_msg("%s and %s", cases[i].list, cases[i].host);
}

static void overrides(void **state)
{
    static const char *const wrong[] = {"",
                                        "host",
                                        "host:443",
                                        "host:443:",
                                        "host:x:1.2.3.4",
                                        "host:0:1.2.3.4",
                                        "host:443:name",
                                        ":443:1.2.3.4",
                                        "[::1:443:1.2.3.4"};
    struct address_override override;

    (void)state;
    assert_null(address_parse_override("example.org:443:127.0.0.1", &override));
    assert_string_equal(override.at.host, "example.org");
    assert_int_equal(override.at.port, 443);
    assert_string_equal(override.address, "127.0.0.1");
    assert_null(address_parse_override("example.org:443:[::1]", &override));
    assert_string_equal(override.address, "::1");
    assert_null(address_parse_override("example.org:443:fd00::1", &override));
    assert_string_equal(override.address, "fd00::1");
    assert_null(address_parse_override("[fd00::2]:443:fd00::1", &override));
    assert_string_equal(override.at.host, "fd00::2");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (!address_parse_override(wrong[i], &override))
            fail_msg("%s is taken", wrong[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),       cmocka_unit_test(logins),    cmocka_unit_test(wrong_urls),
        cmocka_unit_test(exceptions), cmocka_unit_test(overrides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

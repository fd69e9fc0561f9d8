/* Which addresses announced nodes may have: networks, names, and what is refused by default. */
#include "../lib/cmocka.h"

#include <arpa/inet.h>
#include <string.h>

#include "config/address_rules.h"

enum { RULES_MAX = 4 };

static struct address_ip ip_of(const char *text)
{
    struct address_ip ip = {.bytes = {[10] = 0xff, [11] = 0xff}};

    if (inet_pton(AF_INET, text, ip.bytes + 12) != 1 && inet_pton(AF_INET6, text, ip.bytes) != 1)
        fail_msg("%s is no address", text);
    return ip;
}

static size_t parse(const char *const *texts, struct address_rule *rules)
{
    size_t count = 0;

    for (; texts && texts[count]; count++) {
        const char *error = address_rule_parse(texts[count], &rules[count]);
        if (error)
            fail_msg("%s: %s", texts[count], error);
    }
    return count;
}

static enum address_verdict judge(const char *const *allow, const char *const *deny,
                                  const char *host, const char *ip, bool loopback,
                                  const char **rule)
{
    struct address_rule allowed[RULES_MAX];
    struct address_rule denied[RULES_MAX];
    struct address_rules rules = {.allow = allowed, .deny = denied};
    struct address_ip bytes = ip_of(ip);

    rules.allow_count = parse(allow, allowed);
    rules.deny_count = parse(deny, denied);
    *rule = NULL;
    return address_rules_judge(&rules, host, &bytes, loopback, rule);
}

static void nothing_of_others_is_at_special_addresses(void **state)
{
    static const struct {
        const char *ip, *is;
    } cases[] = {
        {"169.254.169.254", "link-local"},
        {"169.254.0.0", "link-local"},
        {"::ffff:169.254.169.254", "link-local"},
        {"::169.254.169.254", "link-local"},        /* IPv4-compatible */
        {"64:ff9b::169.254.169.254", "link-local"}, /* NAT64 */
        {"fe80::1", "link-local"},
        {"febf:ffff::1", "link-local"},
        {"224.0.0.1", "multicast"},
        {"239.255.255.255", "multicast"},
        {"ff02::1", "multicast"},
        {"0.0.0.0", "unspecified"},
        {"0.1.2.3", "unspecified"},
        {"::", "unspecified"},
        {"::ffff:0.0.0.0", "unspecified"},
        {"255.255.255.255", "broadcast"},
        {"127.0.0.1", "loopback"},
        {"127.255.255.254", "loopback"},
        {"::1", "loopback"},
        {"::ffff:127.0.0.1", "loopback"},
        {"64:ff9b::127.0.0.1", "loopback"},
    };
    const char *rule;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool loopback = strcmp(cases[i].is, "loopback") == 0;
        if (judge(NULL, NULL, "host", cases[i].ip, false, &rule) != ADDRESS_SPECIAL ||
            strcmp(rule, cases[i].is) != 0)
            fail_msg("%s is %s", cases[i].ip, cases[i].is);
        /* Only loopback is where others may be when the cluster is on loopback itself. */
        if (judge(NULL, NULL, "host", cases[i].ip, true, &rule) !=
            (loopback ? ADDRESS_ALLOWED : ADDRESS_SPECIAL))
            fail_msg("%s of a cluster on loopback", cases[i].ip);
    }
}

static void all_other_addresses_are_allowed(void **state)
{
    static const char *const cases[] = {
        "10.0.0.1",    "192.168.1.1", "169.253.255.255", "169.255.0.0",   "223.255.255.255",
        "240.0.0.1",   "1.0.0.0",     "126.255.255.255", "128.0.0.0",     "fd00::1",
        "2001:db8::1", "fec0::1",     "fe7f::1",         "::2:127.0.0.1", "64:ff9b::10.0.0.1",
    };
    const char *rule;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (judge(NULL, NULL, "host", cases[i], false, &rule) != ADDRESS_ALLOWED)
            fail_msg("%s", cases[i]);
}

static void denied_wins(void **state)
{
    static const char *const allow[] = {"10.0.0.0/8", "*.example.com", NULL};
    static const char *const deny[] = {"10.1.0.0/16", "redis.example.com", "fd00:1::/32", NULL};
    const char *rule;

    (void)state;
    assert_int_equal(judge(allow, deny, "h", "10.0.0.1", false, &rule), ADDRESS_ALLOWED);
    assert_int_equal(judge(allow, deny, "h", "10.1.2.3", false, &rule), ADDRESS_DENIED);
    assert_string_equal(rule, "10.1.0.0/16");
    assert_int_equal(judge(allow, deny, "Redis.Example.com.", "10.0.0.1", false, &rule),
                     ADDRESS_DENIED);
    assert_string_equal(rule, "redis.example.com");
    assert_int_equal(judge(NULL, deny, "h", "fd00:1::5", false, &rule), ADDRESS_DENIED);
    assert_int_equal(judge(NULL, deny, "h", "fd00:2::5", false, &rule), ADDRESS_ALLOWED);
    /* The same machine by another way. */
    assert_int_equal(judge(NULL, deny, "h", "::ffff:10.1.2.3", false, &rule), ADDRESS_DENIED);
    assert_int_equal(judge(NULL, deny, "h", "64:ff9b::10.1.2.3", false, &rule), ADDRESS_DENIED);
}

static void what_is_allowed_is_all_there_is(void **state)
{
    static const char *const allow[] = {"10.0.0.0/9", "[fd00::7]", "*.example.com", "broker", NULL};
    static const struct {
        const char *host, *ip;
        enum address_verdict verdict;
    } cases[] = {
        {"h", "10.127.255.255", ADDRESS_ALLOWED},
        {"h", "10.128.0.0", ADDRESS_UNLISTED},
        {"h", "64:ff9b::10.0.0.1", ADDRESS_UNLISTED},
        {"h", "fd00::7", ADDRESS_ALLOWED},
        {"h", "fd00::8", ADDRESS_UNLISTED},
        {"b1.example.com", "192.0.2.1", ADDRESS_ALLOWED},
        {"a.b.EXAMPLE.com.", "192.0.2.1", ADDRESS_ALLOWED},
        {"example.com", "192.0.2.1", ADDRESS_UNLISTED},
        {".example.com", "192.0.2.1", ADDRESS_UNLISTED},
        {"badexample.com", "192.0.2.1", ADDRESS_UNLISTED},
        {"b1.example.com.org", "192.0.2.1", ADDRESS_UNLISTED},
        {"broker", "192.0.2.1", ADDRESS_ALLOWED},
        {"x.broker", "192.0.2.1", ADDRESS_UNLISTED},
        {"brokers", "192.0.2.1", ADDRESS_UNLISTED},
        /* A name that is allowed leads no further than any other. */
        {"b1.example.com", "169.254.169.254", ADDRESS_SPECIAL},
        {"broker", "127.0.0.1", ADDRESS_SPECIAL},
    };
    const char *rule;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (judge(allow, NULL, cases[i].host, cases[i].ip, false, &rule) != cases[i].verdict)
            fail_msg("%s, %s", cases[i].host, cases[i].ip);
}

static void a_network_that_is_allowed_may_be_special(void **state)
{
    static const char *const link_local[] = {"169.254.0.0/16", "::ffff:127.0.0.0/104", NULL};
    static const char *const all[] = {"0.0.0.0/0", NULL};
    static const char *const all_of_ipv6[] = {"::/0", NULL};
    const char *rule;

    (void)state;
    assert_int_equal(judge(link_local, NULL, "h", "169.254.3.4", false, &rule), ADDRESS_ALLOWED);
    assert_int_equal(judge(link_local, NULL, "h", "127.0.0.2", false, &rule), ADDRESS_ALLOWED);
    assert_int_equal(judge(link_local, NULL, "h", "10.0.0.1", false, &rule), ADDRESS_UNLISTED);
    assert_int_equal(judge(all, NULL, "h", "255.255.255.255", false, &rule), ADDRESS_ALLOWED);
    assert_int_equal(judge(all, NULL, "h", "fd00::1", false, &rule), ADDRESS_UNLISTED);
    assert_int_equal(judge(all_of_ipv6, NULL, "h", "fd00::1", false, &rule), ADDRESS_ALLOWED);
    assert_int_equal(judge(all_of_ipv6, NULL, "h", "10.0.0.1", false, &rule), ADDRESS_UNLISTED);
}

static void what_is_no_rule(void **state)
{
    static const char *const texts[] = {
        "",           "10.0.0.0/33", "10.0.0.0/",  "10.0.0.0/-1", "10.0.0.0/8x",
        "fd00::/129", "10.0/8",      "10.0.0",     "10.0.0.0.",   "name/8",
        "*",          "*.*.example", "a*.example", "a b",         "host:909",
        "[::1]:9092", "[::1",        "*.",         "/8",          "b\x01",
    };
    struct address_rule rule;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (!address_rule_parse(texts[i], &rule))
            fail_msg("%s is taken for a rule", texts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_of_others_is_at_special_addresses),
        cmocka_unit_test(all_other_addresses_are_allowed),
        cmocka_unit_test(denied_wins),
        cmocka_unit_test(what_is_allowed_is_all_there_is),
        cmocka_unit_test(a_network_that_is_allowed_may_be_special),
        cmocka_unit_test(what_is_no_rule),
    };
    return cmocka_run_group_tests_name("address_rules", tests, NULL, NULL);
}

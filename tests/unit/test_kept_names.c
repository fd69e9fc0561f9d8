/* Names that lead to this machine: their addresses, and the text of a hosts file. */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tunnel-client/listeners/hosts_text.h"
#include "../../tunnel-client/listeners/kept_names.h"

#define ADDRESS_OF_B1 "127.77.129.216"
#define ADDRESS_OF_BROKER_2 "127.77.69.114"

static struct kept_names names;

static int set_up(void **state)
{
    struct name_network network;

    (void)state;
    assert_null(name_network_parse("127.77.0.0/16", &network));
    kept_names_init(&names, &network);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kept_names_clear(&names);
    return 0;
}

static const char *address_of(const char *host)
{
    static char text[NAME_ADDRESS_MAX];
    const struct kept_name *name = kept_names_tell(&names, host);

    assert_non_null(name);
    kept_name_address(&names, name, text);
    return text;
}

static void expect_line(const char *host, const char *expected)
{
    char line[HOSTS_LINE_MAX];

    kept_name_line(&names, kept_names_tell(&names, host), line);
    assert_string_equal(line, expected);
}

static void read_hosts(const char *text)
{
    /* A copy of exactly that size: the sanitizer sees what is read beyond it. */
    size_t size = strlen(text);
    char *copy = malloc(size + 1);

    memcpy(copy, text, size);
    char *exact = realloc(copy, size ? size : 1);
    kept_names_read_hosts(&names, exact, size);
    free(exact);
}

/* Lines that are in somebody's hosts file stay true: these must never change. */
static void an_address_follows_from_the_name(void **state)
{
    (void)state;
    char first[NAME_ADDRESS_MAX];

    assert_string_equal(address_of("b1.example.com"), ADDRESS_OF_B1);
    assert_string_equal(address_of("broker-2"), ADDRESS_OF_BROKER_2);
    snprintf(first, sizeof first, "%s", address_of("b1.example.com"));
    assert_string_equal(address_of("B1.Example.COM"), first);
    assert_string_equal(address_of("b1.example.com."), first);
    assert_string_not_equal(address_of("b2.example.com"), first);
    expect_line("broker-2", ADDRESS_OF_BROKER_2 " broker-2");
    /* Resolvers compare to the letter. */
    expect_line("B1.example.com", ADDRESS_OF_B1 " b1.example.com b1.example.com.");
}

static void every_name_has_its_own(void **state)
{
    (void)state;
    enum { NAMES = 3000 };
    static char seen[NAME_PLACES_MAX];
    char host[64];

    memset(seen, 0, sizeof seen);
    for (unsigned i = 0; i < NAMES; i++) {
        snprintf(host, sizeof host, "broker-%u.example", i);
        const struct kept_name *name = kept_names_tell(&names, host);
        assert_non_null(name);
        assert_in_range(name->place, 1, NAME_PLACES_MAX - 2);
        assert_false(seen[name->place]++);
    }
}

static void a_small_network_is_full_at_last(void **state)
{
    (void)state;
    struct name_network network;
    char host[16];

    assert_null(name_network_parse("127.9.9.16/28", &network));
    kept_names_clear(&names);
    kept_names_init(&names, &network);
    for (unsigned i = 0; i < 14; i++) {
        snprintf(host, sizeof host, "b%u", i);
        assert_non_null(kept_names_tell(&names, host));
    }
    assert_null(kept_names_tell(&names, "b14"));
    assert_non_null(kept_names_tell(&names, "b13"));
    assert_false(kept_names_move(&names, kept_names_tell(&names, "b3")));
}

static void a_name_may_move(void **state)
{
    (void)state;
    struct kept_name *name = kept_names_tell(&names, "b1.example.com");
    uint32_t before = name->place;

    assert_true(kept_names_move(&names, name));
    assert_int_equal(name->place, before + 1);
    assert_ptr_equal(kept_names_tell(&names, "b1.example.com"), name);
}

static void a_hosts_file_decides(void **state)
{
    (void)state;
    char line[64];

    snprintf(line, sizeof line, "%s other", ADDRESS_OF_BROKER_2);
    read_hosts("127.0.0.1 localhost\n"
               "# 127.77.0.9 no\n"
               "127.77.0.5\tb1.example.com  b2 # b3\n"
               "127.77.0.6 B4.\n"
               "127.78.0.6 b5\n"
               "127.77.0.7 localhost 10.0.0.1\n"
               "127.77.0.300 b6\n"
               "127.77.0.8");
    assert_string_equal(address_of("b1.example.com"), "127.77.0.5");
    assert_true(kept_names_tell(&names, "b1.example.com")->listed);
    /* One address for two names is one too few. */
    assert_string_not_equal(address_of("b2"), "127.77.0.5");
    assert_false(kept_names_tell(&names, "b2")->listed);
    assert_string_not_equal(address_of("b3"), "127.77.0.5");
    assert_string_equal(address_of("b4"), "127.77.0.6");
    assert_string_not_equal(address_of("b5"), "127.78.0.6");
    read_hosts(line);
    assert_false(kept_names_tell(&names, "b1.example.com")->listed);
    /* What has the address in the file has it. */
    assert_string_not_equal(address_of("broker-2"), ADDRESS_OF_BROKER_2);
}

static void what_a_hosts_file_can_lead_somewhere(void **state)
{
    (void)state;
    static const char *const possible[] = {"b1",          "b1.example.com",    "b1.example.com.",
                                           "b_1",         "0a1b2c3d4e5f",      "1.example",
                                           "mylocalhost", "localhost.example", NULL};
    static const char *const impossible[] = {"",
                                             ".",
                                             "10.0.0.1",
                                             "10.1",
                                             "2130706433",
                                             "0x7f000001",
                                             "127.0.0.0x1",
                                             "::1",
                                             "fe80::1%eth0",
                                             "localhost",
                                             "LocalHost.",
                                             "b.localhost",
                                             "localhost.localdomain",
                                             "ip6-loopback",
                                             "a b",
                                             "b\n127.0.0.1 bank",
                                             "b#",
                                             "b\t",
                                             "\xc3\xa4",
                                             NULL};

    for (size_t i = 0; possible[i]; i++)
        assert_true(kept_name_is_possible(possible[i]));
    for (size_t i = 0; impossible[i]; i++)
        assert_false(kept_name_is_possible(impossible[i]));
    assert_true(kept_names_tell(&names, "10.0.0.1")->literal);
    assert_false(kept_names_tell(&names, "b1")->literal);
}

static void only_names_in_domains_that_are_given_are_led(void **state)
{
    (void)state;
    static const char *const domains[] = {"kafka.example", "broker"};
    static const char *const allowed[] = {"kafka.example", "b1.Kafka.Example.", "broker",
                                          "b.broker", NULL};
    static const char *const others[] = {"pypi.org", "notkafka.example",  "example",
                                         "broker2",  "kafka.example.org", NULL};

    kept_names_allow(&names, domains, 2);
    for (size_t i = 0; allowed[i]; i++)
        assert_false(kept_names_tell(&names, allowed[i])->literal);
    for (size_t i = 0; others[i]; i++) {
        const struct kept_name *name = kept_names_tell(&names, others[i]);
        assert_true(name->literal && name->forbidden);
    }
    assert_null(kept_names_check_domain("kafka.example"));
    assert_null(kept_names_check_domain("corp"));
    static const char *const bad[] = {
        "",  ".kafka.example", "kafka.example.", "localhost", "10.0.0.1", "a b", "*.example", "a:1",
        NULL};
    for (size_t i = 0; bad[i]; i++)
        assert_non_null(kept_names_check_domain(bad[i]));
}

static bool is_expected(const char *host)
{
    return kept_name_is_expected(&names, kept_names_tell(&names, host));
}

static void names_beside_a_bootstrap_brokers_are_expected(void **state)
{
    (void)state;
    char many[32];

    assert_false(is_expected("b-1.x.kafka.example"));
    kept_names_expect(&names, "b-2.x.kafka.example.");
    assert_true(is_expected("b-1.x.kafka.example"));
    assert_true(is_expected("b-1.X.Kafka.example."));
    assert_false(is_expected("kafka.example"));
    assert_false(is_expected("pypi.org"));
    assert_false(is_expected("broker-1"));
    /* A domain of two is the broker's own: all of org is nobody's. */
    kept_names_expect(&names, "kafka.org");
    assert_true(is_expected("b1.kafka.org"));
    assert_false(is_expected("pypi.org"));
    kept_names_expect(&names, "broker-1");
    assert_true(is_expected("broker-2"));
    assert_false(is_expected("pypi.org"));
    kept_names_expect(&names, "10.0.0.1");
    for (unsigned i = 0; i < 2 * KEPT_DOMAINS_MAX; i++) {
        snprintf(many, sizeof many, "b.d%u.example", i);
        kept_names_expect(&names, many);
    }
    assert_int_equal(names.domain_count, KEPT_DOMAINS_MAX);
}

static void networks(void **state)
{
    (void)state;
    struct name_network network;

    assert_null(name_network_parse("127.99.8.0/24", &network));
    assert_true(network.first == 0x7f630800 && network.count == 256);
    static const char *const bad[] = {"",
                                      "127.77.0.0",
                                      "127.77.0.0/",
                                      "127.77.0.0/15",
                                      "127.77.0.0/29",
                                      "10.0.0.0/16",
                                      "127.0.0.0/24",
                                      "127.77.1.0/16",
                                      "127.77.0/16",
                                      "::1/64",
                                      "127.77.0.0/x",
                                      NULL};
    for (size_t i = 0; bad[i]; i++)
        assert_non_null(name_network_parse(bad[i], &network));
}

static void blank(const char *before, const char *name, const char *after)
{
    size_t size = strlen(before);
    char *text = malloc(size + 1);

    memcpy(text, before, size + 1);
    assert_int_equal(hosts_text_blank(text, size, name), strcmp(before, after) != 0);
    assert_string_equal(text, after);
    free(text);
}

static void a_name_becomes_blanks(void **state)
{
    (void)state;
    blank("10.0.0.1 a b c\n", "b", "10.0.0.1 a   c\n");
    blank("10.0.0.1 a B. c # b\n", "b", "10.0.0.1 a    c # b\n");
    blank("10.0.0.1 b\n10.0.0.2 c", "b", "#0.0.0.1  \n10.0.0.2 c");
    blank("10.0.0.1 b b", "b.", "#0.0.0.1    ");
    blank("b b\nb", "b", "#  \nb"); /* an address, whatever it is */
    blank("10.0.0.1 bb\n#b\n\n", "b", "10.0.0.1 bb\n#b\n\n");
    blank("", "b", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_address_follows_from_the_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_name_has_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_small_network_is_full_at_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_may_move, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hosts_file_decides, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_hosts_file_can_lead_somewhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_names_in_domains_that_are_given_are_led, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(names_beside_a_bootstrap_brokers_are_expected, set_up,
                                        tear_down),
        cmocka_unit_test(networks),
        cmocka_unit_test(a_name_becomes_blanks),
    };
    return cmocka_run_group_tests_name("kept_names", tests, NULL, NULL);
}

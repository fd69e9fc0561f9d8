/* The rules of --kafka-login: what a file may say, what is wrong with one, and which rule counts.
 */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <string.h>

#include "../../tunnel-server/broker_login/login_rules.h"

static char text[65536];
static char error[300];

static int parse(const char *lines, struct rule_list *rules)
{
    snprintf(text, sizeof text, "%s", lines);
    error[0] = '\0';
    return login_rules_parse(text, strlen(text), rules, error, sizeof error);
}

static void refuse(const char *lines, const char *why)
{
    struct rule_list rules;

    assert_int_equal(parse(lines, &rules), -1);
    assert_string_equal(error, why);
    assert_int_equal(rules.count, 0);
}

#define PLAIN "a.mechanism=PLAIN\na.user=u\na.password-file=p\n"
#define ENDPOINT "a.mechanism=OAUTHBEARER\na.token-endpoint-url=https://a/b\n"
#define SCRAM "a.mechanism=SCRAM-SHA-512\na.user=u\na.password-file=p\n"

static void what_rules_say(void **state)
{
    (void)state;
    struct rule_list list;

    assert_int_equal(parse("# who logs in how\n"
                           "orders.identity=orders-*, carol\n"
                           "orders.cluster=main\n"
                           "orders.mechanism=SCRAM-SHA-256\n"
                           "orders.user=svc-orders\n"
                           "orders.password-file=/run/secrets/orders\n"
                           "orders.delegation-token=true\n"
                           "orders.client-sasl=refuse\n"
                           "\n"
                           "admins.identity=admin-*\n"
                           "admins.client-sasl=pass\n"
                           "rest.mechanism=OAUTHBEARER\n"
                           "rest.token-file=/run/secrets/token\n",
                           &list),
                     0);
    const struct login_rule *rules = list.rules;
    assert_int_equal(list.count, 3);
    assert_int_equal(rules[0].mechanism, SASL_SCRAM_SHA_256);
    assert_string_equal(rules[0].user, "svc-orders");
    assert_string_equal(rules[0].password_file, "/run/secrets/orders");
    assert_true(rules[0].delegation_token);
    assert_int_equal(rules[1].mechanism, SASL_MECHANISMS);
    assert_int_equal(rules[2].mechanism, SASL_OAUTHBEARER);
    assert_false(rules[2].delegation_token);

    assert_ptr_equal(login_rules_find(&list, "orders-7", "main"), &rules[0]);
    assert_ptr_equal(login_rules_find(&list, "carol", "main"), &rules[0]);
    assert_ptr_equal(login_rules_find(&list, "carol", "test"), &rules[2]);
    assert_ptr_equal(login_rules_find(&list, "admin-", "main"), &rules[1]);
    assert_ptr_equal(login_rules_find(&list, "anybody", "main"), &rules[2]);
    assert_true(login_rule_is_for(&rules[0], "main"));
    assert_false(login_rule_is_for(&rules[0], "test"));
    login_rules_free(&list);
}

static void nobody_else(void **state)
{
    (void)state;
    struct rule_list list;

    assert_int_equal(parse(PLAIN "a.identity=alice\n", &list), 0);
    assert_null(login_rules_find(&list, "bob", "kafka"));
    assert_non_null(login_rules_find(&list, "alice", "kafka"));
    login_rules_free(&list);
}

static void subjects_of_certificates(void **state)
{
    (void)state;
    struct rule_list list;

    assert_int_equal(parse(PLAIN "a.identity=\"CN=alice,O=Example\", bob\n", &list), 0);
    assert_non_null(login_rules_find(&list, "CN=alice,O=Example", "kafka"));
    assert_non_null(login_rules_find(&list, "bob", "kafka"));
    assert_null(login_rules_find(&list, "CN=alice", "kafka"));
    login_rules_free(&list);
}

static void where_secrets_come_from(void **state)
{
    (void)state;
    struct rule_list list;
    struct rule_list others;

    assert_int_equal(
        parse(PLAIN "b.mechanism=PLAIN\nb.user=u\nb.password-command=vault read\n"
                    "c.mechanism=OAUTHBEARER\nc.token-command=token | jq\n"
                    "d.mechanism=OAUTHBEARER\nd.token-endpoint-url=https://a/b\nd.client-id=i\n"
                    "d.client-secret-file=f\nd.scope=s t\nd.client-auth=post\n"
                    "e.mechanism=OAUTHBEARER\ne.token-endpoint-url=https://a/b\ne.client-id=i\n"
                    "e.client-secret-command=c\ne.client-auth=basic\ne.audience=kafka\n"
                    "f.client-sasl=pass\n",
              &list),
        0);
    const struct login_rule *rules = list.rules;
    static const struct {
        enum login_origin origin;
        const char *command;
    } expected[] = {{LOGIN_ORIGIN_FILE, NULL},
                    {LOGIN_ORIGIN_COMMAND, "vault read"},
                    {LOGIN_ORIGIN_COMMAND, "token | jq"},
                    {LOGIN_ORIGIN_ENDPOINT, NULL},
                    {LOGIN_ORIGIN_ENDPOINT, "c"},
                    {LOGIN_ORIGIN_NONE, NULL}};
    assert_int_equal(list.count, 6);
    for (size_t i = 0; i < 6; i++) {
        const char *command = login_rule_command(&rules[i]);
        assert_int_equal(login_rule_origin(&rules[i]), expected[i].origin);
        if (expected[i].command)
            assert_string_equal(command, expected[i].command);
        else
            assert_null(command);
        for (size_t j = 0; j < 6; j++)
            assert_int_equal(login_rule_names_same(&rules[i], &rules[j]), i == j);
    }
    /* Whose rule it is does not matter; what it names does. */
    assert_int_equal(parse("x.mechanism=PLAIN\nx.user=u\nx.password-command=vault read\n"
                           "x.identity=x\n"
                           "y.mechanism=PLAIN\ny.user=u\ny.password-command=vault write\n",
                           &others),
                     0);
    assert_true(login_rule_names_same(&rules[1], others.rules));
    assert_false(login_rule_names_same(&rules[1], (struct login_rule *)others.rules + 1));
    login_rules_free(&others);
    login_rules_free(&list);
}

static void what_is_wrong(void **state)
{
    (void)state;
    char long_user[400];

    refuse("", "holds no rules");
    refuse("# nothing\n", "holds no rules");
    refuse("a.user=u\n", "line 1: rule a has neither a mechanism nor a certificate");
    refuse("a.certificate=c\na.key=k\na.user=u\n",
           "line 1: rule a has parts of a login, but no mechanism");
    refuse("a.certificate=c\n", "line 1: rule a needs both a certificate and its key, or neither");
    refuse(PLAIN "a.key=k\n", "line 1: rule a needs both a certificate and its key, or neither");
    refuse(PLAIN "a.key-passphrase-file=p\n",
           "line 1: rule a has a key-passphrase-file, but no key");
    refuse("a.mechanism=GSSAPI\n", "line 1: rule a has an unknown mechanism; there are PLAIN, "
                                   "SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER");
    refuse("a.mechanism=PLAIN\na.password-file=p\n", "line 1: rule a has no user");
    refuse("\na.mechanism=PLAIN\na.user=u\n",
           "line 2: rule a needs a password-file or a password-command");
    refuse(PLAIN "a.password-command=c\n", "line 1: rule a has both a password-file and a "
                                           "password-command; remove one of the two");
    refuse("a.mechanism=OAUTHBEARER\na.password-command=c\n",
           "line 1: rule a has a password-command, which OAUTHBEARER does not use");
    refuse(SCRAM "a.token-command=t\n",
           "line 1: rule a has a token-command, which SCRAM-SHA-512 does not use");
    refuse(PLAIN "a.client-id=c\n", "line 1: rule a has a client-id, which PLAIN does not use");
    refuse("a.client-sasl=pass\na.token-endpoint-url=u\n",
           "line 1: rule a has client-sasl=pass, so that clients log in themselves, and a login of "
           "its own");
    refuse("a.mechanism=OAUTHBEARER\n",
           "line 1: rule a needs a token-file, a token-command or a token-endpoint-url");
    refuse("a.mechanism=OAUTHBEARER\na.token-file=f\na.token-command=c\n",
           "line 1: rule a has more than one of token-file, token-command and token-endpoint-url");
    refuse("a.mechanism=OAUTHBEARER\na.token-file=f\na.scope=s\n",
           "line 1: rule a has parts of a token endpoint's client, but no token-endpoint-url");
    refuse(ENDPOINT, "line 1: rule a has a token-endpoint-url, but no client-id");
    refuse(ENDPOINT "a.client-id=c\n",
           "line 1: rule a needs a client-secret-file or a client-secret-command");
    refuse(ENDPOINT "a.client-id=c\na.client-secret-file=f\na.client-secret-command=c\n",
           "line 1: rule a has both a client-secret-file and a client-secret-command; remove one "
           "of the two");
    refuse(ENDPOINT "a.client-id=c\na.client-secret-file=f\na.client-auth=none\n",
           "line 1: rule a has a client-auth that is neither basic nor post");
    refuse("a.mechanism=OAUTHBEARER\na.token-file=t\na.user=u\n",
           "line 1: rule a has a user, which OAUTHBEARER does not use");
    refuse("a.mechanism=OAUTHBEARER\na.token-file=t\na.password-file=u\n",
           "line 1: rule a has a password-file, which OAUTHBEARER does not use");
    refuse(SCRAM "a.token-file=t\n",
           "line 1: rule a has a token-file, which SCRAM-SHA-512 does not use");
    refuse(PLAIN "a.delegation-token=true\n",
           "line 1: rule a has a delegation-token, which PLAIN does not use");
    refuse(SCRAM "a.delegation-token=yes\n",
           "line 1: rule a has a delegation-token that is neither true nor false");
    refuse(PLAIN "a.client-sasl=allow\n",
           "line 1: rule a has a client-sasl that is neither refuse nor pass");
    refuse(PLAIN "a.client-sasl=pass\n",
           "line 1: rule a has client-sasl=pass, so that clients log in themselves, and a "
           "mechanism; remove one of the two");
    refuse("a.client-sasl=refuse\na.certificate=c\na.key=k\n",
           "line 1: rule a has client-sasl=refuse, but no mechanism: the server does not log in "
           "there, and clients may do so themselves; remove it, or set a mechanism");
    refuse("a.client-sasl=pass\na.user=u\n",
           "line 1: rule a has client-sasl=pass, so that clients log in themselves, and a login of "
           "its own");
    refuse(PLAIN "a.identity=CN=alice,O=Example\n",
           "line 1: rule a has a certificate's subject without quotation marks around it, so that "
           "its commas make it several patterns");
    refuse("a.password=hunter2\n", "line 1: there is no such key; did you mean \"password-file\"?");
    refuse("user=u\n", "line 1: write RULE.KEY=VALUE, for example \"orders.user=svc-orders\"");
    snprintf(long_user, sizeof long_user, "a.mechanism=PLAIN\na.user=%0256d\na.password-file=p\n",
             0);
    refuse(long_user, "line 1: rule a has a user whose name is longer than 255 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_rules_say),
        cmocka_unit_test(nobody_else),
        cmocka_unit_test(subjects_of_certificates),
        cmocka_unit_test(where_secrets_come_from),
        cmocka_unit_test(what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

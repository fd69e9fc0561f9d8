/*
 * A file of --kafka-login: whatever it holds, each rule that is taken is whole, and what is wrong
 * is one line without a secret's place in it. Input: the file.
 */
#include "../../tunnel-server/broker_login/login_rules.h"
#include "check.h"

static void check_rule(const struct login_rule *rule)
{
    CHECK(rule->head.name && rule->head.line > 0);
    switch (rule->mechanism) {
    case SASL_MECHANISMS:
        CHECK((rule->client_sasl || rule->certificate) && !rule->user &&
              login_rule_origin(rule) == LOGIN_ORIGIN_NONE && !rule->client_id);
        break;
    case SASL_OAUTHBEARER:
        CHECK(!!rule->token_file + !!rule->token_command + !!rule->token_endpoint_url == 1 &&
              !rule->user && !rule->password_file && !rule->password_command);
        CHECK(!rule->token_endpoint_url ==
              !(rule->client_id && (rule->client_secret_file || rule->client_secret_command)));
        break;
    default:
        CHECK(rule->user && *rule->user && !rule->password_file != !rule->password_command &&
              !rule->token_file && !rule->token_command && !rule->token_endpoint_url);
    }
    CHECK(!login_rule_command(rule) || login_rule_origin(rule) == LOGIN_ORIGIN_COMMAND ||
          rule->client_secret_command);
    CHECK(login_rule_names_same(rule, rule));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rule_list rules;
    char error[300] = "";
    char *text = fuzz_text(data, size);
    int result = login_rules_parse(text, size, &rules, error, sizeof error);

    CHECK((result == 0) == (error[0] == '\0') && (result == 0) == (rules.count > 0));
    for (size_t i = 0; i < strlen(error); i++)
        CHECK((unsigned char)error[i] >= ' ');
    const struct login_rule *each = rules.rules;
    for (size_t i = 0; i < rules.count; i++)
        check_rule(&each[i]);
    const struct login_rule *found =
        rules.count > 0 ? login_rules_find(&rules, "alice", "kafka") : NULL;
    CHECK(!found || login_rule_is_for(found, "kafka"));
    login_rules_free(&rules);
    free(text);
    return 0;
}

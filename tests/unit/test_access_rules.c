/* What a file of --access may say, and what that allows to whom; without any file. */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tunnel-server/authorization/access_rules.h"

enum {
    PRODUCE = 0,
    FETCH = 1,
    METADATA = 3,
    OFFSET_COMMIT = 8,
    JOIN_GROUP = 11,
    CREATE_TOPICS = 19,
    API_VERSIONS = 18,
    INIT_PRODUCER_ID = 22,
    DESCRIBE_ACLS = 29,
    ENVELOPE = 58,
    UNKNOWN = 200
};

static const char *const clusters[] = {"main", "test-1", "test-2"};
static const char *const targets[] = {"registry", "ksql"};
static const struct access_names names = {clusters, 3, targets, 2, true};

static struct access_rules *parse_with_error(const char *lines, char error[300])
{
    char text[4096];

    error[0] = '\0';
    snprintf(text, sizeof text, "%s", lines);
    return access_rules_parse(text, strlen(text), &names, error, 300);
}

static struct access_rules *parse(const char *lines)
{
    char error[300];
    struct access_rules *rules = parse_with_error(lines, error);

    if (!rules)
        fail_msg("%s", error);
    return rules;
}

static void expect_error(const char *lines, const char *expected)
{
    char error[300];

    assert_null(parse_with_error(lines, error));
    assert_string_equal(error, expected);
}

static bool may(struct access_rules *rules, const char *identity, const char *cluster, int16_t key)
{
    struct access_view view;

    access_view_init(&view, rules, identity, cluster);
    bool allowed = access_view_api(&view, key);
    access_view_clear(&view);
    return allowed;
}

static bool may_with(struct access_rules *rules, const char *identity, int16_t key,
                     enum kafka_resource resource, const char *name)
{
    struct access_view view;

    access_view_init(&view, rules, identity, "main");
    bool allowed = access_view_resource(&view, key, resource, name, strlen(name));
    /* What limits nothing allows everything. */
    if (access_view_api(&view, key) && !access_view_limits(&view, key, resource))
        assert_true(allowed);
    access_view_clear(&view);
    return allowed;
}

static void presets(void **state)
{
    struct access_rules *rules = parse("p.identity=p\np.allow=produce\n"
                                       "c.identity=c\nc.allow=consume\n"
                                       "r.identity=r\nr.allow=read-only\n"
                                       "a.identity=a\na.allow=admin\n"
                                       "l.identity=l\nl.allow=Produce, DescribeAcls\n"
                                       "e.identity=e\ne.allow=all\n");
    static const struct {
        int16_t key;
        const char *who;
    } table[] = {
        {PRODUCE, "ple"},         {FETCH, "cre"},           {METADATA, "pcrale"},
        {OFFSET_COMMIT, "cae"},   {JOIN_GROUP, "ce"},       {CREATE_TOPICS, "ae"},
        {API_VERSIONS, "pcrale"}, {INIT_PRODUCER_ID, "pe"}, {DESCRIBE_ACLS, "rale"},
        {ENVELOPE, "e"},          {UNKNOWN, "e"},           {-1, "e"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (const char *who = "pcralex"; *who; who++) {
            char identity[] = {*who, '\0'};
            if (may(rules, identity, "main", table[i].key) != (strchr(table[i].who, *who) != NULL))
                fail_msg("API %d for %s", table[i].key, identity);
        }
    assert_false(access_rules_know(rules, "x"));
    assert_true(access_rules_know(rules, "p"));
    access_rules_release(rules);
}

static void who_and_where(void **state)
{
    struct access_rules *rules = parse("ci.identity=ci-*, loader\n"
                                       "ci.cluster=test-*\n"
                                       "ci.allow=produce\n"
                                       "pages.target=registry\n");

    (void)state;
    assert_true(access_rules_cluster(rules, "ci-7", "test-2"));
    assert_true(access_rules_cluster(rules, "loader", "test-1"));
    assert_false(access_rules_cluster(rules, "loader", "main"));
    assert_false(access_rules_cluster(rules, "loaders", "test-1"));
    assert_false(may(rules, "loader", "main", PRODUCE));
    assert_true(access_rules_know(rules, "anybody"));
    assert_true(access_rules_target(rules, "anybody", "registry"));
    assert_false(access_rules_target(rules, "anybody", "ksql"));
    assert_false(access_rules_cluster(rules, "anybody", "test-1"));
    access_rules_release(rules);
}

/* Rules count together, each with its own names. */
static void resources(void **state)
{
    struct access_rules *rules = parse("in.allow=produce\nin.topic=facts.*, raw\n"
                                       "out.allow=consume\nout.topic=results\nout.group=app-?\n"
                                       "ops.identity=ops\nops.allow=all\n");
    struct access_view view;

    (void)state;
    assert_true(may_with(rules, "u", PRODUCE, KAFKA_TOPIC, "facts.1"));
    assert_true(may_with(rules, "u", PRODUCE, KAFKA_TOPIC, "raw"));
    assert_false(may_with(rules, "u", PRODUCE, KAFKA_TOPIC, "results"));
    assert_false(may_with(rules, "u", PRODUCE, KAFKA_TOPIC, "xraw"));
    assert_false(may_with(rules, "u", PRODUCE, KAFKA_TOPIC, ""));
    assert_true(may_with(rules, "u", FETCH, KAFKA_TOPIC, "results"));
    assert_false(may_with(rules, "u", FETCH, KAFKA_TOPIC, "raw"));
    assert_true(may_with(rules, "u", METADATA, KAFKA_TOPIC, "results"));
    assert_true(may_with(rules, "u", METADATA, KAFKA_TOPIC, "raw"));
    assert_false(may_with(rules, "u", METADATA, KAFKA_TOPIC, "secret"));
    assert_true(may_with(rules, "u", JOIN_GROUP, KAFKA_GROUP, "app-1"));
    assert_false(may_with(rules, "u", JOIN_GROUP, KAFKA_GROUP, "app-12"));
    assert_true(may_with(rules, "u", INIT_PRODUCER_ID, KAFKA_TRANSACTIONAL_ID, "any"));
    assert_false(may_with(rules, "u", CREATE_TOPICS, KAFKA_TOPIC, "facts.1"));
    assert_true(may_with(rules, "ops", CREATE_TOPICS, KAFKA_TOPIC, "secret"));
    assert_true(may_with(rules, "ops", UNKNOWN, KAFKA_TOPIC, "secret"));

    access_view_init(&view, rules, "u", "main");
    assert_false(view.everything);
    assert_true(access_view_limits(&view, FETCH, KAFKA_TOPIC));
    assert_true(access_view_limits(&view, JOIN_GROUP, KAFKA_GROUP));
    assert_false(access_view_limits(&view, INIT_PRODUCER_ID, KAFKA_TRANSACTIONAL_ID));
    access_view_clear(&view);
    access_view_init(&view, rules, "ops", "main");
    assert_true(view.everything);
    access_view_clear(&view);
    access_rules_release(rules);
}

/* all with patterns is no more than the patterns. */
static void all_of_some(void **state)
{
    struct access_rules *rules = parse("team.allow=all\nteam.topic=team-*\n");
    struct access_view view;

    (void)state;
    access_view_init(&view, rules, "u", "main");
    assert_false(view.everything);
    assert_true(access_view_api(&view, CREATE_TOPICS));
    assert_false(access_view_resource(&view, CREATE_TOPICS, KAFKA_TOPIC, "other", 5));
    assert_true(access_view_resource(&view, CREATE_TOPICS, KAFKA_TOPIC, "team-1", 6));
    access_view_clear(&view);
    access_rules_release(rules);
}

static void bad_files(void **state)
{
    (void)state;
    expect_error("", "holds no rules, so nobody could do anything");
    expect_error("a.allow=all\nb.alow=all\n",
                 "line 2: there is no such key; did you mean \"allow\"?");
    expect_error("allow=all\n",
                 "line 1: write RULE.KEY=VALUE, for example \"facts.allow=produce\"");
    expect_error("a.identity=x\n\na.allow=consume, prodcue\n",
                 "line 3: rule a allows \"prodcue\", which is no API of Kafka; did you mean "
                 "\"produce\"?");
    expect_error("a.allow=Metdata\n", "line 1: rule a allows \"Metdata\", which is no API of "
                                      "Kafka; did you mean \"Metadata\"?");
    expect_error("a.allow=everything-else\n",
                 "line 1: rule a allows \"everything-else\", which is neither all, produce, "
                 "consume, read-only, admin, nor an API of Kafka");
    expect_error("a.allow=all\na.cluster=main, tset-1\n",
                 "line 2: rule a names the cluster \"tset-1\"; did you mean \"test-1\"?");
    expect_error("a.target=warehouse\n", "line 1: rule a names the target \"warehouse\", but "
                                         "there is no such --tcp target");
    expect_error("a.allow=all\na.identity=CN=alice,O=Example\n",
                 "line 2: rule a: identity has a certificate's subject without quotation marks "
                 "around it, so that its commas make it several patterns");
    expect_error("a.allow=all\na.topic=\"b\n",
                 "line 2: rule a: topic has a pattern without its closing quotation mark");
    expect_error("a.identity=x\n", "line 1: rule a has neither an allow nor a target");
    expect_error("a.topic=x\na.target=*\n", "line 1: rule a has a topic, but no allow");
}

static void told_to_people(void **state)
{
    struct access_rules *rules = parse("a.allow=produce\na.topic=facts.*\n"
                                       "b.identity=x\nb.allow=read-only\n");
    struct text text;

    (void)state;
    text_init(&text, 1000);
    access_rules_describe(rules, "x", "main", &text);
    assert_memory_equal(text.bytes, "produce, topic facts.*; read-only", text.size);
    text_clear(&text);
    access_rules_release(rules);
}

static void limits_are_the_first_that_fits(void **state)
{
    (void)state;
    struct access_rules *rules = parse("ci.identity=ci-*\n"
                                       "ci.max-streams=5\n"
                                       "ci.max-rate-up=4MiB\n"
                                       "all.allow=all\n"
                                       "all.max-streams=9\n"
                                       "all.max-links-per-minute=0\n");
    struct identity_limits limits = {.most = {[LIMIT_SESSIONS] = 7, [LIMIT_NEW_LINKS] = 3}};
    struct identity_limits others = limits;

    access_rules_limits(rules, "ci-1", &limits);
    assert_int_equal(limits.most[LIMIT_STREAMS], 5);
    assert_int_equal(limits.most[LIMIT_BYTES_UP], 4 << 20);
    assert_int_equal(limits.most[LIMIT_NEW_LINKS], 0);
    assert_int_equal(limits.most[LIMIT_SESSIONS], 7);
    access_rules_limits(rules, "bob", &others);
    assert_int_equal(others.most[LIMIT_STREAMS], 9);
    assert_int_equal(others.most[LIMIT_BYTES_UP], 0);
    access_rules_release(rules);
    /* A limit alone is no right. */
    rules = parse("ci.identity=ci-*\nci.max-sessions=1\n");
    assert_false(access_rules_know(rules, "ci-1"));
    access_rules_release(rules);
    expect_error("a.allow=all\na.max-streams=many\n",
                 "line 2: rule a: max-streams must be a number up to 1000000, 0 for no limit");
    expect_error("a.allow=all\na.max-links=-1\n",
                 "line 2: rule a: max-links must be a number up to 1000000, 0 for no limit");
    expect_error(
        "a.allow=all\na.max-rate-down=4MB\n",
        "line 2: rule a: max-rate-down must be a number of bytes, such as 65536 or 4MiB, or "
        "0 for no limit");
}

/* The rules, where x has load and gone, y has nothing that there is, and z has some. */
static struct access_rules *choose(struct access_rules *rules)
{
    struct rule_choices *choices = rule_choices_new();

    rule_choices_add(choices, "x", "load,gone", 1);
    rule_choices_add(choices, "y", "gone,loa,load-", 2);
    rule_choices_add(choices, "z", "look,pages", 3);
    struct access_rules *chosen = access_rules_choose(rules, choices);
    rule_choices_release(choices);
    access_rules_release(rules);
    return chosen;
}

static void rules_by_name(void **state)
{
    (void)state;
    struct access_rules *rules = choose(parse("everybody.allow=CreateTopics\n"
                                              "own.identity=x\nown.allow=Fetch\n"
                                              "load.identity=loader\nload.allow=produce\n"
                                              "load.topic=facts.*\nload.max-streams=3\n"
                                              "look.tokens-only=yes\nlook.allow=read-only\n"
                                              "look.max-streams=5\n"
                                              "pages.tokens-only=yes\npages.target=registry\n"));
    struct identity_limits limits = {{0}};

    /* What it names and no more: neither what fits x nor what is for everybody. */
    assert_true(may(rules, "x", "main", PRODUCE));
    assert_true(may_with(rules, "x", PRODUCE, KAFKA_TOPIC, "facts.a"));
    assert_false(may_with(rules, "x", PRODUCE, KAFKA_TOPIC, "other"));
    assert_false(may(rules, "x", "main", FETCH));
    assert_false(may(rules, "x", "main", CREATE_TOPICS));
    access_rules_limits(rules, "x", &limits);
    assert_int_equal(limits.most[LIMIT_STREAMS], 3);
    /* A name that there is not gives nothing. */
    assert_false(access_rules_know(rules, "y"));
    assert_false(access_rules_cluster(rules, "y", "main"));
    assert_false(may(rules, "y", "main", CREATE_TOPICS));
    assert_false(may(rules, "y", "main", METADATA));
    assert_true(may(rules, "z", "main", FETCH));
    assert_true(access_rules_target(rules, "z", "registry"));
    limits = (struct identity_limits){{0}};
    access_rules_limits(rules, "z", &limits);
    assert_int_equal(limits.most[LIMIT_STREAMS], 5);
    /* Others have what fits them, and nothing that is for tokens. */
    assert_true(may(rules, "loader", "main", PRODUCE));
    assert_true(may(rules, "loader", "main", CREATE_TOPICS));
    assert_false(may(rules, "loader", "main", DESCRIBE_ACLS));
    assert_false(access_rules_target(rules, "loader", "registry"));
    assert_non_null(access_rules_find(rules, "look", 4));
    assert_null(access_rules_find(rules, "loo", 3));
    access_rules_release(rules);
}

static void rules_for_tokens_only(void **state)
{
    static const struct access_names without = {clusters, 3, targets, 2, false};
    char text[] = "a.allow=all\na.tokens-only=yes\n";
    char error[300];

    (void)state;
    expect_error("a.allow=all\na.tokens-only=perhaps\n",
                 "line 2: rule a has a tokens-only that is neither yes nor no");
    expect_error("a.tokens-only=yes\na.allow=all\na.identity=x\n",
                 "line 1: rule a is tokens-only, so it has no identity: lines of --token-file "
                 "name it");
    assert_null(access_rules_parse(text, strlen(text), &without, error, sizeof error));
    assert_string_equal(error, "line 2: rule a is tokens-only, but there is no --token-file");
    struct access_rules *rules = parse("a.identity=x\na.allow=all\na.tokens-only=no\n");
    assert_true(access_rules_know(rules, "x"));
    access_rules_release(rules);
}

/* The last of as many rules as there may be counts like the first, for those whom it is for. */
static void very_many_rules(void **state)
{
    char *text = malloc(ACCESS_RULES_MAX * 64), error[300];
    size_t size = 0;

    (void)state;
    assert_non_null(text);
    for (unsigned i = 0; i < ACCESS_RULES_MAX; i++)
        size +=
            (size_t)sprintf(text + size, "r%u.identity=team-%u\nr%u.allow=%s\nr%u.topic=t-%u.*\n",
                            i, i / 2, i, i % 2 == 0 ? "produce" : "consume", i, i);
    struct access_rules *rules = access_rules_parse(text, size, &names, error, sizeof error);
    if (!rules)
        fail_msg("%s", error);
    assert_true(may_with(rules, "team-0", PRODUCE, KAFKA_TOPIC, "t-0.x"));
    assert_false(may_with(rules, "team-0", FETCH, KAFKA_TOPIC, "t-0.x"));
    assert_true(may_with(rules, "team-499", FETCH, KAFKA_TOPIC, "t-999.x"));
    assert_false(may_with(rules, "team-499", PRODUCE, KAFKA_TOPIC, "t-999.x"));
    assert_true(may_with(rules, "team-499", PRODUCE, KAFKA_TOPIC, "t-998.x"));
    assert_false(may_with(rules, "team-498", PRODUCE, KAFKA_TOPIC, "t-998.x"));
    assert_false(may_with(rules, "team-499", PRODUCE, KAFKA_TOPIC, "t-99.x"));
    /* Rules that are chosen are the same ones. */
    struct access_rules *chosen = access_rules_choose(rules, NULL);
    access_rules_release(rules);
    assert_true(may_with(chosen, "team-499", METADATA, KAFKA_TOPIC, "t-999."));
    assert_false(may_with(chosen, "team-499", METADATA, KAFKA_TOPIC, "t-997."));
    access_rules_release(chosen);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_by_name),
        cmocka_unit_test(rules_for_tokens_only),
        cmocka_unit_test(limits_are_the_first_that_fits),
        cmocka_unit_test(presets),
        cmocka_unit_test(who_and_where),
        cmocka_unit_test(resources),
        cmocka_unit_test(all_of_some),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(told_to_people),
        cmocka_unit_test(very_many_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

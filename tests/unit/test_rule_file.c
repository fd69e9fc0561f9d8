#include "../lib/cmocka.h"

#include <stdio.h>
#include <string.h>

#include "config/rule_file.h"

struct pet_rule {
    struct rule_head head;
    int kind;
    char *food;
    char *place;
    unsigned lines[2];
};

static const struct rule_key keys[] = {
    {"food", offsetof(struct pet_rule, food)},
    {"place", offsetof(struct pet_rule, place)},
};

static const struct rule_form form = {
    .keys = keys,
    .key_count = sizeof keys / sizeof *keys,
    .rule_size = sizeof(struct pet_rule),
    .lines_offset = offsetof(struct pet_rule, lines),
    .rules_max = 20,
    .example = "cat.food=fish",
    .main_keys = "food and place",
};

static char text[4096];
static char error[200];

static int parse(const char *lines, struct rule_list *list)
{
    snprintf(text, sizeof text, "%s", lines);
    error[0] = '\0';
    return rule_file_parse(&form, text, strlen(text), list, error, sizeof error);
}

static void rules_in_order(void **state)
{
    (void)state;
    struct rule_list list;

    assert_int_equal(parse("# pets\n"
                           "dog.food = bones, meat \n"
                           "\n"
                           "cat_2.food=fish\n"
                           "dog.place=garden\n",
                           &list),
                     0);
    assert_int_equal(list.count, 2);
    const struct pet_rule *rules = list.rules;
    assert_string_equal(rules[0].head.name, "dog");
    assert_int_equal(rules[0].head.line, 2);
    assert_string_equal(rules[0].food, "bones, meat");
    assert_string_equal(rules[0].place, "garden");
    assert_int_equal(rules[0].kind, 0);
    assert_string_equal(rules[1].head.name, "cat_2");
    assert_int_equal(rules[1].head.line, 4);
    assert_null(rules[1].place);
    assert_int_equal(rules[0].lines[0], 2);
    assert_int_equal(rules[0].lines[1], 5);
    assert_int_equal(rules[1].lines[1], 0);
    rule_file_say(&rules[1].head, "has no place", error, sizeof error);
    assert_string_equal(error, "line 4: rule cat_2 has no place");
    rule_file_free(&form, &list);
    assert_int_equal(list.count, 0);
    rule_file_free(&form, &list);
}

static void no_rules(void **state)
{
    (void)state;
    struct rule_list list;

    assert_int_equal(parse("# nothing\n\n", &list), 0);
    assert_int_equal(list.count, 0);
    rule_file_free(&form, &list);
}

static void as_many_as_there_may_be(void **state)
{
    (void)state;
    struct rule_list list;
    char lines[2048] = "";

    for (int i = 0; i < 20; i++)
        snprintf(lines + strlen(lines), sizeof lines - strlen(lines), "r%d.food=f%d\n", i, i);
    assert_int_equal(parse(lines, &list), 0);
    assert_int_equal(list.count, 20);
    assert_string_equal(((struct pet_rule *)list.rules)[19].food, "f19");
    rule_file_free(&form, &list);
    snprintf(lines + strlen(lines), sizeof lines - strlen(lines), "more.food=f\n");
    assert_int_equal(parse(lines, &list), -1);
    assert_string_equal(error, "line 21: there are more than 20 rules");
    assert_int_equal(list.count, 0);
}

/* No value may show in an error: it might be a secret in the wrong place. */
static void what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        const char *error;
    } rows[] = {
        {"food=secret", "line 1: write RULE.KEY=VALUE, for example \"cat.food=fish\""},
        {".food=secret", "line 1: write RULE.KEY=VALUE, for example \"cat.food=fish\""},
        {"2cats.food=secret", "line 1: write RULE.KEY=VALUE, for example \"cat.food=fish\""},
        {"a.b.food=secret", "line 1: write RULE.KEY=VALUE, for example \"cat.food=fish\""},
        {"c\x1b[31mat.food=secret", "line 1: write RULE.KEY=VALUE, for example \"cat.food=fish\""},
        {"aaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaax.food=secret",
         "line 1: write RULE.KEY=VALUE, for example \"cat.food=fish\""},
        {"cat.food=fish\ncat.fod=secret", "line 2: there is no such key; did you mean \"food\"?"},
        {"cat.=secret", "line 1: there is no such key; the main keys are food and place"},
        {"cat.zzzzzzz=secret", "line 1: there is no such key; the main keys are food and place"},
        {"cat.food=", "line 1: food has no value"},
        {"cat.food=a\ncat.food=secret", "line 2: rule cat has a second food"},
    };
    struct rule_list list;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(parse(rows[i].lines, &list), -1);
        assert_string_equal(error, rows[i].error);
        assert_int_equal(list.count, 0);
        assert_null(list.rules);
    }
    assert_int_equal(parse("cat.food=\\u0041", &list), -1);
    assert_memory_equal(error, "line 1: ", 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_in_order),
        cmocka_unit_test(no_rules),
        cmocka_unit_test(as_many_as_there_may_be),
        cmocka_unit_test(what_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Rules of --access: whatever the file holds, what one is told agrees with what one may do. Input:
 * an identity, a topic, each up to a line's end; then the file.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tunnel-server/authorization/access_rules.h"
#include "check.h"

static char *take_line(const uint8_t **data, size_t *size)
{
    const uint8_t *end = memchr(*data, '\n', *size);
    size_t length = end ? (size_t)(end - *data) : *size;
    char *line = calloc(1, length + 1);

    memcpy(line, *data, length);
    *data += length + (end != NULL);
    *size -= length + (end != NULL);
    return line;
}

static void ask(struct access_rules *rules, const char *identity, const char *topic)
{
    struct access_view view;

    access_view_init(&view, rules, identity, "main");
    CHECK((view.count > 0) == access_rules_cluster(rules, identity, "main"));
    CHECK(view.count == 0 || access_rules_know(rules, identity));
    for (int16_t key = -1; key < 100; key++) {
        bool allowed = access_view_api(&view, key);
        bool with = access_view_resource(&view, key, KAFKA_TOPIC, topic, strlen(topic));
        CHECK(allowed || !with);
        CHECK(!allowed || with || access_view_limits(&view, key, KAFKA_TOPIC));
        CHECK(!view.everything || (allowed && with));
    }
    access_view_clear(&view);
}

/* The same where the identity has the first rule by name, and one that there is not. */
static void ask_by_name(struct access_rules *rules, const char *identity, const char *topic)
{
    const struct access_rule *first = rules->list.rules;
    struct rule_choices *choices = rule_choices_new();
    char names[100];

    snprintf(names, sizeof names, "-,%s", first->head.name);
    rule_choices_add(choices, identity, names, 1);
    struct access_rules *chosen = access_rules_choose(rules, choices);
    rule_choices_release(choices);
    CHECK(access_rules_know(chosen, identity) ==
          (first->values[ACCESS_KEY_ALLOW] || first->values[ACCESS_KEY_TARGET]));
    ask(chosen, identity, topic);
    access_rules_release(chosen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const clusters[] = {"main", "test"};
    static const char *const targets[] = {"registry"};
    const struct access_names names = {clusters, 2, targets, 1, true};
    char *identity = take_line(&data, &size);
    char *topic = take_line(&data, &size);
    char *text = malloc(size + 1);
    char error[300] = "";

    memcpy(text, data, size);
    text[size] = '\0';
    struct access_rules *rules = access_rules_parse(text, size, &names, error, sizeof error);
    CHECK((rules == NULL) == (error[0] != '\0'));
    if (rules) {
        ask(rules, identity, topic);
        ask_by_name(rules, identity, topic);
    }
    access_rules_release(rules);
    free(text);
    free(topic);
    free(identity);
    return 0;
}

/*
 * Rules of --access: whatever the file holds, what one is told agrees with what one may do. Input:
 * an identity, a topic, each up to a line's end; then the file.
 */
#include <stdint.h>
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const clusters[] = {"main", "test"};
    static const char *const targets[] = {"registry"};
    const struct access_names names = {clusters, 2, targets, 1};
    char *identity = take_line(&data, &size);
    char *topic = take_line(&data, &size);
    char *text = malloc(size + 1);
    char error[300] = "";

    memcpy(text, data, size);
    text[size] = '\0';
    struct access_rules *rules = access_rules_parse(text, size, &names, error, sizeof error);
    CHECK((rules == NULL) == (error[0] != '\0'));
    if (rules)
        ask(rules, identity, topic);
    access_rules_release(rules);
    free(text);
    free(topic);
    free(identity);
    return 0;
}

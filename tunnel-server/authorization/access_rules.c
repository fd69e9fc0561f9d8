#include "authorization/access_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/pattern.h"
#include "config/nearest.h"
#include "config/value.h"
#include "kafka/catalog.h"

static const struct rule_key keys[ACCESS_KEYS] = {
    [ACCESS_KEY_IDENTITY] = {"identity", offsetof(struct access_rule, values[ACCESS_KEY_IDENTITY])},
    [ACCESS_KEY_TOKENS_ONLY] = {"tokens-only",
                                offsetof(struct access_rule, values[ACCESS_KEY_TOKENS_ONLY])},
    [ACCESS_KEY_CLUSTER] = {"cluster", offsetof(struct access_rule, values[ACCESS_KEY_CLUSTER])},
    [ACCESS_KEY_TARGET] = {"target", offsetof(struct access_rule, values[ACCESS_KEY_TARGET])},
    [ACCESS_KEY_ALLOW] = {"allow", offsetof(struct access_rule, values[ACCESS_KEY_ALLOW])},
    [ACCESS_KEY_TOPIC] = {"topic", offsetof(struct access_rule, values[ACCESS_KEY_TOPIC])},
    [ACCESS_KEY_GROUP] = {"group", offsetof(struct access_rule, values[ACCESS_KEY_GROUP])},
    [ACCESS_KEY_TRANSACTIONAL_ID] = {"transactional-id",
                                     offsetof(struct access_rule,
                                              values[ACCESS_KEY_TRANSACTIONAL_ID])},
#define LIMIT_KEY(limit, name)                                                                     \
    [ACCESS_KEY_LIMITS + (limit)] = {name, offsetof(struct access_rule, values) +                  \
                                               (ACCESS_KEY_LIMITS + (limit)) * sizeof(char *)}
    LIMIT_KEY(LIMIT_SESSIONS, "max-sessions"),
    LIMIT_KEY(LIMIT_STREAMS, "max-streams"),
    LIMIT_KEY(LIMIT_LINKS, "max-links"),
    LIMIT_KEY(LIMIT_DIALS, "max-dials-per-minute"),
    LIMIT_KEY(LIMIT_NEW_LINKS, "max-links-per-minute"),
    LIMIT_KEY(LIMIT_BYTES_UP, "max-rate-up"),
    LIMIT_KEY(LIMIT_BYTES_DOWN, "max-rate-down"),
};

static const struct rule_form access_form = {
    .keys = keys,
    .key_count = ACCESS_KEYS,
    .rule_size = sizeof(struct access_rule),
    .lines_offset = offsetof(struct access_rule, lines),
    .rules_max = ACCESS_RULES_MAX,
    .example = "facts.allow=produce",
    .main_keys = "identity, cluster, allow, topic and group",
};

static const struct {
    const char *name;
    unsigned use;
} presets[] = {
    {"produce", KAFKA_PRODUCE},
    {"consume", KAFKA_CONSUME},
    {"read-only", KAFKA_READ_ONLY},
    {"admin", KAFKA_ADMIN},
};
enum { PRESETS = sizeof presets / sizeof *presets };

static const unsigned char key_of[KAFKA_RESOURCES] = {
    [KAFKA_TOPIC] = ACCESS_KEY_TOPIC,
    [KAFKA_GROUP] = ACCESS_KEY_GROUP,
    [KAFKA_TRANSACTIONAL_ID] = ACCESS_KEY_TRANSACTIONAL_ID,
};

static const struct access_rule *rules_of(const struct access_rules *rules)
{
    return rules->list.rules;
}

/* ---- reading */

struct access_reader {
    const struct access_names *names;
    char *error;
    size_t error_size;
};

/* The next element of a list at commas, blanks around it dropped; NULL: there is none. */
static const char *next_element(const char **list, size_t *size)
{
    const char *at = *list + strspn(*list, " \t,");

    if (!*at)
        return NULL;
    *size = strcspn(at, ",");
    *list = at + *size;
    while (*size > 0 && (at[*size - 1] == ' ' || at[*size - 1] == '\t'))
        --*size;
    return at;
}

static bool is_word(const char *element, size_t size, const char *word)
{
    return strlen(word) == size && memcmp(element, word, size) == 0;
}

static void allow_api(struct access_rule *rule, size_t key)
{
    rule->apis[key / 64] |= UINT64_C(1) << key % 64;
}

/* What no client can do without: to log in, and to find the brokers. */
static bool is_always_allowed(size_t key)
{
    static const unsigned all = KAFKA_PRODUCE | KAFKA_CONSUME | KAFKA_READ_ONLY | KAFKA_ADMIN;
    static const char *const needed[] = {"ApiVersions", "SaslHandshake", "SaslAuthenticate",
                                         "Metadata"};

    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (strcmp(kafka_catalog_name(key), needed[i]) == 0)
            return kafka_catalog_uses(key) == all;
    return false;
}

static void allow_use(struct access_rule *rule, unsigned use)
{
    for (size_t key = 0; key < kafka_catalog_size(); key++)
        if (kafka_catalog_uses(key) & use)
            allow_api(rule, key);
}

static bool refuse_word(const struct access_reader *reader, const struct access_rule *rule,
                        const char *word, size_t size)
{
    struct nearest nearest;
    char shown[48];

    nearest_begin(&nearest, word, size);
    nearest_offer(&nearest, "all");
    for (size_t i = 0; i < PRESETS; i++)
        nearest_offer(&nearest, presets[i].name);
    for (size_t key = 0; key < kafka_catalog_size(); key++)
        nearest_offer(&nearest, kafka_catalog_name(key));
    snprintf(shown, sizeof shown, "%.*s", (int)size, word);
    if (nearest.best)
        snprintf(reader->error, reader->error_size,
                 "line %u: rule %s allows \"%s\", which is no API of Kafka; did you mean \"%s\"?",
                 rule->lines[ACCESS_KEY_ALLOW], rule->head.name, shown, nearest.best);
    else
        snprintf(reader->error, reader->error_size,
                 "line %u: rule %s allows \"%s\", which is neither all, produce, consume, "
                 "read-only, admin, nor an API of Kafka",
                 rule->lines[ACCESS_KEY_ALLOW], rule->head.name, shown);
    return false;
}

static bool allow_word(const struct access_reader *reader, struct access_rule *rule,
                       const char *word, size_t size)
{
    if (is_word(word, size, "all")) {
        rule->everything = true;
        memset(rule->apis, 0xff, sizeof rule->apis);
        return true;
    }
    for (size_t i = 0; i < PRESETS; i++)
        if (is_word(word, size, presets[i].name)) {
            allow_use(rule, presets[i].use);
            return true;
        }
    for (size_t key = 0; key < kafka_catalog_size(); key++)
        if (is_word(word, size, kafka_catalog_name(key))) {
            allow_api(rule, key);
            return true;
        }
    return refuse_word(reader, rule, word, size);
}

static bool read_allow(const struct access_reader *reader, struct access_rule *rule)
{
    const char *list = rule->values[ACCESS_KEY_ALLOW];
    size_t size;

    if (!list)
        return true;
    for (const char *word; (word = next_element(&list, &size));)
        if (!allow_word(reader, rule, word, size))
            return false;
    for (size_t key = 0; key < kafka_catalog_size(); key++)
        if (is_always_allowed(key))
            allow_api(rule, key);
    return true;
}

/* Each pattern must fit something that there is: one that does not is a misspelt name. */
static bool check_named(const struct access_reader *reader, const struct access_rule *rule,
                        enum access_key key, const char *const *names, size_t count)
{
    const char *list = rule->values[key];
    const char *option = key == ACCESS_KEY_CLUSTER ? "--kafka cluster" : "--tcp target";
    char shown[48];
    size_t size;

    if (!list)
        return true;
    for (const char *pattern; (pattern = next_element(&list, &size));) {
        struct nearest nearest;
        bool fits = is_word(pattern, size, "*");
        nearest_begin(&nearest, pattern, size);
        for (size_t i = 0; i < count && !fits; i++) {
            fits = pattern_fits(pattern, size, names[i], strlen(names[i]));
            nearest_offer(&nearest, names[i]);
        }
        if (fits)
            continue;
        snprintf(shown, sizeof shown, "%.*s", (int)size, pattern);
        snprintf(reader->error, reader->error_size, "line %u: rule %s names the %s \"%s\"%s%s%s",
                 rule->lines[key], rule->head.name, keys[key].name, shown,
                 nearest.best ? "; did you mean \"" : ", but there is no such ",
                 nearest.best ? nearest.best : option, nearest.best ? "\"?" : "");
        return false;
    }
    return true;
}

/* As the options of that name: numbers, or bytes a second. */
static bool read_limits(const struct access_reader *reader, struct access_rule *rule)
{
    enum { COUNT_MAX = 1000000 };
    const uint64_t rate_max = UINT64_C(1) << 40;

    for (size_t i = 0; i < LIMITS; i++) {
        const char *text = rule->values[ACCESS_KEY_LIMITS + i];
        bool is_rate = i == LIMIT_BYTES_UP || i == LIMIT_BYTES_DOWN;
        int64_t count = 0;
        if (!text)
            continue;
        bool good = is_rate ? value_parse_size(text, &rule->limits.most[i]) &&
                                  rule->limits.most[i] <= rate_max
                            : value_parse_integer(text, &count) && count >= 0 && count <= COUNT_MAX;
        if (good && !is_rate)
            rule->limits.most[i] = (uint64_t)count;
        if (good)
            continue;
        snprintf(reader->error, reader->error_size, "line %u: rule %s: %s must be %s",
                 rule->lines[ACCESS_KEY_LIMITS + i], rule->head.name,
                 keys[ACCESS_KEY_LIMITS + i].name,
                 is_rate ? "a number of bytes, such as 65536 or 4MiB, or 0 for no limit"
                         : "a number up to 1000000, 0 for no limit");
        return false;
    }
    return true;
}

static bool has_limits(const struct access_rule *rule)
{
    for (size_t i = 0; i < LIMITS; i++)
        if (rule->values[ACCESS_KEY_LIMITS + i])
            return true;
    return false;
}

static bool read_tokens_only(const struct access_reader *reader, struct access_rule *rule)
{
    const char *text = rule->values[ACCESS_KEY_TOKENS_ONLY];
    const char *why = NULL;

    if (!text)
        return true;
    if (!value_parse_bool(text, &rule->tokens_only))
        why = "has a tokens-only that is neither yes nor no";
    else if (rule->tokens_only && rule->values[ACCESS_KEY_IDENTITY])
        why = "is tokens-only, so it has no identity: lines of --token-file name it";
    else if (rule->tokens_only && !reader->names->tokens)
        why = "is tokens-only, but there is no --token-file";
    if (why)
        snprintf(reader->error, reader->error_size, "line %u: rule %s %s",
                 rule->lines[ACCESS_KEY_TOKENS_ONLY], rule->head.name, why);
    return why == NULL;
}

static bool check_access_patterns(const struct access_reader *reader,
                                  const struct access_rule *rule)
{
    static const enum access_key lists[] = {ACCESS_KEY_IDENTITY, ACCESS_KEY_TOPIC, ACCESS_KEY_GROUP,
                                            ACCESS_KEY_TRANSACTIONAL_ID};

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        const char *why = pattern_list_check(rule->values[lists[i]]);
        if (!why)
            continue;
        snprintf(reader->error, reader->error_size, "line %u: rule %s: %s %s",
                 rule->lines[lists[i]], rule->head.name, keys[lists[i]].name, why);
        return false;
    }
    return true;
}

static bool check_access_rule(const struct access_reader *reader, struct access_rule *rule)
{
    static const enum access_key of_allow[] = {ACCESS_KEY_CLUSTER, ACCESS_KEY_TOPIC,
                                               ACCESS_KEY_GROUP, ACCESS_KEY_TRANSACTIONAL_ID};
    const struct access_names *names = reader->names;
    char what[80];

    if (!rule->values[ACCESS_KEY_ALLOW]) {
        for (size_t i = 0; i < sizeof of_allow / sizeof *of_allow; i++)
            if (rule->values[of_allow[i]]) {
                snprintf(what, sizeof what, "has a %s, but no allow", keys[of_allow[i]].name);
                rule_file_say(&rule->head, what, reader->error, reader->error_size);
                return false;
            }
        if (!rule->values[ACCESS_KEY_TARGET] && !has_limits(rule)) {
            rule_file_say(&rule->head, "has neither an allow nor a target", reader->error,
                          reader->error_size);
            return false;
        }
    }
    return check_access_patterns(reader, rule) && read_tokens_only(reader, rule) &&
           read_allow(reader, rule) && read_limits(reader, rule) &&
           check_named(reader, rule, ACCESS_KEY_CLUSTER, names->clusters, names->cluster_count) &&
           check_named(reader, rule, ACCESS_KEY_TARGET, names->targets, names->target_count);
}

/* Where what a rule names is looked for, whoever it is for. */
static void index_names(struct access_rules *rules)
{
    for (size_t resource = 0; resource < KAFKA_RESOURCES; resource++) {
        for (size_t i = 0; i < rules->list.count; i++)
            if (rules_of(rules)[i].values[ACCESS_KEY_ALLOW])
                pattern_index_add(&rules->names[resource],
                                  rules_of(rules)[i].values[key_of[resource]], (uint32_t)i);
        pattern_index_sort(&rules->names[resource]);
    }
}

struct access_rules *access_rules_parse(char *text, size_t size, const struct access_names *names,
                                        char *error, size_t error_size)
{
    struct access_rules *rules = memory_new(sizeof *rules);
    const struct access_reader reader = {names, error, error_size};
    struct access_rule *all;

    atomic_init(&rules->references, 1);
    if (rule_file_parse(&access_form, text, size, &rules->list, error, error_size) != 0) {
        free(rules);
        return NULL;
    }
    all = rules->list.rules;
    bool good = rules->list.count > 0;
    if (!good)
        snprintf(error, error_size, "holds no rules, so nobody could do anything");
    for (size_t i = 0; good && i < rules->list.count; i++)
        good = check_access_rule(&reader, &all[i]);
    if (good) {
        index_names(rules);
        return rules;
    }
    access_rules_release(rules);
    return NULL;
}

struct access_rules *access_rules_choose(struct access_rules *rules, struct rule_choices *choices)
{
    struct access_rules *chosen = memory_new(sizeof *chosen);

    chosen->list = rules->list;
    memcpy(chosen->names, rules->names, sizeof chosen->names);
    chosen->origin = access_rules_reference(rules);
    chosen->choices = rule_choices_reference(choices);
    atomic_init(&chosen->references, 1);
    return chosen;
}

const struct access_rule *access_rules_find(const struct access_rules *rules, const char *name,
                                            size_t size)
{
    for (size_t i = 0; i < rules->list.count; i++)
        if (is_word(name, size, rules_of(rules)[i].head.name))
            return &rules_of(rules)[i];
    return NULL;
}

struct access_rules *access_rules_reference(struct access_rules *rules)
{
    atomic_fetch_add_explicit(&rules->references, 1, memory_order_relaxed);
    return rules;
}

void access_rules_release(struct access_rules *rules)
{
    if (!rules || atomic_fetch_sub_explicit(&rules->references, 1, memory_order_acq_rel) > 1)
        return;
    if (rules->origin) {
        access_rules_release(rules->origin);
    } else {
        for (size_t i = 0; i < KAFKA_RESOURCES; i++)
            pattern_index_clear(&rules->names[i]);
        rule_file_free(&access_form, &rules->list);
    }
    rule_choices_release(rules->choices);
    free(rules);
}

/* ---- asking */

/* For whom it is asked what the rules say. */
struct holder {
    const char *identity;
    size_t size;
    const char *named; /* the rules that the identity has by name; NULL: it has those that fit it */
};

static struct holder holder_of(const struct access_rules *rules, const char *identity)
{
    return (struct holder){identity, strlen(identity), rule_choices_find(rules->choices, identity)};
}

static bool fits_holder(const struct access_rule *rule, const struct holder *holder)
{
    if (holder->named)
        return rule_list_names(holder->named, rule->head.name);
    return !rule->tokens_only &&
           pattern_list_fits(rule->values[ACCESS_KEY_IDENTITY], holder->identity, holder->size);
}

static bool fits_cluster(const struct access_rule *rule, const struct holder *holder,
                         const char *cluster)
{
    return rule->values[ACCESS_KEY_ALLOW] && fits_holder(rule, holder) &&
           pattern_list_fits(rule->values[ACCESS_KEY_CLUSTER], cluster, strlen(cluster));
}

static bool allows_api(const uint64_t apis[ACCESS_API_WORDS], int16_t key)
{
    return key >= 0 && key < ACCESS_API_WORDS * 64 && (apis[key / 64] >> key % 64 & 1) != 0;
}

/* Not only limits. */
static bool gives_rights(const struct access_rule *rule)
{
    return rule->values[ACCESS_KEY_ALLOW] || rule->values[ACCESS_KEY_TARGET];
}

bool access_rules_know(const struct access_rules *rules, const char *identity)
{
    const struct holder holder = holder_of(rules, identity);

    for (size_t i = 0; i < rules->list.count; i++)
        if (gives_rights(&rules_of(rules)[i]) && fits_holder(&rules_of(rules)[i], &holder))
            return true;
    return false;
}

bool access_rules_cluster(const struct access_rules *rules, const char *identity,
                          const char *cluster)
{
    const struct holder holder = holder_of(rules, identity);

    for (size_t i = 0; i < rules->list.count; i++)
        if (fits_cluster(&rules_of(rules)[i], &holder, cluster))
            return true;
    return false;
}

bool access_rules_target(const struct access_rules *rules, const char *identity, const char *target)
{
    const struct holder holder = holder_of(rules, identity);

    for (size_t i = 0; i < rules->list.count; i++) {
        const struct access_rule *rule = &rules_of(rules)[i];
        if (rule->values[ACCESS_KEY_TARGET] && fits_holder(rule, &holder) &&
            pattern_list_fits(rule->values[ACCESS_KEY_TARGET], target, strlen(target)))
            return true;
    }
    return false;
}

void access_rules_limits(const struct access_rules *rules, const char *identity,
                         struct identity_limits *limits)
{
    const struct holder holder = holder_of(rules, identity);
    bool set[LIMITS] = {false};

    for (size_t i = 0; i < rules->list.count; i++) {
        const struct access_rule *rule = &rules_of(rules)[i];
        if (!has_limits(rule) || !fits_holder(rule, &holder))
            continue;
        for (size_t limit = 0; limit < LIMITS; limit++) {
            if (set[limit] || !rule->values[ACCESS_KEY_LIMITS + limit])
                continue;
            limits->most[limit] = rule->limits.most[limit];
            set[limit] = true;
        }
    }
}

static bool has_patterns(const struct access_rule *rule)
{
    for (size_t i = 0; i < KAFKA_RESOURCES; i++)
        if (rule->values[key_of[i]])
            return true;
    return false;
}

static void add_apis(uint64_t apis[ACCESS_API_WORDS], const struct access_rule *rule)
{
    for (size_t word = 0; word < ACCESS_API_WORDS; word++)
        apis[word] |= rule->apis[word];
}

void access_view_init(struct access_view *view, struct access_rules *rules, const char *identity,
                      const char *cluster)
{
    const struct holder holder = holder_of(rules, identity);

    *view = (struct access_view){.rules = access_rules_reference(rules)};
    for (size_t i = 0; i < rules->list.count; i++) {
        const struct access_rule *rule = &rules_of(rules)[i];
        if (!fits_cluster(rule, &holder, cluster))
            continue;
        view->count++;
        view->fits[i / 64] |= UINT64_C(1) << i % 64;
        view->everything |= rule->everything && !has_patterns(rule);
        add_apis(view->apis, rule);
        for (size_t resource = 0; resource < KAFKA_RESOURCES; resource++)
            if (!rule->values[key_of[resource]])
                add_apis(view->unlimited[resource], rule);
    }
}

void access_view_clear(struct access_view *view)
{
    access_rules_release(view->rules);
    *view = (struct access_view){0};
}

bool access_view_api(const struct access_view *view, int16_t key)
{
    return view->everything || allows_api(view->apis, key);
}

struct use_of_name {
    const struct access_view *view;
    int16_t key;
};

/* pattern_index_fits()'s: whether a rule that has the pattern is for this view and this API. */
static bool is_rule_for(const void *context, uint32_t i)
{
    const struct use_of_name *use = context;
    const struct access_view *view = use->view;

    return (view->fits[i / 64] >> i % 64 & 1) != 0 &&
           allows_api(rules_of(view->rules)[i].apis, use->key);
}

bool access_view_resource(const struct access_view *view, int16_t key, enum kafka_resource resource,
                          const char *name, size_t size)
{
    const struct use_of_name use = {view, key};

    return view->everything || allows_api(view->unlimited[resource], key) ||
           pattern_index_fits(&view->rules->names[resource], name, size, is_rule_for, &use);
}

bool access_view_limits(const struct access_view *view, int16_t key, enum kafka_resource resource)
{
    return !view->everything && !allows_api(view->unlimited[resource], key);
}

/* ---- telling */

/* What the rule says after its cluster or target: "allow=produce topic=facts.*". */
static void describe_rule(const struct access_rule *rule, struct text *text)
{
    static const enum access_key told[] = {ACCESS_KEY_ALLOW, ACCESS_KEY_TOPIC, ACCESS_KEY_GROUP,
                                           ACCESS_KEY_TRANSACTIONAL_ID};

    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (rule->values[told[i]])
            text_format(text, "%s%s%s%s", i > 0 ? ", " : "", i > 0 ? keys[told[i]].name : "",
                        i > 0 ? " " : "", rule->values[told[i]]);
}

void access_rules_describe(const struct access_rules *rules, const char *identity,
                           const char *cluster, struct text *text)
{
    const struct holder holder = holder_of(rules, identity);
    bool first = true;

    for (size_t i = 0; i < rules->list.count; i++) {
        const struct access_rule *rule = &rules_of(rules)[i];
        if (!fits_cluster(rule, &holder, cluster))
            continue;
        if (!first)
            text_format(text, "; ");
        first = false;
        describe_rule(rule, text);
    }
}

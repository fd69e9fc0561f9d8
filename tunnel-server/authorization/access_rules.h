/*
 * --access: who may do what, as the file lists it in .properties form:
 *
 *     # What is before the dot names the rule, and gathers its lines.
 *     facts.identity=ci-*, loader
 *     facts.cluster=main
 *     facts.allow=produce, CreateTopics
 *     facts.topic=facts.*
 *     pages.identity=*
 *     pages.target=registry
 *
 * A rule fits an identity by a list of patterns (base/pattern.h); without one it is for everybody.
 * Users to whom the token file gives rules by name have these instead (rule_choices.h); what is
 * tokens-only fits nobody else. All rules that fit count together: something is allowed if one of
 * them allows it. What none allows is denied.
 *
 *     cluster           where allow counts: a list of patterns of --kafka names; without it, all
 *     allow             all, produce, consume, read-only, admin, and names of Kafka APIs
 *     topic, group,
 *     transactional-id  lists of patterns: only with these; without one, with all
 *     target            a list of patterns of --tcp names; without it, none
 *
 * Limits are for the identity at all clusters and targets. Of several rules that fit, the first one
 * that has the limit says what it is; without one, the options do. 0: none.
 *
 *     max-sessions, max-streams, max-links             at a time
 *     max-dials-per-minute, max-links-per-minute
 *     max-rate-up, max-rate-down                       bytes a second: 65536, 4MiB
 *
 * No files here, no clock. The rules never change once they are parsed, so threads may share them.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "authorization/identity_limits.h"
#include "base/pattern_index.h"
#include "base/text.h"
#include "config/rule_file.h"
#include "kafka/guard.h"
#include "rule_choices.h"

#define ACCESS_RULES_MAX 1000

enum access_key {
    ACCESS_KEY_IDENTITY,
    ACCESS_KEY_TOKENS_ONLY,
    ACCESS_KEY_CLUSTER,
    ACCESS_KEY_TARGET,
    ACCESS_KEY_ALLOW,
    ACCESS_KEY_TOPIC,
    ACCESS_KEY_GROUP,
    ACCESS_KEY_TRANSACTIONAL_ID,
    ACCESS_KEY_LIMITS, /* the first of them, by enum limit */
    ACCESS_KEYS = ACCESS_KEY_LIMITS + LIMITS,
};

enum { ACCESS_API_WORDS = 4 /* 256 APIs */, ACCESS_RULE_WORDS = (ACCESS_RULES_MAX + 63) / 64 };

/* Lists are as they stand in the file; NULL if there is no such line. */
struct access_rule {
    struct rule_head head;
    char *values[ACCESS_KEYS];
    unsigned lines[ACCESS_KEYS];
    uint64_t apis[ACCESS_API_WORDS]; /* that allow names; with everything, all */
    bool everything;                 /* allow=all: also what is not known here */
    bool tokens_only;                /* only for users whose tokens name it */
    struct identity_limits limits;   /* where there is a line for them */
};

struct access_rules {
    struct rule_list list; /* of struct access_rule; the origin's, if there is one */
    /* All patterns of names, each with its rule's place in the list; the origin's as well. */
    struct pattern_index names[KAFKA_RESOURCES];
    struct access_rules *origin;  /* with a reference; NULL: these are as the file has them */
    struct rule_choices *choices; /* with a reference; NULL: nobody has rules by name */
    atomic_uint references;
};

/* What there is for rules to name. */
struct access_names {
    const char *const *clusters;
    size_t cluster_count;
    const char *const *targets;
    size_t target_count;
    bool tokens; /* a --token-file, whose lines may name rules */
};

/* Takes text of size bytes apart, which is used up; text[size] must be writable. With one
 * reference, the caller's. NULL: error holds a sentence part for after the file's name, "line 3:
 * ...". */
struct access_rules *access_rules_parse(char *text, size_t size, const struct access_names *names,
                                        char *error, size_t error_size);
/* The same rules, which must be as a file has them, where these users have some by name. With one
 * reference, the caller's; choices may be NULL. */
struct access_rules *access_rules_choose(struct access_rules *rules, struct rule_choices *choices);
/* NULL: there is no rule of that name. */
const struct access_rule *access_rules_find(const struct access_rules *rules, const char *name,
                                            size_t size);
struct access_rules *access_rules_reference(struct access_rules *rules);
/* NULL is fine. The last one frees them. */
void access_rules_release(struct access_rules *rules);

/* Whether any rule allows the identity something. */
bool access_rules_know(const struct access_rules *rules, const char *identity);
/* Whether a rule allows anything there. */
bool access_rules_cluster(const struct access_rules *rules, const char *identity,
                          const char *cluster);
bool access_rules_target(const struct access_rules *rules, const char *identity,
                         const char *target);

/* Sets those limits that a rule has for the identity. */
void access_rules_limits(const struct access_rules *rules, const char *identity,
                         struct identity_limits *limits);

/* What one identity may do at one cluster: the rules that fit both. */
struct access_view {
    struct access_rules *rules;       /* with a reference; NULL: not filled in */
    size_t count;                     /* how many they are */
    uint64_t fits[ACCESS_RULE_WORDS]; /* by their places, bits */
    uint64_t apis[ACCESS_API_WORDS];  /* of all of them */
    uint64_t unlimited[KAFKA_RESOURCES][ACCESS_API_WORDS]; /* with any such name */
    bool everything; /* a rule allows all with all: nothing is looked at */
};

void access_view_init(struct access_view *view, struct access_rules *rules, const char *identity,
                      const char *cluster);
void access_view_clear(struct access_view *view);
bool access_view_api(const struct access_view *view, int16_t key);
/* Whether the API may be used with that topic, group or transactional id. */
bool access_view_resource(const struct access_view *view, int16_t key, enum kafka_resource resource,
                          const char *name, size_t size);
/* Whether some names of that kind are denied to the API, so that they must be looked at. */
bool access_view_limits(const struct access_view *view, int16_t key, enum kafka_resource resource);

/* Appends what the identity may do at the cluster, for people: "produce, topic facts.*". */
void access_rules_describe(const struct access_rules *rules, const char *identity,
                           const char *cluster, struct text *text);

/*
 * Files of named rules, in .properties form:
 *
 *     # What is before the dot names the rule, and gathers its lines.
 *     ci.identity=ci-*
 *     ci.cluster=main
 *
 * Rules keep the order of their first lines. Which keys there are, and what they mean, is the
 * caller's; values are kept as they stand. A file is taken as a whole or not at all. No files here:
 * the caller reads.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "config/properties.h"

#define RULE_NAME_MAX 64

/* What each rule begins with. */
struct rule_head {
    char *name;    /* rule_file_is_name() */
    unsigned line; /* of the file, where the rule begins */
};

struct rule_key {
    const char *name;
    size_t offset; /* of its char * in the rule; NULL there is a key that was not given */
};

struct rule_form {
    const struct rule_key *keys;
    size_t key_count;
    size_t rule_size; /* of a rule: a struct that begins with a struct rule_head; at least that */
    size_t lines_offset; /* of an unsigned[key_count] in the rule: where its keys stand; 0: none */
    size_t rules_max;
    const char *example;   /* a line, for messages: "orders.user=svc-orders" */
    const char *main_keys; /* for messages: "identity, cluster and mechanism" */
};

struct rule_list {
    void
        *rules; /* an array of count rules of form->rule_size bytes; zeroed but for head and keys */
    size_t count;
};

/*
 * Takes text of size bytes apart, which is used up; text[size] must be writable. 0: *list holds the
 * rules, perhaps none, until rule_file_free. -1: error holds a sentence part for after the file's
 * name, "line 3: ...", and no value of the file; *list is empty.
 */
int rule_file_parse(const struct rule_form *form, char *text, size_t size, struct rule_list *list,
                    char *error, size_t error_size);

/* Frees names, values and the array; leaves *list empty. */
void rule_file_free(const struct rule_form *form, struct rule_list *list);

/* Whether a rule can have that name: a letter, then letters, digits, - and _; at most 64, and safe
 * in a message. */
bool rule_file_is_name(const char *name, size_t size);

/* Puts "line 3: rule ci " and what into error; what is a sentence's end: "has no user". */
void rule_file_say(const struct rule_head *rule, const char *what, char *error, size_t error_size);

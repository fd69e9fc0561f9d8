/*
 * Which rules of --access users have by name: rule= in their lines of --token-file.
 *
 * A user who is listed has the rules that are named here and no others; the identities of rules
 * count neither for nor against. One that names no rule that there is has no rights by it. Made
 * once, and never changed after, so threads may share them.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct rule_choice {
    char *identity;
    char *rules; /* names at commas, without blanks */
    size_t line; /* of the token file, from 1 */
};

struct rule_choices {
    atomic_uint references;
    struct rule_choice *choices; /* by identity, each once */
    size_t count;
    size_t capacity;
};

/* Empty, with one reference, the caller's. */
struct rule_choices *rule_choices_new(void);
/* While nobody else has them; identities come in the order of strcmp(), each once. */
void rule_choices_add(struct rule_choices *choices, const char *identity, const char *rules,
                      size_t line);
/* NULL is fine for all that follow: nobody has rules by name. */
struct rule_choices *rule_choices_reference(struct rule_choices *choices);
void rule_choices_release(struct rule_choices *choices);
/* The list of the identity's rules; NULL: it is not listed. */
const char *rule_choices_find(const struct rule_choices *choices, const char *identity);

/* Whether the list names the rule. */
bool rule_list_names(const char *list, const char *rule);
/* The next name of a list, and its size in *size; *list goes behind it. NULL: there is none. */
const char *rule_list_next(const char **list, size_t *size);

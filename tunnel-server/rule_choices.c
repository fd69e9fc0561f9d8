#include "rule_choices.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct rule_choices *rule_choices_new(void)
{
    struct rule_choices *choices = memory_new(sizeof *choices);

    atomic_init(&choices->references, 1);
    return choices;
}

void rule_choices_add(struct rule_choices *choices, const char *identity, const char *rules,
                      size_t line)
{
    if (choices->count == choices->capacity) {
        choices->capacity = choices->capacity ? 2 * choices->capacity : 16;
        choices->choices =
            memory_grow(choices->choices, choices->capacity * sizeof *choices->choices);
    }
    choices->choices[choices->count++] =
        (struct rule_choice){memory_text(identity), memory_text(rules), line};
}

struct rule_choices *rule_choices_reference(struct rule_choices *choices)
{
    if (choices)
        atomic_fetch_add_explicit(&choices->references, 1, memory_order_relaxed);
    return choices;
}

void rule_choices_release(struct rule_choices *choices)
{
    if (!choices || atomic_fetch_sub_explicit(&choices->references, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < choices->count; i++) {
        free(choices->choices[i].identity);
        free(choices->choices[i].rules);
    }
    free(choices->choices);
    free(choices);
}

static int compare_choice(const void *identity, const void *choice)
{
    return strcmp(identity, ((const struct rule_choice *)choice)->identity);
}

const char *rule_choices_find(const struct rule_choices *choices, const char *identity)
{
    const struct rule_choice *found = NULL;

    if (choices && choices->count > 0)
        found = bsearch(identity, choices->choices, choices->count, sizeof *choices->choices,
                        compare_choice);
    return found ? found->rules : NULL;
}

const char *rule_list_next(const char **list, size_t *size)
{
    const char *name = *list + (**list == ',');

    *size = strcspn(name, ",");
    *list = name + *size;
    return *size > 0 ? name : NULL;
}

bool rule_list_names(const char *list, const char *rule)
{
    size_t size;

    for (const char *name; (name = rule_list_next(&list, &size));)
        if (strlen(rule) == size && memcmp(name, rule, size) == 0)
            return true;
    return false;
}

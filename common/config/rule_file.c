#include "config/rule_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "config/nearest.h"

struct rule_reader {
    const struct rule_form *form;
    struct rule_list *list;
    size_t capacity;
    char *error;
    size_t error_size;
};

static void *rule_at(const struct rule_form *form, const struct rule_list *list, size_t i)
{
    return (char *)list->rules + i * form->rule_size;
}

static char **value_of_key(void *rule, const struct rule_key *key)
{
    return (char **)((char *)rule + key->offset);
}

void rule_file_free(const struct rule_form *form, struct rule_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        void *rule = rule_at(form, list, i);
        free(((struct rule_head *)rule)->name);
        for (size_t k = 0; k < form->key_count; k++)
            free(*value_of_key(rule, &form->keys[k]));
    }
    free(list->rules);
    *list = (struct rule_list){0};
}

void rule_file_say(const struct rule_head *rule, const char *what, char *error, size_t error_size)
{
    snprintf(error, error_size, "line %u: rule %s %s", rule->line, rule->name, what);
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool rule_file_is_name(const char *name, size_t size)
{
    if (size == 0 || size > RULE_NAME_MAX || !is_letter(name[0]))
        return false;
    for (size_t i = 1; i < size; i++)
        if (!is_letter(name[i]) && !(name[i] >= '0' && name[i] <= '9') && name[i] != '-' &&
            name[i] != '_')
            return false;
    return true;
}

/* NULL: there is no such key; the error says so. */
static const struct rule_key *find_rule_key(const struct rule_reader *reader, const char *name,
                                            unsigned line)
{
    const struct rule_form *form = reader->form;
    struct nearest nearest;

    nearest_begin(&nearest, name, strlen(name));
    for (size_t i = 0; i < form->key_count; i++) {
        if (strcmp(form->keys[i].name, name) == 0)
            return &form->keys[i];
        nearest_offer(&nearest, form->keys[i].name);
    }
    if (nearest.best)
        snprintf(reader->error, reader->error_size,
                 "line %u: there is no such key; did you mean \"%s\"?", line, nearest.best);
    else
        snprintf(reader->error, reader->error_size,
                 "line %u: there is no such key; the main keys are %s", line, form->main_keys);
    return NULL;
}

/* The rule of that name, a new one if need be; NULL: there are too many. */
static struct rule_head *rule_named(struct rule_reader *reader, const char *name, size_t size,
                                    unsigned line)
{
    const struct rule_form *form = reader->form;
    struct rule_list *list = reader->list;

    /* A rule's lines mostly stand together. */
    for (size_t i = list->count; i > 0; i--) {
        struct rule_head *rule = rule_at(form, list, i - 1);
        if (strlen(rule->name) == size && memcmp(rule->name, name, size) == 0)
            return rule;
    }
    if (list->count == form->rules_max) {
        snprintf(reader->error, reader->error_size, "line %u: there are more than %zu rules", line,
                 form->rules_max);
        return NULL;
    }
    if (list->count == reader->capacity) {
        reader->capacity = reader->capacity ? 2 * reader->capacity : 8;
        list->rules = memory_grow(list->rules, reader->capacity * form->rule_size);
    }
    struct rule_head *rule = rule_at(form, list, list->count++);
    memset(rule, 0, form->rule_size);
    *rule = (struct rule_head){.name = memory_new(size + 1), .line = line};
    memcpy(rule->name, name, size);
    return rule;
}

static int add_rule_entry(void *context, const char *key, const char *value, unsigned line)
{
    struct rule_reader *reader = context;
    const char *dot = strrchr(key, '.');

    if (!dot || !rule_file_is_name(key, (size_t)(dot - key))) {
        snprintf(reader->error, reader->error_size,
                 "line %u: write RULE.KEY=VALUE, for example \"%s\"", line, reader->form->example);
        return 1;
    }
    const struct rule_key *which = find_rule_key(reader, dot + 1, line);
    if (!which)
        return 1;
    if (*value == '\0') {
        snprintf(reader->error, reader->error_size, "line %u: %s has no value", line, which->name);
        return 1;
    }
    struct rule_head *rule = rule_named(reader, key, (size_t)(dot - key), line);
    if (!rule)
        return 1;
    char **place = value_of_key(rule, which);
    if (*place) {
        snprintf(reader->error, reader->error_size, "line %u: rule %s has a second %s", line,
                 rule->name, which->name);
        return 1;
    }
    *place = memory_new(strlen(value) + 1);
    strcpy(*place, value);
    if (reader->form->lines_offset > 0) {
        unsigned *lines = (unsigned *)(void *)((char *)rule + reader->form->lines_offset);
        lines[which - reader->form->keys] = line;
    }
    return 0;
}

int rule_file_parse(const struct rule_form *form, char *text, size_t size, struct rule_list *list,
                    char *error, size_t error_size)
{
    struct rule_reader reader = {
        .form = form, .list = list, .error = error, .error_size = error_size};
    unsigned line = 0;
    const char *why = NULL;

    *list = (struct rule_list){0};
    int result = properties_parse(text, size, add_rule_entry, &reader, &line, &why);
    if (result < 0)
        snprintf(error, error_size, "line %u: %s", line, why);
    if (result == 0)
        return 0;
    rule_file_free(form, list);
    return -1;
}

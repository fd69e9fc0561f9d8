#include "authorization/access_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "config/file_stamp.h"
#include "config/nearest.h"
#include "config/secret.h"
#include "io/timer.h"

enum {
    LOOK_S = 2,
    RULES_MAX_KIB = 1024,
    WHY_MAX = 400,
    ERROR_MAX = 2 * WHY_MAX,
    UNKNOWN_SHOWN = 20, /* names that the token file has and this one has not */
};

struct access_file {
    struct worker *worker;
    const struct options *options;
    const char **clusters;
    const char **targets;
    access_file_use use;
    void *context;
    struct access_rules *parsed;  /* as the file has them */
    struct rule_choices *choices; /* NULL: nobody has rules by name */
    struct access_rules *rules;   /* in force: parsed, with the choices */
    struct timer *look;
    struct file_stamp stamp; /* when it was last read, well or not */
    bool unread;             /* the system did not let us: it may next time, without a change */
    char said[ERROR_MAX];    /* the error that was said last; "": the file is good */
};

/* NULL: error holds a sentence. */
static struct access_rules *read_access_rules(struct access_file *file, char error[ERROR_MAX])
{
    const char *path = file->options->access_file;
    const struct access_names names = {file->clusters, file->options->cluster_count, file->targets,
                                       file->options->target_count,
                                       file->options->token_file != NULL};
    char unreadable[SECRET_ERROR_MAX];
    char why[WHY_MAX];
    struct secret_bytes content;

    /* Before it is read: a change in between is then noticed at the next look. */
    file_stamp_take(path, &file->stamp);
    file->unread = !secret_read_large(path, RULES_MAX_KIB, &content, unreadable);
    if (file->unread) {
        snprintf(error, ERROR_MAX, "--access: %s", unreadable);
        return NULL;
    }
    if (!secret_is_guarded(path, content.writable, file->options->shared.strict_files,
                           unreadable)) {
        snprintf(error, ERROR_MAX, "--access: %s", unreadable);
        secret_bytes_free(&content);
        return NULL;
    }
    struct access_rules *rules =
        access_rules_parse(content.bytes, content.size, &names, why, sizeof why);
    secret_bytes_free(&content);
    if (!rules)
        snprintf(error, ERROR_MAX, "--access: %s %s", path, why);
    return rules;
}

/* ---- names in the token file */

static void warn_of_name(const struct access_file *file, const struct rule_choice *choice,
                         const char *name, size_t size)
{
    const struct rule_list *list = &file->parsed->list;
    const struct access_rule *rules = list->rules;
    struct nearest nearest;
    char reason[WHY_MAX];

    nearest_begin(&nearest, name, size);
    for (size_t i = 0; i < list->count; i++)
        nearest_offer(&nearest, rules[i].head.name);
    snprintf(reason, sizeof reason, "line %zu: %s has no rule %.*s%s%s%s", choice->line,
             file->options->access_file, (int)size, name, nearest.best ? "; did you mean \"" : "",
             nearest.best ? nearest.best : "", nearest.best ? "\"?" : "");
    log_warning(file->worker->log, "token_rule_unknown",
                "A line of the token file names a rule that there is not; it gives no rights",
                log_str("file", file->options->token_file), log_str("reason", reason),
                log_str("identity", choice->identity));
}

/* Whether all of them are there is known only when both files are; either may come first. */
static void warn_of_unknown_names(const struct access_file *file)
{
    const struct rule_choices *choices = file->choices;
    size_t unknown = 0;
    size_t size;

    for (size_t i = 0; choices && i < choices->count; i++) {
        const char *list = choices->choices[i].rules;
        for (const char *name; (name = rule_list_next(&list, &size));)
            if (!access_rules_find(file->parsed, name, size) && unknown++ < UNKNOWN_SHOWN)
                warn_of_name(file, &choices->choices[i], name, size);
    }
    if (unknown > UNKNOWN_SHOWN)
        log_warning(file->worker->log, "token_rule_unknown",
                    "More lines of the token file name rules that there are not",
                    log_str("file", file->options->token_file),
                    log_u64("more", unknown - UNKNOWN_SHOWN));
}

/* What is in force follows from both files. */
static void combine_rules(struct access_file *file)
{
    access_rules_release(file->rules);
    file->rules = access_rules_choose(file->parsed, file->choices);
    warn_of_unknown_names(file);
}

void access_file_choose(struct access_file *file, struct rule_choices *choices)
{
    if (!file || (!choices && !file->choices))
        return;
    rule_choices_reference(choices);
    rule_choices_release(file->choices);
    file->choices = choices;
    combine_rules(file);
    file->use(file->context, file->rules);
}

/* ---- reading */

/* false: what there was stays. */
static bool take_rules(struct access_file *file)
{
    char error[ERROR_MAX];
    struct access_rules *rules = read_access_rules(file, error);

    if (!rules) {
        if (strcmp(error, file->said) != 0)
            log_error(file->worker->log, "access_unreadable",
                      "The file of access rules cannot be used; the old rules stay in force",
                      log_str("reason", error), log_u64("rules", file->rules->list.count));
        snprintf(file->said, sizeof file->said, "%s", error);
        return false;
    }
    access_rules_release(file->parsed);
    file->parsed = rules;
    file->said[0] = '\0';
    combine_rules(file);
    file->use(file->context, file->rules);
    return true;
}

static bool has_another_stamp(const struct access_file *file)
{
    struct file_stamp now;

    file_stamp_take(file->options->access_file, &now);
    return file->unread || !file_stamp_equal(&now, &file->stamp);
}

static void note_rules(const struct access_file *file)
{
    log_info(file->worker->log, "access_read",
             "The file of access rules has changed and was read again",
             log_u64("rules", file->rules->list.count));
}

static void on_access_look(void *argument)
{
    struct access_file *file = argument;

    if (has_another_stamp(file) && take_rules(file))
        note_rules(file);
}

void access_file_reload(struct access_file *file, struct reload *reload)
{
    if (!file)
        return;
    bool changed = file->said[0] || has_another_stamp(file);

    if (!take_rules(file)) {
        reload->failed++;
    } else if (changed) {
        reload->renewed++;
        note_rules(file);
    }
}

struct access_rules *access_file_rules(const struct access_file *file)
{
    return file->rules;
}

struct access_file *access_file_new(struct worker *worker, const struct options *options,
                                    struct rule_choices *choices, access_file_use use,
                                    void *context, char *error, size_t size)
{
    struct access_file *file = memory_new(sizeof *file);
    char why[ERROR_MAX];

    *file =
        (struct access_file){.worker = worker, .options = options, .use = use, .context = context};
    file->clusters = memory_new_array(options->cluster_count + 1, sizeof *file->clusters);
    file->targets = memory_new_array(options->target_count + 1, sizeof *file->targets);
    for (size_t i = 0; i < options->cluster_count; i++)
        file->clusters[i] = options->clusters[i].name;
    for (size_t i = 0; i < options->target_count; i++)
        file->targets[i] = options->targets[i].name;
    file->choices = rule_choices_reference(choices);
    file->parsed = read_access_rules(file, why);
    if (!file->parsed) {
        snprintf(error, size, "%s", why);
        access_file_free(file);
        return NULL;
    }
    combine_rules(file);
    file->look = timer_new(worker, on_access_look, file);
    timer_repeat_ms(file->look, LOOK_S * 1000);
    return file;
}

void access_file_free(struct access_file *file)
{
    if (!file)
        return;
    timer_free(file->look);
    access_rules_release(file->rules);
    access_rules_release(file->parsed);
    rule_choices_release(file->choices);
    free(file->clusters);
    free(file->targets);
    free(file);
}

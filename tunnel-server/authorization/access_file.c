#include "authorization/access_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "config/file_stamp.h"
#include "config/secret.h"
#include "io/timer.h"

enum { LOOK_S = 2, RULES_MAX_KIB = 1024, WHY_MAX = 400, ERROR_MAX = 2 * WHY_MAX };

struct access_file {
    struct worker *worker;
    const struct options *options;
    const char **clusters;
    const char **targets;
    access_file_use use;
    void *context;
    struct access_rules *rules;
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
                                       file->options->target_count};
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
    struct access_rules *rules =
        access_rules_parse(content.bytes, content.size, &names, why, sizeof why);
    secret_bytes_free(&content);
    if (!rules)
        snprintf(error, ERROR_MAX, "--access: %s %s", path, why);
    return rules;
}

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
    struct access_rules *old = file->rules;
    file->rules = rules;
    file->said[0] = '\0';
    file->use(file->context, rules);
    access_rules_release(old);
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
                                    access_file_use use, void *context, char *error, size_t size)
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
    file->rules = read_access_rules(file, why);
    if (!file->rules) {
        snprintf(error, size, "%s", why);
        access_file_free(file);
        return NULL;
    }
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
    free(file->clusters);
    free(file->targets);
    free(file);
}

#include "config/config.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/printable.h"
#include "config/input.h"
#include "config/nearest.h"
#include "config/properties.h"
#include "config/secret.h"
#include "config/service_link.h"
#include "config/value.h"

#define VARIABLE_PREFIX "TUNNEL_"
#define NAME_MAX_SIZE 64
/* How much of a wrong word a message shows. */
#define SHOWN_MAX 80

/* Flags that every program has. They stand in no file, and only config in the environment. */
enum builtin { BUILTIN_NONE, BUILTIN_CONFIG, BUILTIN_HELP, BUILTIN_HELP_ALL, BUILTIN_VERSION };
static const char *const builtin_names[] = {NULL, "config", "help", "help-all", "version"};
#define BUILTIN_COUNT 5

/* One argument or two, understood. */
struct flag {
    enum builtin builtin;
    size_t option;
    const char *value;
};

__attribute__((format(printf, 2, 3))) static int fail_setting(struct config *c, const char *format,
                                                              ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(c->error, sizeof c->error, format, arguments);
    va_end(arguments);
    return -1;
}

/* A copy that lives as long as the config object; NULL if memory is out. */
static char *keep_text(struct config *c, const char *text, size_t size)
{
    char *copy = malloc(size + 1);
    char **owned = realloc(c->owned, (c->owned_count + 1) * sizeof *owned);

    if (owned)
        c->owned = owned;
    if (!copy || !owned) {
        free(copy);
        fail_setting(c, "out of memory");
        return NULL;
    }
    memcpy(copy, text, size);
    copy[size] = '\0';
    c->owned[c->owned_count++] = copy;
    return copy;
}

__attribute__((format(printf, 2, 3))) static void warn(struct config *c, const char *format, ...)
{
    char warning[CONFIG_ERROR_MAX];
    va_list arguments;

    if (c->warning_count == CONFIG_WARNINGS_MAX)
        return;
    va_start(arguments, format);
    vsnprintf(warning, sizeof warning, format, arguments);
    va_end(arguments);
    const char *kept = keep_text(c, warning, strlen(warning));
    if (kept)
        c->warnings[c->warning_count++] = kept;
}

/* A word that somebody else wrote, safe to print and short. */
static const char *show_setting(const char *word, size_t size, char out[SHOWN_MAX + 4])
{
    if (!printable(word, size, out, SHOWN_MAX + 1))
        strcat(out, "...");
    return out;
}

void config_variable(const char *option_name, char out[CONFIG_VARIABLE_MAX])
{
    snprintf(out, CONFIG_VARIABLE_MAX, VARIABLE_PREFIX "%s", option_name);
    for (char *at = out; *at; at++)
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
}

bool config_is_secret(const struct config_program *program, const char *entry)
{
    size_t size = strcspn(entry, "=");
    char variable[CONFIG_VARIABLE_MAX];

    for (size_t i = 0; i < program->count; i++) {
        if (!(program->options[i].flags & CONFIG_SECRET))
            continue;
        config_variable(program->options[i].name, variable);
        if (strlen(variable) == size && memcmp(variable, entry, size) == 0)
            return true;
    }
    return false;
}

bool config_is_switch(const struct config_option *option)
{
    return option->kind == CONFIG_BOOL || option->kind == CONFIG_SWITCH;
}

static bool is_name(const char *name, const char *text, size_t size)
{
    return strlen(name) == size && memcmp(name, text, size) == 0;
}

static const struct config_option *option_at(const struct config *c, size_t index)
{
    return &c->program->options[index];
}

/* The index of an option, or the table's size if there is none of this name. */
static size_t find_option(const struct config *c, const char *name, size_t size)
{
    size_t index = 0;

    while (index < c->program->count && !is_name(option_at(c, index)->name, name, size))
        index++;
    return index;
}

static enum builtin find_builtin(const char *name, size_t size)
{
    for (int i = 1; i < BUILTIN_COUNT; i++) {
        if (is_name(builtin_names[i], name, size))
            return (enum builtin)i;
    }
    return BUILTIN_NONE;
}

/* The option that was probably meant, or NULL. */
static const char *suggest_option(const struct config *c, const char *name, size_t size)
{
    struct nearest nearest;

    nearest_begin(&nearest, name, size);
    for (size_t i = 0; i < c->program->count; i++)
        nearest_offer(&nearest, option_at(c, i)->name);
    for (int i = 1; i < BUILTIN_COUNT; i++)
        nearest_offer(&nearest, builtin_names[i]);
    return nearest.best;
}

static void format_limit(const struct config_option *option, int64_t limit, char *out, size_t size)
{
    if (option->kind == CONFIG_DURATION)
        value_format_duration((uint64_t)limit, out, size);
    else if (option->kind == CONFIG_SIZE)
        value_format_size((uint64_t)limit, out, size);
    else
        snprintf(out, size, "%" PRId64, limit);
}

/* where names the place; the value itself is shown unless it is secret. */
static int fail_value(struct config *c, const struct config_option *option, const char *where,
                      const char *text, const char *what)
{
    char shown[SHOWN_MAX + 4];

    if (option->flags & CONFIG_SECRET)
        return fail_setting(c, "%s: the value %s", where, what);
    return fail_setting(c, "%s: \"%s\" %s", where, show_setting(text, strlen(text), shown), what);
}

static int check_range(struct config *c, const struct config_option *option, const char *where,
                       const char *text, int64_t value)
{
    char min[48], max[48], what[160];

    if ((option->min == 0 && option->max == 0) || (value >= option->min && value <= option->max))
        return 0;
    format_limit(option, option->min, min, sizeof min);
    format_limit(option, option->max, max, sizeof max);
    snprintf(what, sizeof what, "is out of range: it must be from %s to %s%s%s", min, max,
             option->unit ? " " : "", option->unit ? option->unit : "");
    return fail_value(c, option, where, text, what);
}

static int set_number(struct config *c, const struct config_option *option, void *place,
                      const char *text, const char *where)
{
    int64_t number = 0;
    uint64_t scaled = 0;

    switch (option->kind) {
    case CONFIG_INTEGER:
        if (!value_parse_integer(text, &number))
            return fail_value(c, option, where, text, "is not a whole number");
        if (check_range(c, option, where, text, number) < 0)
            return -1;
        *(int64_t *)place = number;
        return 0;
    case CONFIG_DURATION:
        if (!value_parse_duration(text, &scaled))
            return fail_value(c, option, where, text,
                              "is not a duration: write a whole number of seconds, or a number "
                              "with a unit: ms, s, m or h");
        break;
    default:
        if (!value_parse_size(text, &scaled))
            return fail_value(c, option, where, text,
                              "is not a size: write a whole number of bytes, or a number with a "
                              "unit: KiB, MiB or GiB");
    }
    if (check_range(c, option, where, text, (int64_t)scaled) < 0)
        return -1;
    *(uint64_t *)place = scaled;
    return 0;
}

static int set_enum(struct config *c, const struct config_option *option, int *place,
                    const char *text, const char *where)
{
    char what[256] = "is not one of";
    struct nearest nearest;

    nearest_begin(&nearest, text, strlen(text));
    for (int i = 0; option->values[i]; i++) {
        size_t size = strlen(what);

        if (strcmp(option->values[i], text) == 0) {
            *place = i;
            return 0;
        }
        snprintf(what + size, sizeof what - size, "%s %s", i ? "," : "", option->values[i]);
        nearest_offer(&nearest, option->values[i]);
    }
    size_t size = strlen(what);
    if (nearest.best)
        snprintf(what + size, sizeof what - size, "; did you mean %s?", nearest.best);
    return fail_value(c, option, where, text, what);
}

static int set_switch(struct config *c, const struct config_option *option, int *place,
                      const char *text, const char *where)
{
    bool on;

    if (!value_parse_bool(text, &on))
        return set_enum(c, option, place, text, where);
    *place = on;
    return 0;
}

static int add_item(struct config *c, struct config_list *list, const char *where, const char *text,
                    size_t size)
{
    const char **items;
    const char *item = keep_text(c, text, size);

    if (!item)
        return -1;
    if (list->count == CONFIG_LIST_MAX)
        return fail_setting(c, "%s: more than %d entries", where, CONFIG_LIST_MAX);
    items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (!items)
        return fail_setting(c, "out of memory");
    items[list->count++] = item;
    list->items = items;
    return 0;
}

/* The end of the entry that begins at text; see config.h for the rule. */
static const char *entry_end(const char *text, bool named)
{
    static const char separators[] = ", \t\r\n";
    const char *end = text + strcspn(text, separators);

    while (named && *end) {
        const char *next = end + strspn(end, separators);
        size_t gap = (size_t)(next - end);
        const char *next_end = next + strcspn(next, separators);

        if (!memchr(end, ',', gap) || next == next_end ||
            memchr(next, '=', (size_t)(next_end - next)))
            break;
        end = next_end;
    }
    return end;
}

/* Drops blanks from an entry that was written as "a=x, y". */
static size_t squeeze(char *entry)
{
    char *to = entry;

    for (const char *at = entry; *at; at++) {
        if (!isspace((unsigned char)*at))
            *to++ = *at;
    }
    *to = '\0';
    return (size_t)(to - entry);
}

static int split_lines(struct config *c, struct config_list *list, const char *text,
                       const char *where)
{
    while (*text) {
        const char *start = text + strspn(text, " \t\r\n");
        const char *end = start + strcspn(start, "\r\n");

        text = end;
        while (end > start && isspace((unsigned char)end[-1]))
            end--;
        if (end > start && add_item(c, list, where, start, (size_t)(end - start)) < 0)
            return -1;
    }
    return 0;
}

static int split_list(struct config *c, const struct config_option *option,
                      struct config_list *list, const char *text, const char *where)
{
    if (option->flags & CONFIG_SPLIT_LINES)
        return split_lines(c, list, text, where);
    for (;;) {
        text += strspn(text, ", \t\r\n");
        if (*text == '\0')
            return 0;
        const char *end = entry_end(text, option->flags & CONFIG_SPLIT_NAMED);
        char *entry = keep_text(c, text, (size_t)(end - text));
        if (!entry || add_item(c, list, where, entry, squeeze(entry)) < 0)
            return -1;
        text = end;
    }
}

static int set_list(struct config *c, size_t index, struct config_list *list, const char *text,
                    enum config_source source, const char *where)
{
    if (c->sources[index] != source)
        list->count = 0;
    if (source == CONFIG_FROM_FLAG)
        return add_item(c, list, where, text, strlen(text));
    return split_list(c, option_at(c, index), list, text, where);
}

/* Whether the whole of text stands in quotes of one kind, that end nowhere in between. */
static bool is_value_quoted(const char *text)
{
    size_t size = strlen(text);

    return size >= 2 && (text[0] == '"' || text[0] == '\'') &&
           strchr(text + 1, text[0]) == text + size - 1;
}

/* What reads a shell's command or a file of variables is not what has read this. */
static const char *describe_quotes(enum config_source source)
{
    return source == CONFIG_FROM_ENVIRONMENT
               ? "the value begins and ends with a quote, and both are part of it; docker's "
                 "--env-file keeps quotes that a shell would remove: write the value without quotes"
           : source == CONFIG_FROM_FILE
               ? "the value begins and ends with a quote, and both are part of it; this file needs "
                 "none: write the value without quotes"
               : "the value begins and ends with a quote, and both are part of it; whatever "
                 "started "
                 "the program has kept them: write the value without quotes";
}

/* Sets one option from one source; where is what a message begins with. */
static int set_value(struct config *c, size_t index, const char *text, enum config_source source,
                     const char *where)
{
    const struct config_option *option = option_at(c, index);
    void *place = (char *)c->target + option->offset;
    int result = 0;

    if (text[strspn(text, " \t\r\n")] == '\0')
        return fail_setting(c, "%s: the value is empty", where);
    if (is_value_quoted(text) && !(option->flags & CONFIG_QUOTES))
        return fail_setting(c, "%s: %s", where, describe_quotes(source));
    if (is_value_quoted(text))
        warn(c, "%s: %s", where, describe_quotes(source));
    switch (option->kind) {
    case CONFIG_STRING: {
        char *copy = keep_text(c, text, strlen(text));

        result = copy ? 0 : -1;
        *(const char **)place = copy;
        break;
    }
    case CONFIG_BOOL:
        if (!value_parse_bool(text, place))
            result = fail_value(c, option, where, text, "is neither true nor false");
        break;
    case CONFIG_ENUM:
        result = set_enum(c, option, place, text, where);
        break;
    case CONFIG_SWITCH:
        result = set_switch(c, option, place, text, where);
        break;
    case CONFIG_LIST:
        result = set_list(c, index, place, text, source, where);
        break;
    default:
        result = set_number(c, option, place, text, where);
    }
    c->sources[index] = source;
    return result;
}

bool config_concerns(const struct config_program *program, const struct config_option *option,
                     int command)
{
    if (option->commands)
        return option->commands & CONFIG_WITH(command);
    return command == 0 || !program->commands[command - 1].own_options_only;
}

const char *config_default(const struct config_program *program, const struct config_option *option,
                           int command)
{
    const struct config_default *at = command > 0 ? program->commands[command - 1].defaults : NULL;

    for (; at && at->option; at++) {
        if (strcmp(at->option, option->name) == 0)
            return at->value;
    }
    return option->default_value;
}

static int set_defaults(struct config *c)
{
    for (size_t i = 0; i < c->program->count; i++) {
        const struct config_option *option = option_at(c, i);
        const char *value = config_default(c->program, option, c->call.command);

        if (value && set_value(c, i, value, CONFIG_FROM_DEFAULT, option->name) < 0)
            return -1;
    }
    return 0;
}

struct file_context {
    struct config *config;
    const char *path;
    unsigned *lines; /* per option: where the file set it, 0 = not yet */
};

/* Anything else is not quoted: a token's file may have been named by mistake. */
static bool looks_like_name(const char *key)
{
    size_t size = strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-._");

    return size <= NAME_MAX_SIZE / 2 && key[size] == '\0';
}

static int set_from_file(void *context, const char *key, const char *value, unsigned line)
{
    struct file_context *f = context;
    struct config *c = f->config;
    size_t index = find_option(c, key, strlen(key));
    char where[CONFIG_ERROR_MAX / 2];
    char shown[SHOWN_MAX + 4];

    show_setting(key, strlen(key), shown);
    if (index == c->program->count) {
        const char *meant = suggest_option(c, key, strlen(key));

        if (!looks_like_name(key))
            return fail_setting(
                c, "%s:%u: the key is not an option of %s; is this a configuration file?", f->path,
                line, c->program->name);
        return fail_setting(c, "%s:%u: \"%s\" is not an option of %s%s%s%s", f->path, line, shown,
                            c->program->name, meant ? "; did you mean \"" : "", meant ? meant : "",
                            meant ? "\"?" : "");
    }
    snprintf(where, sizeof where, "%s:%u: %s", f->path, line, shown);
    if (f->lines[index] && option_at(c, index)->kind != CONFIG_LIST)
        return fail_setting(c, "%s is already set on line %u", where, f->lines[index]);
    f->lines[index] = line;
    return set_value(c, index, value, CONFIG_FROM_FILE, where);
}

/* A pipe is waited for, but not for ever. */
static char *read_config_pipe(struct config *c, const char *path, size_t *size)
{
    char why[SECRET_ERROR_MAX];
    struct input input;

    if (!input_read(path, &input, why)) {
        fail_setting(c, "the configuration file %s", why);
        return NULL;
    }
    *size = input.content.size;
    return input.content.bytes;
}

/* Reads a whole file of at most CONFIG_FILE_MAX bytes, with room for a NUL behind it. */
static char *read_file(struct config *c, const char *path, size_t *size)
{
    FILE *file = fopen(path, "re");
    char *text = malloc(CONFIG_FILE_MAX + 2);

    *size = 0;
    if (file && text)
        *size = fread(text, 1, CONFIG_FILE_MAX + 1, file);
    if (!file || !text || ferror(file))
        fail_setting(c, "cannot read the configuration file %s: %s", path, strerror(errno));
    else if (*size > CONFIG_FILE_MAX)
        fail_setting(c, "the configuration file %s is larger than 1 MiB", path);
    if (file)
        fclose(file);
    if (c->error[0]) {
        free(text);
        return NULL;
    }
    return text;
}

static int load_file(struct config *c, const char *path)
{
    struct file_context context = {.config = c, .path = path};
    const char *error = NULL;
    unsigned line = 0;
    size_t size;
    char *text = input_is_pipe(path) ? read_config_pipe(c, path, &size) : read_file(c, path, &size);
    int result = -1;

    if (!text)
        return -1;
    c->file = keep_text(c, path, strlen(path));
    context.lines = calloc(c->program->count + 1, sizeof *context.lines);
    if (!c->file || !context.lines)
        fail_setting(c, "out of memory");
    else
        result = properties_parse(text, size, set_from_file, &context, &line, &error);
    if (error)
        fail_setting(c, "%s:%u: %s", path, line, error);
    byte_wipe(text, size);
    free(text);
    free(context.lines);
    return result;
}

/* name: with the prefix. */
static void warn_unknown_variable(struct config *c, const char *name, size_t size)
{
    char shown[SHOWN_MAX + 4];
    char option[NEAREST_SIZE_MAX + 1] = "";
    char variable[CONFIG_VARIABLE_MAX];

    size_t prefix = strlen(VARIABLE_PREFIX);
    for (size_t i = 0; i + prefix < size && i + 1 < sizeof option; i++)
        option[i] = name[prefix + i] == '_' ? '-' : (char)tolower((unsigned char)name[prefix + i]);
    const char *meant = suggest_option(c, option, strlen(option));
    show_setting(name, size, shown);
    if (!meant || find_builtin(meant, strlen(meant)) > BUILTIN_CONFIG) {
        warn(c, "%s is set, but is not an option of %s", shown, c->program->name);
        return;
    }
    config_variable(meant, variable);
    warn(c, "%s is set, but is not an option of %s; did you mean %s?", shown, c->program->name,
         variable);
}

/* The value of a variable if entry sets it, and it is not empty. */
static const char *variable_value(const char *entry, const char *option_name)
{
    char variable[CONFIG_VARIABLE_MAX];
    size_t size;

    config_variable(option_name, variable);
    size = strlen(variable);
    if (strncmp(entry, variable, size) != 0 || entry[size] != '=' || entry[size + 1] == '\0')
        return NULL;
    return entry + size + 1;
}

static int load_variable(struct config *c, const char *entry)
{
    size_t size = strcspn(entry, "=");
    char variable[CONFIG_VARIABLE_MAX];

    if (strncmp(entry, VARIABLE_PREFIX, strlen(VARIABLE_PREFIX)) != 0)
        return 0;
    config_variable(builtin_names[BUILTIN_CONFIG], variable);
    if (is_name(variable, entry, size))
        return 0;
    for (size_t i = 0; i < c->program->count; i++) {
        config_variable(option_at(c, i)->name, variable);
        if (is_name(variable, entry, size)) {
            const char *value = variable_value(entry, option_at(c, i)->name);

            return value ? set_value(c, i, value, CONFIG_FROM_ENVIRONMENT, variable) : 0;
        }
    }
    if (!service_link_is(entry))
        warn_unknown_variable(c, entry, size);
    return 0;
}

static int fail_unknown_flag(struct config *c, const char *name, size_t size)
{
    char shown[SHOWN_MAX + 4];
    const char *meant = suggest_option(c, name, size);

    return fail_setting(c, "--%s is not an option of %s%s%s%s", show_setting(name, size, shown),
                        c->program->name, meant ? "; did you mean --" : "; see --help-all",
                        meant ? meant : "", meant ? "?" : "");
}

/* An argument without --. Not quoted: it may be a secret whose option was forgotten. */
static int fail_no_flag(struct config *c, const char *argument, int at)
{
    size_t size = strcspn(argument, "=");
    const char *meant =
        argument[0] == '-' && size > 2 ? suggest_option(c, argument + 1, size - 1) : NULL;

    if (meant)
        return fail_setting(c, "argument %d is not an option; did you mean --%s?", at, meant);
    return fail_setting(c, "argument %d is not an option; options begin with --, see --help", at);
}

static size_t find_negated(const struct config *c, const char *name, size_t size)
{
    size_t index = size > 3 && strncmp(name, "no-", 3) == 0 ? find_option(c, name + 3, size - 3)
                                                            : c->program->count;

    if (index < c->program->count && !config_is_switch(option_at(c, index)))
        return c->program->count;
    return index;
}

/* Whether the argument is one of a switch's own words. */
static bool is_word_of(const struct config_option *option, const char *argument)
{
    for (size_t i = 0; option->kind == CONFIG_SWITCH && option->values[i]; i++)
        if (strcmp(option->values[i], argument) == 0)
            return true;
    return false;
}

/* Reads the argument at *at, and the next one if that is its value; steps over what it took. */
static int read_flag(struct config *c, int argc, char *const *argv, int *at, struct flag *flag)
{
    const char *argument = argv[*at];
    const char *name = argument + 2;
    size_t none = c->program->count;

    if (strcmp(argument, "-h") == 0)
        name = "help";
    else if (strncmp(argument, "--", 2) != 0)
        return fail_no_flag(c, argument, *at);

    size_t size = strcspn(name, "=");
    const char *value = name[size] ? name + size + 1 : NULL;
    size_t negated = find_negated(c, name, size);
    *flag = (struct flag){
        .builtin = find_builtin(name, size), .option = find_option(c, name, size), .value = value};
    (*at)++;
    if (flag->option == none && flag->builtin == BUILTIN_NONE && negated == none)
        return fail_unknown_flag(c, name, size);

    bool is_switch = flag->builtin > BUILTIN_CONFIG ||
                     (flag->option < none && config_is_switch(option_at(c, flag->option)));
    if (flag->option == none && negated < none) {
        flag->option = negated;
        flag->value = "false";
        is_switch = true;
        if (value)
            return fail_setting(c, "--%.*s takes no value", (int)size, name);
    }
    if (is_switch) {
        if (!flag->value && flag->option < none && *at < argc &&
            is_word_of(option_at(c, flag->option), argv[*at]))
            flag->value = argv[(*at)++];
        if (!flag->value)
            flag->value = "true";
        return 0;
    }
    if (!value && (*at == argc || strncmp(argv[*at], "--", 2) == 0))
        return fail_setting(c, "--%.*s needs a value", (int)size, name);
    if (!value)
        flag->value = argv[(*at)++];
    return 0;
}

/* "run, wait and doctor": the commands in a set of CONFIG_WITH() bits. */
static const char *list_commands(const struct config *c, unsigned set, char *out, size_t size)
{
    size_t left = 0, used = 0;

    for (size_t i = 1; i <= c->program->command_count; i++)
        left += set >> i & 1;
    size_t count = left;
    out[0] = '\0';
    for (size_t i = 1; i <= c->program->command_count && used < size; i++) {
        if (!(set >> i & 1))
            continue;
        const char *before = left == count ? "" : left == 1 ? " and " : ", ";
        used += (size_t)snprintf(out + used, size - used, "%s%s", before,
                                 c->program->commands[i - 1].name);
        left--;
    }
    return out;
}

static const struct config_command *command_of(const struct config *c)
{
    return c->call.command > 0 ? &c->program->commands[c->call.command - 1] : NULL;
}

/* 0: there is no command of this name. */
static int find_command(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->program->command_count; i++) {
        if (strcmp(c->program->commands[i].name, name) == 0)
            return (int)i + 1;
    }
    return 0;
}

/* The command that was probably meant, or NULL. */
static const char *suggest_command(const struct config *c, const char *name)
{
    struct nearest nearest;

    nearest_begin(&nearest, name, strlen(name));
    for (size_t i = 0; i < c->program->command_count; i++)
        nearest_offer(&nearest, c->program->commands[i].name);
    return nearest.best;
}

/* A word where a flag or the command's name could stand. Wrong ones are not quoted: they may be a
 * secret whose option was forgotten. */
static int read_word(struct config *c, char *const *argv, int at)
{
    const struct config_command *command = command_of(c);
    char known[256];

    if (command && command->arguments)
        return fail_setting(c, "argument %d is not an option; %s takes %s after --", at,
                            command->name, command->arguments);
    if (command)
        return fail_setting(c,
                            "argument %d is not an option; options begin with --, see %s %s --help",
                            at, c->program->name, command->name);
    c->call.command = find_command(c, argv[at]);
    c->command_at = at;
    if (c->call.command > 0)
        return 0;
    const char *meant = suggest_command(c, argv[at]);
    if (meant)
        return fail_setting(
            c, "argument %d is not a command; did you mean %s? The commands are %s; see --help", at,
            meant, list_commands(c, ~0U, known, sizeof known));
    return fail_setting(
        c,
        "argument %d is neither an option nor one of the commands %s; options begin with "
        "--, see --help",
        at, list_commands(c, ~0U, known, sizeof known));
}

static bool takes_plain_arguments(const struct config *c)
{
    const struct config_command *command = command_of(c);

    return command && command->plain_arguments;
}

/* argc: how many there can be. */
static int add_plain_arguments(struct config *c, int argc, char *const *words, size_t count)
{
    if (!c->plain_arguments)
        c->plain_arguments = calloc((size_t)argc + 1, sizeof *c->plain_arguments);
    if (!c->plain_arguments)
        return fail_setting(c, "out of memory");
    memcpy(c->plain_arguments + c->call.count, words, count * sizeof *words);
    c->call.count += count;
    c->plain_arguments[c->call.count] = NULL;
    c->call.arguments = c->plain_arguments;
    return 0;
}

/* Steps over words that are neither flags nor their values. */
static int skip_words(struct config *c, int argc, char *const *argv, int *at)
{
    int result = 0;

    for (; *at < argc && result == 0; ++*at) {
        const char *word = argv[*at];
        bool plain = takes_plain_arguments(c) && *at > c->command_at;
        if (word[0] == '-' && !(plain && word[1] == '\0'))
            break;
        if (plain)
            result = add_plain_arguments(c, argc, argv + *at, 1);
        else if (*at != c->command_at)
            result = read_word(c, argv, *at);
    }
    return result;
}

/* Reads the next flag. Returns 1; 0 when there are no more; or -1. */
static int next_flag(struct config *c, int argc, char *const *argv, int *at, struct flag *flag)
{
    bool commands = c->program->command_count > 0;

    if (commands && skip_words(c, argc, argv, at) < 0)
        return -1;
    if (*at == argc)
        return 0;
    if (commands && strcmp(argv[*at], "--") == 0) {
        size_t count = (size_t)(argc - *at - 1);
        if (takes_plain_arguments(c))
            return add_plain_arguments(c, argc, argv + *at + 1, count);
        c->call.arguments = argv + *at + 1;
        c->call.count = count;
        return 0;
    }
    return read_flag(c, argc, argv, at, flag) < 0 ? -1 : 1;
}

/* First pass: finds the command, --help, --help-all, --version and --config, and every argument
 * that is none.
 */
static int scan_flags(struct config *c, int argc, char *const *argv, const char **file)
{
    struct flag flag;
    int result;

    for (int at = 1; (result = next_flag(c, argc, argv, &at, &flag)) > 0;) {
        if (flag.builtin == BUILTIN_HELP || flag.builtin == BUILTIN_HELP_ALL) {
            if (c->call.command == 0 && at < argc)
                c->call.command = find_command(c, argv[at]);
            return flag.builtin == BUILTIN_HELP ? CONFIG_HELP : CONFIG_HELP_ALL;
        }
        if (flag.builtin == BUILTIN_VERSION)
            return CONFIG_VERSION;
        if (flag.builtin == BUILTIN_CONFIG)
            *file = flag.value;
    }
    return result;
}

/* A flag that has nothing to do with the command. */
static int fail_foreign(struct config *c, const struct config_option *option)
{
    const struct config_command *command = command_of(c);
    char others[256];
    unsigned several = option->commands & ~CONFIG_WITH(0);

    list_commands(c, option->commands, others, sizeof others);
    if (!command)
        return fail_setting(c, "--%s is an option of the command%s %s; see --help", option->name,
                            several & (several - 1) ? "s" : "", others);
    return fail_setting(c, "--%s is not an option of the command %s%s%s; see %s %s --help",
                        option->name, command->name, several ? ", but of " : "", others,
                        c->program->name, command->name);
}

static int apply_flags(struct config *c, int argc, char *const *argv)
{
    struct flag flag;
    int result;

    c->call.count = 0;
    for (int at = 1; (result = next_flag(c, argc, argv, &at, &flag)) > 0;) {
        char where[NAME_MAX_SIZE + 8];

        if (flag.builtin != BUILTIN_NONE)
            continue;
        const struct config_option *option = option_at(c, flag.option);
        if (!config_concerns(c->program, option, c->call.command))
            return fail_foreign(c, option);
        snprintf(where, sizeof where, "--%s", option->name);
        if (set_value(c, flag.option, flag.value, CONFIG_FROM_FLAG, where) < 0)
            return -1;
    }
    return result;
}

/* Checks what stands behind -- and tells the program how it was called. */
static int set_call(struct config *c)
{
    const struct config_command *command = command_of(c);

    if (c->program->command_count == 0)
        return 0;
    if (command && command->arguments && c->call.count == 0)
        return fail_setting(c, "%s needs an argument: %s %s [options]%s%s", command->name,
                            c->program->name, command->name,
                            command->plain_arguments ? " " : " -- ", command->arguments);
    if (c->call.arguments && !(command && command->arguments))
        return fail_setting(c, "%s%s%s takes no arguments after --; see --help", c->program->name,
                            command ? " " : "", command ? command->name : "");
    c->call.warnings = c->warnings;
    c->call.warning_count = c->warning_count;
    *(struct config_call *)((char *)c->target + c->program->call) = c->call;
    return 0;
}

static int check_required(struct config *c)
{
    for (size_t i = 0; i < c->program->count; i++) {
        const struct config_option *option = option_at(c, i);
        char variable[CONFIG_VARIABLE_MAX];

        if (!(option->flags & CONFIG_REQUIRED) || c->sources[i] != CONFIG_UNSET ||
            !config_concerns(c->program, option, c->call.command))
            continue;
        config_variable(option->name, variable);
        const char *misspelt = NULL;
        for (size_t w = 0; w < c->warning_count && !misspelt; w++)
            misspelt = strstr(c->warnings[w], variable) ? c->warnings[w] : NULL;
        return fail_setting(c, "--%s is missing (or %s in the environment); %s", option->name,
                            variable, misspelt ? misspelt : "see --help");
    }
    return 0;
}

int config_load(struct config *config, const struct config_program *program, void *target, int argc,
                char *const *argv, char *const *environment)
{
    const char *file = NULL;

    *config = (struct config){.program = program, .target = target};
    config->sources = calloc(program->count + 1, sizeof *config->sources);
    if (!config->sources)
        return fail_setting(config, "out of memory");

    int result = scan_flags(config, argc, argv, &file);
    if (result != 0)
        return result;
    enum config_source source = file ? CONFIG_FROM_FLAG : CONFIG_FROM_ENVIRONMENT;
    for (char *const *entry = environment; *entry && !file; entry++)
        file = variable_value(*entry, builtin_names[BUILTIN_CONFIG]);
    if (file && is_value_quoted(file))
        return fail_setting(config, "%s: %s",
                            source == CONFIG_FROM_FLAG ? "--config" : "TUNNEL_CONFIG",
                            describe_quotes(source));

    result = set_defaults(config);
    assert(result == 0 || strcmp(config->error, "out of memory") == 0);
    if (result == 0 && file)
        result = load_file(config, file);
    for (char *const *entry = environment; *entry && result == 0; entry++)
        result = load_variable(config, *entry);
    if (result == 0)
        result = apply_flags(config, argc, argv);
    if (result == 0)
        result = set_call(config);
    return result == 0 ? check_required(config) : result;
}

void config_free(struct config *config)
{
    for (size_t i = 0; config->sources && i < config->program->count; i++) {
        const struct config_option *option = option_at(config, i);
        void *place = (char *)config->target + option->offset;

        if (option->kind == CONFIG_LIST && config->sources[i] != CONFIG_UNSET) {
            free((void *)((struct config_list *)place)->items);
            *(struct config_list *)place = (struct config_list){0};
        } else if (option->kind == CONFIG_STRING) {
            *(const char **)place = NULL;
        }
    }
    for (size_t i = 0; i < config->owned_count; i++)
        secret_free(config->owned[i]);
    free(config->owned);
    free(config->plain_arguments);
    free(config->sources);
    memset(config, 0, sizeof *config);
}

enum config_source config_source(const struct config *config, const char *name)
{
    size_t index = find_option(config, name, strlen(name));

    assert(index < config->program->count);
    return config->sources[index];
}

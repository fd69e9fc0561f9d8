/* What config.h writes: --help, the documentation, and values for the log. */
#include "config/config.h"

#include <string.h>

#include "config/value.h"

#define WIDTH 80 /* of a terminal */
#define INDENT 8

/* Text broken at blanks into lines of at most WIDTH, each indented. */
static void write_wrapped(FILE *out, int indent, const char *text)
{
    size_t column = 0;

    while (*text) {
        size_t size = strcspn(text, " ");

        if (column > 0 && column + 1 + size > WIDTH) {
            fputc('\n', out);
            column = 0;
        }
        column += (size_t)fprintf(out, "%*s%.*s", column ? 1 : indent, "", (int)size, text);
        text += size;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

/* What may follow the name: " FILE", " debug|info" for an enum without a metavar of its own,
 * "[=optional]" for what a switch can be beside on and off. */
static void format_value(const struct config_option *option, char *out, size_t size)
{
    bool is_switch = option->kind == CONFIG_SWITCH;
    size_t used = 0;

    snprintf(out, size, "%s%s", option->metavar ? " " : "", option->metavar ? option->metavar : "");
    if ((option->kind != CONFIG_ENUM && !is_switch) || option->metavar)
        return;
    const char *separator = is_switch ? "[=" : " ";
    for (size_t i = is_switch ? 2 : 0; option->values[i] && used < size; i++) {
        used += (size_t)snprintf(out + used, size - used, "%s%s", separator, option->values[i]);
        separator = "|";
    }
    if (is_switch && used < size)
        snprintf(out + used, size - used, "]");
}

static void write_option(FILE *out, const struct config_program *program,
                         const struct config_option *option, int command)
{
    const char *default_value = config_default(program, option, command);
    char value[128];
    char variable[CONFIG_VARIABLE_MAX];
    char facts[512];

    format_value(option, value, sizeof value);
    config_variable(option->name, variable);
    fprintf(out, "  --%s%s%s\n", config_is_switch(option) ? "[no-]" : "", option->name, value);
    write_wrapped(out, INDENT, option->help);
    snprintf(facts, sizeof facts, "%s%s%s%s%sEnvironment: %s.",
             option->flags & CONFIG_REQUIRED ? "Required. " : "",
             option->kind == CONFIG_LIST ? "May be given more than once. " : "",
             default_value ? "Default: " : "", default_value ? default_value : "",
             default_value ? ". " : "", variable);
    write_wrapped(out, INDENT, facts);
}

/* "tunnel-client run [options] -- COMMAND [ARG...]" */
static void write_synopsis(FILE *out, const struct config_program *program,
                           const struct config_command *command)
{
    const char *before = command->plain_arguments ? " " : " -- ";

    fprintf(out, "%s %s [options]%s%s", program->name, command->name,
            command->arguments ? before : "", command->arguments ? command->arguments : "");
}

static void write_usage(FILE *out, const struct config_program *program, int command)
{
    if (command > 0) {
        fputs("Usage: ", out);
        write_synopsis(out, program, &program->commands[command - 1]);
        fputs("\n\n", out);
        write_wrapped(out, 0, program->commands[command - 1].help);
        return;
    }
    fprintf(out, "Usage: %s [options]\n", program->name);
    for (size_t i = 0; i < program->command_count; i++) {
        fputs("       ", out);
        write_synopsis(out, program, &program->commands[i]);
        fputc('\n', out);
    }
    fprintf(out, "\n%s\n", program->summary);
    if (program->command_count > 0)
        fprintf(out, "\nCommands (%s COMMAND --help-all lists the options of each):\n",
                program->name);
    for (size_t i = 0; i < program->command_count; i++) {
        fprintf(out, "  %s\n", program->commands[i].name);
        write_wrapped(out, INDENT, program->commands[i].help);
    }
}

void config_write_help_all(const struct config_program *program, int command, FILE *out)
{
    const char *group = "";

    write_usage(out, program, command);
    for (size_t i = 0; i < program->count; i++) {
        const struct config_option *option = &program->options[i];

        if (!config_concerns(program, option, command))
            continue;
        if (strcmp(option->group, group) != 0)
            fprintf(out, "\n%s:\n", option->group);
        group = option->group;
        write_option(out, program, option, command);
    }
    fputs("\nGeneral:\n  --config FILE\n", out);
    write_wrapped(
        out, INDENT,
        "Read options from FILE, in .properties syntax (name=value). Flags take precedence over "
        "the environment, and the environment over the file. Environment: TUNNEL_CONFIG.");
    fputs("  --help, -h\n", out);
    write_wrapped(out, INDENT, "Print what most people need.");
    fputs("  --help-all\n", out);
    write_wrapped(out, INDENT, "Print this text.");
    fputs("  --version\n", out);
    write_wrapped(out, INDENT, "Print the version.");
}

/* ---- on one screen */

/* "  --server URL"; returns its columns. */
static size_t format_name(const struct config_option *option, char *out, size_t size)
{
    char value[128];

    format_value(option, value, sizeof value);
    return (size_t)snprintf(out, size, "  --%s%s", option->name, value);
}

static bool is_in_short_help(const struct config_program *program,
                             const struct config_option *option, int command)
{
    return option->brief && config_concerns(program, option, command);
}

static void write_short_options(FILE *out, const struct config_program *program, int command)
{
    char name[256];
    size_t widest = 0;

    for (size_t i = 0; i < program->count; i++) {
        if (!is_in_short_help(program, &program->options[i], command))
            continue;
        size_t columns = format_name(&program->options[i], name, sizeof name);
        widest = columns > widest ? columns : widest;
    }
    fputs("\nOptions (--help-all lists every one, with its default and its variable):\n", out);
    for (size_t i = 0; i < program->count; i++) {
        if (!is_in_short_help(program, &program->options[i], command))
            continue;
        format_name(&program->options[i], name, sizeof name);
        fprintf(out, "%-*s  %s\n", (int)widest, name, program->options[i].brief);
    }
}

static void write_short_commands(FILE *out, const struct config_program *program)
{
    size_t widest = 0;

    for (size_t i = 0; i < program->command_count; i++) {
        size_t columns = strlen(program->commands[i].name);
        widest = columns > widest ? columns : widest;
    }
    fprintf(out, "\nCommands (%s COMMAND --help says more of each):\n", program->name);
    for (size_t i = 0; i < program->command_count; i++)
        fprintf(out, "  %-*s  %s\n", (int)widest, program->commands[i].name,
                program->commands[i].brief ? program->commands[i].brief : "");
}

void config_write_help(const struct config_program *program, int command, FILE *out)
{
    if (command > 0) {
        const struct config_command *own = &program->commands[command - 1];

        write_usage(out, program, command);
        if (own->example)
            fprintf(out, "\nExample:\n  %s %s\n", program->name, own->example);
    } else {
        fprintf(out, "Usage: %s %s[options]\n%s\n", program->name,
                program->command_count > 0 ? "[COMMAND] " : "", program->summary);
        for (size_t i = 0; program->examples && program->examples[i]; i++)
            fprintf(out, "%s  %s %s\n", i ? "" : "Examples:\n", program->name,
                    program->examples[i]);
        if (program->command_count > 0)
            write_short_commands(out, program);
    }
    write_short_options(out, program, command);
}

/* ---- the documentation */

/* Text inside a table's cell. */
static void write_cell(FILE *out, const char *text)
{
    for (; *text; text++)
        fprintf(out, "%s%c", strchr("|<>", *text) ? "\\" : "", *text);
}

/* The default, and those that commands have instead. */
static void write_defaults(FILE *out, const struct config_program *program,
                           const struct config_option *option)
{
    const char *separator = "";

    if (option->default_value) {
        fprintf(out, "`%s`", option->default_value);
        separator = "; ";
    }
    for (size_t i = 1; i <= program->command_count; i++) {
        const char *value = config_default(program, option, (int)i);

        if (value == option->default_value)
            continue;
        fprintf(out, "%s`%s`: `%s`", separator, program->commands[i - 1].name, value);
        separator = "; ";
    }
}

static void write_only(FILE *out, const struct config_program *program,
                       const struct config_option *option)
{
    const char *separator = " Only for ";

    for (size_t i = 1; i <= program->command_count; i++) {
        if (!(option->commands & CONFIG_WITH(i)) || (option->commands & CONFIG_WITH(0)))
            continue;
        fprintf(out, "%s`%s`", separator, program->commands[i - 1].name);
        separator = ", ";
    }
    if (strcmp(separator, ", ") == 0)
        fputc('.', out);
}

static void write_row(FILE *out, const struct config_program *program,
                      const struct config_option *option)
{
    char value[128];
    char variable[CONFIG_VARIABLE_MAX];

    format_value(option, value, sizeof value);
    config_variable(option->name, variable);
    fputs("| `--", out);
    fputs(config_is_switch(option) ? "[no-]" : "", out);
    fputs(option->name, out);
    for (const char *at = value; *at; at++)
        fprintf(out, "%s%c", *at == '|' ? "\\" : "", *at);
    fprintf(out, "` | `%s` | ", variable);
    write_defaults(out, program, option);
    fputs(" | ", out);
    if (option->flags & CONFIG_REQUIRED)
        fputs("Required. ", out);
    write_cell(out, option->help);
    if (option->kind == CONFIG_LIST)
        fputs(" May be given more than once.", out);
    write_only(out, program, option);
    fputs(" |\n", out);
}

static void write_commands(FILE *out, const struct config_program *program)
{
    if (program->command_count == 0)
        return;
    fputs("\n### Commands\n\n| Command | Meaning |\n|---|---|\n", out);
    for (size_t i = 0; i < program->command_count; i++) {
        const struct config_command *command = &program->commands[i];
        const char *separator = " Options: ";

        fputs("| `", out);
        write_synopsis(out, program, command);
        fputs("` | ", out);
        write_cell(out, command->help);
        for (size_t j = 0; j < program->count && command->own_options_only; j++) {
            if (!config_concerns(program, &program->options[j], (int)i + 1))
                continue;
            fprintf(out, "%s`--%s`", separator, program->options[j].name);
            separator = ", ";
        }
        fputs(strcmp(separator, ", ") == 0 ? ". |\n" : " |\n", out);
    }
}

/* Whether a new group begins with this option. */
static bool begins_group(const struct config_program *program, size_t index)
{
    return index == 0 ||
           strcmp(program->options[index].group, program->options[index - 1].group) != 0;
}

void config_write_markdown(const struct config_program *program, FILE *out)
{
    fprintf(out, "## %s\n\n%s\n", program->name, program->summary);
    write_commands(out, program);
    for (size_t i = 0; i < program->count; i++) {
        if (begins_group(program, i))
            fprintf(out,
                    "\n### %s\n\n| Option | Environment | Default | Meaning |\n"
                    "|---|---|---|---|\n",
                    program->options[i].group);
        write_row(out, program, &program->options[i]);
    }
}

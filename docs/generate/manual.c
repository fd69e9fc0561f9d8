#include <string.h>

#include "pages.h"

#define LINE_SIZE 4096

/* Text that man(7) shows as it is: a hyphen stays one that can be searched for and copied. */
static void write_text(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else if (*text == '\'')
            fputs("\\(aq", out);
        else if (*text == '.' && text[1] == '.' && text[2] == '.') {
            /* An ellipsis does not end a sentence. */
            fputs("...\\&", out);
            text += 2;
        } else
            fputc(*text, out);
    }
}

/* Sentences, each on a line of its own; \& keeps a leading dot or quote from being a request. */
static void write_sentences(FILE *out, const char *text)
{
    while (*text) {
        const char *end = strstr(text, ". ");
        size_t size = end ? (size_t)(end - text) + 1 : strlen(text);
        char sentence[LINE_SIZE];

        snprintf(sentence, sizeof sentence, "%.*s", (int)size, text);
        if (*sentence == '.' || *sentence == '\'')
            fputs("\\&", out);
        write_text(out, sentence);
        fputc('\n', out);
        text += size;
        text += strspn(text, " ");
    }
}

/* The option as it is typed: "--kafka [NAME=]HOST:PORT", a tag of .TP. */
static void write_tag(FILE *out, const struct config_option *option)
{
    fputs(".TP\n\\fB", out);
    if (config_is_switch(option)) {
        fputs("\\-\\-\\fR[\\fBno\\-\\fR]\\fB", out);
        write_text(out, option->name);
        fputs("\\fR", out);
        for (size_t i = 2; option->kind == CONFIG_SWITCH && option->values[i]; i++) {
            fputs(i > 2 ? "|" : "[=", out);
            write_text(out, option->values[i]);
        }
        fputs(option->kind == CONFIG_SWITCH ? "]\n" : "\n", out);
        return;
    }
    fputs("\\-\\-", out);
    write_text(out, option->name);
    fputs("\\fR", out);
    if (option->metavar || option->kind == CONFIG_ENUM)
        fputc(' ', out);
    if (option->metavar) {
        fputs("\\fI", out);
        write_text(out, option->metavar);
        fputs("\\fR", out);
    }
    for (size_t i = 0; !option->metavar && option->kind == CONFIG_ENUM && option->values[i]; i++) {
        fputs(i ? "|" : "", out);
        write_text(out, option->values[i]);
    }
    fputc('\n', out);
}

/* The default, and those that commands have instead. */
static void write_defaults(FILE *out, const struct config_program *program,
                           const struct config_option *option)
{
    const char *separator = "Default: ";

    if (option->default_value) {
        fputs(separator, out);
        write_text(out, option->default_value);
        separator = "; ";
    }
    for (size_t i = 1; i <= program->command_count; i++) {
        const char *value = config_default(program, option, (int)i);

        if (value == option->default_value)
            continue;
        fprintf(out, "%s%s: ", separator, program->commands[i - 1].name);
        write_text(out, value);
        separator = "; ";
    }
    if (*separator == ';')
        fputs(".\n", out);
}

static void write_only(FILE *out, const struct config_program *program,
                       const struct config_option *option)
{
    const char *separator = "Only for ";

    if (option->commands == 0 || (option->commands & CONFIG_WITH(0)))
        return;
    for (size_t i = 1; i <= program->command_count; i++) {
        if (!(option->commands & CONFIG_WITH(i)))
            continue;
        fprintf(out, "%s\\fB%s\\fR", separator, program->commands[i - 1].name);
        separator = ", ";
    }
    fputs(".\n", out);
}

static void write_option(FILE *out, const struct config_program *program,
                         const struct config_option *option)
{
    char variable[CONFIG_VARIABLE_MAX];

    write_tag(out, option);
    write_sentences(out, option->help);
    if (option->flags & CONFIG_REQUIRED)
        fputs("Required.\n", out);
    if (option->kind == CONFIG_LIST)
        fputs("May be given more than once.\n", out);
    write_defaults(out, program, option);
    write_only(out, program, option);
    config_variable(option->name, variable);
    fprintf(out, "Environment: \\fB%s\\fR.\n", variable);
}

static void write_options(FILE *out, const struct config_program *program)
{
    const char *group = "";

    for (size_t i = 0; i < program->count; i++) {
        const struct config_option *option = &program->options[i];

        if (strcmp(option->group, group) != 0) {
            fputs(".SS ", out);
            write_text(out, option->group);
            fputc('\n', out);
        }
        group = option->group;
        write_option(out, program, option);
    }
    fputs(".SS General\n"
          ".TP\n\\fB\\-\\-config\\fR \\fIFILE\\fR\n"
          "Read options from\n.IR FILE ,\nsee\n.BR FILES .\n"
          "Environment: \\fBTUNNEL_CONFIG\\fR.\n"
          ".TP\n\\fB\\-\\-help\\fR, \\fB\\-h\\fR\nPrint what most people need.\n"
          ".TP\n\\fB\\-\\-help\\-all\\fR\nPrint all options.\n"
          ".TP\n\\fB\\-\\-version\\fR\nPrint the version.\n",
          out);
}

static void write_synopsis(FILE *out, const struct config_program *program)
{
    fputs(".B ", out);
    write_text(out, program->name);
    fputs("\n.RI [ options ]\n", out);
    for (size_t i = 0; i < program->command_count; i++) {
        fputs(".br\n.B ", out);
        write_text(out, program->name);
        fprintf(out, " %s\n.RI [ options ]\n", program->commands[i].name);
        if (!program->commands[i].arguments)
            continue;
        fputs(program->commands[i].plain_arguments ? ".I " : ".B \\-\\-\n.I ", out);
        write_text(out, program->commands[i].arguments);
        fputc('\n', out);
    }
}

/* What a command's options are, where they are not those of the usual work. */
static void write_own_options(FILE *out, const struct config_program *program, int command)
{
    const char *separator = "Options: ";

    for (size_t i = 0; i < program->count; i++) {
        if (!config_concerns(program, &program->options[i], command))
            continue;
        fprintf(out, "%s\\fB\\-\\-", separator);
        write_text(out, program->options[i].name);
        fputs("\\fR", out);
        separator = ", ";
    }
    if (*separator == ',')
        fputs(".\n", out);
}

static void write_commands(FILE *out, const struct config_program *program)
{
    if (program->command_count > 0)
        fputs(".SH COMMANDS\n", out);
    for (size_t i = 0; i < program->command_count; i++) {
        const struct config_command *command = &program->commands[i];

        fputs(".TP\n.B ", out);
        write_text(out, command->name);
        fputc('\n', out);
        write_sentences(out, command->help);
        if (command->own_options_only)
            write_own_options(out, program, (int)i + 1);
    }
}

static void write_line(FILE *out, const char *line, const char *version)
{
    static const char mark[] = "@version@";
    const char *found;

    while ((found = strstr(line, mark)) != NULL) {
        fprintf(out, "%.*s%s", (int)(found - line), line, version);
        line = found + sizeof mark - 1;
    }
    fputs(line, out);
}

int config_write_man(const struct config_program *program, const char *version, FILE *template_in,
                     FILE *out)
{
    char line[LINE_SIZE];

    while (fgets(line, sizeof line, template_in)) {
        if (strcmp(line, "@synopsis@\n") == 0)
            write_synopsis(out, program);
        else if (strcmp(line, "@commands@\n") == 0)
            write_commands(out, program);
        else if (strcmp(line, "@options@\n") == 0)
            write_options(out, program);
        else if (line[0] == '@')
            return -1;
        else
            write_line(out, line, version);
    }
    return ferror(template_in) || ferror(out) ? -1 : 0;
}

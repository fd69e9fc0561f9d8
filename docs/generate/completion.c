#include <ctype.h>
#include <string.h>

#include "pages.h"

#define IDENTIFIER_SIZE 64

/* tunnel-client as part of a shell function's name. */
static void format_identifier(const char *name, char out[IDENTIFIER_SIZE])
{
    snprintf(out, IDENTIFIER_SIZE, "%s", name);
    for (char *at = out; *at; at++)
        if (!isalnum((unsigned char)*at))
            *at = '_';
}

static bool is_file(const struct config_option *option)
{
    return option->metavar && strcmp(option->metavar, "FILE") == 0;
}

/* Whether the shell can say nothing about the value: a host, a number. */
static bool is_free(const struct config_option *option)
{
    return !config_is_switch(option) && option->kind != CONFIG_ENUM && !is_file(option);
}

static bool takes_value(const struct config_option *option)
{
    return !config_is_switch(option);
}

/* A case pattern of the options of a kind; nothing if there is none. */
static bool write_pattern(FILE *out, const struct config_program *program,
                          bool (*wanted)(const struct config_option *), const char *first)
{
    bool any = *first != '\0';

    if (any)
        fprintf(out, "    %s", first);
    for (size_t i = 0; i < program->count; i++) {
        if (!wanted(&program->options[i]))
            continue;
        fprintf(out, "%s--%s", any ? " | " : "    ", program->options[i].name);
        any = true;
    }
    if (any)
        fputs(")\n", out);
    return any;
}

static void write_bash_values(FILE *out, const struct config_program *program)
{
    for (size_t i = 0; i < program->count; i++) {
        const struct config_option *option = &program->options[i];

        if (option->kind != CONFIG_ENUM && option->kind != CONFIG_SWITCH)
            continue;
        /* Behind a switch the next option can stand as well. */
        bool is_enum = option->kind == CONFIG_ENUM;
        fprintf(out, "    --%s)\n        values%s=\"", option->name, is_enum ? "" : "+");
        for (size_t j = is_enum ? 0 : 2; option->values[j]; j++)
            fprintf(out, "%s%s", is_enum && j == 0 ? "" : " ", option->values[j]);
        fputs("\"\n        ;;\n", out);
    }
    write_pattern(out, program, is_file, "--config");
    fputs("        local IFS=$'\\n'\n"
          "        compopt -o filenames 2>/dev/null\n"
          "        COMPREPLY=($(compgen -f -- \"$word\"))\n"
          "        return\n"
          "        ;;\n",
          out);
    if (write_pattern(out, program, is_free, ""))
        fputs("        return\n"
              "        ;;\n",
              out);
}

/* What can be typed where a flag is expected; command counts as in struct config_call. */
static void write_bash_flags(FILE *out, const struct config_program *program, int command)
{
    for (size_t i = 0; i < program->count; i++) {
        const struct config_option *option = &program->options[i];

        if (!config_concerns(program, option, command))
            continue;
        fprintf(out, "--%s ", option->name);
        if (config_is_switch(option))
            fprintf(out, "--no-%s ", option->name);
    }
    fputs("--config --help --help-all --version", out);
}

static void write_command_names(FILE *out, const struct config_program *program,
                                const char *separator)
{
    for (size_t i = 0; i < program->command_count; i++)
        fprintf(out, "%s%s", i ? separator : "", program->commands[i].name);
}

/* Finds the command among the words before the cursor; behind -- stand another program's words. */
static void write_bash_search(FILE *out, const struct config_program *program)
{
    fputs("    local command= at\n\n"
          "    for ((at = 1; at < COMP_CWORD; at++)); do\n"
          "        case ${COMP_WORDS[at]} in\n        ",
          out);
    write_command_names(out, program, " | ");
    fputs(")\n            command=${COMP_WORDS[at]}\n            ;;\n        --)\n"
          "            if declare -F _command_offset >/dev/null; then\n"
          "                _command_offset $((at + 1))\n"
          "            elif ((at + 1 == COMP_CWORD)); then\n"
          "                COMPREPLY=($(compgen -c -- \"$word\"))\n"
          "            else\n"
          "                local IFS=$'\\n'\n"
          "                COMPREPLY=($(compgen -f -- \"$word\"))\n"
          "            fi\n"
          "            return\n"
          "            ;;\n",
          out);
    if (write_pattern(out, program, takes_value, "    --config"))
        fputs("            # Its value is no command, also behind =.\n"
              "            [[ ${COMP_WORDS[at + 1]} != = ]] || ((at++))\n"
              "            ((at++))\n"
              "            ;;\n",
              out);
    fputs("        esac\n"
          "    done\n"
          "    case $command in\n",
          out);
    for (size_t i = 0; i < program->command_count; i++) {
        fprintf(out, "    %s)\n        values=\"", program->commands[i].name);
        write_bash_flags(out, program, (int)i + 1);
        fputs("\"\n        ;;\n", out);
    }
    fputs("    *)\n        [[ $word == -* ]] || values=\"", out);
    write_command_names(out, program, " ");
    fputs("\"\n        ;;\n    esac\n\n", out);
}

void config_write_bash(const struct config_program *program, FILE *out)
{
    char function[IDENTIFIER_SIZE];

    format_identifier(program->name, function);
    fprintf(out,
            "# bash completion for %s, made from its table of options.\n\n"
            "_%s()\n"
            "{\n"
            "    local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]}\n"
            "    local values=\"",
            program->name, function);
    write_bash_flags(out, program, 0);
    fputs("\"\n\n    COMPREPLY=()\n", out);
    if (program->command_count > 0)
        write_bash_search(out, program);
    fputs("    # For bash, = is a word of its own.\n"
          "    if [[ $word == = ]]; then\n"
          "        word= values=\n"
          "    elif [[ $option == = ]]; then\n"
          "        option=${COMP_WORDS[COMP_CWORD - 2]} values=\n"
          "    fi\n"
          "    case $option in\n",
          out);
    write_bash_values(out, program);
    fprintf(out,
            "    esac\n"
            "    COMPREPLY=($(compgen -W \"$values\" -- \"$word\"))\n"
            "}\n\n"
            "complete -F _%s %s\n",
            function, program->name);
}

/* The full stop of the first sentence; an ellipsis is none. */
static const char *find_sentence_end(const char *text)
{
    const char *end = strstr(text, ". ");

    while (end && end > text && end[-1] == '.')
        end = strstr(end + 1, ". ");
    return end;
}

/* The first sentence of a help text, within a specification of _arguments in single quotes. */
static void write_zsh_sentence(FILE *out, const char *help)
{
    const char *end = find_sentence_end(help);

    for (; *help && help != end && !(*help == '.' && !help[1]); help++) {
        if (*help == '\'')
            fputs("'\\''", out);
        else
            fprintf(out, "%s%c", strchr("[]:\\\"", *help) ? "\\" : "", *help);
    }
}

static void write_zsh_description(FILE *out, const char *help)
{
    fputc('[', out);
    write_zsh_sentence(out, help);
    fputc(']', out);
}

/* ":message:action" of an option's value. */
static void write_zsh_value(FILE *out, const struct config_option *option)
{
    fputc(':', out);
    for (const char *at = option->metavar ? option->metavar : option->name; *at; at++)
        fprintf(out, "%s%c", *at == ':' ? "\\" : "", *at);
    fputc(':', out);
    if (option->kind == CONFIG_ENUM) {
        for (size_t i = 0; option->values[i]; i++)
            fprintf(out, "%s%s", i ? " " : "(", option->values[i]);
        fputc(')', out);
    } else {
        fputs(is_file(option) ? "_files" : " ", out);
    }
}

static void write_zsh_option(FILE *out, const struct config_option *option)
{
    if (config_is_switch(option)) {
        fprintf(out, "    '(--no-%s)--%s%s", option->name, option->name,
                option->kind == CONFIG_SWITCH ? "=-" : "");
        write_zsh_description(out, option->help);
        for (size_t i = 2; option->kind == CONFIG_SWITCH && option->values[i]; i++)
            fprintf(out, "%s%s%s%s", i == 2 ? "::" : " ", i == 2 ? option->name : "",
                    i == 2 ? ":(" : "", option->values[i]);
        if (option->kind == CONFIG_SWITCH)
            fputc(')', out);
        fprintf(out, "'\n    '(--%s)--no-%s[The contrary of --%s]'\n", option->name, option->name,
                option->name);
        return;
    }
    fprintf(out, "    '%s--%s=", option->kind == CONFIG_LIST ? "*" : "", option->name);
    write_zsh_description(out, option->help);
    write_zsh_value(out, option);
    fputs("'\n", out);
}

static void write_zsh_options(FILE *out, const struct config_program *program, int command)
{
    fputs("options=(\n", out);
    for (size_t i = 0; i < program->count; i++)
        if (config_concerns(program, &program->options[i], command))
            write_zsh_option(out, &program->options[i]);
    fputs("    '--config=[Read options from FILE]:FILE:_files'\n"
          "    '(- *)'{--help,-h}'[Print what most people need]'\n"
          "    '(- *)--help-all[Print all options]'\n"
          "    '(- *)--version[Print the version]'\n"
          ")\n",
          out);
}

static void write_zsh_commands(FILE *out, const struct config_program *program)
{
    fputs("\n# Behind -- stand another program's words.\n"
          "integer at=${words[(i)--]}\n"
          "if ((at < CURRENT)); then\n"
          "    shift $at words\n"
          "    ((CURRENT -= at))\n"
          "    _normal\n"
          "    return\n"
          "fi\n"
          "case ${words[(r)",
          out);
    write_command_names(out, program, "|");
    fputs("]} in\n", out);
    for (size_t i = 0; i < program->command_count; i++) {
        fprintf(out, "(%s)\n", program->commands[i].name);
        write_zsh_options(out, program, (int)i + 1);
        fprintf(out, "options+=('1::command:(%s)')\n;;\n", program->commands[i].name);
    }
    fputs("(*)\noptions+=('1::command:((", out);
    for (size_t i = 0; i < program->command_count; i++) {
        fprintf(out, "%s%s\\:\"", i ? " " : "", program->commands[i].name);
        write_zsh_sentence(out, program->commands[i].help);
        fputc('"', out);
    }
    fputs("))')\n;;\nesac\n", out);
}

void config_write_zsh(const struct config_program *program, FILE *out)
{
    fprintf(out,
            "#compdef %s\n"
            "# Made from the program's table of options.\n\n"
            "local -a options\n",
            program->name);
    write_zsh_options(out, program, 0);
    if (program->command_count > 0)
        write_zsh_commands(out, program);
    fputs("_arguments $options\n", out);
}

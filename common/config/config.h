/*
 * Options: one table per program says what there is; flags, the environment and a file fill it in.
 *
 * The room config/ reads options, addresses, URLs and secrets' files, and writes --help and the
 * documentation from the same table. It may use base/ only, and does not log: it returns sentences.
 *
 * An option --ping-interval is also TUNNEL_PING_INTERVAL in the environment and ping-interval in
 * the file that --config (or TUNNEL_CONFIG) names, in .properties syntax (config/properties.h).
 * Flags win over the environment, the environment over the file, the file over the default.
 * The last of a flag given twice wins; a key given twice in the file is an error. An empty
 * environment variable counts as not set; an empty value elsewhere is an error.
 *
 * A list collects: each flag --tcp VALUE adds one entry, VALUE as it stands. In the environment and
 * the file one value holds the whole list, split at commas and blanks; with CONFIG_SPLIT_NAMED, for
 * entries NAME=a,b that hold commas themselves, a blank begins a new entry and a comma does so only
 * if the part behind it holds an = sign: "a=h1:1,h2:2,b=h3:3" is a=h1:1,h2:2 and b=h3:3, and so is
 * "a=h1:1,h2:2 b=h3:3". A comma with blanks around it counts as a comma. With CONFIG_SPLIT_LINES,
 * for entries that hold commas and blanks, each line is one entry, without the blanks at its ends.
 * A list from a source that wins replaces the other lists, it does not add to them.
 *
 * A program may have commands. The first argument that is neither a flag nor a flag's value names
 * one; without it the program does its usual work. What a command takes as arguments stands behind
 * an argument "--", where flags end; if it says so, behind its name, before, between or after
 * flags, and "-" is one too. A flag that does not concern the command is an error; the environment
 * and the file may hold such options, for they may be there for other commands.
 *
 * A value that begins and ends with a quote is an error: docker's --env-file keeps quotes that were
 * meant for a shell, and they make a wrong value of any. Variables that Kubernetes sets for its
 * Services (config/service_link.h) are no options, whatever they begin with.
 *
 * Values of options with CONFIG_SECRET appear in no message and no text that this room makes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_ERROR_MAX 512
#define CONFIG_FILE_MAX (1024 * 1024)
#define CONFIG_LIST_MAX 256
#define CONFIG_WARNINGS_MAX 32

struct config_list {
    const char **items;
    size_t count;
};

/* What the value is, and the type of its place in the program's struct. */
enum config_kind {
    CONFIG_STRING,   /* const char *: NULL unless set; owned by the config object */
    CONFIG_INTEGER,  /* int64_t */
    CONFIG_DURATION, /* uint64_t, milliseconds; written as 20, 20s, 250ms, 2m, 1h */
    CONFIG_SIZE,     /* uint64_t, bytes; written as 65536, 64KiB, 4MiB, 1GiB */
    CONFIG_BOOL,     /* bool; --name, --no-name; true or false elsewhere */
    CONFIG_ENUM,     /* int: the index into values */
    /* int: the index into values, of which the first two are "false" and "true". As a bool, and
     * the others as words of their own: --name WORD, --name=WORD. --name alone is true: the next
     * argument is its value only if it is one of these words. */
    CONFIG_SWITCH,
    CONFIG_LIST, /* struct config_list; owned by the config object */
};

enum config_flags {
    CONFIG_SECRET = 1 << 0,
    CONFIG_REQUIRED = 1 << 1,
    CONFIG_SPLIT_NAMED = 1 << 2,
    CONFIG_SPLIT_LINES = 1 << 3,
    CONFIG_QUOTES =
        1 << 4, /* a value may begin and end with a quote: that is worth a warning only */
    CONFIG_SECRET_FILE = 1 << 5, /* names a file that holds a secret */
    CONFIG_RULES_FILE = 1 << 6,  /* names a file without secrets that decides who may do what */
};

struct config_option {
    const char *name; /* lower case letters, digits and hyphens, without the leading -- */
    const char *metavar;
    enum config_kind kind;
    size_t offset; /* offsetof its place in the program's struct */
    const char *group;
    const char *brief;         /* for --help, a few words; NULL: only --help-all has the option */
    const char *help;          /* sentences for --help-all and the documentation */
    const char *default_value; /* as it would be written; NULL = none (NULL, 0, false, empty) */
    /* For numbers, in the unit of the place; both 0 = no limits. */
    int64_t min;
    int64_t max;
    const char *unit;          /* of an integer, for messages; may be NULL */
    const char *const *values; /* of an enum or a switch, ends in NULL */
    unsigned flags;            /* enum config_flags */
    /* The commands that it concerns, as CONFIG_WITH() of each; 0: the usual work and each command
     * that does not want its own options only. */
    unsigned commands;
};

/* A bit of config_option.commands; command counts as in struct config_call. */
#define CONFIG_WITH(command) (1U << (command))

/* What an option is for one command, if nobody sets it. */
struct config_default {
    const char *option;
    const char *value;
};

struct config_command {
    const char *name;
    const char *arguments; /* "COMMAND [ARG...]": one word or more, behind --; or NULL */
    bool plain_arguments;  /* they stand behind the command's name, without -- */
    const char *brief;     /* for --help, a few words */
    const char *example;   /* as in struct config_program */
    const char *help;      /* sentences for --help and the documentation */
    bool own_options_only; /* takes only options that name it in their commands */
    const struct config_default *defaults; /* instead of the table's; ends in {NULL}; or NULL */
};

/* How the program was called. */
struct config_call {
    int command;            /* 0: without one; else its index in the program's commands, plus 1 */
    char *const *arguments; /* argv's own words, NULL behind the last */
    size_t count;
    /* config.warnings, for a command whose log would leave them out. */
    const char *const *warnings;
    size_t warning_count;
};

struct config_program {
    const char *name;
    const char *summary;
    /* For --help: what stands behind the program's name; each a line, ends in NULL; or NULL. */
    const char *const *examples;
    const struct config_option *options; /* those of a group stand together */
    size_t count;
    const struct config_command *commands;
    size_t command_count;
    size_t call; /* if there are commands: offsetof a struct config_call in the program's struct */
};

enum config_source {
    CONFIG_UNSET,
    CONFIG_FROM_DEFAULT,
    CONFIG_FROM_FILE,
    CONFIG_FROM_ENVIRONMENT,
    CONFIG_FROM_FLAG,
};

enum config_result {
    CONFIG_HELP = 1, /* --help: print config_write_help, exit with 0 */
    CONFIG_HELP_ALL, /* --help-all: config_write_help_all */
    CONFIG_VERSION,
};

struct config {
    const struct config_program *program;
    void *target;
    struct config_call call;     /* its command is known with the two helps too */
    int command_at;              /* the index in argv of the command's name; 0: none */
    char **plain_arguments;      /* of a command that takes such: what call.arguments points at */
    enum config_source *sources; /* one per option */
    const char *file;            /* the path that was read, or NULL */
    char error[CONFIG_ERROR_MAX];
    /* Sentences for the log, e.g. about TUNNEL_ variables that no option reads. */
    const char *warnings[CONFIG_WARNINGS_MAX];
    size_t warning_count;
    char **owned;
    size_t owned_count;
};

/*
 * Fills target, a zeroed struct of the program's own. argv[0] is skipped; environment ends in NULL.
 * Returns 0; CONFIG_HELP, CONFIG_HELP_ALL or CONFIG_VERSION, with nothing filled in; or -1 with a
 * sentence in config->error. In each case config_free ends it, after the last use of target's
 * strings.
 */
int config_load(struct config *config, const struct config_program *program, void *target, int argc,
                char *const *argv, char *const *environment);
void config_free(struct config *config);

/* Where an option's value came from; name must be in the table. */
enum config_source config_source(const struct config *config, const char *name);

/* Whether an option concerns a command; command counts as in struct config_call. */
bool config_concerns(const struct config_program *program, const struct config_option *option,
                     int command);
/* What an option is for a command, if nobody sets it; NULL = nothing. */
const char *config_default(const struct config_program *program, const struct config_option *option,
                           int command);

/* --help of a command, or of the program (0): what most people need, on one screen. */
void config_write_help(const struct config_program *program, int command, FILE *out);
/* --help-all, and a section of Markdown with a table per group: everything. */
void config_write_help_all(const struct config_program *program, int command, FILE *out);
void config_write_markdown(const struct config_program *program, FILE *out);

/* Whether it is given as --name and --no-name, with no value that it needs. */
bool config_is_switch(const struct config_option *option);

/* The name of an option's environment variable. */
#define CONFIG_VARIABLE_MAX 80
void config_variable(const char *option_name, char out[CONFIG_VARIABLE_MAX]);
/* Whether an entry NAME=VALUE of the environment holds a secret of the program's own, which no
 * program that it starts needs. */
bool config_is_secret(const struct config_program *program, const char *entry);

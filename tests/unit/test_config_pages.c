/* Manual pages and completion: what the characters of a help text must not become. */
#include "../lib/cmocka.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../docs/generate/pages.h"

enum { COMMAND_RUN = 1 };

static const char *const trust[] = {"false", "true", "maybe", "later", NULL};
static const char *const colours[] = {"red", "green", NULL};

/* Places in a struct do not matter here: nothing is read. */
static const struct config_option table[] = {
    {.name = "it-s",
     .kind = CONFIG_BOOL,
     .group = "First",
     .help = "Don't stop... go on. 'Quoted' first, [bracketed]: so \\ it is."},
    {.name = "colour",
     .kind = CONFIG_ENUM,
     .group = "First",
     .help = ".dot",
     .default_value = "red",
     .values = colours},
    {.name = "only-run",
     .metavar = "FILE",
     .kind = CONFIG_LIST,
     .group = "Second",
     .help = "One.",
     .commands = CONFIG_WITH(COMMAND_RUN)},
    {.name = "tr-ust", .kind = CONFIG_SWITCH, .group = "Second", .help = "So.", .values = trust},
};
static const struct config_default run_defaults[] = {{"colour", "green"}, {NULL, NULL}};
static const struct config_command commands[] = {
    {.name = "run", .arguments = "WHAT...", .help = "Runs WHAT.", .defaults = run_defaults}};
static const struct config_program program = {.name = "pro-gram",
                                              .summary = "s",
                                              .options = table,
                                              .count = 4,
                                              .commands = commands,
                                              .command_count = 1};

static char *man(const char *template_text, int expected)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    FILE *in = fmemopen((void *)(uintptr_t)template_text, strlen(template_text), "r");

    assert_int_equal(config_write_man(&program, "1.2", in, out), expected);
    fclose(in);
    fclose(out);
    return text;
}

static char *completion(void (*write)(const struct config_program *, FILE *))
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    write(&program, out);
    fclose(out);
    return text;
}

static void expect(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no \"%s\" in:\n%s", part, text);
}

static void expect_not(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("\"%s\" in:\n%s", part, text);
}

static void a_manual_page_shows_text_as_it_is(void **state)
{
    (void)state;
    char *text = man("first @version@ and @version@\n@options@\nlast\n", 0);

    expect(text, "first 1.2 and 1.2\n.SS First\n.TP\n");
    /* A line that begins with a dot or a quote would be a request. */
    expect(text, "\n\\&\\(aqQuoted\\(aq first, [bracketed]: so \\e it is.\n");
    expect(text, "\n\\&.dot\n");
    expect(text, "Don\\(aqt stop...\\&\ngo on.\n");
    expect(text, "\\-\\-\\fR[\\fBno\\-\\fR]\\fBit\\-s\\fR\n");
    expect(text, "\\-\\-colour\\fR red|green\n");
    expect(text, "Default: red; run: green.\n");
    expect(text, ".SS Second\n");
    expect(text, "\\-\\-\\fR[\\fBno\\-\\fR]\\fBtr\\-ust\\fR[=maybe|later]\n");
    expect(text, "Only for \\fBrun\\fR.\n");
    expect(text, "May be given more than once.\n");
    expect(text, "\nlast\n");
    free(text);
}

static void a_manual_page_has_the_commands(void **state)
{
    (void)state;
    char *text = man("@synopsis@\n@commands@\n", 0);

    expect(text, ".B pro\\-gram\n.RI [ options ]\n.br\n.B pro\\-gram run\n");
    expect(text, ".B \\-\\-\n.I WHAT...\\&\n");
    expect(text, ".SH COMMANDS\n.TP\n.B run\nRuns WHAT.\n");
    free(text);
}

static void a_template_with_another_mark_is_refused(void **state)
{
    (void)state;
    free(man("@option@\n", -1));
}

static void bash_knows_which_options_a_command_has(void **state)
{
    (void)state;
    char *text = completion(config_write_bash);

    expect(text, "complete -F _pro_gram pro-gram\n");
    expect(
        text,
        "local values=\"--it-s --no-it-s --colour --tr-ust --no-tr-ust --config --help --help-all "
        "--version\"\n");
    expect(text, "run)\n        values=\"--it-s --no-it-s --colour --only-run --tr-ust --no-tr-ust "
                 "--config");
    expect(text, "--colour)\n        values=\"red green\"\n");
    /* The next option may follow it, or one of its words. */
    expect(text, "--tr-ust)\n        values+=\" maybe later\"\n");
    expect(text, "--config | --only-run)\n");
    free(text);
}

static void zsh_reads_no_quote_as_its_own(void **state)
{
    (void)state;
    char *text = completion(config_write_zsh);

    expect(text, "#compdef pro-gram\n");
    expect(text, "'(--no-it-s)--it-s[Don'\\''t stop... go on]'");
    expect(text, "'--colour=[.dot]:colour:(red green)'\n");
    expect(text, "'*--only-run=[One]:FILE:_files'\n");
    expect(text, "'(--no-tr-ust)--tr-ust=-[So]::tr-ust:(maybe later)'\n");
    expect_not(text, "[bracketed]");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manual_page_shows_text_as_it_is),
        cmocka_unit_test(a_manual_page_has_the_commands),
        cmocka_unit_test(a_template_with_another_mark_is_refused),
        cmocka_unit_test(bash_knows_which_options_a_command_has),
        cmocka_unit_test(zsh_reads_no_quote_as_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

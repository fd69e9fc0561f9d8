/*
 * Writes what comes from the table of options that a program itself reads (its options.c is linked
 * in):
 *
 *   PROGRAM                  the tables of docs/configuration.md; docs/update-configuration puts
 *                            them in place
 *   PROGRAM man TEMPLATE     the manual page, from docs/man/PROGRAM.1.in
 *   PROGRAM bash             completion for bash
 *   PROGRAM zsh              completion for zsh
 */
#include "options.h"

#include <string.h>

#include "pages.h"

static bool write_man(const char *path)
{
    FILE *template_in = fopen(path, "r");
    int result = template_in
                     ? config_write_man(&options_program, KAFKA_TUNNEL_VERSION, template_in, stdout)
                     : -1;

    if (template_in)
        fclose(template_in);
    if (result != 0)
        fprintf(stderr, "%s: cannot be read, or has a line @...@ that means nothing\n", path);
    return result == 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    bool written = true;

    if (argc == 1)
        config_write_markdown(&options_program, stdout);
    else if (strcmp(what, "man") == 0 && argc == 3)
        written = write_man(argv[2]);
    else if (strcmp(what, "bash") == 0)
        config_write_bash(&options_program, stdout);
    else if (strcmp(what, "zsh") == 0)
        config_write_zsh(&options_program, stdout);
    else
        written = false;
    return !written || ferror(stdout) || fflush(stdout) != 0;
}

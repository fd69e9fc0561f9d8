/*
 * What is installed beside a program and comes from its table of options: the manual page and the
 * completion for bash and zsh. docs/generate/configuration.c calls these when the project is built.
 */
#pragma once

#include <stdio.h>

#include "config/config.h"

/*
 * Copies a manual page in man(7) from template to out. A line that is nothing but @synopsis@,
 * @commands@ or @options@ gives way to what the table says; @version@ within a line is version.
 * Returns 0, or -1 if reading or writing failed or a line has another @name@ alone.
 */
int config_write_man(const struct config_program *program, const char *version, FILE *template_in,
                     FILE *out);

/* A file for bash-completion's directory; it works without bash-completion too. */
void config_write_bash(const struct config_program *program, FILE *out);

/* A file for a directory of zsh's fpath, to be named _PROGRAM. */
void config_write_zsh(const struct config_program *program, FILE *out);

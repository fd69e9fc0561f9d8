/*
 * Writes the tables of docs/configuration.md for one program, from the table of options that the
 * program itself reads (its options.c is linked in). docs/update-configuration puts them in place.
 */
#include "options.h"

int main(void)
{
    config_write_markdown(&options_program, stdout);
    return ferror(stdout) || fflush(stdout) != 0;
}

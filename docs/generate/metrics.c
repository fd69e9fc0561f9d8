/* Writes the table of docs/metrics.md from the table that the programs count in. */
#include <stdio.h>

#include "metrics/metrics.h"

int main(void)
{
    struct text text;

    text_init(&text, 1 << 20);
    text_string(&text, "## All metrics\n\n");
    metrics_write_markdown(&text);
    fwrite(text.bytes, 1, text.size, stdout);
    bool failed = text.failed;
    text_clear(&text);
    return failed || ferror(stdout) || fflush(stdout) != 0;
}

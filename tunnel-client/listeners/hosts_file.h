/* The machine's hosts file. */
#pragma once

#include <stddef.h>

#define HOSTS_FILE "/etc/hosts"

/* A copy of its text for the caller to free, NUL terminated, of at most 1 MiB: what is longer is
 * cut at a line's end. An empty text, if it cannot be read. */
char *hosts_file_read(const char *path, size_t *size);

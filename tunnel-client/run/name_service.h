/* The text of nsswitch.conf(5): which services glibc asks for hosts, and in which order. */
#pragma once

#include <stddef.h>

/* A copy in which the hosts file comes first, for the caller to free; NULL: it does already, or the
 * text does not say. */
char *name_service_files_first(const char *text, size_t size, size_t *copy_size);

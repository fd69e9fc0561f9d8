/* Files that options name, read once: regular files, and pipes such as a shell's <(command). */
#pragma once

#include "config/secret.h"

/* Much more than certificates take: the CAs of all the world are some 250 KiB. */
#define INPUT_SIZE_MAX ((size_t)1 << 20)

struct input {
    struct secret_bytes content; /* for secret_bytes_free(): it may be a private key */
    bool is_pipe;                /* what was in it is gone: it cannot be read again */
};

/* Whether path leads to a pipe; false also if it leads nowhere. */
bool input_is_pipe(const char *path);

/*
 * Reads all of it, up to INPUT_SIZE_MAX bytes. Whoever writes into a pipe has 10 s to come and to
 * end; a signal ends the wait. false: a sentence part, "PATH ...", is in error, and nothing has to
 * be freed.
 */
bool input_read(const char *path, struct input *out, char error[SECRET_ERROR_MAX]);

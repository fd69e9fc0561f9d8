/* Secrets from files. What is read goes into no message; messages name the path only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define SECRET_SIZE_MAX 65536
#define SECRET_ERROR_MAX 512

/*
 * Reads a token from the regular file at path, without the blanks and newlines at its end. It may
 * hold neither control characters nor nothing at all: it becomes part of an HTTP header.
 * Returns the token, to be given to secret_free; or NULL, with a sentence in error.
 */
char *secret_read_file(const char *path, char error[SECRET_ERROR_MAX]);

/* A secret of several lines, a private key for example, as it stands in its file. */
struct secret_bytes {
    char *bytes; /* with a NUL behind them */
    size_t size;
    bool exposed; /* every user of the machine may read the file */
};

/* Reads the regular file at path. false: a sentence is in error, and nothing has to be freed. */
bool secret_read_bytes(const char *path, struct secret_bytes *out, char error[SECRET_ERROR_MAX]);
/* Overwrites, then frees. */
void secret_bytes_free(struct secret_bytes *secret);

/* Overwrites the secret, then frees it. NULL is fine. */
void secret_free(char *secret);

/* Overwrites memory in a way that the compiler does not leave out. */
void secret_wipe(void *bytes, size_t size);

/* Secrets from files, and tokens from wherever. They go into no message; messages name the path
 * only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SECRET_SIZE_MAX 65536
#define SECRET_ERROR_MAX 512

/* ---- what a secret may be */

/* Steps over blanks, CR and LF at the beginning of *size bytes and takes those at their end off
 * *size: what editors, shells and copying leave around a secret. Every source of tokens and of
 * secrets of one line goes through it, so that the same bytes mean the same everywhere. */
const char *secret_trim(const char *text, size_t *size);

/* Larger ones do not fit into what servers take for headers. */
#define SECRET_TOKEN_MAX (12 * 1024)

/*
 * Why these bytes, trimmed, can be no token of an Authorization header: the part of a sentence that
 * follows "the token" or the name of its file ("is ...", "holds ..."), without any of the bytes.
 * NULL: they can. A token is one word of ASCII; more than that (RFC 6750 section 2.1) is up to who
 * gives it out.
 */
const char *secret_check_token(const char *token, size_t size);

/* The same for a secret of one line of any words: "is empty", "contains ...". */
const char *secret_check_line(const char *line, size_t size);

/* The same for text of any kind: what says that it is not UTF-8, or UTF-8 with a byte order mark.
 */
const char *secret_check_encoding(const char *text, size_t size);

/* ---- files */

/* Both read a secret of one line from the regular file at path, trimmed. It holds neither control
 * characters nor nothing at all; secret_read_token() also checks that it can be a token.
 * Returns it, to be given to secret_free; or NULL, with a sentence in error. */
char *secret_read_file(const char *path, char error[SECRET_ERROR_MAX]);
char *secret_read_token(const char *path, char error[SECRET_ERROR_MAX]);
/* As one of these two, which check says: secret_check_token, or secret_check_line. *exposed: every
 * user of the machine may read or write the file. */
char *secret_read_looking(const char *path, const char *(*check)(const char *, size_t),
                          bool *exposed, char error[SECRET_ERROR_MAX]);

/* A secret of several lines, a private key for example, as it stands in its file. */
struct secret_bytes {
    char *bytes; /* with a NUL behind them */
    size_t size;
    bool exposed;  /* every user of the machine may read or write the file */
    bool writable; /* every user may write it: enough to rule by, though it holds no secret */
};

/* Reads the regular file at path. false: a sentence is in error, and nothing has to be freed. */
bool secret_read_bytes(const char *path, struct secret_bytes *out, char error[SECRET_ERROR_MAX]);
/* The same for files of up to max KiB, for secrets of many. */
bool secret_read_large(const char *path, size_t max_kib, struct secret_bytes *out,
                       char error[SECRET_ERROR_MAX]);
/* What exposed means: every user of the machine may read or write a file of this mode. */
bool secret_is_exposed(mode_t mode);
/* With strict, a secret that is exposed is not taken: false, and a sentence is in error. */
bool secret_is_guarded(const char *path, bool exposed, bool strict, char error[SECRET_ERROR_MAX]);
/* Reads a file that the caller has opened, and looked at, up to its end or size bytes; returns how
 * many, or -1 with errno. */
ssize_t secret_read_descriptor(int fd, char *out, size_t size);
/* Overwrites, then frees. */
void secret_bytes_free(struct secret_bytes *secret);

/* ---- memory */

/* Overwrites the secret, then frees it. NULL is fine. */
void secret_free(char *secret);

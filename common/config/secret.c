#include "config/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

void secret_free(char *secret)
{
    if (secret)
        byte_wipe(secret, strlen(secret));
    free(secret);
}

/* Opens a regular file only: reading a pipe or a terminal could wait for ever. */
static int open_regular(const char *path, mode_t *mode, char error[SECRET_ERROR_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;

    if (fd < 0) {
        snprintf(error, SECRET_ERROR_MAX, "cannot open %s: %s", path, strerror(errno));
        return -1;
    }
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        snprintf(error, SECRET_ERROR_MAX, "%s is not a regular file", path);
        close(fd);
        return -1;
    }
    *mode = status.st_mode;
    return fd;
}

/* Not the group's: by a group Kubernetes (fsGroup) hands files to a program that is not root, those
 * of secrets with mode 0440, those of a volume that can be written with 0660. */
bool secret_is_exposed(mode_t mode)
{
    return mode & (S_IROTH | S_IWOTH);
}

bool secret_is_guarded(const char *path, bool exposed, bool strict, char error[SECRET_ERROR_MAX])
{
    if (!exposed || !strict)
        return true;
    snprintf(error, SECRET_ERROR_MAX,
             "%s may be read or written by every user of this machine, which --strict-files does "
             "not allow: chmod 600",
             path);
    return false;
}

ssize_t secret_read_descriptor(int fd, char *out, size_t size)
{
    size_t have = 0;

    while (have < size) {
        ssize_t got = read(fd, out + have, size - have);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

/* ---- what a secret may be */

static bool is_around(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

const char *secret_trim(const char *text, size_t *size)
{
    while (*size > 0 && is_around(text[*size - 1]))
        --*size;
    for (; *size > 0 && is_around(*text); text++)
        --*size;
    return text;
}

static bool has_prefix(const char *text, size_t size, const char *prefix)
{
    size_t length = strlen(prefix);

    return size >= length && memcmp(text, prefix, length) == 0;
}

const char *secret_check_encoding(const char *text, size_t size)
{
    if (has_prefix(text, size, "\xef\xbb\xbf"))
        return "begins with a byte order mark; save it as UTF-8 without one";
    if (has_prefix(text, size, "\xff\xfe") || has_prefix(text, size, "\xfe\xff"))
        return "is UTF-16; save it as plain UTF-8 text";
    if (memchr(text, '\0', size))
        return "contains NUL bytes, as UTF-16 does; save it as plain UTF-8 text";
    return NULL;
}

/* Whether the word that a line begins with belongs to the header around a token. */
static bool is_of_header(const char *token, size_t size)
{
    static const char *const words[] = {"Bearer", "Snowflake", "Basic"};
    static const char *const beginnings[] = {"Authorization:", "Token=\"", "TUNNEL_TOKEN="};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t length = strlen(words[i]);
        if (size >= length && strncasecmp(token, words[i], length) == 0 &&
            (size == length || is_around(token[length])))
            return true;
    }
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++) {
        size_t length = strlen(beginnings[i]);
        if (size >= length && strncasecmp(token, beginnings[i], length) == 0)
            return true;
    }
    return false;
}

static bool is_token_quoted(const char *token, size_t size)
{
    return size > 1 && strchr("\"'`", token[0]) && token[0] == token[size - 1];
}

/* A certificate is known to everybody: its lines must not become tokens, or its first one a secret
 * that instances share. */
static const char *check_pem(const char *text, size_t size)
{
    return has_prefix(text, size, "-----BEGIN")
               ? "is PEM, a certificate or a key; did you swap two files?"
               : NULL;
}

const char *secret_check_token(const char *token, size_t size)
{
    const char *why = secret_check_encoding(token, size);

    if (size == 0)
        return "is empty";
    if (!why)
        why = check_pem(token, size);
    if (why)
        return why;
    if (is_of_header(token, size))
        return "begins with the scheme of a header, such as Bearer or Snowflake Token=; give only "
               "the token itself";
    if (is_token_quoted(token, size))
        return "is in quotes; give only the text inside the quotes";
    if (token[0] == '{' || token[0] == '<')
        return "is JSON or HTML; give only the token itself";
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)token[i];

        if (c == ' ' || c == '\t')
            return "contains a space; a token is a single word";
        if (c < 0x20 || c == 0x7f)
            return "contains a line break or another control character; a token is a single word";
        if (c > 0x7f)
            return "contains a non-ASCII character, which no token does";
    }
    return size > SECRET_TOKEN_MAX ? "is longer than 12 KiB" : NULL;
}

const char *secret_check_line(const char *line, size_t size)
{
    const char *why = secret_check_encoding(line, size);

    if (!why)
        why = check_pem(line, size);
    if (size == 0 || why)
        return size == 0 ? "is empty" : why;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)line[i];

        if (c < 0x20 || c == 0x7f)
            return "contains a control character; it must be a single line of text";
    }
    return NULL;
}

/* ---- files */

bool secret_read_large(const char *path, size_t max_kib, struct secret_bytes *out,
                       char error[SECRET_ERROR_MAX])
{
    mode_t mode = 0;
    int fd = open_regular(path, &mode, error);
    size_t max = max_kib * 1024;
    ssize_t size;
    int failed;

    if (fd < 0)
        return false;
    out->exposed = secret_is_exposed(mode);
    out->writable = mode & S_IWOTH;
    out->bytes = malloc(max + 2);
    size = out->bytes ? secret_read_descriptor(fd, out->bytes, max + 1) : -1;
    failed = out->bytes ? errno : ENOMEM;
    close(fd);
    out->size = size < 0 ? 0 : (size_t)size;
    if (size >= 0 && out->size <= max) {
        out->bytes[size] = '\0';
        return true;
    }
    if (size < 0)
        snprintf(error, SECRET_ERROR_MAX, "cannot read %s: %s", path, strerror(failed));
    else
        snprintf(error, SECRET_ERROR_MAX, "%s is larger than %zu KiB", path, max_kib);
    secret_bytes_free(out);
    return false;
}

bool secret_read_bytes(const char *path, struct secret_bytes *out, char error[SECRET_ERROR_MAX])
{
    return secret_read_large(path, SECRET_SIZE_MAX / 1024, out, error);
}

void secret_bytes_free(struct secret_bytes *secret)
{
    if (secret->bytes)
        byte_wipe(secret->bytes, secret->size);
    free(secret->bytes);
    *secret = (struct secret_bytes){0};
}

char *secret_read_looking(const char *path, const char *(*check)(const char *, size_t),
                          bool *exposed, char error[SECRET_ERROR_MAX])
{
    struct secret_bytes secret;

    if (!secret_read_bytes(path, &secret, error))
        return NULL;
    *exposed = secret.exposed;
    size_t size = secret.size;
    const char *line = secret_trim(secret.bytes, &size);
    const char *wrong = check(line, size);
    if (wrong) {
        snprintf(error, SECRET_ERROR_MAX, "%s %s", path, wrong);
        secret_bytes_free(&secret);
        return NULL;
    }
    memmove(secret.bytes, line, size);
    byte_wipe(secret.bytes + size, secret.size - size + 1);
    return secret.bytes;
}

char *secret_read_file(const char *path, char error[SECRET_ERROR_MAX])
{
    bool exposed;

    return secret_read_looking(path, secret_check_line, &exposed, error);
}

char *secret_read_token(const char *path, char error[SECRET_ERROR_MAX])
{
    bool exposed;

    return secret_read_looking(path, secret_check_token, &exposed, error);
}

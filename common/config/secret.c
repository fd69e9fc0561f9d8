#include "config/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void secret_wipe(void *bytes, size_t size)
{
    volatile unsigned char *at = bytes;

    while (size-- > 0)
        *at++ = 0;
}

void secret_free(char *secret)
{
    if (secret)
        secret_wipe(secret, strlen(secret));
    free(secret);
}

/* Opens a regular file only: reading a pipe or a terminal could wait for ever. */
static int open_regular(const char *path, bool *exposed, char error[SECRET_ERROR_MAX])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;

    if (fd < 0) {
        snprintf(error, SECRET_ERROR_MAX, "cannot open %s: %s", path, strerror(errno));
        return -1;
    }
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        snprintf(error, SECRET_ERROR_MAX, "%s is no regular file", path);
        close(fd);
        return -1;
    }
    /* Not the group's: that is how Kubernetes hands secrets to a program that is not root. */
    *exposed = status.st_mode & S_IROTH;
    return fd;
}

/* Reads up to size bytes; returns how many, or -1 with errno. */
static ssize_t read_up_to(int fd, char *out, size_t size)
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

static bool is_trailing(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Trims and checks; returns what is wrong, or NULL. */
static const char *check(char *secret, size_t size)
{
    while (size > 0 && is_trailing(secret[size - 1]))
        size--;
    secret[size] = '\0';
    if (size == 0)
        return "is empty";
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)secret[i];

        if (c < 0x20 || c == 0x7f)
            return "holds a control character; it must be a single line of text";
    }
    return NULL;
}

bool secret_read_bytes(const char *path, struct secret_bytes *out, char error[SECRET_ERROR_MAX])
{
    int fd = open_regular(path, &out->exposed, error);
    ssize_t size;

    if (fd < 0)
        return false;
    out->bytes = malloc(SECRET_SIZE_MAX + 2);
    size = out->bytes ? read_up_to(fd, out->bytes, SECRET_SIZE_MAX + 1) : -1;
    close(fd);
    out->size = size < 0 ? 0 : (size_t)size;
    if (size >= 0 && size <= SECRET_SIZE_MAX) {
        out->bytes[size] = '\0';
        return true;
    }
    snprintf(error, SECRET_ERROR_MAX, "%s %s", path,
             !out->bytes ? "cannot be read: out of memory"
             : size < 0  ? "cannot be read"
                         : "is larger than 64 KiB");
    secret_bytes_free(out);
    return false;
}

void secret_bytes_free(struct secret_bytes *secret)
{
    if (secret->bytes)
        secret_wipe(secret->bytes, secret->size);
    free(secret->bytes);
    *secret = (struct secret_bytes){0};
}

char *secret_read_file(const char *path, char error[SECRET_ERROR_MAX])
{
    struct secret_bytes secret;
    const char *wrong;

    if (!secret_read_bytes(path, &secret, error))
        return NULL;
    wrong = check(secret.bytes, secret.size);
    if (!wrong)
        return secret.bytes;
    snprintf(error, SECRET_ERROR_MAX, "%s %s", path, wrong);
    secret_bytes_free(&secret);
    return NULL;
}

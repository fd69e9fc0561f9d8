#include "config/input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/memory.h"

enum { PIPE_TIMEOUT_MS = 10 * 1000, FIRST_ROOM = 16 * 1024 };

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool input_is_pipe(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISFIFO(status.st_mode);
}

/* Waits until a pipe has something to say. NULL, or what is wrong. */
static const char *wait_for_pipe(int fd, int64_t limit_ms)
{
    struct pollfd pipe = {.fd = fd, .events = POLLIN};
    int64_t left = limit_ms - now_ms();
    int ready = left > 0 ? poll(&pipe, 1, (int)left) : 0;

    if (ready > 0)
        return NULL;
    return ready == 0 ? "is a pipe that nobody wrote to and closed within 10 s"
                      : "is a pipe, and a signal interrupted the wait for it";
}

/* Room for one more byte at least; what was there before is wiped. false: the bound is reached. */
static bool grow_content(struct secret_bytes *content, size_t *room)
{
    size_t wanted = *room == 0 ? FIRST_ROOM : 2 * *room;
    char *more;

    if (content->size < *room)
        return true;
    if (wanted > INPUT_SIZE_MAX + 1)
        wanted = INPUT_SIZE_MAX + 1;
    if (content->size == wanted)
        return false;
    more = memory_raw(wanted + 1);
    if (content->bytes) {
        memcpy(more, content->bytes, content->size);
        byte_wipe(content->bytes, content->size);
        free(content->bytes);
    }
    content->bytes = more;
    *room = wanted;
    return true;
}

/* NULL, or what is wrong. */
static const char *read_all(int fd, struct input *input)
{
    struct secret_bytes *content = &input->content;
    int64_t limit_ms = now_ms() + PIPE_TIMEOUT_MS;
    size_t room = 0;

    while (grow_content(content, &room)) {
        const char *wrong = input->is_pipe ? wait_for_pipe(fd, limit_ms) : NULL;
        if (wrong)
            return wrong;
        ssize_t got = read(fd, content->bytes + content->size, room - content->size);
        if (got < 0 && errno != EINTR && errno != EAGAIN)
            return strerror(errno);
        if (got > 0)
            content->size += (size_t)got;
        if (got == 0) {
            content->bytes[content->size] = '\0';
            return NULL;
        }
    }
    return "is larger than 1 MiB";
}

/* NULL, or what is wrong. */
static const char *look_at_file(int fd, struct input *input)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return strerror(errno);
    if (S_ISDIR(status.st_mode))
        return "is a directory";
    if (!S_ISREG(status.st_mode) && !S_ISFIFO(status.st_mode))
        return "is neither a regular file nor a pipe";
    input->is_pipe = S_ISFIFO(status.st_mode);
    input->content.exposed = secret_is_exposed(status.st_mode);
    return NULL;
}

bool input_read(const char *path, struct input *out, char error[SECRET_ERROR_MAX])
{
    /* Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const char *wrong;

    *out = (struct input){0};
    if (fd < 0) {
        snprintf(error, SECRET_ERROR_MAX, "%s cannot be read: %s", path, strerror(errno));
        return false;
    }
    wrong = look_at_file(fd, out);
    if (!wrong)
        wrong = read_all(fd, out);
    close(fd);
    if (!wrong)
        return true;
    snprintf(error, SECRET_ERROR_MAX, "%s %s", path, wrong);
    secret_bytes_free(&out->content);
    return false;
}

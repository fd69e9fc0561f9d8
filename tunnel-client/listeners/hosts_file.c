#include "listeners/hosts_file.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/memory.h"

enum { SIZE_MAX_READ = 1 << 20, FIRST_ROOM = 4096 };

char *hosts_file_read(const char *path, size_t *size)
{
    size_t room = FIRST_ROOM;
    char *text = memory_raw(room + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = fd < 0 ? 0 : 1;

    *size = 0;
    while (got > 0 && *size < SIZE_MAX_READ) {
        if (*size == room)
            text = memory_grow(text, (room *= 2) + 1);
        got = read(fd, text + *size, room - *size);
        *size += got > 0 ? (size_t)got : 0;
    }
    if (fd >= 0)
        close(fd);
    /* A piece of a line may say something else than the line. */
    while (*size >= SIZE_MAX_READ && text[*size - 1] != '\n')
        --*size;
    text[*size] = '\0';
    return text;
}

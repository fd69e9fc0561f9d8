#include "run/name_service.h"

#include <stdbool.h>
#include <string.h>

#include "base/memory.h"

static const char database[] = "hosts:";
static const char first[] = " files ";

static const char *after_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

/* Behind "hosts:" of the line; NULL: it is another one's. */
static const char *services_of(const char *line, const char *end)
{
    const char *at = after_blanks(line, end);
    size_t size = sizeof database - 1;

    return (size_t)(end - at) >= size && memcmp(at, database, size) == 0 ? at + size : NULL;
}

/* [NOTFOUND=return] behind it would be said of another service. */
static bool begins_with_files(const char *services, const char *end)
{
    const char *at = after_blanks(services, end);
    size_t size = sizeof first - 3; /* without the blanks */

    return (size_t)(end - at) >= size && memcmp(at, first + 1, size) == 0 &&
           (at + size == end || strchr(" \t\r#[", at[size]));
}

char *name_service_files_first(const char *text, size_t size, size_t *copy_size)
{
    const char *end = text + size;
    const char *services = NULL;

    for (const char *line = text; line < end && !services;) {
        const char *line_end = memchr(line, '\n', (size_t)(end - line));
        line_end = line_end ? line_end : end;
        services = services_of(line, line_end);
        if (services && begins_with_files(services, line_end))
            return NULL;
        line = line_end + 1;
    }
    if (!services)
        return NULL;
    size_t before = (size_t)(services - text);
    char *copy = memory_raw(size + sizeof first);
    *copy_size = size + sizeof first - 1;
    memcpy(copy, text, before);
    memcpy(copy + before, first, sizeof first - 1);
    memcpy(copy + before + sizeof first - 1, services, size - before);
    copy[*copy_size] = '\0';
    return copy;
}

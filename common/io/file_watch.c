#include "io/file_watch.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "config/file_stamp.h"
#include "config/input.h"
#include "io/timer.h"

enum { LOOK_S = 2 };

struct watched_file {
    const char *path;
    struct file_stamp read; /* when it was last read, well or not */
    struct file_stamp seen; /* at the last look */
};

struct file_watch {
    struct timer *look; /* NULL: there is nothing to look at */
    file_watch_callback callback;
    void *context;
    struct watched_file files[FILE_WATCH_MAX];
    size_t count;
};

static bool has_settled(struct file_watch *watch)
{
    bool changed = false;
    bool settled = true;

    for (size_t i = 0; i < watch->count; i++) {
        struct watched_file *file = &watch->files[i];
        struct file_stamp now;
        file_stamp_take(file->path, &now);
        changed = changed || !file_stamp_equal(&now, &file->read);
        settled = settled && file_stamp_equal(&now, &file->seen);
        file->seen = now;
    }
    return changed && settled;
}

static void on_file_look(void *argument)
{
    struct file_watch *watch = argument;

    if (has_settled(watch))
        watch->callback(watch->context);
}

void file_watch_reset(struct file_watch *watch)
{
    for (size_t i = 0; i < watch->count; i++) {
        struct watched_file *file = &watch->files[i];
        file_stamp_take(file->path, &file->read);
        file->seen = file->read;
    }
}

struct file_watch *file_watch_new(struct worker *worker, const char *const *paths, size_t count,
                                  file_watch_callback callback, void *context)
{
    struct file_watch *watch = memory_new(sizeof *watch);

    assert(count <= FILE_WATCH_MAX);
    watch->callback = callback;
    watch->context = context;
    for (size_t i = 0; i < count; i++)
        if (paths[i] && !input_is_pipe(paths[i]))
            watch->files[watch->count++].path = paths[i];
    file_watch_reset(watch);
    if (watch->count == 0)
        return watch;
    watch->look = timer_new(worker, on_file_look, watch);
    timer_repeat_ms(watch->look, LOOK_S * 1000);
    return watch;
}

void file_watch_free(struct file_watch *watch)
{
    if (!watch)
        return;
    timer_free(watch->look);
    free(watch);
}

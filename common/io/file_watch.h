/*
 * Notices that files have changed: they are looked at every two seconds, which needs no help from
 * the system, and works for symbolic links that lead elsewhere (Kubernetes) and for network file
 * systems.
 */
#pragma once

#include "io/worker.h"

#define FILE_WATCH_MAX 5

struct file_watch;

/* A file has changed, and none has since the look before: what belongs together is not written in
 * one moment. */
typedef void (*file_watch_callback)(void *context);

/* paths that are NULL, and pipes, are left out. The texts must live as long. */
struct file_watch *file_watch_new(struct worker *worker, const char *const *paths, size_t count,
                                  file_watch_callback callback, void *context);
/* NULL is fine. */
void file_watch_free(struct file_watch *watch);

/* To be called before the files are read: what changes from now on will be noticed. */
void file_watch_reset(struct file_watch *watch);

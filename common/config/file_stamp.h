/* What tells that the content of a file may have changed, without reading it. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

/*
 * A file that is written anew in place, replaced, or reached by another symbolic link than before
 * has another stamp: mtime can be set back and the size can be the same, so inode and ctime count
 * too. Times are as fine as the system has them.
 */
struct file_stamp {
    int error; /* of stat(); 0: the rest is there */
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
    struct timespec changed;
};

/* Of what path leads to now. To be taken before the file is read: a change in between is then
 * noticed later, and not missed. */
void file_stamp_take(const char *path, struct file_stamp *stamp);
bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b);

/*
 * Calls back while a descriptor is readable, or while it is writable, for as long as that is
 * wanted. The descriptor stays its owner's, who frees the watch before closing it.
 *
 * The callback comes from the loop only, never from a call of these functions, and may free its own
 * watch. Wanting and not wanting allocates nothing.
 */
#pragma once

#include <stdbool.h>

struct watch;
struct worker;

enum watch_direction { WATCH_READ, WATCH_WRITE };

/* One that is not wanted yet. End of file and errors are readable and writable. Aborts without
 * memory. */
struct watch *watch_new(const struct worker *worker, int fd, enum watch_direction direction,
                        void (*callback)(void *argument), void *argument);
/* NULL is fine. */
void watch_free(struct watch *watch);
/* Takes no system call when it is so already. Not wanted, it does not call back, not even for what
 * the loop has found or watch_fire() has asked for before. */
void watch_want(struct watch *watch, bool wanted);
bool watch_is_wanted(const struct watch *watch);
/* Calls back once, before the loop looks at the sockets again: where bytes wait that the descriptor
 * does not tell of. Whether it is wanted stays as it is. */
void watch_fire(struct watch *watch);

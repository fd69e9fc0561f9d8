/*
 * Threads beside the loop's. Signals that are sent to the program are the loop's: in these threads
 * they are blocked. Those that a thread causes itself come to it all the same: blocked, they would
 * end the program without a word (confinement and sanitizers have handlers for them).
 */
#pragma once

#include <pthread.h>

/* As pthread_create(): 0, or an error number. */
int thread_start(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *argument),
                 void *argument);

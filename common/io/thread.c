#include "io/thread.h"

#include <signal.h>
#include <stddef.h>

static void fill_with_sent(sigset_t *set)
{
    static const int caused[] = {SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};

    sigfillset(set);
    for (size_t i = 0; i < sizeof caused / sizeof caused[0]; i++)
        sigdelset(set, caused[i]);
}

int thread_start(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *argument),
                 void *argument)
{
    sigset_t sent;
    sigset_t before;

    fill_with_sent(&sent);
    pthread_sigmask(SIG_SETMASK, &sent, &before);
    int error = pthread_create(thread, attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

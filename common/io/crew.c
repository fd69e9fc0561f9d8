#include "io/crew.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/clock.h"
#include "io/socket.h"
#include "io/thread.h"
#include "io/watch.h"

enum { STACK_SIZE = 1024 * 1024 };

struct crew_member {
    struct crew *crew;
    struct worker *worker;
    struct worker own; /* of the others than home */
    size_t place;
    pthread_t thread;
    bool runs;
    int wake[2]; /* a pipe: a byte in it says that there is mail */
    struct watch *woken;
    struct list mail;
    bool told; /* the byte is on its way */
};

struct crew {
    size_t size;
    pthread_mutex_t lock; /* of all that follows, and of the members' mail */
    pthread_cond_t changed;
    size_t standing; /* members that stand still */
    bool paused;
    bool over;
    struct crew_mail log_mail; /* to home: lines wait to be written */
    bool log_asked;
    struct crew_member members[];
};

/* ---- mail */

/* The lock is held. */
static void put_mail(struct crew_member *member, struct crew_mail *mail)
{
    const char byte = 0;

    list_append(&member->mail, &mail->node);
    if (member->told)
        return;
    member->told = true;
    /* One byte at a time is in the pipe: there is room for it. */
    while (write(member->wake[1], &byte, 1) < 0 && errno == EINTR)
        ;
}

void crew_post(struct crew *crew, size_t place, struct crew_mail *mail)
{
    assert(crew->size > 1);
    list_init(&mail->node);
    pthread_mutex_lock(&crew->lock);
    put_mail(&crew->members[place], mail);
    pthread_mutex_unlock(&crew->lock);
}

static void deliver_mail(struct list *mail, const struct crew_member *member)
{
    for (struct list *node; (node = list_pop(mail));) {
        struct crew_mail *one = list_entry(node, struct crew_mail, node);
        one->deliver(one, member->worker, member->place);
    }
}

/* The lock is held. */
static void stand_still(struct crew *crew)
{
    crew->standing++;
    pthread_cond_broadcast(&crew->changed);
    while (crew->paused)
        pthread_cond_wait(&crew->changed, &crew->lock);
    crew->standing--;
    pthread_cond_broadcast(&crew->changed);
}

static void on_crew_mail(void *argument)
{
    struct crew_member *member = argument;
    struct crew *crew = member->crew;
    struct list mail;
    char byte;

    list_init(&mail);
    while (read(member->wake[0], &byte, 1) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&crew->lock);
    member->told = false;
    for (struct list *node; (node = list_pop(&member->mail));)
        list_append(&mail, node);
    if (crew->paused && member->place > 0)
        stand_still(crew);
    bool over = crew->over && member->place > 0;
    pthread_mutex_unlock(&crew->lock);
    deliver_mail(&mail, member);
    if (over)
        worker_end(member->worker);
}

/* The lock is held. */
static void wake_others(struct crew *crew)
{
    const char byte = 0;

    for (size_t i = 1; i < crew->size; i++) {
        struct crew_member *member = &crew->members[i];
        if (member->told)
            continue;
        member->told = true;
        while (write(member->wake[1], &byte, 1) < 0 && errno == EINTR)
            ;
    }
}

/* ---- the log: home writes what the others gather */

static void deliver_log(struct crew_mail *mail, struct worker *worker, size_t place)
{
    struct crew *crew = list_entry(mail, struct crew, log_mail);

    (void)place;
    pthread_mutex_lock(&crew->lock);
    crew->log_asked = false;
    pthread_mutex_unlock(&crew->lock);
    log_write_out(worker->log);
}

static void ask_home(void *context)
{
    struct crew *crew = context;

    pthread_mutex_lock(&crew->lock);
    if (!crew->log_asked) {
        crew->log_asked = true;
        list_init(&crew->log_mail.node);
        put_mail(&crew->members[0], &crew->log_mail);
    }
    pthread_mutex_unlock(&crew->lock);
}

/* ---- standing still */

bool crew_pause(struct crew *crew, uint64_t limit_us)
{
    struct timespec limit;
    bool all;
    int error = 0;

    clock_gettime(CLOCK_REALTIME, &limit);
    uint64_t nanoseconds = (uint64_t)limit.tv_nsec + limit_us * 1000;
    limit.tv_sec += (time_t)(nanoseconds / 1000000000);
    limit.tv_nsec = (long)(nanoseconds % 1000000000);
    pthread_mutex_lock(&crew->lock);
    /* Those that stood still before have all gone on. */
    while (crew->standing > 0 && error == 0)
        error = pthread_cond_timedwait(&crew->changed, &crew->lock, &limit);
    crew->paused = error == 0;
    if (crew->paused)
        wake_others(crew);
    while (error == 0 && crew->standing < crew->size - 1)
        error = pthread_cond_timedwait(&crew->changed, &crew->lock, &limit);
    all = error == 0;
    crew->paused = all;
    if (!all)
        pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->lock);
    return all;
}

void crew_resume(struct crew *crew)
{
    pthread_mutex_lock(&crew->lock);
    crew->paused = false;
    pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->lock);
}

/* ---- life */

static bool start_member(struct crew_member *member)
{
    if (pipe(member->wake) != 0)
        return false;
    for (int i = 0; i < 2; i++) {
        fcntl(member->wake[i], F_SETFD, FD_CLOEXEC);
        fcntl(member->wake[i], F_SETFL, O_NONBLOCK);
    }
    if (member->place > 0 && !worker_init_beside(&member->own, member->crew->members[0].worker))
        return false;
    if (member->place > 0)
        member->worker = &member->own;
    member->woken = watch_new(member->worker, member->wake[0], WATCH_READ, on_crew_mail, member);
    watch_want(member->woken, true);
    return true;
}

struct crew *crew_new(struct worker *home, size_t size)
{
    assert(size >= 1 && size <= CREW_MAX);
    struct crew *crew = memory_new(sizeof *crew + size * sizeof crew->members[0]);

    crew->size = size;
    crew->log_mail.deliver = deliver_log;
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->changed, NULL);
    for (size_t i = 0; i < size; i++) {
        crew->members[i] = (struct crew_member){.crew = crew, .place = i, .wake = {-1, -1}};
        list_init(&crew->members[i].mail);
    }
    crew->members[0].worker = home;
    for (size_t i = 0; i < size && size > 1; i++) {
        if (start_member(&crew->members[i]))
            continue;
        int error = errno;
        crew_free(crew);
        errno = error;
        return NULL;
    }
    return crew;
}

size_t crew_size(const struct crew *crew)
{
    return crew->size;
}

struct worker *crew_worker(const struct crew *crew, size_t place)
{
    return crew->members[place].worker;
}

static void *run_member(void *argument)
{
    struct crew_member *member = argument;

    worker_run(member->worker);
    return NULL;
}

bool crew_start(struct crew *crew)
{
    pthread_attr_t attributes;
    int error = 0;

    if (crew->size > 1)
        log_gather(crew->members[0].worker->log, ask_home, crew);
    pthread_attr_init(&attributes);
    /* musl's threads have little. */
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    for (size_t i = 1; i < crew->size && error == 0; i++) {
        struct crew_member *member = &crew->members[i];
        error = thread_start(&member->thread, &attributes, run_member, member);
        member->runs = error == 0;
    }
    pthread_attr_destroy(&attributes);
    errno = error;
    return error == 0;
}

void crew_stop(struct crew *crew)
{
    if (!crew)
        return;
    pthread_mutex_lock(&crew->lock);
    crew->over = true;
    wake_others(crew);
    pthread_mutex_unlock(&crew->lock);
    /* No callback of a worker waits for anything, so this does not last. */
    for (size_t i = 1; i < crew->size; i++) {
        if (crew->members[i].runs)
            pthread_join(crew->members[i].thread, NULL);
        crew->members[i].runs = false;
    }
    if (crew->size > 1)
        worker_gather_log(crew->members[0].worker);
    /* What is delivered may post something: to home in the end. */
    for (size_t again = 0; again < crew->size; again++)
        for (size_t i = crew->size; i-- > 0;)
            deliver_mail(&crew->members[i].mail, &crew->members[i]);
}

void crew_free(struct crew *crew)
{
    if (!crew)
        return;
    for (size_t i = 0; i < crew->size; i++) {
        struct crew_member *member = &crew->members[i];
        watch_free(member->woken);
        for (int end = 0; end < 2; end++)
            if (member->wake[end] >= 0)
                close(member->wake[end]);
        if (i > 0 && member->worker)
            worker_clear(member->worker);
    }
    pthread_cond_destroy(&crew->changed);
    pthread_mutex_destroy(&crew->lock);
    free(crew);
}

#include "net/resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fcntl.h>

/*
 * What the thread needs and fills in. Thread and query each hold one reference; the last one frees
 * it, so a cancelled query never waits for its thread.
 */
struct job {
    atomic_int references;
    char *host;
    char service[8];
    int status;
    struct addrinfo *found;
    int done_fd; /* the thread's end of a pipe: closed when it has finished */
};

struct resolver_query {
    struct worker *worker;
    struct job *job;
    resolver_callback callback;
    void *context;
    struct event *event;
    int fd; /* readable (end of file) when the job is done; -1: no thread was needed */
    bool numeric;
    struct socket_address address;
};

static void job_release(struct job *job)
{
    if (atomic_fetch_sub(&job->references, 1) > 1)
        return;
    if (job->found)
        freeaddrinfo(job->found);
    free(job->host);
    free(job);
}

static void *run_job(void *argument)
{
    struct job *job = argument;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

    hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
    job->status = getaddrinfo(job->host, job->service, &hints, &job->found);
    if (job->status == EAI_NONAME || job->status == EAI_ADDRFAMILY) {
        /* AI_ADDRCONFIG leaves out loopback names on a machine without any other address. */
        hints.ai_flags = AI_NUMERICSERV;
        job->status = getaddrinfo(job->host, job->service, &hints, &job->found);
    }
    int done = job->done_fd;
    job_release(job);
    close(done);
    return NULL;
}

static void query_free(struct resolver_query *query)
{
    event_free(query->event);
    if (query->fd >= 0)
        close(query->fd);
    if (query->job)
        job_release(query->job);
    free(query);
}

static void collect(struct resolver_result *result, const struct addrinfo *found)
{
    for (; found && result->count < RESOLVER_ADDRESSES_MAX; found = found->ai_next) {
        struct socket_address *address = &result->addresses[result->count];
        if (found->ai_addrlen > sizeof address->storage)
            continue;
        memset(address, 0, sizeof *address);
        memcpy(&address->storage, found->ai_addr, found->ai_addrlen);
        address->size = found->ai_addrlen;
        result->count++;
    }
}

static void on_done(evutil_socket_t fd, short what, void *argument)
{
    struct resolver_query *query = argument;
    struct resolver_result result = {0};

    (void)fd;
    if (query->numeric) {
        result.addresses[0] = query->address;
        result.count = 1;
    } else if (!query->job) {
        result.error = "no thread could be started for the look-up";
    } else if (what & EV_TIMEOUT) {
        result.error = "the name server did not answer in time";
    } else if (query->job->status != 0) {
        result.error = gai_strerror(query->job->status);
    } else {
        collect(&result, query->job->found);
        if (result.count == 0)
            result.error = "the name has no address";
    }
    query->callback(query->context, &result);
    query_free(query);
}

/* The thread takes no signals: they are for the loop. */
static bool start_thread(struct job *job)
{
    sigset_t all;
    sigset_t before;
    pthread_attr_t attributes;
    pthread_t thread;

    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, (size_t)256 * 1024);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, &attributes, run_job, job);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0;
}

static bool start_job(struct resolver_query *query, const char *host, uint16_t port)
{
    struct job *job = calloc(1, sizeof *job);
    int ends[2];

    if (!job || !(job->host = strdup(host)))
        abort();
    if (pipe(ends) != 0) {
        free(job->host);
        free(job);
        return false;
    }
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    atomic_init(&job->references, 2);
    snprintf(job->service, sizeof job->service, "%u", (unsigned)port);
    job->done_fd = ends[1];
    query->job = job;
    query->fd = ends[0];
    if (start_thread(job))
        return true;
    close(ends[1]);
    close(ends[0]);
    query->fd = -1;
    query->job = NULL;
    job_release(job);
    job_release(job);
    return false;
}

struct resolver_query *resolver_lookup(struct worker *worker, const char *host, uint16_t port,
                                       unsigned timeout_ms, resolver_callback callback,
                                       void *context)
{
    struct resolver_query *query = calloc(1, sizeof *query);
    struct timeval timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000};

    if (!query)
        abort();
    *query = (struct resolver_query){
        .worker = worker, .callback = callback, .context = context, .fd = -1};
    query->numeric = socket_parse(host, port, &query->address);
    bool wait = !query->numeric && start_job(query, host, port);
    query->event = event_new(worker->base, query->fd, wait ? EV_READ : 0, on_done, query);
    if (!query->event)
        abort();
    if (wait)
        event_add(query->event, &timeout);
    else
        event_active(query->event, EV_READ, 0);
    return query;
}

void resolver_cancel(struct resolver_query *query)
{
    if (query)
        query_free(query);
}

#include "io/resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/memory.h"
#include "config/address.h"
#include "io/route.h"
#include "io/thread.h"
#include "io/timer.h"
#include "io/watch.h"

/*
 * What a thread needs and fills in. Thread and lookup each hold one reference; the last one frees
 * it, so nobody waits for a thread.
 */
struct job {
    atomic_int references;
    resolver_function function;
    char *host;
    int status;
    int error; /* errno, where status says no more than that */
    struct addrinfo *found;
    int done_fd; /* the thread's end of a pipe: closed when it has finished */
};

/* A name that is looked up, or waits for its turn, and who wants to know. */
struct lookup {
    struct list node; /* in resolver->lookups */
    struct resolver *resolver;
    char *host;
    struct list queries;
    struct job *job;    /* NULL: it waits */
    struct watch *done; /* readable (end of file) when the job is done */
    int fd;
};

struct resolver {
    struct worker_release kept;
    struct worker *worker;
    resolver_function function;
    struct list lookups; /* oldest first; those that run may be without queries */
    size_t running;
};

struct resolver_query {
    struct list node; /* in lookup->queries */
    struct lookup *lookup;
    resolver_callback callback;
    void *context;
    struct timer *timer; /* its deadline, or at once when the answer is there */
    uint16_t port;
    const char *error; /* an answer that needs no look-up: this, or, if count > 0, addresses */
    size_t count;
    struct socket_address addresses[2];
};

/* ---- the thread */

static void job_release(struct job *job)
{
    if (atomic_fetch_sub(&job->references, 1) > 1)
        return;
    if (job->found)
        freeaddrinfo(job->found);
    free(job->host);
    free(job);
}

/*
 * AI_ADDRCONFIG leaves out names of a family in which this machine has no address beside loopback:
 * offline, with no more than an IPv6 link-local address, a name that the hosts file has for
 * 127.0.0.1 is then asked for elsewhere, where nobody answers.
 */
static bool may_be_left_out(int status)
{
    switch (status) {
    case EAI_NONAME:
    case EAI_AGAIN:
    case EAI_FAIL:
#ifdef EAI_ADDRFAMILY
    case EAI_ADDRFAMILY:
#endif
#if defined(EAI_NODATA) && EAI_NODATA != EAI_NONAME
    case EAI_NODATA:
#endif
        return true;
    default:
        return false;
    }
}

static void *run_job(void *argument)
{
    struct job *job = argument;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

    hints.ai_flags = AI_ADDRCONFIG;
    job->status = job->function(job->host, NULL, &hints, &job->found);
    if (may_be_left_out(job->status)) {
        hints.ai_flags = 0;
        job->status = job->function(job->host, NULL, &hints, &job->found);
    }
    job->error = errno;
    int done = job->done_fd;
    job_release(job);
    close(done);
    return NULL;
}

static bool start_thread(struct job *job)
{
    pthread_attr_t attributes;
    pthread_t thread;

    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, (size_t)256 * 1024);
    int error = thread_start(&thread, &attributes, run_job, job);
    pthread_attr_destroy(&attributes);
    return error == 0;
}

/* ---- answers */

static void query_free(struct resolver_query *query)
{
    list_remove(&query->node);
    timer_free(query->timer);
    free(query);
}

static void answer_query(struct resolver_query *query, struct resolver_result *result)
{
    resolver_callback callback = query->callback;
    void *context = query->context;

    for (size_t i = 0; i < result->count; i++)
        socket_set_port(&result->addresses[i], query->port);
    query_free(query);
    callback(context, result);
}

static void collect_addresses(struct resolver_result *result, const struct addrinfo *found)
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

static void read_job(const struct job *job, struct resolver_result *result)
{
    *result = (struct resolver_result){0};
    if (job->status == EAI_SYSTEM)
        result->error = strerror(job->error);
    else if (job->status != 0)
        result->error = gai_strerror(job->status);
    else
        collect_addresses(result, job->found);
    if (!result->error && result->count == 0)
        result->error = "the name has no address";
}

/* ---- look-ups */

static void lookup_free(struct lookup *lookup)
{
    list_remove(&lookup->node);
    if (lookup->job) {
        watch_free(lookup->done);
        close(lookup->fd);
        job_release(lookup->job);
    }
    free(lookup->host);
    free(lookup);
}

static void start_waiting(struct resolver *resolver);

static void on_done(void *argument)
{
    struct lookup *lookup = argument;
    struct resolver_result result;

    lookup->resolver->running--;
    /* Whoever asks from now on asks anew. */
    list_remove(&lookup->node);
    start_waiting(lookup->resolver);
    for (struct list *node; (node = list_pop(&lookup->queries));) {
        read_job(lookup->job, &result);
        answer_query(list_entry(node, struct resolver_query, node), &result);
    }
    lookup_free(lookup);
}

static struct job *job_new(const struct lookup *lookup, int done_fd)
{
    struct job *job = memory_new(sizeof *job);

    job->host = memory_text(lookup->host);
    job->function = lookup->resolver->function;
    job->done_fd = done_fd;
    atomic_init(&job->references, 2);
    return job;
}

/* false: there is no descriptor or thread for it. */
static bool start_lookup(struct lookup *lookup)
{
    int ends[2];

    if (pipe(ends) != 0)
        return false;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    struct job *job = job_new(lookup, ends[1]);
    if (!start_thread(job)) {
        close(ends[0]);
        close(ends[1]);
        job_release(job);
        job_release(job);
        return false;
    }
    lookup->job = job;
    lookup->fd = ends[0];
    lookup->done = watch_new(lookup->resolver->worker, ends[0], WATCH_READ, on_done, lookup);
    watch_want(lookup->done, true);
    lookup->resolver->running++;
    return true;
}

static void give_up_lookup(struct lookup *lookup)
{
    for (struct list *node; (node = list_pop(&lookup->queries));) {
        struct resolver_query *query = list_entry(node, struct resolver_query, node);
        query->lookup = NULL;
        query->error = "no file descriptor or thread is left for the look-up";
        timer_fire(query->timer);
    }
    lookup_free(lookup);
}

/* In the order in which they were asked for. What can't be started is tried again when another one
 * has ended; without another one there is no hope. */
static void start_waiting(struct resolver *resolver)
{
    for (struct list *at = resolver->lookups.next, *next; at != &resolver->lookups; at = next) {
        struct lookup *lookup = list_entry(at, struct lookup, node);
        next = at->next;
        if (resolver->running >= RESOLVER_THREADS)
            return;
        if (lookup->job || start_lookup(lookup))
            continue;
        if (resolver->running > 0)
            return;
        give_up_lookup(lookup);
    }
}

static struct lookup *find_or_add(struct resolver *resolver, const char *host)
{
    list_each(at, &resolver->lookups) {
        struct lookup *lookup = list_entry(at, struct lookup, node);
        if (strcasecmp(lookup->host, host) == 0)
            return lookup;
    }
    struct lookup *lookup = memory_new(sizeof *lookup);
    lookup->host = memory_text(host);
    lookup->resolver = resolver;
    list_init(&lookup->queries);
    list_append(&resolver->lookups, &lookup->node);
    return lookup;
}

/* Nobody wants it any more: a thread goes on all the same, and takes up a place until it ends. */
static void leave_lookup(struct resolver_query *query)
{
    struct lookup *lookup = query->lookup;

    list_remove(&query->node);
    query->lookup = NULL;
    if (lookup && !lookup->job && list_empty(&lookup->queries))
        lookup_free(lookup);
}

/* ---- queries */

static bool is_localhost(const char *host)
{
    static const char name[] = "localhost";
    size_t size = address_host_size(host);

    if (size < sizeof name - 1 ||
        strncasecmp(host + size - (sizeof name - 1), name, sizeof name - 1) != 0)
        return false;
    return size == sizeof name - 1 || host[size - sizeof name] == '.';
}

/* Of the two loopback addresses those that this machine has. */
static void find_loopback(struct resolver_query *query)
{
    static const char *const hosts[] = {"127.0.0.1", "::1"};
    struct route route;

    for (size_t i = 0; i < 2; i++) {
        struct socket_address *address = &query->addresses[query->count];
        socket_parse(hosts[i], 0, address);
        if (i == 0 || (route_find(address, &route) && route.found))
            query->count++;
    }
}

static void on_query(void *argument)
{
    struct resolver_query *query = argument;
    struct resolver_result result = {.error = query->error, .count = query->count};

    memcpy(result.addresses, query->addresses, query->count * sizeof query->addresses[0]);
    if (!result.error && result.count == 0)
        result.error = "the name server did not answer in time";
    leave_lookup(query);
    answer_query(query, &result);
}

/* With the worker, when no query is left; threads may still run. */
static void destroy_resolver(struct worker_release *release)
{
    struct resolver *resolver = list_entry(release, struct resolver, kept);

    while (!list_empty(&resolver->lookups))
        lookup_free(list_entry(resolver->lookups.next, struct lookup, node));
    free(resolver);
}

static struct resolver *resolver_of(struct worker *worker)
{
    struct resolver *resolver = worker->resolver;

    if (resolver)
        return resolver;
    resolver = memory_new(sizeof *resolver);
    resolver->worker = worker;
    resolver->function = getaddrinfo;
    list_init(&resolver->lookups);
    worker->resolver = resolver;
    worker_keep(worker, &resolver->kept, destroy_resolver);
    return resolver;
}

struct resolver_query *resolver_lookup(struct worker *worker, const char *host, uint16_t port,
                                       unsigned timeout_ms, resolver_callback callback,
                                       void *context)
{
    struct resolver *resolver = resolver_of(worker);
    struct resolver_query *query = memory_new(sizeof *query);

    *query = (struct resolver_query){.callback = callback, .context = context, .port = port};
    list_init(&query->node);
    query->timer = timer_new(worker, on_query, query);
    if (socket_parse(host, 0, &query->addresses[0]))
        query->count = 1;
    else if (is_localhost(host))
        find_loopback(query);
    if (query->count > 0) {
        timer_fire(query->timer);
        return query;
    }
    if (timeout_ms != RESOLVER_NO_TIMEOUT)
        timer_start_ms(query->timer, timeout_ms);
    query->lookup = find_or_add(resolver, host);
    list_append(&query->lookup->queries, &query->node);
    start_waiting(resolver);
    return query;
}

void resolver_cancel(struct resolver_query *query)
{
    if (!query)
        return;
    leave_lookup(query);
    query_free(query);
}

/* ---- life */

void resolver_replace(struct worker *worker, resolver_function function)
{
    resolver_of(worker)->function = function;
}

#include "net/program.h"

#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/clock.h"

/* Each connection takes a descriptor at both ends; the soft limit is often far below the hard one.
 */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
#ifdef __APPLE__
    if (limit.rlim_cur > OPEN_MAX)
        limit.rlim_cur = OPEN_MAX;
#endif
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void start_log(struct program *program, const struct shared_options *shared)
{
    struct log_settings settings = {
        .level = (enum log_level)shared->log_level,
        .format = (enum log_format)shared->log_format,
        .fd = STDERR_FILENO,
    };

    log_init(&program->log, &settings);
    for (size_t i = 0; i < program->config.warning_count; i++)
        log_warning(&program->log, "configuration", "A setting is ignored",
                    log_str("reason", program->config.warnings[i]));
}

int program_usage(const struct program *program, const char *error)
{
    fprintf(stderr, "%s: %s\n", program->name, error);
    return 2;
}

bool program_begin(struct program *program, const struct config_program *description, void *target,
                   const struct shared_options *shared, int argc, char **argv, char **environment,
                   int *exit_code)
{
    memset(program, 0, sizeof *program);
    program->name = description->name;
    signal(SIGPIPE, SIG_IGN);
    int result = config_load(&program->config, description, target, argc, argv, environment);
    if (result == 0) {
        raise_descriptor_limit();
        start_log(program, shared);
        worker_init(&program->worker, &program->log, shared->memory);
        return true;
    }
    *exit_code = 0;
    if (result == CONFIG_HELP)
        config_write_help(description, stdout);
    else if (result == CONFIG_VERSION)
        printf("%s %s\n", description->name, KAFKA_TUNNEL_VERSION);
    else
        *exit_code = program_usage(program, program->config.error);
    config_free(&program->config);
    return false;
}

void program_end(struct program *program)
{
    worker_clear(&program->worker);
    log_flush(&program->log);
    config_free(&program->config);
}

struct run {
    struct worker *worker;
    int signal_number;
};

static void on_signal(evutil_socket_t number, short what, void *argument)
{
    struct run *run = argument;

    (void)what;
    run->signal_number = (int)number;
    event_base_loopbreak(run->worker->base);
}

int program_run(struct worker *worker)
{
    struct run run = {.worker = worker};
    struct event *terminate = evsignal_new(worker->base, SIGTERM, on_signal, &run);
    struct event *interrupt = evsignal_new(worker->base, SIGINT, on_signal, &run);

    if (!terminate || !interrupt)
        abort();
    event_add(terminate, NULL);
    event_add(interrupt, NULL);
    event_base_dispatch(worker->base);
    event_free(terminate);
    event_free(interrupt);
    return run.signal_number;
}

void program_stop(struct worker *worker)
{
    event_base_loopbreak(worker->base);
}

void program_linger(struct worker *worker, unsigned timeout_ms, bool (*done)(void *context),
                    void *context)
{
    uint64_t end = clock_now_us() + (uint64_t)timeout_ms * 1000;

    while (!done(context)) {
        uint64_t now = clock_now_us();
        if (now >= end)
            return;
        uint64_t wait = end - now;
        const struct timeval limit = {(time_t)(wait / 1000000), (suseconds_t)(wait % 1000000)};
        event_base_loopexit(worker->base, &limit);
        event_base_loop(worker->base, EVLOOP_ONCE);
    }
}

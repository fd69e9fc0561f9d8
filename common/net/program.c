#include "net/program.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "net/clock.h"

extern char **environ;

enum { GOODBYE_MS = 1500, ERROR_MAX = 600 };

struct program {
    const char *name;
    struct config config;
    struct log log;
    struct worker worker;
};

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

/* Prints a usage error and returns the exit code for it. */
static int usage(const struct program *program, const char *error)
{
    fprintf(stderr, "%s: %s\n", program->name, error);
    return 2;
}

/*
 * Loads the options and sets up log and worker. false: *exit_code says how to exit; what there is
 * to say (help, version, a usage error) has been printed.
 */
static bool begin(struct program *program, const struct program_parts *parts, int argc, char **argv,
                  int *exit_code)
{
    const struct config_program *description = parts->description;

    memset(program, 0, sizeof *program);
    program->name = description->name;
    signal(SIGPIPE, SIG_IGN);
    int result = config_load(&program->config, description, parts->options, argc, argv, environ);
    if (result == 0) {
        raise_descriptor_limit();
        start_log(program, parts->shared);
        worker_init(&program->worker, &program->log, parts->shared->memory);
        return true;
    }
    *exit_code = 0;
    if (result == CONFIG_HELP)
        config_write_help(description, stdout);
    else if (result == CONFIG_VERSION)
        printf("%s %s\n", description->name, KAFKA_TUNNEL_VERSION);
    else
        *exit_code = usage(program, program->config.error);
    config_free(&program->config);
    return false;
}

static void end(struct program *program)
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

/* Runs the loop until SIGTERM or SIGINT, and returns its number. */
static int run_until_signal(struct worker *worker)
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

/* Runs on until the program has stopped, at most for GOODBYE_MS. */
static void linger(struct worker *worker, const struct program_parts *parts)
{
    uint64_t limit_us = clock_now_us() + (uint64_t)GOODBYE_MS * 1000;

    while (!parts->stopped(parts->work)) {
        uint64_t now = clock_now_us();
        if (now >= limit_us)
            return;
        uint64_t wait = limit_us - now;
        const struct timeval limit = {(time_t)(wait / 1000000), (suseconds_t)(wait % 1000000)};
        event_base_loopexit(worker->base, &limit);
        event_base_loop(worker->base, EVLOOP_ONCE);
    }
}

/* Returns the exit code. */
static int work(struct program *program, const struct program_parts *parts)
{
    struct worker *worker = &program->worker;
    char error[ERROR_MAX];
    char message[100];
    int exit_code = 1;

    if (!parts->start(parts->work, worker, parts->options, error, sizeof error, &exit_code)) {
        snprintf(message, sizeof message, "%s cannot start", program->name);
        log_error(worker->log, "start_failed", message, log_str("reason", error));
        parts->free(parts->work);
        return exit_code;
    }
    int signal_number = run_until_signal(worker);
    snprintf(message, sizeof message, "%s stops", program->name);
    log_info(worker->log, "stopping", message, log_i64("signal", signal_number));
    parts->stop(parts->work);
    linger(worker, parts);
    parts->free(parts->work);
    return 0;
}

int program_main(const struct program_parts *parts, int argc, char **argv)
{
    struct program program;
    char error[ERROR_MAX];
    int exit_code;

    if (!begin(&program, parts, argc, argv, &exit_code))
        return exit_code;
    if (parts->check(parts->options, error, sizeof error))
        exit_code = work(&program, parts);
    else
        exit_code = usage(&program, error);
    end(&program);
    return exit_code;
}

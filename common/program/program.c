#include "program/program.h"

#include <errno.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/printable.h"
#include "config/secret.h"
#include "io/children.h"
#include "io/clock.h"
#include "io/timer.h"
#include "program/hangup.h"
#include "program/inherited.h"
#include "program/notify.h"
#include "program/signals.h"

extern char **environ;

enum {
    GOODBYE_MS = 1500,
    ERROR_MAX = 600,
    /* A shell that ends tells its jobs first; within so long its session has lost the terminal. */
    TERMINAL_LOOK_MS = 250,
    TERMINAL_LOOKS = 40,
    /* For the loop, listeners, signals, pages, a dial with its look-up and a command for a token;
     * each connection takes more. */
    DESCRIPTORS_LEAST = 32,
};

struct program {
    const char *name;
    struct inherited inherited;
    struct config config;
    struct log log;
    struct worker worker;
    struct notify *notify;
};

static void start_log(struct program *program, const struct shared_options *shared)
{
    struct log_settings settings = {
        .level = (enum log_level)shared->log_level,
        .format = (enum log_format)shared->log_format,
        .fd = STDERR_FILENO,
        .burst = (uint32_t)shared->log_rate,
    };

    log_init(&program->log, &settings);
    for (size_t i = 0; i < program->config.warning_count; i++)
        log_warning(&program->log, "configuration", "A setting is ignored",
                    log_str("reason", program->config.warnings[i]));
}

/* What the system must have for us before anything is begun. false: that is printed. */
static bool check_system(const char *name)
{
    struct rlimit limit = {.rlim_cur = 0};
    size_t left = inherited_descriptors_left(DESCRIPTORS_LEAST);

    if (left < DESCRIPTORS_LEAST) {
        getrlimit(RLIMIT_NOFILE, &limit);
        fprintf(stderr,
                "%s: it needs %d free file descriptors to start, and more for connections; %zu of "
                "%llu are free: raise the limit (ulimit -n, LimitNOFILE=)\n",
                name, DESCRIPTORS_LEAST, left, (unsigned long long)limit.rlim_cur);
        return false;
    }
    if (RAND_status() != 1) {
        fprintf(stderr,
                "%s: the system provides no random numbers, without which no connection is safe: "
                "is getrandom() not allowed, and is /dev/urandom missing?\n",
                name);
        return false;
    }
    return true;
}

/* ---- secrets */

/* false: the file that a path leads to is nobody else's business, or there is none. */
static bool is_file_exposed(const char *path, unsigned *mode)
{
    struct stat status;

    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode))
        return false;
    *mode = (unsigned)status.st_mode & 07777;
    return secret_is_exposed(status.st_mode);
}

static void warn_of_rules_file(struct program *program, const char *option, const char *path)
{
    unsigned mode;

    if (is_file_exposed(path, &mode) && (mode & S_IWOTH))
        log_warning(&program->log, "rules_exposed",
                    "Every user of this machine may write a file that decides who may do what: "
                    "chmod o-w",
                    log_str("option", option), log_str("file", path));
}

static void warn_of_exposed_file(struct program *program, const char *option, const char *path)
{
    char text[8];
    unsigned mode;

    if (!is_file_exposed(path, &mode))
        return;
    snprintf(text, sizeof text, "%04o", mode);
    log_warning(&program->log, "secret_exposed",
                "Every user of this machine may read or write a file with a secret: chmod 600",
                log_str("option", option), log_str("file", path), log_str("mode", text));
}

/* What the file of --config itself says may be a secret. */
static bool is_secret_from_file(const struct program *program, const struct config_option *option)
{
    return (option->flags & CONFIG_SECRET) &&
           config_source(&program->config, option->name) == CONFIG_FROM_FILE;
}

/* Whoever reads a file looks at it again, and refuses it if it must. */
static void look_at_secret_files(struct program *program, const struct program_parts *parts)
{
    const struct config_program *description = parts->description;
    bool in_config = false;

    for (size_t i = 0; i < description->count; i++) {
        const struct config_option *option = &description->options[i];
        const char *const *path =
            (const char *const *)(const void *)((const char *)parts->options + option->offset);
        in_config = in_config || is_secret_from_file(program, option);
        if ((option->flags & CONFIG_SECRET_FILE) && *path)
            warn_of_exposed_file(program, option->name, *path);
        if ((option->flags & CONFIG_RULES_FILE) && *path)
            warn_of_rules_file(program, option->name, *path);
    }
    if (in_config)
        warn_of_exposed_file(program, "config", program->config.file);
}

/* false: error holds a sentence. */
static bool check_config_file(const struct program *program, const struct program_parts *parts,
                              char *error, size_t size)
{
    char why[SECRET_ERROR_MAX];
    unsigned mode;

    if (!program->config.file || !is_file_exposed(program->config.file, &mode))
        return true;
    for (size_t i = 0; i < parts->description->count; i++) {
        if (!is_secret_from_file(program, &parts->description->options[i]) ||
            secret_is_guarded(program->config.file, true, parts->shared->strict_files, why))
            continue;
        snprintf(error, size, "--config: %s", why);
        return false;
    }
    return true;
}

/* Prints a usage error and returns the exit code for it. */
static int usage(const struct program *program, const char *error)
{
    char shown[2 * ERROR_MAX];

    printable(error, strlen(error), shown, sizeof shown);
    fprintf(stderr, "%s: %s\n", program->name, shown);
    return 2;
}

/*
 * Loads the options and sets up log and worker. false: *exit_code says how to exit; what there is
 * to say (help, version, a usage error) has been printed.
 */
static bool begin_program(struct program *program, const struct program_parts *parts, int argc,
                          char **argv, int *exit_code)
{
    const struct config_program *description = parts->description;

    memset(program, 0, sizeof *program);
    program->name = description->name;
    inherited_change(&program->inherited);
    int result = config_load(&program->config, description, parts->options, argc, argv, environ);
    if (result == 0) {
        parts->shared->log_level_given =
            config_source(&program->config, "log-level") != CONFIG_FROM_DEFAULT;
        start_log(program, parts->shared);
        if (!parts->shared->core_dumps)
            inherited_forbid_core(&program->inherited);
        if (!check_system(program->name) ||
            !worker_init(&program->worker, &program->log, parts->shared->memory)) {
            config_free(&program->config);
            *exit_code = 1;
            return false;
        }
        program->notify = notify_new(&program->worker);
        children_adopt(&program->worker);
        return true;
    }
    *exit_code = 0;
    if (result == CONFIG_HELP)
        config_write_help(description, program->config.call.command, stdout);
    else if (result == CONFIG_HELP_ALL)
        config_write_help_all(description, program->config.call.command, stdout);
    else if (result == CONFIG_VERSION)
        printf("%s %s\n", description->name, KAFKA_TUNNEL_VERSION);
    else
        *exit_code = usage(program, program->config.error);
    config_free(&program->config);
    return false;
}

static void end_program(struct program *program)
{
    notify_free(program->notify);
    worker_clear(&program->worker);
    log_flush(&program->log);
    config_free(&program->config);
}

/* A signal ends whatever the loop is run for, if the work does not deal with it. */
struct run {
    struct program *program;
    const struct program_parts *parts;
    struct worker *worker;
    struct notify *notify;
    struct signals *signals;
    bool passes_signals;
    struct hangup hangup;
    struct timer *look;  /* whether the terminal is there */
    unsigned looks_left; /* after a SIGHUP */
    int signal_number;   /* 0: none has come */
};

static void stop_for(struct run *run, int number)
{
    run->signal_number = number;
    worker_end(run->worker);
}

static void reload_files(struct run *run)
{
    struct worker *worker = run->worker;
    struct reload result = {0};

    notify_reloading(run->notify);
    look_at_secret_files(run->program, run->parts);
    run->parts->reload(run->parts->work, &result);
    notify_reloaded(run->notify);
    log_event(worker->log, result.failed > 0 ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "reloaded",
              "Files were read again",
              (const struct log_field[]){log_u64("renewed", result.renewed),
                                         log_u64("failed", result.failed)},
              2);
}

static void look_soon(struct run *run)
{
    timer_start_ms(run->look, TERMINAL_LOOK_MS);
}

static void on_terminal_look(void *argument)
{
    struct run *run = argument;

    if (hangup_is_over(&run->hangup))
        stop_for(run, SIGHUP);
    else if (--run->looks_left > 0)
        look_soon(run);
}

/* The terminal is gone, or files are to be read again. */
static void on_hangup(struct run *run, bool from_kernel)
{
    if (hangup_is_meant(&run->hangup, from_kernel)) {
        stop_for(run, SIGHUP);
        return;
    }
    reload_files(run);
    if (!hangup_is_possible(&run->hangup))
        return;
    run->looks_left = TERMINAL_LOOKS;
    look_soon(run);
}

static void on_program_signal(void *context, int number, bool from_terminal)
{
    struct run *run = context;

    if (run->passes_signals && run->parts->signalled(run->parts->work, number, from_terminal))
        return;
    if (number == SIGHUP && !run->passes_signals)
        on_hangup(run, from_terminal);
    else
        stop_for(run, number);
}

static bool watch_signals(struct run *run, struct program *program,
                          const struct program_parts *parts)
{
    struct worker *worker = &program->worker;
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    const size_t passed_on = sizeof numbers / sizeof numbers[0];

    *run = (struct run){
        .program = program, .parts = parts, .worker = worker, .notify = program->notify};
    hangup_init(&run->hangup);
    run->look = timer_new(worker, on_terminal_look, run);
    run->passes_signals = parts->passes_signals && parts->passes_signals(parts->options);
    run->signals = signals_new(worker, numbers, run->passes_signals ? passed_on : 3,
                               run->passes_signals, on_program_signal, run);
    return run->signals != NULL;
}

static void unwatch_signals(struct run *run)
{
    if (run->signals)
        signals_free(run->signals);
    timer_free(run->look);
}

/* Runs on until the program has stopped or another signal comes, at most for limit_ms. */
static void linger(struct run *run, const struct program_parts *parts, uint64_t limit_ms)
{
    struct worker *worker = run->worker;
    uint64_t limit_us = clock_now_us() + limit_ms * 1000;

    run->signal_number = 0;
    while (!parts->stopped(parts->work) && run->signal_number == 0) {
        uint64_t now = clock_now_us();
        if (now >= limit_us)
            return;
        uint64_t wait = limit_us - now;
        worker_run_once_us(worker, wait);
    }
}

/* Whoever is told to stop at the same moment as this program may still want to finish its work over
 * it, and whoever sends clients here needs a moment to see that it is not ready. */
static void serve_on(struct run *run)
{
    uint64_t delay_ms = run->parts->shared->stop_delay_ms;

    if (delay_ms == 0)
        return;
    log_info(run->worker->log, "stop_delayed", "Still serving, for --stop-delay",
             log_ms("delay", delay_ms));
    run->parts->leave(run->parts->work);
    worker_run_us(run->worker, delay_ms * 1000);
}

/* Returns the exit code. */
static int work(struct program *program, const struct program_parts *parts)
{
    struct worker *worker = &program->worker;
    const struct program_context context = {
        .worker = worker, .notify = program->notify, .inherited = &program->inherited};
    struct run run;
    char error[ERROR_MAX];
    char message[100];
    enum program_start start = PROGRAM_FAILED;

    /* Before it says that it is ready: from then on somebody may send one. */
    bool watches = watch_signals(&run, program, parts);
    look_at_secret_files(program, parts);
    if (!watches)
        snprintf(error, sizeof error, "cannot create a pipe for signals: %s", strerror(errno));
    else
        start = parts->start(parts->work, &context, parts->options, error, sizeof error);
    if (start != PROGRAM_GOES) {
        snprintf(message, sizeof message, "%s cannot start", program->name);
        log_error(worker->log, "start_failed", message, log_str("reason", error));
        unwatch_signals(&run);
        if (watches)
            parts->free(parts->work);
        return (int)start;
    }
    worker_run(worker);
    notify_stopping(program->notify);
    snprintf(message, sizeof message, "%s stops", program->name);
    log_info(worker->log, "stopping", message, log_i64("signal", run.signal_number));
    /* What ends by itself, or was asked to over HTTP, is not needed any more. */
    if (run.signal_number != 0 && !run.passes_signals)
        serve_on(&run);
    parts->drain(parts->work);
    linger(&run, parts, parts->shared->drain_timeout_ms);
    parts->stop(parts->work);
    linger(&run, parts, GOODBYE_MS);
    unwatch_signals(&run);
    int exit_code = parts->exit_code ? parts->exit_code(parts->work) : 0;
    parts->free(parts->work);
    return exit_code;
}

int program_main(const struct program_parts *parts, int argc, char **argv)
{
    struct program program;
    char error[ERROR_MAX];
    int exit_code;

    if (!begin_program(&program, parts, argc, argv, &exit_code))
        return exit_code;
    if (!parts->check(parts->options, error, sizeof error) ||
        !check_config_file(&program, parts, error, sizeof error))
        exit_code = usage(&program, error);
    else if (!parts->instead || !parts->instead(parts->options, &program.worker, &exit_code))
        exit_code = work(&program, parts);
    end_program(&program);
    return exit_code;
}

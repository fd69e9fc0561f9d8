/* tunnel-server: joins its options and the server to what every program does. */
#include <stdio.h>
#include <string.h>

#include "audit/audit_command.h"
#include "audit/audit_sink.h"
#include "authentication/token_maker.h"
#include "program/confine.h"
#include "program/program.h"
#include "status.h"

/* What the program does, with the pages that show it. */
struct work {
    struct server server;
    struct status status;
};

static bool check_server_options(void *options, char *error, size_t size)
{
    const struct options *given = options;
    const char *option;
    const char *why = NULL;

    if (!options_check(options, error, size))
        return false;
    if (given->call.command == COMMAND_TOKEN) {
        why = token_maker_check(given, &option);
        if (why)
            snprintf(error, size, "--%s %s", option, why);
    } else if (given->call.command == COMMAND_AUDIT) {
        why = audit_command_check(given);
        if (why)
            snprintf(error, size, "%s", why);
    }
    return why == NULL;
}

static bool run_command(const void *options, struct worker *worker, int *exit_code)
{
    const struct options *given = options;

    (void)worker;
    switch (given->call.command) {
    case COMMAND_TOKEN:
        *exit_code = token_maker_run(given);
        return true;
    case COMMAND_AUDIT:
        *exit_code = audit_command_run(given);
        return true;
    default:
        return false;
    }
}

/* Threads start later, and have what is left. A command of a login would inherit what is given up,
 * also for what it writes itself. */
static struct confined confine_server(const struct program_context *program,
                                      const struct options *options, bool commands)
{
    char directory[PATH_MAX];
    const char *log = options->audit_log ? audit_sink_path(options->audit_log) : NULL;
    /* The log itself may be elsewhere, by a symbolic link. */
    const char *writable[] = {log ? confine_directory(log, directory) : NULL, log};
    const struct confine_needs needs = {.writable = writable,
                                        .writable_count = 2,
                                        .everything = !options->shared.confine,
                                        .all_files = options->shared.core_dumps,
                                        .commands = commands};

    return confine(program->worker, &needs);
}

static enum program_start start_server_program(void *context, const struct program_context *program,
                                               const void *options, char *error, size_t size)
{
    struct work *work = context;
    const struct options *given = options;

    work->status = (struct status){0};
    bool commands = server_runs_commands(given);
    const struct confined confined = confine_server(program, given, commands);
    bool may_execute = !given->shared.confine || commands;
    enum program_start start =
        server_open(&work->server, program, options, may_execute, error, size);
    if (start != PROGRAM_GOES)
        return start;
    if (!status_start(&work->status, &work->server, &confined, error, size))
        return PROGRAM_FAILED;
    server_begin(&work->server);
    return PROGRAM_GOES;
}

static void reload_server_program(void *context, struct reload *reload)
{
    struct work *work = context;

    server_reload(&work->server, reload);
}

static void leave_server_program(void *context)
{
    struct work *work = context;

    server_leave(&work->server);
}

static void drain_server_program(void *context)
{
    struct work *work = context;

    server_drain(&work->server);
}

static void stop_server_program(void *context)
{
    struct work *work = context;

    server_stop(&work->server);
}

static bool server_program_has_stopped(const void *context)
{
    const struct work *work = context;

    return server_stopped(&work->server);
}

static void clear_server_program(void *context)
{
    struct work *work = context;

    status_stop(&work->status);
    server_free(&work->server);
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct work work;
    const struct program_parts parts = {
        .description = &options_program,
        .options = &options,
        .shared = &options.shared,
        .work = &work,
        .check = check_server_options,
        .instead = run_command,
        .start = start_server_program,
        .reload = reload_server_program,
        .leave = leave_server_program,
        .drain = drain_server_program,
        .stop = stop_server_program,
        .stopped = server_program_has_stopped,
        .free = clear_server_program,
    };
    int exit_code = program_main(&parts, argc, argv);

    options_free(&options);
    return exit_code;
}

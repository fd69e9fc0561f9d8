/* tunnel-client: joins its options, commands and the client to what every program does. */
#include "credentials/credential_options.h"
#include "doctor/doctor.h"
#include "hosts.h"
#include "listener_ca.h"
#include "program/program.h"
#include "status/status.h"
#include "wait.h"

/* What the program does, with the pages that show it. */
struct work {
    struct client client;
    struct status status;
};

static bool check_client_options(void *options, char *error, size_t size)
{
    struct options *given = options;

    return options_check(given, error, size) &&
           (given->call.command == COMMAND_WAIT || given->call.command == COMMAND_LISTENER_CA ||
            credential_options_check(given, error, size));
}

static bool instead(const void *options, struct worker *worker, int *exit_code)
{
    const struct options *given = options;

    switch (given->call.command) {
    case COMMAND_WAIT:
        *exit_code = wait_until_ready(worker, given);
        return true;
    case COMMAND_DOCTOR:
        *exit_code = doctor_run(worker, given);
        return true;
    case COMMAND_LISTENER_CA:
        *exit_code = listener_ca_print(given);
        return true;
    case COMMAND_HOSTS:
        *exit_code = hosts_print(worker, given);
        return true;
    default:
        return false;
    }
}

static bool passes_signals(const void *options)
{
    const struct options *given = options;

    return given->call.command == COMMAND_RUN;
}

static bool signalled(void *context, int number, bool from_terminal)
{
    struct work *work = context;

    return client_signalled(&work->client, number, from_terminal);
}

static int exit_code_of(const void *context)
{
    const struct work *work = context;

    return client_exit_code(&work->client);
}

static enum program_start start_client_program(void *context, const struct program_context *program,
                                               const void *options, char *error, size_t size)
{
    struct work *work = context;

    work->status = (struct status){0};
    enum program_start start = client_open(&work->client, program, options, error, size);
    if (start != PROGRAM_GOES)
        return start;
    if (!status_start(&work->status, &work->client, error, size))
        return PROGRAM_FAILED;
    client_connect(&work->client);
    return PROGRAM_GOES;
}

static void reload_client_program(void *context, struct reload *reload)
{
    struct work *work = context;

    client_reload(&work->client, reload);
}

static void leave_client_program(void *context)
{
    struct work *work = context;

    client_leave(&work->client);
}

static void drain_client_program(void *context)
{
    struct work *work = context;

    client_drain(&work->client);
}

static void stop_client_program(void *context)
{
    struct work *work = context;

    client_stop(&work->client);
}

static bool client_program_has_stopped(const void *context)
{
    const struct work *work = context;

    return client_stopped(&work->client);
}

static void clear_client_program(void *context)
{
    struct work *work = context;

    status_stop(&work->status);
    client_free(&work->client);
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
        .check = check_client_options,
        .instead = instead,
        .start = start_client_program,
        .reload = reload_client_program,
        .leave = leave_client_program,
        .drain = drain_client_program,
        .stop = stop_client_program,
        .stopped = client_program_has_stopped,
        .free = clear_client_program,
        .passes_signals = passes_signals,
        .signalled = signalled,
        .exit_code = exit_code_of,
    };
    int exit_code = program_main(&parts, argc, argv);

    options_free(&options);
    return exit_code;
}

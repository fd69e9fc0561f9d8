/* tunnel-client: joins its options, commands and the client to what every program does. */
#include "client.h"
#include "doctor/doctor.h"
#include "program/program.h"
#include "wait.h"

static bool check(void *options, char *error, size_t size)
{
    return options_check(options, error, size);
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
    default:
        return false;
    }
}

static bool passes_signals(const void *options)
{
    const struct options *given = options;

    return given->call.command == COMMAND_RUN;
}

static bool signalled(void *work, int number, bool from_terminal)
{
    return client_signalled(work, number, from_terminal);
}

static int exit_code_of(const void *work)
{
    return client_exit_code(work);
}

static bool start(void *work, struct worker *worker, const void *options, char *error, size_t size,
                  int *exit_code)
{
    return client_start(work, worker, options, error, size, exit_code);
}

static void reload(void *work, struct reload *reload)
{
    client_reload(work, reload);
}

static void leave(void *work)
{
    client_leave(work);
}

static void drain(void *work)
{
    client_drain(work);
}

static void stop(void *work)
{
    client_stop(work);
}

static bool stopped(const void *work)
{
    return client_stopped(work);
}

static void clear(void *work)
{
    client_free(work);
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct client client;
    const struct program_parts parts = {
        .description = &options_program,
        .options = &options,
        .shared = &options.shared,
        .work = &client,
        .check = check,
        .instead = instead,
        .start = start,
        .reload = reload,
        .leave = leave,
        .drain = drain,
        .stop = stop,
        .stopped = stopped,
        .free = clear,
        .passes_signals = passes_signals,
        .signalled = signalled,
        .exit_code = exit_code_of,
    };
    int exit_code = program_main(&parts, argc, argv);

    options_free(&options);
    return exit_code;
}

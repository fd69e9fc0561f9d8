/* tunnel-client: joins its options, commands and the client to what every program does. */
#include <stdio.h>

#include "client.h"
#include "net/program.h"

static bool check(void *options, char *error, size_t size)
{
    return options_check(options, error, size);
}

static bool instead(const void *options, struct worker *worker, int *exit_code)
{
    const struct options *given = options;

    (void)worker;
    if (given->call.command == COMMAND_NONE)
        return false;
    fprintf(stderr, "tunnel-client: this command is not built yet\n");
    *exit_code = 2;
    return true;
}

static bool start(void *work, struct worker *worker, const void *options, char *error, size_t size,
                  int *exit_code)
{
    return client_start(work, worker, options, error, size, exit_code);
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
        .drain = drain,
        .stop = stop,
        .stopped = stopped,
        .free = clear,
    };
    int exit_code = program_main(&parts, argc, argv);

    options_free(&options);
    return exit_code;
}

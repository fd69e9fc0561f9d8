/* tunnel-server: joins its options and the server to what every program does. */
#include "program/program.h"
#include "server.h"

static bool check(void *options, char *error, size_t size)
{
    return options_check(options, error, size);
}

static bool start(void *work, struct worker *worker, const void *options, char *error, size_t size,
                  int *exit_code)
{
    return server_start(work, worker, options, error, size, exit_code);
}

static void reload(void *work, struct reload *reload)
{
    server_reload(work, reload);
}

static void leave(void *work)
{
    server_leave(work);
}

static void drain(void *work)
{
    server_drain(work);
}

static void stop(void *work)
{
    server_stop(work);
}

static bool stopped(const void *work)
{
    return server_stopped(work);
}

static void clear(void *work)
{
    server_free(work);
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct server server;
    const struct program_parts parts = {
        .description = &options_program,
        .options = &options,
        .shared = &options.shared,
        .work = &server,
        .check = check,
        .start = start,
        .reload = reload,
        .leave = leave,
        .drain = drain,
        .stop = stop,
        .stopped = stopped,
        .free = clear,
    };
    int exit_code = program_main(&parts, argc, argv);

    options_free(&options);
    return exit_code;
}

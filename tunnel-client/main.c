/* tunnel-client: reads its options, starts, runs until it is told to stop. */
#include <stdio.h>
#include <stdlib.h>

#include "client.h"
#include "net/program.h"

extern char **environ;

enum { GOODBYE_MS = 1500 };

static bool stopped(void *context)
{
    return client_stopped(context);
}

static int serve(struct worker *worker, const struct options *options)
{
    struct client client;
    char error[600];
    int exit_code = 1;

    if (!client_start(&client, worker, options, error, sizeof error, &exit_code)) {
        log_error(worker->log, "start_failed", "tunnel-client cannot start",
                  log_str("reason", error));
        client_free(&client);
        return exit_code;
    }
    int signal_number = program_run(worker);
    log_info(worker->log, "stopping", "tunnel-client stops", log_i64("signal", signal_number));
    client_stop(&client);
    program_linger(worker, GOODBYE_MS, stopped, &client);
    client_free(&client);
    return 0;
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct program program;
    int exit_code;

    if (!program_begin(&program, &options_program, &options, &options.shared, argc, argv, environ,
                       &exit_code))
        return exit_code;
    char error[600];
    if (options_check(&options, error, sizeof error))
        exit_code = serve(&program.worker, &options);
    else
        exit_code = program_usage(&program, error);
    program_end(&program);
    options_free(&options);
    return exit_code;
}

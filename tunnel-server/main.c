/* tunnel-server: reads its options, starts, runs until it is told to stop. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/program.h"
#include "server.h"

extern char **environ;

enum { GOODBYE_MS = 1500 };

static bool stopped(void *context)
{
    return server_stopped(context);
}

static int serve(struct worker *worker, const struct options *options)
{
    struct server server;
    char error[600];
    char listen[SOCKET_TEXT_MAX];
    int exit_code = 1;

    if (!server_start(&server, worker, options, error, sizeof error, &exit_code)) {
        log_error(worker->log, "start_failed", "tunnel-server cannot start",
                  log_str("reason", error));
        server_free(&server);
        return exit_code;
    }
    listener_format(server.listener, listen);
    log_info(worker->log, "ready", "tunnel-server is ready", log_str("listen", listen),
             log_str("path", options->path), log_bool("tls", options->tls_cert != NULL),
             log_u64("clusters", options->cluster_count), log_u64("targets", options->target_count),
             log_str("version", KAFKA_TUNNEL_VERSION));
    int signal_number = program_run(worker);
    log_info(worker->log, "stopping", "tunnel-server stops", log_i64("signal", signal_number));
    server_stop(&server);
    program_linger(worker, GOODBYE_MS, stopped, &server);
    server_free(&server);
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

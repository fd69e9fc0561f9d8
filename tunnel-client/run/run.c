#include "run/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/printable.h"
#include "config/value.h"
#include "io/timer.h"
#include "listeners/named_ports.h"
#include "run/child.h"

extern char **environ;

enum {
    FAILURE_MAX = 1200,
    SERVERS_MAX = ADDRESS_BROKERS_MAX * ADDRESS_TEXT_MAX,
    /* As shells have it. */
    EXIT_CANNOT_EXECUTE = 126,
    EXIT_NOT_FOUND = 127,
    EXIT_SIGNAL = 128,
};

struct run {
    struct worker *worker;
    const struct inherited *inherited;
    const struct options *options;
    struct ports *ports;
    struct terminal *terminal;
    void (*started)(void *started_context);
    void *started_context;
    struct timer *deadline;
    struct child *child;     /* NULL: not started */
    struct own_hosts *hosts; /* NULL: the command has the machine's */
    bool over;               /* the command has ended, or will not be started */
    int exit_code;
    char failure[FAILURE_MAX]; /* of the last attempt to reach the server */
};

/* ---- what is said */

/* The program's own sentence: for people as plain text, for machines as an event. */
static void say_why_not_run(struct run *run, const char *event, const char *message,
                            const char *reason)
{
    terminal_quiet(run->terminal);
    if (run->options->shared.log_format == LOG_FORMAT_JSON) {
        log_error(run->worker->log, event, message, log_str("reason", reason));
        return;
    }
    char text[FAILURE_MAX + 200];
    char shown[2 * sizeof text];
    int size = snprintf(text, sizeof text, "tunnel-client: %s: %s", message, reason);
    if (size >= (int)sizeof text)
        size = (int)sizeof text - 1;
    printable(text, (size_t)size, shown, sizeof shown - 1);
    strcat(shown, "\n"); /* one write */
    fputs(shown, stderr);
}

static void end_with(struct run *run, int exit_code)
{
    run->over = true;
    run->exit_code = exit_code;
    timer_stop(run->deadline);
    worker_end(run->worker);
}

static void give_up(struct run *run, const char *reason)
{
    say_why_not_run(run, "not_ready", "the tunnel did not come up, so the command was not run",
                    reason);
    end_with(run, 1);
}

/* ---- the command's environment */

static bool sets(const char *entry, const char *variable)
{
    size_t size = strlen(variable);

    return strncmp(entry, variable, size) == 0 && entry[size] == '=';
}

struct environment {
    char **entries;
    size_t count;
};

static void set_variable(struct environment *environment, const char *variable, const char *value)
{
    size_t size = strlen(variable) + strlen(value) + 2;
    char *entry = memory_raw(size);

    snprintf(entry, size, "%s=%s", variable, value);
    for (size_t i = 0; i < environment->count; i++) {
        if (sets(environment->entries[i], variable)) {
            free(environment->entries[i]);
            environment->entries[i] = entry;
            return;
        }
    }
    environment->entries[environment->count++] = entry;
}

/* The cluster that KAFKA_BOOTSTRAP_SERVERS is for. */
static const struct port *first_cluster(const struct ports *ports)
{
    struct mux_text usual = {ADDRESS_DEFAULT_CLUSTER, strlen(ADDRESS_DEFAULT_CLUSTER)};
    const struct port *first = ports_cluster(ports, usual);

    for (struct list *at = ports->all.next; !first && at != &ports->all; at = at->next) {
        const struct port *port = list_entry(at, struct port, node);
        if (port->kind == MUX_TARGET_CLUSTER)
            first = port;
    }
    return first;
}

static void set_port(struct environment *environment, const struct port *port, bool first)
{
    char variable[OPTIONS_VARIABLE_MAX];
    char address[SERVERS_MAX];

    if (port->kind != MUX_TARGET_CLUSTER && port->kind != MUX_TARGET_TCP)
        return;
    if (!port->keeps_names || !named_ports_bootstrap_servers(port, address, sizeof address))
        address_format(port_local_host(port), port->number, address);
    options_variable(port->name, port->kind == MUX_TARGET_TCP ? "ADDRESS" : "BOOTSTRAP_SERVERS",
                     variable);
    set_variable(environment, first ? "KAFKA_BOOTSTRAP_SERVERS" : variable, address);
}

static struct environment make_environment(const struct ports *ports)
{
    struct environment made = {0};
    const struct port *first = first_cluster(ports);
    size_t count = 0;

    while (environ[count])
        count++;
    list_each(at, &ports->all)
        count++;
    made.entries = memory_new_array(count + 1, sizeof *made.entries);
    for (char **entry = environ; *entry; entry++) {
        if (options_is_secret(*entry))
            continue;
        made.entries[made.count++] = memory_text(*entry);
    }
    list_each(at, &ports->all) {
        const struct port *port = list_entry(at, struct port, node);
        set_port(&made, port, port == first);
    }
    return made;
}

static void free_environment(struct environment *environment)
{
    for (size_t i = 0; i < environment->count; i++)
        free(environment->entries[i]);
    free(environment->entries);
}

/* ---- the command */

static void cannot_execute(struct run *run, int error)
{
    char message[300];

    snprintf(message, sizeof message, "cannot execute %s", run->options->call.arguments[0]);
    say_why_not_run(run, "not_executed", message,
                    error == ENOENT ? "no such command or file; is it installed, and is it in PATH?"
                                    : strerror(error));
    end_with(run, error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE);
}

static void cannot_isolate(struct run *run, const struct child_end *ended)
{
    char reason[FAILURE_MAX];

    own_hosts_explain(ended->failed_step, ended->exec_error, reason, sizeof reason);
    say_why_not_run(run, "not_isolated",
                    "the command cannot have its own hosts file (--keep-names), so it was not run",
                    reason);
    end_with(run, 1);
}

static void on_command_started(void *context)
{
    struct run *run = context;

    if (run->hosts)
        own_hosts_forget_path(run->hosts);
    run->started(run->started_context);
}

static void on_command_ended(void *context, const struct child_end *ended)
{
    struct run *run = context;

    if (ended->failed_step != OWN_HOSTS_DONE) {
        cannot_isolate(run, ended);
        return;
    }
    if (ended->exec_error != 0) {
        cannot_execute(run, ended->exec_error);
        return;
    }
    /* Not const: macOS has macros that take the address of what they look at. */
    int status = ended->status;
    int exit_code = WIFSIGNALED(status) ? EXIT_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
    log_info(run->worker->log, "command_ended", "The command has ended",
             log_i64("exit_code", exit_code));
    end_with(run, exit_code);
}

static const struct child_owner child_owner = {.started = on_command_started,
                                               .ended = on_command_ended};

bool run_publish_names(struct run *run)
{
    if (!run->hosts || own_hosts_publish(run->hosts, &run->ports->names))
        return true;
    log_error(run->worker->log, "name_not_published",
              "A broker's new name cannot be written to the command's hosts file, so connections "
              "that hear of it are reset; the next one tries again",
              log_str("reason", strerror(errno)));
    return false;
}

/* false: it has been said why not. */
static bool make_own_hosts(struct run *run)
{
    char reason[FAILURE_MAX];

    if (!run->options->keeps_names)
        return true;
    run->hosts = own_hosts_new(&run->ports->names, reason, sizeof reason);
    if (run->hosts)
        return true;
    say_why_not_run(run, "not_isolated", "the command was not run", reason);
    end_with(run, 1);
    return false;
}

void run_ready(struct run *run)
{
    if (!run_is_waiting(run) || !make_own_hosts(run))
        return;
    timer_stop(run->deadline);
    log_info(run->worker->log, "command_started", "The command starts",
             log_str("command", run->options->call.arguments[0]));
    struct environment environment = make_environment(run->ports);
    const struct child_command command = {.arguments = run->options->call.arguments,
                                          .environment = environment.entries,
                                          .hosts = run->hosts};
    run->child = child_start(run->worker, run->inherited, &command, &child_owner, run);
    const int error = errno;
    free_environment(&environment);
    if (!run->child)
        cannot_execute(run, error);
}

/* ---- until it starts */

static void on_command_deadline(void *argument)
{
    struct run *run = argument;
    char limit[48];
    char reason[FAILURE_MAX + 100];

    value_format_duration(run->options->ready_timeout_ms, limit, sizeof limit);
    if (run->failure[0])
        snprintf(reason, sizeof reason, "within %s (--ready-timeout) it failed with %s", limit,
                 run->failure);
    else
        snprintf(reason, sizeof reason,
                 "there was no answer within %s (--ready-timeout) from %s:%d; is the server "
                 "running, and does a firewall or proxy allow it?",
                 limit, run->options->url.host, run->options->url.port);
    give_up(run, reason);
}

void run_failed(struct run *run, const char *hop, const char *reason, bool final)
{
    if (!run_is_waiting(run))
        return;
    snprintf(run->failure, sizeof run->failure, "%s: %s", hop, reason);
    if (final)
        give_up(run, run->failure);
}

bool run_is_waiting(const struct run *run)
{
    return !run->child && !run->over;
}

bool run_signalled(struct run *run, int number, bool from_terminal)
{
    if (run_is_waiting(run)) {
        end_with(run, EXIT_SIGNAL + number);
        return false;
    }
    if (run->over)
        return false;
    /* From a terminal the command has got it already: it is in the same process group. */
    if (!from_terminal)
        child_signal(run->child, number);
    return true;
}

int run_exit_code(const struct run *run)
{
    return run->exit_code;
}

/* ---- life */

struct run *run_new(const struct program_context *context, const struct options *options,
                    struct ports *ports, struct terminal *terminal,
                    void (*started)(void *started_context), void *started_context)
{
    struct run *run = memory_new(sizeof *run);

    run->worker = context->worker;
    run->inherited = context->inherited;
    run->options = options;
    run->ports = ports;
    run->terminal = terminal;
    run->started = started;
    run->started_context = started_context;
    /* If something else ends the program, the command has not run. */
    run->exit_code = 1;
    run->deadline = timer_new(run->worker, on_command_deadline, run);
    timer_start_ms(run->deadline, options->ready_timeout_ms);
    return run;
}

void run_free(struct run *run)
{
    if (!run)
        return;
    child_free(run->child);
    own_hosts_free(run->hosts);
    timer_free(run->deadline);
    free(run);
}

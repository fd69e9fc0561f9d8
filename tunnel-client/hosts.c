#include "hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/printable.h"
#include "base/text.h"
#include "config/value.h"
#include "io/clock.h"
#include "io/timer.h"
#include "listeners/hosts_file.h"
#include "monitoring/telemetry.h"
#include "uplink.h"

enum { FAILURE_MAX = 1200, GOODBYE_MS = 1000, NOTES_MAX = 1 << 20 };

/* Linux has all of 127.0.0.0/8 without being told. */
#ifdef __APPLE__
enum { NEEDS_ALIASES = 1 };
#else
enum { NEEDS_ALIASES = 0 };
#endif

struct hosts_command {
    struct worker *worker;
    const struct options *options;
    struct uplink *uplink;
    struct timer *deadline;
    struct kept_names names;
    bool *answered; /* by cluster */
    bool over;
    int exit_code;
    struct text notes;         /* lines about what is not among the names */
    char failure[FAILURE_MAX]; /* of the last attempt to reach the server */
};

/* ---- the end */

static void finish_hosts(struct hosts_command *command, int exit_code)
{
    if (command->over)
        return;
    command->over = true;
    command->exit_code = exit_code;
    worker_end(command->worker);
}

static void fail_hosts(struct hosts_command *command, const char *reason)
{
    char shown[2 * FAILURE_MAX];

    if (command->over)
        return;
    printable(reason, strlen(reason), shown, sizeof shown);
    fprintf(stderr, "tunnel-client: %s\n", shown);
    finish_hosts(command, 1);
}

static void on_hosts_deadline(void *argument)
{
    struct hosts_command *command = argument;
    char reason[FAILURE_MAX + 100];
    char limit[48];

    value_format_duration(command->options->ready_timeout_ms, limit, sizeof limit);
    snprintf(reason, sizeof reason, "within %s (--ready-timeout) %s%s", limit,
             command->failure[0] ? "it failed with " : "the server told no names",
             command->failure);
    fail_hosts(command, reason);
}

/* ---- what is printed */

/* A comment of one line, whatever brokers and the server have said. */
static void note(struct hosts_command *command, const char *subject, const char *what)
{
    const char *const parts[] = {subject, what};
    char shown[FAILURE_MAX];

    for (size_t i = 0; i < 2; i++) {
        printable(parts[i], strlen(parts[i]), shown, sizeof shown);
        text_string(&command->notes, i == 0 ? "# " : ": ");
        text_string(&command->notes, shown);
    }
    text_string(&command->notes, "\n");
}

static int compare_hosts(const void *a, const void *b)
{
    const struct kept_name *const *x = a;
    const struct kept_name *const *y = b;

    return strcmp((*x)->host, (*y)->host);
}

/* Whether programs that need no broker look that name up: the tunnel-client itself. */
static bool is_own_server(const struct options *options, const struct kept_name *name)
{
    return address_same_host(options->url.host, name->host);
}

/* The names that can lead somewhere, in order; the caller frees them. */
static const struct kept_name **sort_hosts(struct hosts_command *command, size_t *count)
{
    const struct kept_name **sorted;
    size_t all = 0;

    *count = 0;
    list_each(at, &command->names.all)
        all++;
    sorted = memory_new_array(all + 1, sizeof *sorted);
    list_each(at, &command->names.all) {
        const struct kept_name *name = list_entry(at, struct kept_name, node);
        if (name->told && !name->literal && !is_own_server(command->options, name))
            sorted[(*count)++] = name;
    }
    qsort(sorted, *count, sizeof *sorted, compare_hosts);
    return sorted;
}

static void print_host(const struct hosts_command *command, const struct kept_name *name)
{
    char line[HOSTS_LINE_MAX];
    char address[NAME_ADDRESS_MAX];

    kept_name_line(&command->names, name, line);
    kept_name_address(&command->names, name, address);
    const char *hosts = line + strlen(address) + 1;
    const char *second = strchr(hosts, ' ');
    int first = (int)(second ? second - hosts : (long)strlen(hosts));
    switch (command->options->hosts_format) {
    case HOSTS_FORMAT_KUBERNETES:
        printf("  - ip: %s\n    hostnames: [\"%.*s\"%s%s%s]\n", address, first, hosts,
               second ? ", \"" : "", second ? second + 1 : "", second ? "\"" : "");
        break;
    case HOSTS_FORMAT_DOCKER:
        printf("--add-host %.*s:%s\n", first, hosts, address);
        if (second)
            printf("--add-host %s:%s\n", second + 1, address);
        break;
    default:
        if (NEEDS_ALIASES)
            printf("# macOS needs, after every start: sudo ifconfig lo0 alias %s\n", address);
        puts(line);
    }
}

static void note_what_is_missing(struct hosts_command *command)
{
    list_each(at, &command->names.all) {
        const struct kept_name *name = list_entry(at, struct kept_name, node);
        char address[NAME_ADDRESS_MAX];
        char what[3 * ADDRESS_HOST_MAX];
        if (!name->told)
            continue;
        kept_name_address(&command->names, name, address);
        if (name->forbidden)
            snprintf(what, sizeof what,
                     "in no domain of --keep-names-in; Kafka clients get %s instead", address);
        else if (name->literal)
            snprintf(what, sizeof what,
                     "no hosts file can lead this here; Kafka clients get %s instead", address);
        else if (is_own_server(command->options, name))
            snprintf(what, sizeof what,
                     "left out, since tunnel-client itself looks this name up to reach its server; "
                     "with run --keep-names it can be kept");
        else if (command->names.allowed_count == 0 && !kept_name_is_expected(&command->names, name))
            snprintf(what, sizeof what,
                     "in no domain of the server's --kafka: is it a broker's? With the line, "
                     "whatever else has this name is not reached; --keep-names-in leaves it out");
        else
            continue;
        note(command, name->host, what);
    }
}

static void print_hosts(struct hosts_command *command)
{
    /* What is pasted into a command line holds no comments. */
    FILE *notes = command->options->hosts_format == HOSTS_FORMAT_DOCKER ? stderr : stdout;
    size_t count;
    const struct kept_name **sorted = sort_hosts(command, &count);

    note_what_is_missing(command);
    if (command->notes.size > 0)
        fwrite(command->notes.bytes, 1, command->notes.size, notes);
    if (command->options->hosts_format == HOSTS_FORMAT_KUBERNETES)
        puts(count > 0 ? "hostAliases:" : "hostAliases: []");
    for (size_t i = 0; i < count; i++)
        print_host(command, sorted[i]);
    free(sorted);
    finish_hosts(command, fflush(stdout) == 0 ? 0 : 1);
}

/* ---- the server's word */

static bool is_cluster_offered(const struct mux_welcome *welcome, const char *cluster)
{
    struct mux_text rest = welcome->offers;
    struct mux_text name;
    enum mux_target_kind kind;

    while (mux_offer_next(&rest, &kind, &name))
        if (kind == MUX_TARGET_CLUSTER && strlen(cluster) == name.size &&
            memcmp(cluster, name.bytes, name.size) == 0)
            return true;
    return false;
}

static void on_hosts_up(void *context, const struct mux_welcome *welcome)
{
    struct hosts_command *command = context;
    const struct options *options = command->options;
    uint8_t message[MUX_KEEP_MAX];
    char reason[ADDRESS_NAME_MAX + 80];

    if (welcome->resumed)
        return;
    if (!welcome->tells_names)
        fail_hosts(command, "the server is too old to tell brokers' names: update tunnel-server");
    for (size_t i = 0; i < options->cluster_count && !command->over; i++) {
        const char *cluster = options->clusters[i].name;
        if (!options->cluster_keeps_names[i])
            continue;
        if (!is_cluster_offered(welcome, cluster)) {
            snprintf(reason, sizeof reason, "the server has no --kafka named %s", cluster);
            fail_hosts(command, reason);
            return;
        }
        size_t size = mux_keep_encode(message, mux_text_of(cluster));
        mux_session_send_message(uplink_session(command->uplink), MUX_KEEP, message, size);
    }
}

static bool all_have_answered(const struct hosts_command *command)
{
    for (size_t i = 0; i < command->options->cluster_count; i++)
        if (command->options->cluster_keeps_names[i] && !command->answered[i])
            return false;
    return true;
}

static void tell_host(struct hosts_command *command, const struct mux_exposed_node *node,
                      const char *cluster)
{
    char host[ADDRESS_HOST_MAX + 1];

    if (!address_take_host(node->host.bytes, node->host.size, host))
        return;
    if (node->endpoint_type == MUX_NAMES_BOOTSTRAP)
        kept_names_expect(&command->names, host);
    if (!kept_names_tell(&command->names, host))
        note(command, cluster, "there are more names than addresses in --name-network");
}

static void end_hosts_answer(struct hosts_command *command, size_t cluster, struct mux_text reason)
{
    char what[FAILURE_MAX];

    if (command->answered[cluster])
        return;
    command->answered[cluster] = true;
    if (reason.size == 0)
        return;
    snprintf(what, sizeof what,
             "there may be more brokers than these, since the server could not ask: %.*s",
             (int)reason.size, reason.bytes);
    note(command, command->options->clusters[cluster].name, what);
}

static void on_hosts_message(void *context, struct mux_session *session, uint8_t type,
                             const uint8_t *payload, size_t size)
{
    struct hosts_command *command = context;
    const struct options *options = command->options;
    struct mux_expose_reader reader;
    struct mux_exposed_node node;
    struct mux_text reason;
    uint8_t flags;
    size_t cluster = 0;

    (void)session;
    if (command->over || type != MUX_NAMES || !mux_expose_read(&reader, payload, size))
        return;
    while (cluster < options->cluster_count &&
           (strlen(options->clusters[cluster].name) != reader.cluster.size ||
            memcmp(options->clusters[cluster].name, reader.cluster.bytes, reader.cluster.size)))
        cluster++;
    if (cluster == options->cluster_count)
        return;
    while (mux_exposed_next(&reader, &node))
        tell_host(command, &node, options->clusters[cluster].name);
    if (mux_names_tail(&reader, &flags, &reason) && flags & MUX_NAMES_LAST)
        end_hosts_answer(command, cluster, reason);
    if (all_have_answered(command))
        print_hosts(command);
}

static bool on_hosts_failed(void *context, const char *hop, const char *reason, bool refused)
{
    struct hosts_command *command = context;

    snprintf(command->failure, sizeof command->failure, "%s: %s", hop, reason);
    if (refused)
        fail_hosts(command, command->failure);
    return true;
}

static void on_hosts_lost(void *context, bool announced)
{
    (void)context;
    (void)announced;
}

static const struct uplink_owner uplink_owner = {.message = on_hosts_message,
                                                 .up = on_hosts_up,
                                                 .lost = on_hosts_lost,
                                                 .failed = on_hosts_failed};

/* ---- life */

/* Names that lead somewhere already go on leading there. */
static void read_machines_file(struct hosts_command *command)
{
    size_t size;
    char *text = hosts_file_read(HOSTS_FILE, &size);

    kept_names_read_hosts(&command->names, text, size);
    free(text);
}

static void ask(struct hosts_command *command)
{
    uplink_start(command->uplink);
    timer_start_ms(command->deadline, command->options->ready_timeout_ms);
    worker_run(command->worker);
    uint64_t limit_us = clock_now_us() + GOODBYE_MS * 1000;
    uplink_stop(command->uplink);
    while (!uplink_stopped(command->uplink) && clock_now_us() < limit_us)
        worker_run_once_us(command->worker, 50 * 1000);
}

int hosts_print(struct worker *worker, const struct options *options)
{
    /* A signal that ends the program ends it without an answer. */
    struct hosts_command command = {.worker = worker, .options = options, .exit_code = 1};
    const struct telemetry_names names = {
        .clusters = TELEMETRY_LIST(options->clusters, options->cluster_count),
        .targets = TELEMETRY_LIST(options->targets, options->target_count)};
    char error[FAILURE_MAX];

    telemetry_start(worker, METRIC_CLIENT, &names);
    text_init(&command.notes, NOTES_MAX);
    command.deadline = timer_new(worker, on_hosts_deadline, &command);
    command.answered = memory_new_array(options->cluster_count + 1, sizeof *command.answered);
    kept_names_init(&command.names, &options->name_network);
    kept_names_allow(&command.names, options->keep_names_in.items, options->keep_names_in.count);
    read_machines_file(&command);
    command.uplink = uplink_new(worker, options, &uplink_owner, &command, error, sizeof error);
    if (command.uplink)
        ask(&command);
    else
        fail_hosts(&command, error);
    uplink_free(command.uplink);
    kept_names_clear(&command.names);
    timer_free(command.deadline);
    text_clear(&command.notes);
    free(command.answered);
    return command.exit_code;
}

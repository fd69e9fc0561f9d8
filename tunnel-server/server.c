#include "server.h"

#include "authorization/access_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "client_command.h"
#include "io/processors.h"
#include "io/timer.h"
#include "monitoring/telemetry.h"
#include "mux/handshake.h"
#include "program/notify.h"

enum {
    LOOK_MS = 50,
    /* Far more than the longest turn of a loop. */
    SURVEY_LIMIT_US = 2 * 1000 * 1000,
};

/* ---- who comes */

static struct shard *home_of(const struct server *server)
{
    return &server->shards[0];
}

static void note_login_refused(const struct server *server, const char *peer, const char *answer)
{
    char host[SOCKET_TEXT_MAX];
    const size_t size = strcspn(answer, "\n");
    const struct log_field fields[] = {log_str("peer", peer), log_bytes("reason", answer, size)};

    tenants_subscriber(peer, host);
    audit_note_refusal(server->audit, AUDIT_LOGIN_REFUSED, host, answer, fields, 2);
}

/* Whoever may do nothing need not come in. */
static int check_rules(struct server *server, const char *peer, struct http_admission *admission)
{
    if (access_rules_know(access_file_rules(server->rules), admission->identity))
        return 101;
    log_warning(server->worker->log, "unauthorized",
                "A client was refused: it is not allowed in, or does not say who it is",
                log_str("peer", peer), log_str("identity", admission->identity),
                log_str("reason", "no rule of --access is for this identity"));
    snprintf(server->denied, sizeof server->denied,
             "this tunnel's rules allow %s nothing; ask whoever runs it\n", admission->identity);
    admission->body = server->denied;
    grant_release(admission->pass);
    admission->pass = NULL;
    return 403;
}

static int on_authorize(void *context, const struct http_upgrade *upgrade,
                        struct http_admission *admission)
{
    struct server *server = context;

    if (home_of(server)->host.stopping) {
        admission->body = "the server is restarting: try again\n";
        return 503;
    }
    int status = access_authorize(server->access, upgrade, admission);
    if (status == 101 && server->rules)
        status = check_rules(server, upgrade->peer, admission);
    if (status != 101) {
        note_login_refused(server, upgrade->peer, admission->body);
        return status;
    }
    const char *limited =
        shard_obstacle_to_link(home_of(server), admission->identity, upgrade->peer);
    if (!limited)
        return status;
    grant_release(admission->pass);
    admission->pass = NULL;
    snprintf(server->refusal, sizeof server->refusal, "%s\n", limited);
    admission->body = server->refusal;
    return 429;
}

static void on_upgraded(void *context, struct transport *transport,
                        const struct http_admission *admission, const char *peer)
{
    const struct server *server = context;

    shard_add_link(home_of(server), transport, admission->identity, peer, admission->pass, false);
}

static void on_dropped(void *context, void *pass)
{
    (void)context;
    grant_release(pass);
}

/* Of whoever is in, at whatever worker. */
static void on_grants_ended(void *context)
{
    const struct server *server = context;

    for (size_t i = 0; i < crew_size(server->crew); i++)
        shard_dismiss(&server->shards[i]);
}

static void on_choices_renewed(void *context)
{
    const struct server *server = context;

    access_file_choose(server->rules, access_choices(server->access));
}

static const struct access_owner access_owner = {.ended = on_grants_ended,
                                                 .renewed = on_choices_renewed};

static bool on_asked(void *context, const uint8_t id[MUX_SESSION_ID_SIZE])
{
    struct server *server = context;
    size_t place;

    return session_table_locate(&server->table, id, &place);
}

static void on_handed_on(void *context, struct transport *transport, const char *identity,
                         const char *peer)
{
    const struct server *server = context;

    shard_add_link(home_of(server), transport, identity, peer, NULL, true);
}

static const struct peers_owner peers_owner = {.has = on_asked, .handed_on = on_handed_on};

/* ---- pages */

/* NULL: there is none. */
static const struct cluster *find_silent(const struct server *server)
{
    for (size_t i = 0; i < server->options->cluster_count; i++)
        if (!cluster_is_reachable(&home_of(server)->clusters[i]))
            return &home_of(server)->clusters[i];
    return NULL;
}

bool server_is_ready(const struct server *server)
{
    return !server->leaving && !home_of(server)->host.draining && !find_silent(server) &&
           !audit_obstacle(server->audit);
}

bool server_tell_readiness(const struct server *server, bool for_strangers, char *text, size_t size)
{
    const struct cluster *silent = find_silent(server);
    const char *obstacle = audit_obstacle(server->audit);

    if (server->leaving || home_of(server)->host.draining) {
        snprintf(text, size, "the server stops\n");
        return false;
    }
    if (obstacle)
        snprintf(text, size, "%s\n", obstacle);
    else if (silent)
        snprintf(text, size, "no bootstrap broker of the cluster %s answers\n",
                 silent->settings->name);
    else
        snprintf(text, size, "ready\n");
    for (size_t i = 0; i < server->options->cluster_count; i++)
        cluster_tell_failing(&home_of(server)->clusters[i], for_strangers, text, size);
    return !silent && !obstacle;
}

static bool asks_for_page(const struct http_request *request)
{
    const char *method = http_request_method(request);

    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static void on_server_page(void *context, const struct http_request *request, const char *path,
                           struct http_page *page)
{
    struct server *server = context;
    bool is_probe = strcmp(path, "/readyz") == 0;

    if (!is_probe && strcmp(path, "/healthz") != 0) {
        page->body = "not found\n";
    } else if (!asks_for_page(request)) {
        page->status = 405;
        page->body = "use GET or HEAD to read a page\n";
    } else if (is_probe) {
        bool ready =
            server_tell_readiness(server, true, server->readiness, sizeof server->readiness);
        page->status = ready ? 200 : 503;
        page->body = server->readiness;
    } else {
        page->status = 200;
        page->body = "ok\n";
    }
    page->size = strlen(page->body);
}

static void on_server_accept(void *context, int fd, const struct socket_address *peer)
{
    struct server *server = context;

    http_server_adopt(server->http, fd, peer);
}

static const struct http_server_owner http_owner = {.authorize = on_authorize,
                                                    .upgraded = on_upgraded,
                                                    .dropped = on_dropped,
                                                    .page = on_server_page};

/* ---- life */

static void encode_offers(struct server *server)
{
    const struct options *options = server->options;
    struct byte_writer w;

    byte_writer_init(&w, server->offers, sizeof server->offers);
    for (size_t i = 0; i < options->cluster_count; i++)
        mux_offer_write(
            &w, MUX_TARGET_CLUSTER,
            (struct mux_text){options->clusters[i].name, strlen(options->clusters[i].name)});
    for (size_t i = 0; i < options->target_count; i++)
        mux_offer_write(
            &w, MUX_TARGET_TCP,
            (struct mux_text){options->targets[i].name, strlen(options->targets[i].name)});
    for (size_t i = 0; i < crew_size(server->crew); i++) {
        struct session_host *host = &server->shards[i].host;
        host->offers = (struct mux_text){(const char *)server->offers, byte_writer_size(&w)};
        host->offer_count = (uint16_t)(options->cluster_count + options->target_count);
    }
}

static bool use_door_material(void *context, const struct tls_material *material,
                              struct tls_error *error)
{
    struct server *server = context;
    SSL_CTX *tls = tls_server_context(material, error);

    if (!tls)
        return false;
    http_server_use_tls(server->http, tls);
    SSL_CTX_free(tls);
    return true;
}

static bool start_tls(struct server *server, char *error, size_t size)
{
    const struct options *options = server->options;
    const struct tls_files files = {.cert_option = "tls-cert",
                                    .cert_file = options->tls_cert,
                                    .key_option = "tls-key",
                                    .key_file = options->tls_key,
                                    .passphrase_file = options->tls_key_passphrase_file,
                                    .passphrase = options->tls_key_passphrase,
                                    .ca_option = "client-ca",
                                    .ca_file = options->client_ca,
                                    .crl_option = "client-crl",
                                    .crl_file = options->client_crl,
                                    .policy = &options->tls_policy,
                                    .strict = options->shared.strict_files};
    struct tls_error tls;

    server->files = tls_keeper_new(server->worker, &files, use_door_material, server, &tls);
    if (!server->files)
        snprintf(error, size, "%s", tls.text);
    return server->files != NULL;
}

static bool start_http(struct server *server, char *error, size_t size)
{
    const struct options *options = server->options;
    const struct http_server_settings settings = {
        .path = options->path,
        .origins = options->allow_origin.items,
        .origin_count = options->allow_origin.count,
        .handshakes_max = (size_t)options->max_handshakes,
        .head_max = (size_t)options->header_size,
        .handshake_timeout_ms = options->handshake_timeout_ms,
    };

    server->http = http_server_new(server->worker, &settings, &http_owner, server);
    return !options->tls_cert || start_tls(server, error, size);
}

static bool use_broker_material(void *context, const struct tls_material *material,
                                struct tls_error *error)
{
    struct server *server = context;
    SSL_CTX *tls = tls_client_context(material, true, error);

    if (!tls)
        return false;
    if (!server->shards)
        server->first_broker_tls = tls;
    for (size_t i = 0; server->shards && i < crew_size(server->crew); i++)
        shard_use_broker_tls(&server->shards[i], tls);
    if (server->shards)
        SSL_CTX_free(tls);
    /* Brokers that could not be reached before may be now. */
    if (server->probes)
        probes_begin_round(server->probes);
    return true;
}

/* What connections to brokers have in common when they use TLS. */
static bool start_broker_tls(struct server *server, char *error, size_t size)
{
    const struct options *options = server->options;
    struct tls_error tls;

    if (!options->kafka_tls)
        return true;
    server->broker_files = (struct tls_files){.cert_option = "kafka-cert",
                                              .cert_file = options->kafka_cert,
                                              .key_option = "kafka-key",
                                              .key_file = options->kafka_key,
                                              .passphrase_file = options->kafka_key_passphrase_file,
                                              .passphrase = options->kafka_key_passphrase,
                                              .ca_option = "kafka-ca",
                                              .ca_file = options->kafka_ca,
                                              .crl_option = "kafka-crl",
                                              .crl_file = options->kafka_crl,
                                              .policy = &options->tls_policy,
                                              .strict = options->shared.strict_files};
    server->broker_keeper =
        tls_keeper_new(server->worker, &server->broker_files, use_broker_material, server, &tls);
    if (!server->broker_keeper)
        snprintf(error, size, "%s", tls.text);
    return server->broker_keeper != NULL;
}

static void on_secret_refused(void *context, const struct login_book *book, size_t place)
{
    const struct server *server = context;

    login_file_refused(server->logins, book, place);
}

static void use_logins(void *context, struct login_book *book)
{
    struct server *server = context;

    for (size_t i = 0; i < crew_size(server->crew); i++)
        shard_use_logins(&server->shards[i], book);
}

/* ledger_adjust()'s. */
static void adjust_limits(void *context, const char *identity, struct identity_limits *limits)
{
    access_rules_limits(context, identity, limits);
}

static void limit_by_rules(struct server *server, struct access_rules *rules)
{
    struct access_rules *before = server->limiting;

    server->limiting = access_rules_reference(rules);
    ledger_adjust(&server->ledger, adjust_limits, rules);
    access_rules_release(before);
}

static void use_rules(void *context, struct access_rules *rules)
{
    struct server *server = context;

    limit_by_rules(server, rules);
    for (size_t i = 0; i < crew_size(server->crew); i++)
        shard_use_access(&server->shards[i], rules);
}

/* The same. */
static bool start_rules(struct server *server, char *error, size_t size)
{
    if (!server->options->access_file)
        return true;
    server->rules = access_file_new(server->worker, server->options, access_choices(server->access),
                                    use_rules, server, error, size);
    for (size_t i = 0; server->rules && i < crew_size(server->crew); i++)
        server->shards[i].access =
            (struct access_in_force){access_rules_reference(access_file_rules(server->rules)), 1};
    if (server->rules)
        limit_by_rules(server, access_file_rules(server->rules));
    return server->rules != NULL;
}

/* No worker runs yet. */
static bool start_logins(struct server *server, bool may_execute, char *error, size_t size)
{
    const struct options *options = server->options;
    const struct login_file_settings settings = {
        .path = options->kafka_login,
        .strict = options->shared.strict_files,
        .may_execute = may_execute,
        .clusters = {options->clusters, options->cluster_count,
                     options->kafka_tls ? &server->broker_files : NULL},
        .sources = {.policy = &options->tls_policy, .is_hidden = options_is_secret}};

    if (!options->kafka_login)
        return true;
    server->logins = login_file_new(server->worker, &settings, use_logins, server, error, size);
    for (size_t i = 0; server->logins && i < crew_size(server->crew); i++)
        logins_use(&server->shards[i].logins, login_file_book(server->logins));
    if (server->logins)
        shard_on_secret_refused(home_of(server), on_secret_refused, server);
    return server->logins != NULL;
}

static bool choose_congestion_control(struct server *server, char *error, size_t size)
{
    const char *name = server->options->shared.congestion_control;

    if (!name || listener_use_congestion_control(server->listener, name))
        return true;
    snprintf(error, size, "--congestion-control %s: %s", name, strerror(errno));
    return false;
}

static bool start_listening(struct server *server, char *error, size_t size)
{
    const struct options *options = server->options;
    struct socket_address address;

    if (!socket_parse(options->listen_address.host, options->listen_address.port, &address)) {
        snprintf(error, size, "--listen %s: not an address", options->listen);
        return false;
    }
    server->listener = listener_new(server->worker, "tunnel", &address, on_server_accept, server);
    if (server->listener) {
        listener_warn_if_at_risk(server->listener);
        return choose_congestion_control(server, error, size);
    }
    if (errno == EADDRINUSE)
        snprintf(error, size,
                 "--listen %s: the port is in use, probably by another "
                 "tunnel-server; " LISTENER_WHO_HOLDS,
                 options->listen);
    else
        snprintf(error, size, "--listen %s: %s", options->listen, strerror(errno));
    return false;
}

/* What the defaults allow depends on the machine: who has many clients wants to know before they
 * come. */
static void say_capacity(const struct server *server)
{
    const struct tenants_capacity capacity = tenants_capacity(&home_of(server)->tenants);
    const struct log_field fields[] = {
        log_u64("sessions", capacity.sessions),
        log_u64("connections", capacity.connections),
        log_str("connections_bound_by", capacity.memory_binds ? "--memory" : "ulimit -n"),
        log_u64("descriptors", capacity.descriptors),
        log_u64("memory", server->options->shared.memory),
    };

    log_event(server->worker->log, capacity.few_descriptors ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
              "capacity",
              capacity.few_descriptors
                  ? "There are fewer file descriptors than --max-sessions need; raise the limit "
                    "(ulimit -n, LimitNOFILE=) or lower --max-sessions"
                  : "So many sessions and connections fit at a time",
              fields, capacity.descriptors == UINT64_MAX ? 3 : 5);
}

/* What to type where the Kafka clients are; for people who start it for the first time. */
static void say_client_command(const struct server *server)
{
    struct text command;

    text_init(&command, LOG_VALUE_MAX);
    client_command_write(server->options, listener_port(server->listener), &command);
    text_bytes(&command, "", 1);
    if (!command.failed)
        log_info(server->worker->log, "client_command", "Clients connect with this command",
                 log_str("command", command.bytes));
    text_clear(&command);
}

static void say_ready(const struct server *server)
{
    const struct options *options = server->options;
    char listen[SOCKET_TEXT_MAX];
    char congestion_control[CONGESTION_NAME_SIZE];

    listener_format(server->listener, listen);
    listener_congestion_control(server->listener, congestion_control);
    log_info(server->worker->log, "ready", "tunnel-server is ready", log_str("listen", listen),
             log_str("path", options->path), log_bool("tls", options->tls_cert != NULL),
             log_str("congestion_control", congestion_control),
             log_u64("clusters", options->cluster_count), log_u64("targets", options->target_count),
             log_u64("workers", crew_size(server->crew)), log_str("version", KAFKA_TUNNEL_VERSION));
    say_client_command(server);
    notify_ready(server->notify);
    notify_status(server->notify, "Listening on %s", listen);
}

/* Bootstrap brokers, cluster by cluster; one that is there twice is shown once. */
static size_t name_brokers(struct server *server)
{
    const struct options *options = server->options;
    size_t count = 0;

    server->broker_names = memory_new_array(options->cluster_count * ADDRESS_BROKERS_MAX + 1,
                                            sizeof *server->broker_names);
    for (size_t i = 0; i < options->cluster_count; i++) {
        const struct address_cluster *cluster = &options->clusters[i];
        for (size_t broker = 0; broker < cluster->count; broker++) {
            char address[ADDRESS_TEXT_MAX];
            char name[ADDRESS_NAME_MAX + 1 + ADDRESS_TEXT_MAX];
            address_format(cluster->brokers[broker].host, cluster->brokers[broker].port, address);
            snprintf(name, sizeof name, "%s/%s", cluster->name, address);
            bool again = false;
            for (size_t at = count - broker; at < count && !again; at++)
                again = server->broker_names[at] && strcmp(server->broker_names[at], name) == 0;
            if (!again)
                server->broker_names[count] = memory_text(name);
            count++;
        }
    }
    return count;
}

static void start_telemetry(struct server *server)
{
    const char *states[BROKER_STATES];
    const struct options *options = server->options;

    for (size_t i = 0; i < BROKER_STATES; i++)
        states[i] = broker_state_name((enum broker_state)i);
    server->broker_count = name_brokers(server);
    const struct telemetry_names names = {
        .clusters = TELEMETRY_LIST(options->clusters, options->cluster_count),
        .targets = TELEMETRY_LIST(options->targets, options->target_count),
        .brokers = (const char *const *)server->broker_names,
        .broker_count = server->broker_count,
        .broker_states = states,
        .broker_state_count = BROKER_STATES,
    };
    server->telemetry = telemetry_start(server->worker, METRIC_SERVER, &names);
}

/* --workers 0: what the machine has, or the container, is also for the brokers and others. */
static size_t count_workers(const struct options *options)
{
    enum { PROCESSORS_EACH = 2, MOST = 4 };

    if (options->workers > 0)
        return (size_t)options->workers;
    size_t count = processors_for_us() / PROCESSORS_EACH;
    if (count > MOST)
        count = MOST;
    return count > 0 ? count : 1;
}

/* errno says why the system did not have what so many workers need. */
static void say_no_crew(const struct server *server, char *error, size_t size)
{
    const char *reason = strerror(errno);

    snprintf(error, size, "--workers %zu: %s", count_workers(server->options), reason);
}

static bool start_crew(struct server *server, char *error, size_t size)
{
    server->crew = crew_new(server->worker, count_workers(server->options));
    if (!server->crew) {
        say_no_crew(server, error, size);
        return false;
    }
    for (size_t i = 1; i < crew_size(server->crew); i++)
        telemetry_start_beside(crew_worker(server->crew, i), server->telemetry);
    return true;
}

static void init_shards(struct server *server)
{
    size_t count = crew_size(server->crew);
    struct shard *shards = memory_new_array(count, sizeof *shards);

    ledger_init(&server->ledger, server->options, &server->worker->hash_key, count,
                server->options->shared.memory);
    session_table_init(&server->table, &server->worker->hash_key);
    shards[0].broker_tls = server->first_broker_tls;
    server->first_broker_tls = NULL;
    for (size_t i = 0; i < count; i++) {
        shards[i].crew = server->crew;
        shards[i].all = shards;
        shards[i].place = i;
        shards[i].audit = server->audit;
        shard_init(&shards[i], server->options, &server->ledger, &server->table,
                   i > 0 ? shards : NULL);
    }
    server->shards = shards;
    encode_offers(server);
}

bool server_runs_commands(const struct options *options)
{
    return options->kafka_login && login_file_runs_commands(options->kafka_login);
}

enum program_start server_open(struct server *server, const struct program_context *context,
                               const struct options *options, bool may_execute, char *error,
                               size_t size)
{
    struct worker *worker = context->worker;

    memset(server, 0, sizeof *server);
    server->worker = worker;
    server->notify = context->notify;
    server->options = options;
    start_telemetry(server);
    if (!start_broker_tls(server, error, size))
        return PROGRAM_USAGE;
    server->audit = audit_new(worker, options, error, size);
    if (!server->audit)
        return PROGRAM_USAGE;
    if (!start_crew(server, error, size))
        return PROGRAM_FAILED;
    init_shards(server);
    server->access = access_new(worker, options, &access_owner, server, error, size);
    if (!server->access || !start_logins(server, may_execute, error, size) ||
        !start_rules(server, error, size) || !start_http(server, error, size))
        return PROGRAM_USAGE;
    if (options->peer_count > 0) {
        server->peers = peers_new(worker, options, &peers_owner, server, error, size);
        if (!server->peers)
            return PROGRAM_FAILED;
        home_of(server)->peers = server->peers;
    }
    if (!start_listening(server, error, size))
        return PROGRAM_FAILED;
    if (!audit_start(server->audit)) {
        snprintf(error, size, "--audit-log %s: %s", options->audit_log, strerror(errno));
        return PROGRAM_FAILED;
    }
    if (crew_start(server->crew))
        return PROGRAM_GOES;
    say_no_crew(server, error, size);
    return PROGRAM_FAILED;
}

void server_begin(struct server *server)
{
    const struct options *options = server->options;

    server->probes = probes_new(server->worker, home_of(server)->clusters, options->cluster_count,
                                (unsigned)options->connect_timeout_ms);
    say_capacity(server);
    say_ready(server);
}

void server_reload(struct server *server, struct reload *reload)
{
    tls_keeper_reload(server->files, reload);
    tls_keeper_reload(server->broker_keeper, reload);
    access_reload(server->access, reload);
    login_file_reload(server->logins, reload);
    access_file_reload(server->rules, reload);
    audit_reload(server->audit);
    peers_reload(server->peers, reload);
}

void server_leave(struct server *server)
{
    server->leaving = true;
}

/* The program asks after each turn of home's loop whether it has stopped. */
static void on_drain_look(void *argument)
{
    (void)argument;
}

void server_drain(struct server *server)
{
    /* The listener stays: a client that loses its link now comes back for what is under way. */
    probes_stop(server->probes);
    for (size_t i = 0; i < crew_size(server->crew); i++)
        shard_drain(&server->shards[i]);
    if (crew_size(server->crew) == 1)
        return;
    server->look = timer_new(server->worker, on_drain_look, server);
    timer_repeat_ms(server->look, LOOK_MS);
}

void server_stop(struct server *server)
{
    for (size_t i = 0; i < crew_size(server->crew); i++)
        shard_stop(&server->shards[i]);
    /* Who has come is told that the server restarts; who comes later finds nobody, and a load
     * balancer tries the next instance at once. */
    http_server_stop(server->http);
    listener_take_all(server->listener);
    listener_free(server->listener);
    server->listener = NULL;
}

bool server_stopped(const struct server *server)
{
    for (size_t i = 0; i < crew_size(server->crew); i++)
        if (!shard_is_empty(&server->shards[i]))
            return false;
    return !home_of(server)->host.stopping || http_server_count(server->http) == 0;
}

bool server_survey(const struct server *server, void (*see)(void *context), void *context)
{
    if (!crew_pause(server->crew, SURVEY_LIMIT_US)) {
        log_error(server->worker->log, "worker_hangs",
                  "A worker did not come to the end of what it does; figures of all workers are "
                  "not shown");
        return false;
    }
    see(context);
    crew_resume(server->crew);
    return true;
}

static void free_shards(struct server *server, size_t count)
{
    for (size_t i = count; i-- > 0;)
        shard_clear(&server->shards[i]);
    if (count > 0)
        session_table_clear(&server->table);
    ledger_clear(&server->ledger);
    access_rules_release(server->limiting);
    free(server->shards);
    SSL_CTX_free(server->first_broker_tls);
}

void server_free(struct server *server)
{
    size_t count = server->shards ? crew_size(server->crew) : 0;

    crew_stop(server->crew);
    probes_free(server->probes);
    timer_free(server->look);
    for (size_t i = 0; i < count; i++)
        shard_clear_links(&server->shards[i]);
    listener_free(server->listener);
    http_server_free(server->http);
    peers_free(server->peers);
    access_free(server->access);
    login_file_free(server->logins);
    access_file_free(server->rules);
    free_shards(server, count);
    crew_free(server->crew);
    audit_free(server->audit);
    for (size_t i = 0; i < server->broker_count; i++)
        free(server->broker_names[i]);
    free(server->broker_names);
    tls_keeper_free(server->files);
    tls_keeper_free(server->broker_keeper);
}

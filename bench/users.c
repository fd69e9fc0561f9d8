/*
 * users: many clients of one tunnel-server, in one process. Each has a session of its own, over a
 * link of its own, with the code of the real client's rooms, and dials again as that does
 * (tunnel-client/backoff.h); each of its connections goes to a `load serve` and has echoed a byte.
 *
 * What has happened is printed as JSON, one object a line, and what is to happen comes as lines on
 * standard input:
 *
 *     (start)        {"sessions":N,"seconds":S}  all are up, S after the first dial
 *     connections N  {"connections":N,"seconds":S}  each session has opened N, and all have echoed;
 *                    as many sessions at a time as have dialled so
 *     (lost)         {"back_seconds":S,"dials":N}  all sessions and connections are there again, S
 *                    after the first one was lost
 */
#include <assert.h>
#include <getopt.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../tunnel-client/backoff.h"
#include "base/memory.h"
#include "http/client.h"
#include "io/clock.h"
#include "io/timer.h"
#include "io/watch.h"
#include "load.h"
#include "mux/session.h"
#include "sock.h"
#include "tunnel/link.h"

enum { DIAL_TIMEOUT_MS = 15 * 1000, TARGETS_MAX = 8, CONNECTIONS_MAX = 16 };

struct crowd;

struct user {
    struct crowd *crowd;
    struct list node; /* in crowd->waiting */
    struct http_client *http;
    struct mux_session *session;
    struct link *link;
    struct timer *redial;
    struct timer *end; /* of the session, outside of its callbacks */
    uint64_t dialled_us;
    unsigned failures;
    unsigned wanted; /* connections */
    unsigned opened;
    unsigned echoed; /* of these, those that have proven to reach the far end */
    bool known;      /* to the server, so that the next link resumes */
    bool up;
    bool complete; /* up, and as many connections as are wanted */
};

struct crowd {
    struct worker worker;
    struct http_way *way;
    struct http_client_settings server;
    char authorization[256];
    struct user *users;
    unsigned count;
    unsigned targets; /* raw ones, "bench0" and so on */
    unsigned abreast; /* so many at a time dial at the beginning, and open connections */
    struct list waiting;
    unsigned complete;
    unsigned long dials;
    uint64_t since_us; /* when what is under way began */
    bool began;        /* all have been up */
    bool losing;       /* the present outage */
    char command[64];
    size_t command_fill;
};

static void dial_user(void *argument);
static void open_connections(struct user *user);

static double seconds_since(uint64_t us)
{
    return (double)(clock_now_us() - us) / 1e6;
}

/* ---- what there is to say */

static void say_complete(struct crowd *crowd)
{
    double seconds = seconds_since(crowd->since_us);

    if (crowd->losing)
        printf("{\"back_seconds\":%.3f,\"dials\":%lu}\n", seconds, crowd->dials);
    else if (!crowd->began)
        printf("{\"sessions\":%u,\"seconds\":%.3f}\n", crowd->count, seconds);
    else
        printf("{\"connections\":%u,\"seconds\":%.3f}\n", crowd->users[0].wanted, seconds);
    fflush(stdout);
    crowd->began = true;
    crowd->losing = false;
}

/* The next one may begin with what is asked of all. */
static void go_on(struct crowd *crowd)
{
    struct list *node = list_pop(&crowd->waiting);
    struct user *next = node ? list_entry(node, struct user, node) : NULL;

    if (next && next->session)
        open_connections(next);
    else if (next)
        dial_user(next);
}

static void look_at(struct user *user)
{
    struct crowd *crowd = user->crowd;
    bool complete = user->up && user->echoed == user->wanted;

    if (complete == user->complete)
        return;
    user->complete = complete;
    crowd->complete += complete ? 1 : -1u;
    if (crowd->complete == crowd->count)
        say_complete(crowd);
    else if (complete)
        go_on(crowd);
}

/* ---- connections */

static void on_user_data(void *owner, struct mux_stream *stream, const uint8_t *bytes, size_t size)
{
    struct user *user = owner;

    (void)bytes;
    mux_stream_consume(stream, size, clock_now_us());
    user->echoed++;
    look_at(user);
}

static void on_user_reset(void *owner, struct mux_stream *stream, enum mux_code code,
                          struct mux_text reason)
{
    (void)owner;
    (void)stream;
    if (code == MUX_CODE_SESSION_LOST)
        return;
    fprintf(stderr, "users: a connection was reset: %.*s\n", (int)reason.size, reason.bytes);
    exit(1);
}

static const struct mux_stream_callbacks stream_callbacks = {.data = on_user_data,
                                                             .reset = on_user_reset};

static void open_connections(struct user *user)
{
    static const uint8_t echo[] = {LOAD_ECHO, '!'};
    char name[16];

    for (; user->up && user->opened < user->wanted; user->opened++) {
        snprintf(name, sizeof name, "bench%u", user->opened % user->crowd->targets);
        const struct mux_target target = {
            .kind = MUX_TARGET_TCP, .name = {name, strlen(name)}, .node_id = -1};
        struct mux_stream *stream = mux_stream_open(
            user->session, &target, (struct mux_text){"a user", 6}, &stream_callbacks, user);
        assert(stream);
        mux_stream_write(stream, echo, sizeof echo);
    }
}

/* ---- sessions and links */

static void on_user_established(void *context, struct mux_link *link,
                                const struct mux_welcome *welcome)
{
    struct user *user = context;

    (void)link;
    (void)welcome;
    user->known = user->up = true;
    open_connections(user);
    look_at(user);
}

static const struct mux_session_callbacks session_callbacks = {.established = on_user_established};

static void begin_session(struct user *user)
{
    struct crowd *crowd = user->crowd;
    struct mux_settings settings;
    const struct mux_session_key none = {0};

    if (user->session) {
        mux_session_reset_streams(user->session, MUX_CODE_SESSION_LOST, "");
        mux_session_free(user->session);
    }
    mux_settings_default(&settings);
    settings.role = MUX_CLIENT;
    settings.hash_key = crowd->worker.hash_key;
    settings.software = mux_text_of("users");
    settings.links_max = 1;
    user->session = mux_session_new(&settings, &session_callbacks, user, &none, &crowd->worker.pool,
                                    &crowd->worker.share);
    user->known = false;
    user->opened = user->echoed = 0;
}

static void redial_user(struct user *user, enum backoff_patience patience)
{
    const struct backoff_facts facts = {.failures = user->failures,
                                        .patience = patience,
                                        .dialled_us = clock_now_us() - user->dialled_us};
    uint32_t random;

    if (RAND_bytes((unsigned char *)&random, sizeof random) != 1)
        abort();
    timer_start_ms(user->redial, backoff_ms(&facts, random));
}

static void on_user_link_ended(void *context, struct link *link, enum link_end end,
                               const char *reason)
{
    struct user *user = context;
    struct crowd *crowd = user->crowd;
    bool was_up = user->up;

    (void)reason;
    user->link = NULL;
    user->up = false;
    look_at(user);
    if (!crowd->losing && crowd->began) {
        crowd->losing = true;
        crowd->since_us = clock_now_us();
        crowd->dials = 0;
    }
    if (end == LINK_END_REJECTED && user->known) {
        /* As the client does: the session is lost, and a new one begins at once. */
        timer_start_ms(user->redial, 0);
        timer_fire(user->end);
        return;
    }
    if (end == LINK_END_REJECTED && !crowd->began) {
        const struct mux_text why = link_rejection(link)->reason;
        fprintf(stderr, "users: rejected: %.*s\n", (int)why.size, why.bytes);
        exit(1);
    }
    user->failures = was_up ? 0 : user->failures + 1;
    redial_user(user, BACKOFF_SHORT);
}

static const struct link_owner link_owner = {.ended = on_user_link_ended};

static void on_user_end(void *argument)
{
    begin_session(argument);
}

static void on_user_dialled(void *context, const struct http_dial_result *result)
{
    struct user *user = context;

    http_client_free(user->http);
    user->http = NULL;
    if (!result->transport) {
        user->failures++;
        redial_user(user, BACKOFF_USUAL);
        return;
    }
    user->link =
        link_new_client(&user->crowd->worker, result->transport, user->session, &link_owner, user);
    link_start(user->link);
}

static void dial_user(void *argument)
{
    struct user *user = argument;
    struct crowd *crowd = user->crowd;
    const char *const headers[] = {crowd->authorization, NULL};

    if (!user->session)
        begin_session(user);
    crowd->dials++;
    user->dialled_us = clock_now_us();
    user->http = http_client_new(crowd->way, &crowd->server);
    http_client_dial(user->http, headers, DIAL_TIMEOUT_MS, on_user_dialled, user);
}

/* ---- commands */

static void obey_line(struct crowd *crowd, const char *line)
{
    unsigned wanted;

    if (sscanf(line, "connections %u", &wanted) != 1 || wanted > CONNECTIONS_MAX) {
        fprintf(stderr, "users: not understood: %s\n", line);
        exit(2);
    }
    crowd->since_us = clock_now_us();
    for (unsigned i = 0; i < crowd->count; i++) {
        struct user *user = &crowd->users[i];
        user->wanted = wanted;
        look_at(user);
    }
    for (unsigned i = 0; i < crowd->count; i++) {
        if (i < crowd->abreast)
            open_connections(&crowd->users[i]);
        else
            list_append(&crowd->waiting, &crowd->users[i].node);
    }
}

static void on_command(void *argument)
{
    struct crowd *crowd = argument;
    ssize_t got = read(STDIN_FILENO, crowd->command + crowd->command_fill,
                       sizeof crowd->command - 1 - crowd->command_fill);
    char *end;

    if (got <= 0)
        exit(0); /* whoever has started it is done */
    crowd->command_fill += (size_t)got;
    crowd->command[crowd->command_fill] = '\0';
    while ((end = strchr(crowd->command, '\n'))) {
        *end = '\0';
        obey_line(crowd, crowd->command);
        crowd->command_fill = strlen(end + 1);
        memmove(crowd->command, end + 1, crowd->command_fill + 1);
    }
}

/* ---- the beginning */

static const char usage_text[] =
    "usage: users --target HOST:PORT --ca FILE --token TOKEN [--sessions N] [--targets N]"
    " [--abreast N]\n"
    "The server has raw targets bench0, bench1, ...: as many as --targets says. bench/users.c says "
    "what this does.\n";

struct settings {
    char host[64];
    unsigned port;
    const char *ca;
    const char *token;
    unsigned sessions;
    unsigned targets;
    unsigned abreast;
};

static bool parse_settings(int argc, char **argv, struct settings *settings)
{
    static const struct option table[] = {
        {"target", required_argument, NULL, 't'},
        {"ca", required_argument, NULL, 'c'},
        {"token", required_argument, NULL, 'k'},
        {"sessions", required_argument, NULL, 's'},
        {"targets", required_argument, NULL, 'n'},
        {"abreast", required_argument, NULL, 'a'},
        {NULL, 0, NULL, 0},
    };
    int letter;

    *settings = (struct settings){.sessions = 1, .targets = 1, .abreast = 64};
    while ((letter = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (letter == 't' && sscanf(optarg, "%63[^:]:%u", settings->host, &settings->port) != 2)
            return false;
        else if (letter == 'c')
            settings->ca = optarg;
        else if (letter == 'k')
            settings->token = optarg;
        else if (letter == 's')
            settings->sessions = (unsigned)strtoul(optarg, NULL, 10);
        else if (letter == 'n')
            settings->targets = (unsigned)strtoul(optarg, NULL, 10);
        else if (letter == 'a')
            settings->abreast = (unsigned)strtoul(optarg, NULL, 10);
        else if (letter == '?')
            return false;
    }
    return optind == argc && settings->port > 0 && settings->port < 65536 && settings->ca &&
           settings->token && settings->sessions > 0 && settings->targets > 0 &&
           settings->targets <= TARGETS_MAX && settings->abreast > 0;
}

static void start_users(struct crowd *crowd)
{
    crowd->users = memory_new_array(crowd->count, sizeof *crowd->users);
    crowd->since_us = clock_now_us();
    for (unsigned i = 0; i < crowd->count; i++) {
        struct user *user = &crowd->users[i];
        user->crowd = crowd;
        user->redial = timer_new(&crowd->worker, dial_user, user);
        user->end = timer_new(&crowd->worker, on_user_end, user);
        list_init(&user->node);
        if (i < crowd->abreast)
            dial_user(user);
        else
            list_append(&crowd->waiting, &user->node);
    }
}

int main(int argc, char **argv)
{
    static struct log log;
    static struct crowd crowd;
    struct settings settings;
    char error[256];

    if (!parse_settings(argc, argv, &settings)) {
        fputs(usage_text, stderr);
        return 2;
    }
    sock_prepare_process();
    log_init(&log, &(struct log_settings){.level = LOG_LEVEL_ERROR, .fd = STDERR_FILENO});
    if (!worker_init(&crowd.worker, &log, UINT64_C(4) << 30))
        return 1;
    const struct http_way_settings way = {.files = {.ca_option = "ca", .ca_file = settings.ca},
                                          .proxy = "none",
                                          .overrides = &(struct config_list){0}};
    crowd.way = http_way_new(&crowd.worker, &way, error, sizeof error);
    if (!crowd.way) {
        fprintf(stderr, "users: %s\n", error);
        return 1;
    }
    crowd.server = (struct http_client_settings){
        .host = settings.host, .port = (uint16_t)settings.port, .path = "/tunnel", .tls = true};
    snprintf(crowd.authorization, sizeof crowd.authorization, "Authorization: Bearer %s",
             settings.token);
    crowd.count = settings.sessions;
    crowd.targets = settings.targets;
    crowd.abreast = settings.abreast;
    list_init(&crowd.waiting);
    struct watch *commands = watch_new(&crowd.worker, STDIN_FILENO, WATCH_READ, on_command, &crowd);
    watch_want(commands, true);
    start_users(&crowd);
    worker_run(&crowd.worker);
    return 1;
}

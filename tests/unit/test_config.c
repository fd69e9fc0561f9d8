#include "../lib/cmocka.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/log.h"
#include "config/address.h"
#include "config/config.h"
#include "config/properties.h"
#include "config/secret.h"
#include "config/service_link.h"
#include "config/shared.h"
#include "config/url.h"
#include "config/value.h"

struct options {
    const char *server;
    const char *token;
    int64_t workers;
    uint64_t ping_interval;
    uint64_t memory;
    bool trust_ingress;
    int log_level;
    struct config_list tcp;
    struct config_list kafka;
};

static const char *const levels[] = {"error", "info", "debug", NULL};

#define AT(member) .offset = offsetof(struct options, member)
static const struct config_option table[] = {
    {.name = "server",
     .metavar = "URL",
     .kind = CONFIG_STRING,
     AT(server),
     .group = "Link",
     .help = "Where the server is.",
     .flags = CONFIG_REQUIRED},
    {.name = "token",
     .metavar = "T",
     .kind = CONFIG_STRING,
     AT(token),
     .group = "Link",
     .help = "What to show at the door.",
     .flags = CONFIG_SECRET},
    {.name = "ping-interval",
     .metavar = "S",
     .kind = CONFIG_DURATION,
     AT(ping_interval),
     .group = "Link",
     .help = "How often to ask whether the other side is there | alive.",
     .default_value = "20",
     .min = 1000,
     .max = 3600000},
    {.name = "workers",
     .metavar = "N",
     .kind = CONFIG_INTEGER,
     AT(workers),
     .group = "Limits",
     .help = "How many.",
     .default_value = "1",
     .min = 1,
     .max = 64,
     .unit = "workers"},
    {.name = "memory",
     .metavar = "SIZE",
     .kind = CONFIG_SIZE,
     AT(memory),
     .group = "Limits",
     .help = "How much.",
     .default_value = "256MiB"},
    {.name = "trust-ingress",
     .kind = CONFIG_BOOL,
     AT(trust_ingress),
     .group = "Limits",
     .help = "Believe it."},
    {.name = "log-level",
     .kind = CONFIG_ENUM,
     AT(log_level),
     .group = "Log",
     .help = "What to log.",
     .default_value = "info",
     .values = levels},
    {.name = "tcp",
     .metavar = "NAME=HOST:PORT",
     .kind = CONFIG_LIST,
     AT(tcp),
     .group = "Targets",
     .help = "A target."},
    {.name = "kafka",
     .metavar = "[NAME=]HOST:PORT,...",
     .kind = CONFIG_LIST,
     AT(kafka),
     .group = "Targets",
     .help = "A cluster.",
     .flags = CONFIG_SPLIT_NAMED},
};
static const struct config_program program = {.name = "demo",
                                              .summary = "A program.",
                                              .options = table,
                                              .count = sizeof table / sizeof *table};

struct run {
    struct config config;
    struct options options;
    int result;
};

/* As main() gets them: pointers to char, though nobody writes there. */
static int copy_words(char **to, const char *const *words)
{
    int count = 0;

    while (words && words[count])
        count++;
    if (count > 0)
        memcpy(to, words, (size_t)count * sizeof *to);
    to[count] = NULL;
    return count;
}

/* arguments and environment end in NULL, or are NULL. */
static void load_program(struct run *r, const struct config_program *p,
                         const char *const *arguments, const char *const *environment)
{
    static const char *const name[] = {"demo", NULL};
    char *argv[16];
    char *variables[16];

    copy_words(argv, name);
    int argc = 1 + copy_words(argv + 1, arguments);
    copy_words(variables, environment);
    memset(r, 0, sizeof *r);
    r->result = config_load(&r->config, p, &r->options, argc, argv, variables);
}

static void load(struct run *r, const char *const *arguments, const char *const *environment)
{
    load_program(r, &program, arguments, environment);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SERVER "--server", "https://x"

static void expect_error(const char *const *arguments, const char *const *environment,
                         const char *error)
{
    struct run r;

    load(&r, arguments, environment);
    assert_int_equal(r.result, -1);
    assert_string_equal(r.config.error, error);
    config_free(&r.config);
}

/* A file of the test's own; the caller unlinks it. */
static void write_file(char path[64], const void *text, size_t size)
{
    strcpy(path, "/tmp/kafka-tunnel-test-XXXXXX");
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, size), size);
    close(fd);
}

static void interrupt(int signal)
{
    (void)signal;
}

static void the_file_may_be_a_pipe_that_somebody_writes_to(void **state)
{
    const struct itimerval soon = {.it_value.tv_usec = 100 * 1000};
    const struct sigaction action = {.sa_handler = interrupt};
    char path[40];
    char error[200];
    struct run r;
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);

    /* Its writer does not end: that is not waited for for ever. */
    snprintf(error, sizeof error,
             "the configuration file %s is a pipe, and a signal interrupted the wait for it", path);
    assert_int_equal(write(ends[1], "server=cut", 10), 10);
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    expect_error(WORDS("--config", path), NULL, error);

    assert_int_equal(write(ends[1], "server=piped\n", 13), 13);
    close(ends[1]);
    load(&r, WORDS("--config", path), NULL);
    assert_string_equal(r.config.error, "");
    assert_int_equal(r.result, 0);
    assert_string_equal(r.options.server, "piped");
    config_free(&r.config);
    close(ends[0]);
}

static void defaults_fill_what_nobody_sets(void **state)
{
    (void)state;
    struct run r;

    load(&r, WORDS(SERVER), NULL);
    assert_int_equal(r.result, 0);
    assert_string_equal(r.options.server, "https://x");
    assert_null(r.options.token);
    assert_int_equal(r.options.workers, 1);
    assert_int_equal(r.options.ping_interval, 20000);
    assert_int_equal(r.options.memory, 256 << 20);
    assert_false(r.options.trust_ingress);
    assert_int_equal(r.options.log_level, 1);
    assert_int_equal(r.options.tcp.count, 0);
    assert_int_equal(config_source(&r.config, "server"), CONFIG_FROM_FLAG);
    assert_int_equal(config_source(&r.config, "workers"), CONFIG_FROM_DEFAULT);
    assert_int_equal(config_source(&r.config, "tcp"), CONFIG_UNSET);
    config_free(&r.config);
}

static void flags_of_every_kind(void **state)
{
    (void)state;
    struct run r;

    load(&r,
         WORDS("--server=ws://a", "--workers", "7", "--ping-interval=1500ms", "--memory", "64KiB",
               "--trust-ingress", "--log-level", "debug", "--tcp", "a=b:1", "--tcp", "c=d:2, e",
               "--kafka=x:1,y:2"),
         NULL);
    assert_int_equal(r.result, 0);
    assert_string_equal(r.options.server, "ws://a");
    assert_int_equal(r.options.workers, 7);
    assert_int_equal(r.options.ping_interval, 1500);
    assert_int_equal(r.options.memory, 65536);
    assert_true(r.options.trust_ingress);
    assert_int_equal(r.options.log_level, 2);
    assert_int_equal(r.options.tcp.count, 2);
    assert_string_equal(r.options.tcp.items[0], "a=b:1");
    assert_string_equal(r.options.tcp.items[1], "c=d:2, e");
    assert_int_equal(r.options.kafka.count, 1);
    assert_string_equal(r.options.kafka.items[0], "x:1,y:2");
    config_free(&r.config);

    load(&r,
         WORDS(SERVER, "--workers", "2", "--workers=3", "--trust-ingress", "--no-trust-ingress"),
         NULL);
    assert_int_equal(r.result, 0);
    assert_int_equal(r.options.workers, 3);
    assert_false(r.options.trust_ingress);
    config_free(&r.config);
}

static void flags_win_over_environment_over_file(void **state)
{
    (void)state;
    static const char text[] = "server = https://file\nworkers=2\nmemory=1MiB\ntcp=f=f:1\n"
                               "trust-ingress=yes\n";
    struct run r;
    char path[64];

    write_file(path, text, sizeof text - 1);
    load(&r, WORDS("--workers=4", "--config", path),
         WORDS("TUNNEL_WORKERS=3", "TUNNEL_MEMORY=2MiB", "TUNNEL_TCP=e=e:1,g=g:2 h=h:3",
               "PATH=/bin", "TUNNEL_TRUST_INGRESS=", "TUNNEL_CONFIG=/nonexistent"));
    assert_string_equal(r.config.error, "");
    assert_int_equal(r.result, 0);
    assert_string_equal(r.options.server, "https://file");
    assert_int_equal(r.options.memory, 2 << 20);
    assert_int_equal(r.options.workers, 4);
    assert_int_equal(r.options.tcp.count, 3);
    assert_string_equal(r.options.tcp.items[2], "h=h:3");
    assert_true(r.options.trust_ingress);
    assert_int_equal(config_source(&r.config, "server"), CONFIG_FROM_FILE);
    assert_int_equal(config_source(&r.config, "memory"), CONFIG_FROM_ENVIRONMENT);
    assert_int_equal(config_source(&r.config, "workers"), CONFIG_FROM_FLAG);
    assert_string_equal(r.config.file, path);
    assert_int_equal(r.config.warning_count, 0);
    config_free(&r.config);

    char variable[96];
    snprintf(variable, sizeof variable, "TUNNEL_CONFIG=%s", path);
    load(&r, WORDS("--tcp", "x=x:1"), WORDS(variable));
    assert_int_equal(r.result, 0);
    assert_int_equal(r.options.tcp.count, 1);
    assert_string_equal(r.options.tcp.items[0], "x=x:1");
    assert_int_equal(r.options.workers, 2);
    config_free(&r.config);
    unlink(path);
}

static void lists_whose_entries_hold_commas(void **state)
{
    (void)state;
    static const struct {
        const char *variable;
        const char *items[4];
    } cases[] = {
        {"TUNNEL_KAFKA=h1:1,h2:2", {"h1:1,h2:2"}},
        {"TUNNEL_KAFKA=a=h1:1,h2:2,b=h3:3", {"a=h1:1,h2:2", "b=h3:3"}},
        {"TUNNEL_KAFKA=a=h1:1,h2:2 b=h3:3,h4:4", {"a=h1:1,h2:2", "b=h3:3,h4:4"}},
        {"TUNNEL_KAFKA= a=h1:1 , h2:2 ,b=h3:3, ", {"a=h1:1,h2:2", "b=h3:3"}},
        {"TUNNEL_KAFKA=h1:1 h2:2", {"h1:1", "h2:2"}},
        {"TUNNEL_KAFKA=h1:1,b=h2:2", {"h1:1", "b=h2:2"}},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char variable[64];
        struct run r;
        size_t count = 0;

        strcpy(variable, cases[i].variable);
        load(&r, WORDS(SERVER), WORDS(variable));
        assert_int_equal(r.result, 0);
        for (; cases[i].items[count]; count++) {
            assert_true(count < r.options.kafka.count);
            assert_string_equal(r.options.kafka.items[count], cases[i].items[count]);
        }
        assert_int_equal(r.options.kafka.count, count);
        config_free(&r.config);
    }
}

static void too_many_entries_are_refused(void **state)
{
    (void)state;
    char variable[2048] = "TUNNEL_TCP=";

    for (int i = 0; i <= CONFIG_LIST_MAX; i++)
        strcat(variable, "a ");
    expect_error(WORDS(SERVER), WORDS(variable), "TUNNEL_TCP: more than 256 entries");
}

static void errors_say_what_and_where(void **state)
{
    (void)state;
    expect_error(WORDS("--sever", "x"), NULL,
                 "--sever is not an option of demo; did you mean --server?");
    expect_error(WORDS("--trust"), NULL,
                 "--trust is not an option of demo; did you mean --trust-ingress?");
    expect_error(WORDS("--zzzzzzzz=secret"), NULL,
                 "--zzzzzzzz is not an option of demo; see --help-all");
    expect_error(WORDS("--no-workers"), NULL,
                 "--no-workers is not an option of demo; see --help-all");
    expect_error(WORDS("--x\ny"), NULL, "--x\\ny is not an option of demo; see --help-all");
    expect_error(WORDS("--server"), NULL, "--server needs a value");
    expect_error(WORDS("--server", "--workers", "1"), NULL, "--server needs a value");
    expect_error(WORDS("--server="), NULL, "--server: the value is empty");
    expect_error(WORDS("s3cret"), NULL,
                 "argument 1 is not an option; options begin with --, see --help");
    expect_error(WORDS("--"), NULL, "-- is not an option of demo; see --help-all");
    expect_error(WORDS("--no-trust-ingress=true"), NULL, "--no-trust-ingress takes no value");
    expect_error(WORDS("--trust-ingress=perhaps"), NULL,
                 "--trust-ingress: \"perhaps\" is neither true nor false");
    expect_error(WORDS("--workers", "1x"), NULL, "--workers: \"1x\" is not a whole number");
    expect_error(WORDS("--workers", "-5"), NULL,
                 "--workers: \"-5\" is out of range: it must be from 1 to 64 workers");
    expect_error(WORDS("--ping-interval", "999ms"), NULL,
                 "--ping-interval: \"999ms\" is out of range: it must be from 1s to 1h");
    expect_error(WORDS("--ping-interval", "soon"), NULL,
                 "--ping-interval: \"soon\" is not a duration: write a whole number of seconds, or "
                 "a number with a unit: ms, s, m or h");
    expect_error(WORDS("--memory", "1kb"), NULL,
                 "--memory: \"1kb\" is not a size: write a whole number of bytes, or a number with "
                 "a unit: KiB, MiB or GiB");
    expect_error(WORDS(SERVER), WORDS("TUNNEL_LOG_LEVEL=loud"),
                 "TUNNEL_LOG_LEVEL: \"loud\" is not one of error, info, debug");
    expect_error(WORDS(SERVER, "--log-level", "debg"), NULL,
                 "--log-level: \"debg\" is not one of error, info, debug; did you mean debug?");
    expect_error(NULL, NULL,
                 "--server is missing (or TUNNEL_SERVER in the environment); see --help");
    expect_error(WORDS("--config", "/nonexistent/x"), NULL,
                 "cannot read the configuration file /nonexistent/x: No such file or directory");
    expect_error(WORDS("--config", "/"), NULL,
                 "cannot read the configuration file /: Is a directory");
    expect_error(NULL, WORDS("TUNNEL_SERVR=h"),
                 "--server is missing (or TUNNEL_SERVER in the environment); TUNNEL_SERVR is set, "
                 "but is not an option of demo; did you mean TUNNEL_SERVER?");
}

static void expect_file_error(const void *text, size_t size, const char *error)
{
    struct run r;
    char path[64];

    write_file(path, text, size);
    load(&r, WORDS(SERVER, "--config", path), NULL);
    assert_int_equal(r.result, -1);
    assert_memory_equal(r.config.error, path, strlen(path));
    assert_string_equal(r.config.error + strlen(path), error);
    config_free(&r.config);
    unlink(path);
}

#define EXPECT_FILE_ERROR(text, error) expect_file_error(text, sizeof text - 1, error)

static void file_errors_name_the_line(void **state)
{
    (void)state;
    EXPECT_FILE_ERROR("# fine\n\nworkrs=2\n",
                      ":3: \"workrs\" is not an option of demo; did you mean \"workers\"?");
    EXPECT_FILE_ERROR("toekn=x\n",
                      ":1: \"toekn\" is not an option of demo; did you mean \"token\"?");
    EXPECT_FILE_ERROR("workers=\\\n2\nlog-level=loud\n",
                      ":3: log-level: \"loud\" is not one of error, info, debug");
    EXPECT_FILE_ERROR("workers=2\nworkers=3\n", ":2: workers is already set on line 1");
    EXPECT_FILE_ERROR("workers\n", ":1: workers: the value is empty");
    EXPECT_FILE_ERROR("token=a\\u0041\n", ":1: a \\u escape; write the character itself, in UTF-8");
    EXPECT_FILE_ERROR("\nserver=\0x\n", ":2: a NUL byte; this is not a text file");
    /* A token's file that was named by mistake is not shown. */
    EXPECT_FILE_ERROR("eyJhbGciOi.S3cret\n",
                      ":1: the key is not an option of demo; is this a configuration file?");
}

static void a_huge_file_is_refused(void **state)
{
    (void)state;
    char *text = malloc(CONFIG_FILE_MAX + 1);
    struct run r;
    char path[64];

    memset(text, '\n', CONFIG_FILE_MAX + 1);
    write_file(path, text, CONFIG_FILE_MAX + 1);
    load(&r, WORDS(SERVER, "--config", path), NULL);
    assert_int_equal(r.result, -1);
    assert_non_null(strstr(r.config.error, "is larger than 1 MiB"));
    config_free(&r.config);
    assert_int_equal(truncate(path, CONFIG_FILE_MAX), 0);
    load(&r, WORDS(SERVER, "--config", path), NULL);
    assert_int_equal(r.result, 0);
    config_free(&r.config);
    unlink(path);
    free(text);
}

static void unknown_variables_are_warned_about(void **state)
{
    (void)state;
    struct run r;

    load(&r, WORDS(SERVER), WORDS("TUNNEL_WORKRS=s3cret", "TUNNELS=1", "TUNNEL_WORKERS=2"));
    assert_int_equal(r.result, 0);
    assert_int_equal(r.config.warning_count, 1);
    assert_string_equal(
        r.config.warnings[0],
        "TUNNEL_WORKRS is set, but is not an option of demo; did you mean TUNNEL_WORKERS?");
    assert_int_equal(r.options.workers, 2);
    config_free(&r.config);
    load(&r, WORDS(SERVER), WORDS("TUNNEL_SOMETHING_ELSE=1", "TUNNEL_HELP=1"));
    assert_int_equal(r.config.warning_count, 2);
    assert_string_equal(r.config.warnings[0],
                        "TUNNEL_SOMETHING_ELSE is set, but is not an option of demo");
    assert_string_equal(r.config.warnings[1], "TUNNEL_HELP is set, but is not an option of demo");
    config_free(&r.config);
}

/* A Service tunnel-server with the ports 8080 and, named metrics, 9091; and one that is just called
 * tunnel, with IPv6. */
static void kubernetes_service_links_are_no_options(void **state)
{
    (void)state;
    static const char *const links[] = {
        "TUNNEL_SERVER_SERVICE_HOST=10.96.0.7",
        "TUNNEL_SERVER_SERVICE_PORT=8080",
        "TUNNEL_SERVER_SERVICE_PORT_METRICS=9091",
        "TUNNEL_SERVER_PORT=tcp://10.96.0.7:8080",
        "TUNNEL_SERVER_PORT_8080_TCP=tcp://10.96.0.7:8080",
        "TUNNEL_SERVER_PORT_8080_TCP_PROTO=tcp",
        "TUNNEL_SERVER_PORT_8080_TCP_PORT=8080",
        "TUNNEL_SERVER_PORT_8080_TCP_ADDR=10.96.0.7",
        "TUNNEL_SERVICE_HOST=fd00::7",
        "TUNNEL_SERVICE_PORT=9092",
        "TUNNEL_PORT=tcp://[fd00::7]:9092",
        "TUNNEL_PORT_9092_UDP_ADDR=fd00::7",
        "TUNNEL_PORT_9092_UDP=udp://[fd00::7]:9092",
        "TUNNEL_A_SERVICE_HOST_SERVICE_HOST=10.0.0.1",
        "TUNNEL_MY_PORT_PORT=tcp://10.0.0.1:1",
        "TUNNEL_MY_SERVICE_PORT_SERVICE_PORT_A_B=1",
    };
    static const char *const none[] = {
        "TUNNEL_PORT=9092",
        "TUNNEL_SERVER_PORT=",
        "TUNNEL_SERVER_SERVICE_HOST=localhost",
        "TUNNEL_SERVER_SERVICE_HOSTS=10.0.0.1",
        "TUNNEL_SERVER_SERVICE_PORT=http",
        "TUNNEL_SERVER_SERVICE_PORTS=1",
        "TUNNEL_SERVER_PORT_TCP=tcp://10.0.0.1:1",
        "TUNNEL_SERVER_PORT_8080_TCPS=tcp://10.0.0.1:1",
        "TUNNEL_SERVER_PORT_8080_TCP_NAME=x",
        "TUNNEL_SERVER_PORT_8080_TCP=http://10.0.0.1:1",
        "TUNNEL_server_SERVICE_HOST=10.0.0.1",
        "_SERVICE_HOST=10.0.0.1",
    };
    struct run r;

    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        if (!service_link_is(links[i]))
            fail_msg("%s", links[i]);
        load(&r, WORDS(SERVER), WORDS(links[i]));
        assert_int_equal(r.result, 0);
        assert_int_equal(r.config.warning_count, 0);
        config_free(&r.config);
    }
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        if (service_link_is(none[i]))
            fail_msg("%s", none[i]);
}

/* docker run --env-file takes quotes for a part of the value; so does a file of properties. */
static void values_in_quotes(void **state)
{
    (void)state;
    static const char *const quoted[] = {
        "TUNNEL_SERVER=\"https://x\"", "TUNNEL_WORKERS='2'",         "TUNNEL_MEMORY=\"2MiB\"",
        "TUNNEL_LOG_LEVEL=\"debug\"",  "TUNNEL_TCP=\"a=b:1,c=d:2\"", "TUNNEL_TRUST_INGRESS=\"yes\"",
        "TUNNEL_TOKEN=\"s3cret\"",     "TUNNEL_CONFIG=\"/x/y\"",
    };
    struct run r;
    char path[64];

    for (size_t i = 0; i < sizeof quoted / sizeof quoted[0]; i++) {
        char wanted[200];
        snprintf(
            wanted, sizeof wanted,
            "%.*s: the value begins and ends with a quote, and both are part of it; docker's "
            "--env-file keeps quotes that a shell would remove: write the value without quotes",
            (int)strcspn(quoted[i], "="), quoted[i]);
        expect_error(NULL, WORDS(quoted[i]), wanted);
    }
    load(&r, WORDS("--server", "'https://x'"), NULL);
    assert_int_equal(r.result, -1);
    assert_non_null(strstr(r.config.error, "--server: the value begins and ends with a quote"));
    config_free(&r.config);
    write_file(path, "server=\"https://x\"\n", 19);
    load(&r, WORDS("--config", path), NULL);
    assert_int_equal(r.result, -1);
    assert_non_null(strstr(r.config.error, ":1: server: the value begins and ends with a quote"));
    assert_null(strstr(r.config.error, "docker"));
    config_free(&r.config);
    unlink(path);
    load(&r, WORDS("--server", "\"a\" or \"b\"", "--kafka", "\"", "--tcp", "a=\"b\""), NULL);
    assert_int_equal(r.result, 0);
    config_free(&r.config);
    /* Of which quotes may be a part: a shell's command, a passphrase. */
    const struct config_option command = {
        .name = "command", .kind = CONFIG_STRING, AT(token), .flags = CONFIG_QUOTES};
    const struct config_program other = {.name = "other", .options = &command, .count = 1};
    load_program(&r, &other, NULL, WORDS("TUNNEL_COMMAND='x y'"));
    assert_int_equal(r.result, 0);
    assert_string_equal(r.options.token, "'x y'");
    assert_int_equal(r.config.warning_count, 1);
    assert_non_null(strstr(r.config.warnings[0], "TUNNEL_COMMAND: the value begins and ends"));
    config_free(&r.config);
}

static void help_and_version_come_first(void **state)
{
    (void)state;
    struct run r;

    load(&r, WORDS("--workers", "x", "--help"), NULL);
    assert_int_equal(r.result, CONFIG_HELP);
    config_free(&r.config);
    load(&r, WORDS("-h"), NULL);
    assert_int_equal(r.result, CONFIG_HELP);
    config_free(&r.config);
    load(&r, WORDS("--version"), NULL);
    assert_int_equal(r.result, CONFIG_VERSION);
    config_free(&r.config);
}

static const char *const switch_words[] = {"false", "true", "optional", NULL};
static const struct config_option switches[] = {{.name = "trust",
                                                 .kind = CONFIG_SWITCH,
                                                 AT(log_level),
                                                 .group = "g",
                                                 .help = "h",
                                                 .values = switch_words},
                                                {.name = "server",
                                                 .metavar = "URL",
                                                 .kind = CONFIG_STRING,
                                                 AT(server),
                                                 .group = "g",
                                                 .help = "h"}};
static const struct config_program with_switches = {
    .name = "demo", .summary = "s", .options = switches, .count = 2};

static void expect_switch(const char *const *words, const char *const *environment, int value,
                          const char *server)
{
    struct run r;

    load_program(&r, &with_switches, words, environment);
    if (r.result != 0)
        fail_msg("%s", r.config.error);
    assert_int_equal(r.options.log_level, value);
    if (server)
        assert_string_equal(r.options.server, server);
    else
        assert_null(r.options.server);
    config_free(&r.config);
}

static void expect_no_switch(const char *const *words, const char *const *environment,
                             const char *error)
{
    struct run r;

    load_program(&r, &with_switches, words, environment);
    assert_int_equal(r.result, -1);
    assert_string_equal(r.config.error, error);
    config_free(&r.config);
}

static void a_switch_with_a_word_more(void **state)
{
    (void)state;
    char path[64];
    char flag[80];
    static const char *const boolean[][2] = {
        {"TUNNEL_TRUST=false", "0"}, {"TUNNEL_TRUST=true", "1"}, {"TUNNEL_TRUST=no", "0"},
        {"TUNNEL_TRUST=yes", "1"},   {"TUNNEL_TRUST=off", "0"},  {"TUNNEL_TRUST=on", "1"},
        {"TUNNEL_TRUST=0", "0"},     {"TUNNEL_TRUST=1", "1"},    {"TUNNEL_TRUST=optional", "2"},
        {"TUNNEL_TRUST=", "0"}};

    /* As a bool, in everything that has ever worked. */
    expect_switch(NULL, NULL, 0, NULL);
    expect_switch(WORDS("--trust"), NULL, 1, NULL);
    expect_switch(WORDS("--no-trust"), NULL, 0, NULL);
    expect_switch(WORDS("--trust", "--server", "x"), NULL, 1, "x");
    expect_switch(WORDS("--trust=true"), NULL, 1, NULL);
    expect_switch(WORDS("--trust=no"), NULL, 0, NULL);
    expect_switch(WORDS("--trust", "--no-trust"), NULL, 0, NULL);
    for (size_t i = 0; i < sizeof boolean / sizeof boolean[0]; i++)
        expect_switch(NULL, WORDS(boolean[i][0]), boolean[i][1][0] - '0', NULL);
    /* The word more. */
    expect_switch(WORDS("--trust=optional"), NULL, 2, NULL);
    expect_switch(WORDS("--trust", "optional"), NULL, 2, NULL);
    expect_switch(WORDS("--trust", "optional", "--server", "x"), NULL, 2, "x");
    expect_switch(WORDS("--server", "optional", "--trust"), NULL, 1, "optional");
    expect_switch(WORDS("--trust", "optional", "--trust"), NULL, 1, NULL);
    expect_switch(WORDS("--trust", "false"), NULL, 0, NULL);
    expect_switch(WORDS("--no-trust"), WORDS("TUNNEL_TRUST=optional"), 0, NULL);
    write_file(path, "trust=optional\n", 15);
    snprintf(flag, sizeof flag, "--config=%s", path);
    expect_switch(WORDS(flag), NULL, 2, NULL);
    expect_switch(WORDS(flag, "--trust"), NULL, 1, NULL);
    unlink(path);
    expect_no_switch(WORDS("--trust=perhaps"), NULL,
                     "--trust: \"perhaps\" is not one of false, true, optional");
    expect_no_switch(WORDS("--trust", "perhaps"), NULL,
                     "argument 2 is not an option; options begin with --, see --help");
    expect_no_switch(WORDS("--no-trust", "optional"), NULL,
                     "argument 2 is not an option; options begin with --, see --help");
    expect_no_switch(WORDS("--no-trust=optional"), NULL, "--no-trust takes no value");
    expect_no_switch(NULL, WORDS("TUNNEL_TRUST=perhaps"),
                     "TUNNEL_TRUST: \"perhaps\" is not one of false, true, optional");
}

static void lists_whose_entries_are_lines(void **state)
{
    (void)state;
    static const struct config_option options[] = {{.name = "header",
                                                    .kind = CONFIG_LIST,
                                                    AT(tcp),
                                                    .group = "g",
                                                    .help = "h",
                                                    .flags = CONFIG_SPLIT_LINES | CONFIG_SECRET}};
    static const struct config_program lines = {
        .name = "demo", .summary = "s", .options = options, .count = 1};
    static const char file[] = "header=X-A: 1, 2\nheader=X-B: 3\n";
    char path[64];
    char flag[80];
    struct run r;

    load_program(&r, &lines, NULL, WORDS("TUNNEL_HEADER=\n X-A: 1, 2 \r\n\n\tX-B: 3"));
    assert_int_equal(r.result, 0);
    assert_int_equal(r.options.tcp.count, 2);
    assert_string_equal(r.options.tcp.items[0], "X-A: 1, 2");
    assert_string_equal(r.options.tcp.items[1], "X-B: 3");
    config_free(&r.config);

    write_file(path, file, sizeof file - 1);
    snprintf(flag, sizeof flag, "--config=%s", path);
    load_program(&r, &lines, WORDS(flag), NULL);
    assert_int_equal(r.result, 0);
    assert_int_equal(r.options.tcp.count, 2);
    assert_string_equal(r.options.tcp.items[0], "X-A: 1, 2");
    assert_string_equal(r.options.tcp.items[1], "X-B: 3");
    config_free(&r.config);
    unlink(path);
}

static void secrets_are_never_shown(void **state)
{
    (void)state;
    static const struct config_option options[] = {{.name = "pin",
                                                    .kind = CONFIG_INTEGER,
                                                    AT(workers),
                                                    .group = "g",
                                                    .help = "h",
                                                    .flags = CONFIG_SECRET}};
    static const struct config_program secretive = {
        .name = "demo", .summary = "s", .options = options, .count = 1};
    struct run r;

    load_program(&r, &secretive, WORDS("--pin=12s4"), NULL);
    assert_int_equal(r.result, -1);
    assert_string_equal(r.config.error, "--pin: the value is not a whole number");
    config_free(&r.config);

    load(&r, WORDS(SERVER, "--token=s3cret", "--ping-interval=60", "--tcp=a=b:1", "--tcp=c=d:1"),
         NULL);
    assert_int_equal(r.result, 0);
    assert_string_equal(r.options.token, "s3cret");
    assert_string_equal(r.options.server, "https://x");
    assert_int_equal(r.options.ping_interval, 60000);
    assert_int_equal(r.options.workers, 1);
    assert_int_equal(r.options.memory, 256 << 20);
    assert_false(r.options.trust_ingress);
    assert_string_equal(table[6].values[r.options.log_level], "info");
    assert_int_equal(r.options.tcp.count, 2);
    assert_string_equal(r.options.tcp.items[0], "a=b:1");
    assert_string_equal(r.options.tcp.items[1], "c=d:1");
    assert_int_equal(r.config.warning_count, 0);
    config_free(&r.config);
}

struct log_options {
    struct shared_options shared;
};

static int load_log(struct config *config, struct log_options *options, const char *flag)
{
    static const struct config_option rows[] = {SHARED_LOG_OPTIONS(struct log_options)};
    static const struct config_program logs = {
        .name = "demo", .summary = "s", .options = rows, .count = sizeof rows / sizeof *rows};
    char *argv[3];

    copy_words(argv, WORDS("demo", flag));
    *options = (struct log_options){0};
    return config_load(config, &logs, options, 2, argv, &argv[2]);
}

static void keep_line(void *context, const char *line, size_t size)
{
    snprintf(context, LOG_LINE_MAX, "%.*s", (int)size, line);
}

/* What --log-level and --log-format take is what the log means by it. */
static void words_for_level_and_format(void **state)
{
    (void)state;
    struct config config;
    struct log_options options;
    struct log log;
    char line[LOG_LINE_MAX];
    char text[64];

    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        snprintf(text, sizeof text, "--log-level=%s", shared_log_levels[level]);
        assert_int_equal(load_log(&config, &options, text), 0);
        assert_int_equal(options.shared.log_level, level);
        config_free(&config);
        for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
            snprintf(text, sizeof text, "--log-format=%s", shared_log_formats[format]);
            assert_int_equal(load_log(&config, &options, text), 0);
            assert_int_equal(options.shared.log_format, format);
            config_free(&config);
            log_init(&log, &(struct log_settings){.level = (enum log_level)level,
                                                  .format = (enum log_format)format,
                                                  .sink = keep_line,
                                                  .sink_context = line});
            log_event(&log, (enum log_level)level, "said", "Something", NULL, 0);
            snprintf(text, sizeof text, format == LOG_FORMAT_JSON ? "\"level\":\"%s\"" : "Z %s ",
                     shared_log_levels[level]);
            assert_non_null(strstr(line, text));
        }
    }
    assert_null(shared_log_levels[LOG_LEVEL_DEBUG + 1]);
    assert_null(shared_log_formats[LOG_FORMAT_JSON + 1]);
    assert_int_equal(load_log(&config, &options, "--log-level=warn"), -1);
    config_free(&config);
    assert_int_equal(load_log(&config, &options, "--log-format="), -1);
    config_free(&config);
}

static char *written_help(const struct config_program *p, int command)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    config_write_help_all(p, command, out);
    fclose(out);
    return text;
}

static char *written_short_help(const struct config_program *p, int command)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    config_write_help(p, command, out);
    fclose(out);
    return text;
}

static char *written_markdown(const struct config_program *p)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    config_write_markdown(p, out);
    fclose(out);
    return text;
}

static void help_and_markdown_show_everything(void **state)
{
    (void)state;
    char *help = written_help(&program, 0);
    char *markdown = written_markdown(&program);

    assert_non_null(strstr(help, "Usage: demo [options]\n\nA program.\n\nLink:\n  --server URL\n"
                                 "        Where the server is.\n"
                                 "        Required. Environment: TUNNEL_SERVER.\n"));
    assert_non_null(strstr(help, "        Default: 20. Environment: TUNNEL_PING_INTERVAL.\n"));
    assert_non_null(strstr(help, "  --[no-]trust-ingress\n"));
    assert_non_null(strstr(help, "  --log-level error|info|debug\n"));
    assert_non_null(strstr(help, "  --version\n"));
    for (char *line = strtok(help, "\n"); line; line = strtok(NULL, "\n"))
        assert_true(strlen(line) <= 80);
    assert_non_null(strstr(markdown, "### Link\n\n| Option | Environment | Default | Meaning |\n"
                                     "|---|---|---|---|\n| `--server URL` | `TUNNEL_SERVER` |  | "
                                     "Required. Where the server is. |\n"));
    assert_non_null(strstr(markdown, "there \\| alive. |\n"));
    assert_non_null(strstr(markdown, "`--log-level error\\|info\\|debug`"));
    free(help);
    free(markdown);
}

/* A program with commands: exec takes arguments, look takes its own options only. */
struct tool {
    struct config_call call;
    const char *server;
    uint64_t limit;
    int64_t depth;
    int level;
};

#define IN_TOOL(member) .offset = offsetof(struct tool, member), .group = "All", .help = "Help."
enum { EXEC = 1, LOOK };
static const struct config_option tool_options[] = {
    {.name = "server",
     .kind = CONFIG_STRING,
     IN_TOOL(server),
     .brief = "where it is",
     .flags = CONFIG_REQUIRED},
    {.name = "limit",
     .metavar = "S",
     .kind = CONFIG_DURATION,
     IN_TOOL(limit),
     .brief = "how long",
     .default_value = "30s",
     .commands = CONFIG_WITH(EXEC) | CONFIG_WITH(LOOK)},
    {.name = "depth", .kind = CONFIG_INTEGER, IN_TOOL(depth), .commands = CONFIG_WITH(LOOK)},
    {.name = "level",
     .kind = CONFIG_ENUM,
     IN_TOOL(level),
     .default_value = "info",
     .values = levels},
};
static const struct config_default exec_defaults[] = {{"level", "error"}, {NULL, NULL}};
static const struct config_command tool_commands[] = {
    {.name = "exec",
     .arguments = "WHAT [ARG...]",
     .brief = "does it",
     .example = "exec -- ls",
     .help = "Do it.",
     .defaults = exec_defaults},
    {.name = "look", .brief = "sees it", .help = "See | it.", .own_options_only = true},
};
static const char *const tool_examples[] = {"--server x", "look", NULL};
static const struct config_program tool_program = {.name = "tool",
                                                   .summary = "A tool.",
                                                   .examples = tool_examples,
                                                   .options = tool_options,
                                                   .count = 4,
                                                   .commands = tool_commands,
                                                   .command_count = 2,
                                                   .call = offsetof(struct tool, call)};

static int load_tool(struct config *config, struct tool *tool, const char *const *arguments,
                     const char *const *environment)
{
    static char *argv[16]; /* outlives the call: tool->call points into it */
    char *variables[16];

    copy_words(argv, WORDS("tool"));
    int argc = 1 + copy_words(argv + 1, arguments);
    copy_words(variables, environment);
    memset(tool, 0, sizeof *tool);
    return config_load(config, &tool_program, tool, argc, argv, variables);
}

static void the_first_word_names_a_command(void **state)
{
    (void)state;
    struct config config;
    struct tool tool;

    assert_int_equal(load_tool(&config, &tool, WORDS("--server", "look"), NULL), 0);
    assert_int_equal(tool.call.command, 0);
    assert_int_equal(tool.level, 1);
    config_free(&config);

    assert_int_equal(load_tool(&config, &tool,
                               WORDS("--server", "x", "exec", "--limit=1", "--", "look", "--a"),
                               WORDS("TUNNEL_DEPTH=7")),
                     0);
    assert_int_equal(tool.call.command, EXEC);
    assert_int_equal(tool.call.count, 2);
    assert_string_equal(tool.call.arguments[0], "look");
    assert_string_equal(tool.call.arguments[1], "--a");
    assert_null(tool.call.arguments[2]);
    assert_int_equal(tool.limit, 1000);
    assert_int_equal(tool.level, 0);
    /* There for another command. */
    assert_int_equal(tool.depth, 7);
    config_free(&config);

    assert_int_equal(load_tool(&config, &tool, WORDS("exec", "--server=x", "--", "--"),
                               WORDS("TUNNEL_LEVEL=debug")),
                     0);
    assert_string_equal(tool.call.arguments[0], "--");
    assert_int_equal(tool.level, 2);
    config_free(&config);

    /* What is required elsewhere is not required here. */
    assert_int_equal(load_tool(&config, &tool, WORDS("look"), NULL), 0);
    assert_int_equal(tool.call.command, LOOK);
    assert_int_equal(tool.limit, 30000);
    config_free(&config);

    const char *const *const helps[] = {WORDS("look", "--help"), WORDS("--help", "look"),
                                        WORDS("look", "--depth", "x", "-h")};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(load_tool(&config, &tool, helps[i], NULL), CONFIG_HELP);
        assert_int_equal(config.call.command, LOOK);
        config_free(&config);
    }
    assert_int_equal(load_tool(&config, &tool, WORDS("--help-all", "look"), NULL), CONFIG_HELP_ALL);
    assert_int_equal(config.call.command, LOOK);
    config_free(&config);
    assert_int_equal(load_tool(&config, &tool, WORDS("exec", "--version"), NULL), CONFIG_VERSION);
    config_free(&config);
}

/* A command whose arguments stand where those of most programs do. */
static void arguments_behind_a_name(void **state)
{
    (void)state;
    static const struct config_command plain_commands[] = {{.name = "compare",
                                                            .arguments = "FILE...",
                                                            .plain_arguments = true,
                                                            .help = "Compare.",
                                                            .own_options_only = true}};
    static const struct config_option plain_options[] = {
        {.name = "depth", .kind = CONFIG_INTEGER, IN_TOOL(depth), .commands = CONFIG_WITH(1)}};
    static const struct config_program plain_program = {.name = "tool",
                                                        .summary = "A tool.",
                                                        .options = plain_options,
                                                        .count = 1,
                                                        .commands = plain_commands,
                                                        .command_count = 1,
                                                        .call = offsetof(struct tool, call)};
    char *environment[] = {NULL};
    struct config config;
    struct tool tool = {0};
    char *several[] = {
        (char[]){"tool"}, (char[]){"compare"}, (char[]){"a"},   (char[]){"--depth"}, (char[]){"7"},
        (char[]){"-"},    (char[]){"--"},      (char[]){"--b"}, (char[]){"c"},       NULL};
    static const char *const given[] = {"a", "-", "--b", "c"};

    assert_int_equal(config_load(&config, &plain_program, &tool, 9, several, environment), 0);
    assert_int_equal(tool.call.command, 1);
    assert_int_equal(tool.depth, 7);
    assert_int_equal(tool.call.count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(tool.call.arguments[i], given[i]);
    assert_null(tool.call.arguments[4]);
    config_free(&config);

    char *none[] = {(char[]){"tool"}, (char[]){"compare"}, (char[]){"--depth=1"}, NULL};
    assert_int_equal(config_load(&config, &plain_program, &tool, 3, none, environment), -1);
    assert_string_equal(config.error, "compare needs an argument: tool compare [options] FILE...");
    config_free(&config);

    char *early[] = {(char[]){"tool"}, (char[]){"-"}, (char[]){"compare"}, (char[]){"a"}, NULL};
    assert_int_equal(config_load(&config, &plain_program, &tool, 4, early, environment), -1);
    config_free(&config);

    char *help = written_help(&plain_program, 0);
    assert_non_null(strstr(help, "       tool compare [options] FILE...\n"));
    free(help);
}

static void errors_of_commands(void **state)
{
    (void)state;
    static const struct {
        const char *words[6];
        const char *error;
    } cases[] = {
        {{"s3cret"},
         "argument 1 is neither an option nor one of the commands exec and look; options begin "
         "with --, see --help"},
        {{"lok"},
         "argument 1 is not a command; did you mean look? The commands are exec and look; see "
         "--help"},
        {{"look", "s3cret"},
         "argument 2 is not an option; options begin with --, see tool look --help"},
        {{"exec", "--server=x", "s3cret"},
         "argument 3 is not an option; exec takes WHAT [ARG...] after --"},
        {{"look", "-x"}, "argument 2 is not an option; options begin with --, see --help"},
        {{"look", "-server=x"}, "argument 2 is not an option; did you mean --server?"},
        {{"exec", "--server", "x"}, "exec needs an argument: tool exec [options] -- WHAT [ARG...]"},
        {{"exec", "--server", "x", "--"},
         "exec needs an argument: tool exec [options] -- WHAT [ARG...]"},
        {{"look", "--"}, "tool look takes no arguments after --; see --help"},
        {{"--server", "x", "--", "y"}, "tool takes no arguments after --; see --help"},
        {{"exec", "--server", "--", "y"}, "--server needs a value"},
        {{"exec", "--", "y"},
         "--server is missing (or TUNNEL_SERVER in the environment); see "
         "--help"},
        {{"--server", "x", "--limit", "1"},
         "--limit is an option of the commands exec and look; see --help"},
        {{"--depth", "1"}, "--depth is an option of the command look; see --help"},
        {{"exec", "--depth", "1", "--", "y"},
         "--depth is not an option of the command exec, but of look; see tool exec --help"},
        {{"--server", "x", "look"},
         "--server is not an option of the command look; see tool look --help"},
        {{"look", "--dept", "1"}, "--dept is not an option of tool; did you mean --depth?"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config config;
        struct tool tool;

        assert_int_equal(load_tool(&config, &tool, cases[i].words, NULL), -1);
        assert_string_equal(config.error, cases[i].error);
        config_free(&config);
    }
}

static void commands_in_help_and_markdown(void **state)
{
    (void)state;
    char *help = written_help(&tool_program, 0);
    char *exec = written_help(&tool_program, EXEC);
    char *look = written_help(&tool_program, LOOK);
    char *markdown = written_markdown(&tool_program);

    assert_non_null(strstr(help, "Usage: tool [options]\n"
                                 "       tool exec [options] -- WHAT [ARG...]\n"
                                 "       tool look [options]\n\nA tool.\n\n"
                                 "Commands (tool COMMAND --help-all lists the options of each):\n"
                                 "  exec\n        Do it.\n  look\n        See | it.\n\n"
                                 "All:\n  --server\n"));
    assert_null(strstr(help, "--limit"));
    assert_non_null(strstr(exec, "Usage: tool exec [options] -- WHAT [ARG...]\n\nDo it.\n\n"
                                 "All:\n  --server\n"));
    assert_non_null(strstr(exec, "Default: error. Environment: TUNNEL_LEVEL.\n"));
    assert_non_null(strstr(exec, "  --limit S\n"));
    assert_null(strstr(exec, "--depth"));
    assert_non_null(strstr(look, "Usage: tool look [options]\n\nSee | it.\n\n"
                                 "All:\n  --limit S\n"));
    assert_non_null(strstr(look, "--depth"));
    assert_null(strstr(look, "--server"));
    assert_non_null(strstr(look, "General:\n  --config FILE\n"));
    assert_non_null(strstr(markdown,
                           "A tool.\n\n### Commands\n\n| Command | Meaning |\n|---|---|\n"
                           "| `tool exec [options] -- WHAT [ARG...]` | Do it. |\n"
                           "| `tool look [options]` | See \\| it. Options: `--limit`, `--depth`. "
                           "|\n\n### All\n"));
    assert_non_null(strstr(markdown, "| `30s` | Help. Only for `exec`, `look`. |\n"));
    assert_non_null(strstr(markdown, "| `info`; `exec`: `error` | Help. |\n"));
    free(help);
    free(exec);
    free(look);
    free(markdown);
}

/* What people need: rows with a few words, the examples and the commands, in columns. */
static void short_help_has_what_is_brief(void **state)
{
    (void)state;
    char *help = written_short_help(&tool_program, 0);
    char *exec = written_short_help(&tool_program, EXEC);
    char *look = written_short_help(&tool_program, LOOK);

    assert_string_equal(help, "Usage: tool [COMMAND] [options]\nA tool.\n"
                              "Examples:\n  tool --server x\n  tool look\n\n"
                              "Commands (tool COMMAND --help says more of each):\n"
                              "  exec  does it\n  look  sees it\n\n"
                              "Options (--help-all lists every one, with its default and its "
                              "variable):\n  --server  where it is\n");
    assert_string_equal(exec, "Usage: tool exec [options] -- WHAT [ARG...]\n\nDo it.\n\n"
                              "Example:\n  tool exec -- ls\n\n"
                              "Options (--help-all lists every one, with its default and its "
                              "variable):\n  --server   where it is\n  --limit S  how long\n");
    assert_non_null(strstr(look, "  --limit S  how long\n"));
    assert_null(strstr(look, "--server"));
    free(help);
    free(exec);
    free(look);
}

static int note_entry(void *context, const char *key, const char *value, unsigned line)
{
    char *text = context;

    sprintf(text + strlen(text), "%u[%s][%s]", line, key, value);
    return strcmp(key, "stop") == 0 ? 5 : 0;
}

static void properties_syntax(void **state)
{
    (void)state;
    char text[] = "\xef\xbb\xbf# comment \\\n  ! another\r\n\n  a=1\n b : 2  \r\nc 3 4\n"
                  "d=x\\\n    y\\\r\n z\ne=a\\\\\nf=a\\tb\\=\\q\ng\\:h=i=j\nlast = \\";
    char notes[512] = "";
    unsigned line;
    const char *error;

    assert_int_equal(properties_parse(text, sizeof text - 1, note_entry, notes, &line, &error), 0);
    assert_string_equal(notes, "4[a][1]5[b][2]6[c][3 4]7[d][xyz]10[e][a\\]11[f][a\tb=q]"
                               "12[g:h][i=j]13[last][]");

    char stopping[] = "a=1\nstop=1\nb=2";
    notes[0] = '\0';
    assert_int_equal(
        properties_parse(stopping, sizeof stopping - 1, note_entry, notes, &line, &error), 5);
    assert_string_equal(notes, "1[a][1]2[stop][1]");
    char empty[] = "";
    assert_int_equal(properties_parse(empty, 0, note_entry, notes, &line, &error), 0);
}

static void values(void **state)
{
    (void)state;
    int64_t integer;
    uint64_t number;
    bool yes;
    char text[32];

    assert_true(value_parse_integer("-9223372036854775807", &integer));
    assert_true(integer == -INT64_MAX);
    assert_false(value_parse_integer("9223372036854775808", &integer));
    assert_false(value_parse_integer("", &integer));
    assert_false(value_parse_integer("-", &integer));
    assert_false(value_parse_integer(" 1", &integer));
    assert_false(value_parse_integer("+1", &integer));
    assert_true(value_parse_duration("0", &number) && number == 0);
    assert_true(value_parse_duration("2h", &number) && number == 7200000);
    assert_true(value_parse_duration("3m", &number) && number == 180000);
    assert_false(value_parse_duration("1.5", &number));
    assert_false(value_parse_duration("-1", &number));
    assert_false(value_parse_duration("9223372036854775807", &number));
    assert_true(value_parse_size("2GiB", &number) && number == UINT64_C(2) << 30);
    assert_false(value_parse_size("2 GiB", &number));
    assert_true(value_parse_bool("on", &yes) && yes);
    assert_true(value_parse_bool("0", &yes) && !yes);
    assert_false(value_parse_bool("", &yes));
    value_format_duration(90000, text, sizeof text);
    assert_string_equal(text, "90s");
    value_format_duration(0, text, sizeof text);
    assert_string_equal(text, "0s");
    value_format_duration(1001, text, sizeof text);
    assert_string_equal(text, "1001ms");
    value_format_size(1000, text, sizeof text);
    assert_string_equal(text, "1000");
}

static void addresses(void **state)
{
    (void)state;
    struct address a;
    char long_host[300];

    assert_null(address_parse("broker-1.example.com:9092", &a));
    assert_string_equal(a.host, "broker-1.example.com");
    assert_int_equal(a.port, 9092);
    assert_null(address_parse("[2001:db8::1]:65535", &a));
    assert_string_equal(a.host, "2001:db8::1");
    assert_int_equal(a.port, 65535);

    static const char *const bad[] = {"",         "a",         "a:",      ":1",       "a:0",
                                      "a:65536",  "a:1x",      "a:-1",    "::1:9092", "[::1]",
                                      "[::1]9",   "[::1:9092", "[x]:1",   "a b:1",    "a/b:1",
                                      "a:000001", "[::1]:",    "[]:9092", "a:1,b:2",  "a:99999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_non_null(address_parse(bad[i], &a));
    memset(long_host, 'h', sizeof long_host);
    strcpy(long_host + 253, ":1");
    assert_null(address_parse(long_host, &a));
    strcpy(long_host + 253, "h:1");
    assert_non_null(address_parse(long_host, &a));

    assert_null(address_parse_listen("9092", &a));
    assert_string_equal(a.host, "127.0.0.1");
    assert_null(address_parse_listen("0", &a));
    assert_null(address_parse_listen("[::]:0", &a));
    assert_string_equal(a.host, "::");
    assert_null(address_parse_listen("0.0.0.0:8080", &a));
    assert_int_equal(a.port, 8080);
    assert_non_null(address_parse_listen("", &a));
    assert_non_null(address_parse_listen("10.0.0.1", &a));
}

static void ranges_of_ports(void **state)
{
    (void)state;
    struct address_named_ports p;

    assert_null(address_parse_ports("9100-9199", &p));
    assert_string_equal(p.name, "kafka");
    assert_int_equal(p.ports.first, 9100);
    assert_int_equal(p.ports.last, 9199);
    assert_int_equal(address_ports_count(&p.ports), 100);
    assert_null(address_parse_ports("eu-1=9100", &p));
    assert_string_equal(p.name, "eu-1");
    assert_int_equal(p.ports.last, 10099);
    assert_null(address_parse_ports("64536", &p));
    assert_int_equal(p.ports.last, 65535);
    assert_null(address_parse_ports("64537", &p));
    assert_int_equal(p.ports.last, 65535);
    assert_null(address_parse_ports("65535-65535", &p));
    assert_int_equal(address_ports_count(&p.ports), 1);
    assert_null(address_parse_ports("1-65535", &p));
    assert_int_equal(address_ports_count(&p.ports), 65535);

    static const char *const bad[] = {
        "",        "0",     "0-10", "9100-",   "-9100", "9199-9100",      "65536",     "a",
        "9100-9a", "=9100", "x=",   "1-65536", "1:2",   "9100-9200-9300", "9100 9200", "[::1]:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_non_null(address_parse_ports(bad[i], &p));
}

static void hosts_to_tell(void **state)
{
    (void)state;
    char host[ADDRESS_HOST_MAX + 1];

    assert_null(address_parse_told_host("sidecar-1.example", host));
    assert_string_equal(host, "sidecar-1.example");
    assert_null(address_parse_told_host("::1", host));
    assert_string_equal(host, "::1");
    assert_null(address_parse_told_host("[2001:db8::1]", host));
    assert_string_equal(host, "2001:db8::1");

    static const char *const bad[] = {
        "",   "a:9092",  "[::1]:9092", "[a]",  "a b",   "a/b", "[",
        "[]", "0.0.0.0", "::",         "[::]", "::1::", "a,b", "http://a"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_non_null(address_parse_told_host(bad[i], host));
}

/* As certificates and SNI have a name. */
static void hosts_without_their_dot(void **state)
{
    static const struct {
        const char *host;
        const char *undotted;
    } cases[] = {
        {"broker", "broker"},        {"broker.", "broker"}, {"a.example.org.", "a.example.org"},
        {"127.0.0.1.", "127.0.0.1"}, {"::1", "::1"},        {".", "."}};
    char host[ADDRESS_HOST_MAX + 1];
    char longest[ADDRESS_HOST_MAX + 10];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        address_host_undotted(cases[i].host, host);
        assert_string_equal(host, cases[i].undotted);
        assert_true(address_same_host(cases[i].host, cases[i].undotted));
    }
    assert_true(address_same_host("LOCALHOST.", "localhost"));
    assert_false(address_same_host("localhost.", "localhos"));
    assert_false(address_same_host("local", "localhost"));
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    address_host_undotted(longest, host);
    assert_int_equal(strlen(host), ADDRESS_HOST_MAX);
}

static void addresses_as_text(void **state)
{
    (void)state;
    char text[ADDRESS_TEXT_MAX];
    char long_host[300];

    address_format("broker1", 9092, text);
    assert_string_equal(text, "broker1:9092");
    address_format("::1", 65535, text);
    assert_string_equal(text, "[::1]:65535");
    memset(long_host, ':', sizeof long_host);
    long_host[ADDRESS_HOST_MAX] = '\0';
    address_format(long_host, 65535, text);
    assert_int_equal(strlen(text), ADDRESS_TEXT_MAX - 1);
    assert_string_equal(text + ADDRESS_HOST_MAX, ":]:65535");
}

/* As it stands in bootstrap.servers, in a broker's listeners, or in a quoted argument. */
static void brokers_as_people_write_them(void **state)
{
    (void)state;
    static const char *const same[] = {
        "b1:9092,[::1]:9093",
        " b1:9092, [::1]:9093 ",
        "kafka= b1:9092 ,\t[::1]:9093\n",
        "PLAINTEXT://b1:9092,PLAINTEXT://[::1]:9093",
        "plaintext://b1:9092, sasl_plaintext://[::1]:9093",
        "SASL_SSL://b1:9092,SSL://[::1]:9093",
        "b1:9092,SSL://[::1]:9093",
    };
    static const struct {
        const char *text;
        const char *why;
    } wrong[] = {
        {"SSL://b1:1,PLAINTEXT://b2:1",
         "the brokers of one cluster must all speak TLS or all speak plaintext"},
        {"INTERNAL://b1:9092", "an address does not begin with SCHEME://: write HOST:PORT"},
        {"http://b1:9092", "an address does not begin with SCHEME://: write HOST:PORT"},
        {"b1:9092 b2:9092", "there is more than one colon: write HOST:PORT, and separate several "
                            "addresses with commas"},
        {"b1:9092;b2:9092", "there is more than one colon: write HOST:PORT, and separate several "
                            "addresses with commas"},
        {"::1:9092", "write an IPv6 address in brackets, as in [::1]:9092"},
        {"SSL://", "the port is missing: write HOST:PORT"},
    };
    struct address_cluster c;

    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        assert_null(address_parse_cluster(same[i], &c));
        assert_string_equal(c.name, "kafka");
        assert_int_equal(c.count, 2);
        assert_string_equal(c.brokers[0].host, "b1");
        assert_string_equal(c.brokers[1].host, "::1");
        assert_int_equal(c.brokers[0].port, 9092);
        assert_int_equal(c.brokers[1].port, 9093);
        assert_int_equal(c.protocol, i < 3   ? ADDRESS_PROTOCOL_NONE
                                     : i < 5 ? ADDRESS_PROTOCOL_PLAIN
                                             : ADDRESS_PROTOCOL_TLS);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_string_equal(address_parse_cluster(wrong[i].text, &c), wrong[i].why);
}

static void named_addresses(void **state)
{
    (void)state;
    struct address_named n;
    struct address_cluster c;
    char name[80];

    assert_null(address_parse_named_listen("9092", "kafka", &n));
    assert_string_equal(n.name, "kafka");
    assert_null(address_parse_named_listen("eu.1=[::1]:9192", "kafka", &n));
    assert_string_equal(n.name, "eu.1");
    assert_string_equal(n.address.host, "::1");
    assert_non_null(address_parse_named_listen("9092", NULL, &n));
    assert_null(address_parse_target("registry=sr:8081", &n));
    assert_int_equal(n.address.port, 8081);
    assert_non_null(address_parse_target("sr:8081", &n));
    assert_non_null(address_parse_target("=sr:8081", &n));
    assert_non_null(address_parse_target("a b=sr:8081", &n));
    memset(name, 'n', sizeof name);
    strcpy(name + 63, "=h:1");
    assert_null(address_parse_target(name, &n));
    strcpy(name + 63, "n=h:1");
    assert_non_null(address_parse_target(name, &n));

    assert_null(address_parse_cluster("b1:1,[::1]:2,b3:3", &c));
    assert_string_equal(c.name, ADDRESS_DEFAULT_CLUSTER);
    assert_int_equal(c.count, 3);
    assert_string_equal(c.brokers[1].host, "::1");
    assert_int_equal(c.brokers[2].port, 3);
    assert_null(address_parse_cluster("eu=b:1", &c));
    assert_string_equal(c.name, "eu");
    assert_int_equal(c.count, 1);
    assert_non_null(address_parse_cluster("", &c));
    assert_non_null(address_parse_cluster("eu=", &c));
    assert_non_null(address_parse_cluster("b:1,", &c));
    assert_non_null(address_parse_cluster("b:1,,c:1", &c));
    assert_non_null(address_parse_cluster("b:1, ,c:1", &c));
    assert_non_null(address_parse_cluster("b:1,c", &c));
    char many[65 * 4 + 1] = "";
    for (int i = 0; i < 65; i++)
        strcat(many, i < 64 ? "b:1," : "b:1");
    assert_string_equal(address_parse_cluster(many, &c), "more than 64 bootstrap brokers");
    many[64 * 4 - 1] = '\0';
    assert_null(address_parse_cluster(many, &c));
    assert_int_equal(c.count, 64);
}

static void urls(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool tls;
        const char *host;
        uint16_t port;
        const char *path;
    } good[] = {
        {"https://x", true, "x", 443, "/tunnel"},
        {"HTTP://x/", false, "x", 80, "/tunnel"},
        {"wss://x.example:8443/a/b%20c", true, "x.example", 8443, "/a/b%20c"},
        {"ws://[::1]:8080", false, "::1", 8080, "/tunnel"},
        {"https://[2001:db8::1]/t", true, "2001:db8::1", 443, "/t"},
    };
    static const struct {
        const char *text;
        const char *error;
    } bad[] = {
        {"", "must begin with"},
        {"x:80", "must begin with"},
        {"ftp://x", "must begin with"},
        {"https://", "host is missing"},
        {"https:///x", "host is missing"},
        {"https://:80", "host is missing"},
        {"https://user:s3cret@x", "user name or password"},
        {"https://x?q", "query"},
        {"https://x/p?q", "query"},
        {"https://x/p#f", "fragment"},
        {"https://x:0", "port 0"},
        {"https://x:", "port is missing"},
        {"https://x:70000", "not a number"},
        {"https://::1:80", "brackets"},
        {"https://[::1", "bracket"},
        {"https://[::1]x", "only :PORT or a path may follow the IPv6 address"},
        {"https://[zz]", "not an IPv6 address"},
        {"https://x y/", "character"},
        {"https://x/a b", "percent-encoded"},
        {"https://x/a\r\nHost: y", "percent-encoded"},
        {"https://x/\xc3\xbc", "percent-encoded"},
        {"https://x/%2", "%"},
    };
    struct url url;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_null(url_parse(good[i].text, &url));
        assert_int_equal(url.tls, good[i].tls);
        assert_string_equal(url.host, good[i].host);
        assert_int_equal(url.port, good[i].port);
        assert_string_equal(url.path, good[i].path);
        assert_int_equal(url.is_ipv6, strchr(good[i].text, '[') != NULL);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *error = url_parse(bad[i].text, &url);

        assert_non_null(error);
        assert_non_null(strstr(error, bad[i].error));
    }
}

static void expect_secret(const void *text, size_t size, const char *secret, const char *wrong)
{
    char path[64];
    char error[SECRET_ERROR_MAX] = "";

    write_file(path, text, size);
    char *got = secret_read_file(path, error);
    if (secret) {
        assert_non_null(got);
        assert_string_equal(got, secret);
    } else {
        assert_null(got);
        assert_memory_equal(error, path, strlen(path));
        assert_string_equal(error + strlen(path), wrong);
    }
    secret_free(got);
    unlink(path);
}

static void secrets_from_files(void **state)
{
    (void)state;
    static char large[SECRET_SIZE_MAX + 1];
    char error[SECRET_ERROR_MAX];

    expect_secret("t0ken\n", 6, "t0ken", NULL);
    expect_secret("t0 ken \t\r\n\n", 11, "t0 ken", NULL);
    expect_secret("", 0, NULL, " is empty");
    expect_secret(" \n", 2, NULL, " is empty");
    expect_secret("a\nb", 3, NULL,
                  " contains a control character; it must be a single line of text");
    expect_secret("a\0b", 3, NULL,
                  " contains NUL bytes, as UTF-16 does; save it as plain UTF-8 text");
    expect_secret(" t0ken", 6, "t0ken", NULL);
    memset(large, 'x', sizeof large);
    expect_secret(large, sizeof large, NULL, " is larger than 64 KiB");
    assert_null(secret_read_file("/nonexistent/token", error));
    assert_string_equal(error, "cannot open /nonexistent/token: No such file or directory");
    assert_null(secret_read_file("/dev/null", error));
    assert_string_equal(error, "/dev/null is not a regular file");
    secret_free(NULL);
}

static void secrets_of_several_lines(void **state)
{
    (void)state;
    static char large[SECRET_SIZE_MAX + 1];
    char error[SECRET_ERROR_MAX];
    struct secret_bytes secret;
    char path[64];

    write_file(path, "a\n\0b\n", 5);
    chmod(path, 0644);
    assert_true(secret_read_bytes(path, &secret, error));
    assert_int_equal(secret.size, 5);
    assert_memory_equal(secret.bytes, "a\n\0b\n", 6);
    assert_true(secret.exposed);
    secret_bytes_free(&secret);
    assert_null(secret.bytes);
    chmod(path, 0640);
    assert_true(secret_read_bytes(path, &secret, error));
    assert_false(secret.exposed);
    secret_bytes_free(&secret);
    unlink(path);

    write_file(path, large, sizeof large);
    assert_false(secret_read_bytes(path, &secret, error));
    assert_non_null(strstr(error, "larger than 64 KiB"));
    unlink(path);
    assert_false(secret_read_bytes("/dev/zero", &secret, error));
    assert_string_equal(error, "/dev/zero is not a regular file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_what_nobody_sets),
        cmocka_unit_test(flags_of_every_kind),
        cmocka_unit_test(flags_win_over_environment_over_file),
        cmocka_unit_test(lists_whose_entries_hold_commas),
        cmocka_unit_test(too_many_entries_are_refused),
        cmocka_unit_test(errors_say_what_and_where),
        cmocka_unit_test(file_errors_name_the_line),
        cmocka_unit_test(a_huge_file_is_refused),
        cmocka_unit_test(unknown_variables_are_warned_about),
        cmocka_unit_test(kubernetes_service_links_are_no_options),
        cmocka_unit_test(values_in_quotes),
        cmocka_unit_test(brokers_as_people_write_them),
        cmocka_unit_test(help_and_version_come_first),
        cmocka_unit_test(a_switch_with_a_word_more),
        cmocka_unit_test(lists_whose_entries_are_lines),
        cmocka_unit_test(secrets_are_never_shown),
        cmocka_unit_test(words_for_level_and_format),
        cmocka_unit_test(help_and_markdown_show_everything),
        cmocka_unit_test(the_first_word_names_a_command),
        cmocka_unit_test(arguments_behind_a_name),
        cmocka_unit_test(errors_of_commands),
        cmocka_unit_test(commands_in_help_and_markdown),
        cmocka_unit_test(short_help_has_what_is_brief),
        cmocka_unit_test(properties_syntax),
        cmocka_unit_test(values),
        cmocka_unit_test(addresses),
        cmocka_unit_test(addresses_as_text),
        cmocka_unit_test(hosts_without_their_dot),
        cmocka_unit_test(ranges_of_ports),
        cmocka_unit_test(hosts_to_tell),
        cmocka_unit_test(named_addresses),
        cmocka_unit_test(the_file_may_be_a_pipe_that_somebody_writes_to),
        cmocka_unit_test(urls),
        cmocka_unit_test(secrets_from_files),
        cmocka_unit_test(secrets_of_several_lines),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}

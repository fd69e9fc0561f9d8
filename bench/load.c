#include "load.h"

#include "sock.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage_text[] =
    "usage: load serve      --listen HOST:PORT\n"
    "       load bulk-up    --target HOST:PORT [--streams N] [--seconds S] [--warmup S] [--check]\n"
    "       load bulk-down  --target HOST:PORT [--streams N] [--seconds S] [--warmup S] [--check]\n"
    "       load ping       --target HOST:PORT [--size BYTES] [--seconds S]\n"
    "       load exchange   --target HOST:PORT [--size BYTES] [--seconds S] [--warmup S]"
    " [--streams N] [--in-flight N]\n"
    "       load messages   --target HOST:PORT [--size BYTES] [--seconds S] [--interval-ms MS]"
    " [--streams N]\n"
    "       load churn      --target HOST:PORT [--streams WORKERS] [--seconds S]\n"
    "       load hold       --target HOST:PORT [--streams N]\n"
    "       load half-close --target HOST:PORT\n"
    "\n"
    "Results are JSON, one object a line. serve, hold, messages and bulk-* end on SIGTERM or "
    "SIGINT.\n";

static int bulk_up(const struct load_options *options)
{
    return load_bulk(options, 1);
}

static int bulk_down(const struct load_options *options)
{
    return load_bulk(options, 0);
}

static const struct command {
    const char *name;
    int (*run)(const struct load_options *options);
} commands[] = {
    {"serve", load_serve},       {"bulk-up", bulk_up},
    {"bulk-down", bulk_down},    {"ping", load_ping},
    {"messages", load_messages}, {"churn", load_churn},
    {"hold", load_hold},         {"half-close", load_half_close},
    {"exchange", load_exchange},
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* A number in low..high, or -1 after saying what was expected. */
static double number(const char *option, const char *text, double low, double high)
{
    char *end;
    double value = strtod(text, &end);
    if (end != text && *end == '\0' && value >= low && value <= high)
        return value;
    fprintf(stderr, "load: --%s %s: expected a number from %g to %g\n", option, text, low, high);
    return -1;
}

static int parse_options(int argc, char **argv, struct load_options *options)
{
    static const struct option table[] = {
        {"listen", required_argument, NULL, 't'},    {"target", required_argument, NULL, 't'},
        {"streams", required_argument, NULL, 'n'},   {"seconds", required_argument, NULL, 's'},
        {"warmup", required_argument, NULL, 'w'},    {"size", required_argument, NULL, 'b'},
        {"in-flight", required_argument, NULL, 'f'}, {"interval-ms", required_argument, NULL, 'i'},
        {"check", no_argument, NULL, 'c'},           {NULL, 0, NULL, 0},
    };
    int letter, bad = 0;

    while ((letter = getopt_long(argc, argv, "", table, NULL)) != -1 && !bad) {
        switch (letter) {
        case 't':
            bad = sock_parse(optarg, &options->address) != 0;
            break;
        case 'n':
            options->streams = (int)number("streams", optarg, 1, 100000);
            bad = options->streams < 0;
            break;
        case 's':
            options->seconds = number("seconds", optarg, 0.01, 86400);
            bad = options->seconds < 0;
            break;
        case 'w':
            options->warmup = number("warmup", optarg, 0, 3600);
            bad = options->warmup < 0;
            break;
        case 'b':
            options->size = (int)number("size", optarg, 1, 65536);
            bad = options->size < 0;
            break;
        case 'f':
            options->in_flight = (int)number("in-flight", optarg, 1, 1000);
            bad = options->in_flight < 0;
            break;
        case 'i':
            options->interval_ms = number("interval-ms", optarg, 0.1, 60000);
            bad = options->interval_ms < 0;
            break;
        case 'c':
            options->check = 1;
            break;
        default:
            bad = 1;
        }
    }
    return bad || optind != argc || options->address.sin_family != AF_INET ? -1 : 0;
}

int main(int argc, char **argv)
{
    struct load_options options = {
        .streams = 1, .seconds = 3, .warmup = 1, .size = 128, .in_flight = 1, .interval_ms = 20};
    const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;

    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        fputs(usage_text, stdout);
        return 0;
    }
    if (command == NULL || parse_options(argc - 1, argv + 1, &options) != 0) {
        fputs(usage_text, stderr);
        return 2;
    }
    sock_prepare_process();
    return command->run(&options);
}

/*
 * packet-path: a long path between two network namespaces, which it makes and deletes. Real TCP
 * runs over it: the kernel's own congestion control and retransmission. (delay-relay, in contrast,
 * shows TCP a short path.)
 *
 *     packet-path --delay-ms 25 --loss 0.1 --rate-mbit 500 --queue-ms 50 --seed 7
 *
 * prints one line, {"near":NAMESPACE,"far":NAMESPACE,"near_address":...,"far_address":...}, and
 * then reads commands from its standard input, a line each, and answers each with a line of JSON,
 * {"ok":true} or {"error":REASON} or what was asked for. At the end of its input, and on SIGTERM or
 * SIGINT, it deletes the namespaces and ends. --help has the options and commands.
 *
 * It works in turns of a tenth of a millisecond while packets flow, like a network card that
 * moderates its interrupts; so a packet may be that much late, but most of the time there is CPU
 * left for those whose packets these are.
 */
#include "carrier.h"
#include "namespaces.h"
#include "sock.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TURN_NS = 100 * 1000,
    READS = 256, /* packets of one direction a turn */
    LINE = 256,  /* a command */
    WORDS = 4,
    EXIT_IMPOSSIBLE = 3, /* no root, no tun device, no namespaces: not here */
};

static const char usage_text[] =
    "usage: packet-path [--OPTION VALUE]...\n"
    "\n"
    "  --delay-ms MS      on the way, in each direction (25)\n"
    "  --jitter-ms MS     up to so much more, at random (0)\n"
    "  --reorder          jitter lets packets overtake each other\n"
    "  --loss PERCENT     lost at random (0)\n"
    "  --rate-mbit MBIT   of the bottleneck in each direction; 0: no bottleneck (500)\n"
    "  --queue-ms MS      what may wait before the bottleneck, as time at its rate (50)\n"
    "  --seed NUMBER      of what is random (1)\n"
    "  --name PREFIX      of the namespaces PREFIX-near and PREFIX-far (path-PID)\n"
    "  --congestion-control NAME   of TCP in both (the machine's)\n"
    "\n"
    "A value of --delay-ms, --jitter-ms, --loss, --rate-mbit and --queue-ms may be two: UP,DOWN.\n"
    "Up is from near to far.\n"
    "\n"
    "Commands; PORT is the one that a TCP connection has in the near namespace:\n"
    "  cut              no packet gets through, without a word\n"
    "  cut PORT         none of this connection's\n"
    "  reset PORT       this connection is reset at both ends\n"
    "  delay PORT MS    this connection's packets take so much longer, in each direction\n"
    "  heal [PORT]      the end of all this\n"
    "  set OPTION VALUE one of the options that take UP,DOWN, from now on\n"
    "  connections      those that are open, the oldest port first\n"
    "  counts           packets so far: passed, lost, dropped by the queue, dropped by a cut\n";

struct path {
    struct carrier *carrier;
    struct namespaces namespaces;
    int signals;
    char line[LINE];
    size_t line_length;
    bool ended; /* the standard input */
};

/* -- settings -------------------------------------------------------------------------------- */

static const struct setting {
    const char *name;
    size_t offset;
    double most;
} settings[] = {
    {"delay-ms", offsetof(struct carrier_settings, delay_ms), 10000},
    {"jitter-ms", offsetof(struct carrier_settings, jitter_ms), 10000},
    {"loss", offsetof(struct carrier_settings, loss_percent), 100},
    {"rate-mbit", offsetof(struct carrier_settings, rate_mbit), 100000},
    {"queue-ms", offsetof(struct carrier_settings, queue_ms), 10000},
};

/* A number from 0 to most at *text, which is moved behind it. False when there is none. */
static bool parse_number(const char **text, double most, double *value)
{
    char *end;
    *value = strtod(*text, &end);
    bool good = end != *text && *value >= 0 && *value <= most;
    *text = end;
    return good;
}

/* NULL, or what is wrong. */
static const char *apply_setting(struct carrier *carrier, const char *name, const char *text)
{
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        double values[FLOW_ENDS];
        if (strcmp(settings[i].name, name) != 0)
            continue;
        if (!parse_number(&text, settings[i].most, &values[0]))
            return "the value is not a number in its range";
        values[1] = values[0];
        if (*text == ',') {
            text++;
            if (!parse_number(&text, settings[i].most, &values[1]))
                return "the second value is not a number in its range";
        }
        if (*text != '\0')
            return "there is more behind the value";
        for (int from = 0; from < FLOW_ENDS; from++)
            memcpy((char *)carrier_settings(carrier, from) + settings[i].offset, &values[from],
                   sizeof(double));
        return NULL;
    }
    return "no such setting";
}

/* -- commands -------------------------------------------------------------------------------- */

static const char *find_flow(struct path *path, const char *text, struct flow **flow)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);
    *flow = NULL;
    if (end != text && *end == '\0' && port > 0 && port <= UINT16_MAX)
        *flow = flows_find(carrier_flows(path->carrier), (uint16_t)port);
    return *flow == NULL ? "no connection has had this port in the near namespace" : NULL;
}

/* cut PORT, reset PORT, delay PORT MS, heal PORT */
static const char *treat(struct path *path, char **words, int count)
{
    struct flow *flow;
    double ms = 0;
    const char *text = count > 2 ? words[2] : "";
    bool delay = strcmp(words[0], "delay") == 0;
    const char *wrong = find_flow(path, words[1], &flow);

    if (wrong != NULL)
        return wrong;
    if (count != (delay ? 3 : 2) || (delay && (!parse_number(&text, 60000, &ms) || *text)))
        return delay ? "say delay PORT MS" : "there is more behind the port";
    if (strcmp(words[0], "cut") == 0) {
        carrier_treat(path->carrier, flow, FLOW_SILENT, sock_now_ns());
    } else if (strcmp(words[0], "reset") == 0) {
        carrier_treat(path->carrier, flow, FLOW_RESET, sock_now_ns());
    } else {
        flow->extra_ns = (uint64_t)(ms * 1e6);
        if (!delay)
            carrier_treat(path->carrier, flow, FLOW_CARRIED, sock_now_ns());
    }
    return NULL;
}

static void print_connections(struct path *path)
{
    static const char *const treatments[] = {"carried", "cut", "reset"};
    const struct flows *flows = carrier_flows(path->carrier);
    uint64_t now_ns = sock_now_ns();
    const char *separator = "";

    printf("[");
    for (size_t i = 0; i < flows->nports; i++) {
        const struct flow *flow = &flows->by_port[flows->ports[i]];
        if (!flow->open)
            continue;
        printf("%s{\"near_port\":%u,\"far_port\":%u,\"up_bytes\":%llu,\"down_bytes\":%llu,"
               "\"quiet_ms\":%llu,\"treatment\":\"%s\",\"extra_ms\":%.1f}",
               separator, flow->near_port, flow->far_port,
               (unsigned long long)flow->bytes[FLOW_NEAR],
               (unsigned long long)flow->bytes[FLOW_FAR],
               (unsigned long long)(now_ns - flow->seen_ns) / 1000000, treatments[flow->treatment],
               (double)flow->extra_ns / 1e6);
        separator = ",";
    }
    printf("]\n");
}

static void print_counts(struct path *path)
{
    static const char *const ways[FLOW_ENDS] = {"up", "down"};
    printf("{");
    for (int from = 0; from < FLOW_ENDS; from++) {
        const struct carrier_counts *counts = carrier_counts(path->carrier, from);
        printf("\"%s\":{\"passed\":%llu,\"bytes\":%llu,\"lost\":%llu,\"overflowed\":%llu,"
               "\"cut\":%llu},",
               ways[from], (unsigned long long)counts->passed, (unsigned long long)counts->bytes,
               (unsigned long long)counts->lost, (unsigned long long)counts->overflowed,
               (unsigned long long)counts->cut);
    }
    printf("\"connections\":%llu}\n", (unsigned long long)carrier_flows(path->carrier)->opened);
}

/* NULL when it has answered, "" when it is done, or what is wrong. */
static const char *carry_out(struct path *path, char **words, int count)
{
    const char *wrong;
    if (count == 1 && strcmp(words[0], "counts") == 0) {
        print_counts(path);
        return NULL;
    }
    if (count == 1 && strcmp(words[0], "connections") == 0) {
        print_connections(path);
        return NULL;
    }
    if (count == 1 && strcmp(words[0], "cut") == 0) {
        carrier_cut(path->carrier, true);
        return "";
    }
    if (count == 1 && strcmp(words[0], "heal") == 0) {
        carrier_heal(path->carrier);
        return "";
    }
    if (count == 3 && strcmp(words[0], "set") == 0)
        wrong = apply_setting(path->carrier, words[1], words[2]);
    else if (count >= 2 && (strcmp(words[0], "cut") == 0 || strcmp(words[0], "reset") == 0 ||
                            strcmp(words[0], "delay") == 0 || strcmp(words[0], "heal") == 0))
        wrong = treat(path, words, count);
    else
        wrong = "no such command; packet-path --help lists them";
    return wrong == NULL ? "" : wrong;
}

static void run_line(struct path *path, char *line)
{
    char *words[WORDS], *rest = NULL;
    int count = 0;
    for (char *word = strtok_r(line, " \t\r", &rest); word != NULL && count < WORDS;
         word = strtok_r(NULL, " \t\r", &rest))
        words[count++] = word;
    if (count == 0)
        return;
    const char *answer = carry_out(path, words, count);
    if (answer != NULL && *answer == '\0')
        printf("{\"ok\":true}\n");
    else if (answer != NULL)
        printf("{\"error\":\"%s\"}\n", answer);
    fflush(stdout);
}

static void read_commands(struct path *path)
{
    ssize_t got = read(STDIN_FILENO, path->line + path->line_length, LINE - 1 - path->line_length);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        path->ended = true;
        return;
    }
    path->line_length += (size_t)got;
    path->line[path->line_length] = '\0';
    char *start = path->line, *end;
    while ((end = strchr(start, '\n')) != NULL) {
        *end = '\0';
        run_line(path, start);
        start = end + 1;
    }
    path->line_length = strlen(start);
    memmove(path->line, start, path->line_length + 1);
    if (path->line_length == LINE - 1) {
        printf("{\"error\":\"the line is too long\"}\n");
        fflush(stdout);
        path->line_length = 0;
    }
}

/* -- packets --------------------------------------------------------------------------------- */

/* The number of packets that came from that end. */
static int read_packets(struct path *path, enum flow_end from, uint64_t now_ns)
{
    for (int count = 0; count < READS; count++) {
        struct carrier_slot *slot = carrier_take_slot(path->carrier);
        if (slot == NULL)
            return count; /* they wait in the device, and then in the sender */
        ssize_t got = read(path->namespaces.tun[from], slot->bytes, sizeof(slot->bytes));
        if (got <= 0) {
            carrier_give_slot(path->carrier, slot);
            return count;
        }
        slot->length = (uint16_t)got;
        carrier_put(path->carrier, from, slot, now_ns);
    }
    return READS;
}

static int write_packets(struct path *path, enum flow_end from, uint64_t now_ns)
{
    int to = path->namespaces.tun[from == FLOW_NEAR ? FLOW_FAR : FLOW_NEAR], count = 0;
    struct carrier_slot *slot;
    for (; (slot = carrier_get(path->carrier, from, now_ns)) != NULL; count++) {
        /* The kernel takes a packet at once, all the way to its socket, or drops it. */
        if (write(to, slot->bytes, slot->length) < 0 && errno != EINVAL && errno != EAGAIN)
            perror("packet-path: write to the tun device");
        carrier_give_slot(path->carrier, slot);
    }
    return count;
}

/* Sleeps until the next turn; count: the packets of the last one. With packets about, that is soon,
 * and only commands and signals end it before. */
static void wait_for_turn(struct path *path, int count)
{
    struct pollfd fds[] = {
        {.fd = STDIN_FILENO, .events = POLLIN},
        {.fd = path->signals, .events = POLLIN},
        {.fd = path->namespaces.tun[FLOW_NEAR], .events = POLLIN},
        {.fd = path->namespaces.tun[FLOW_FAR], .events = POLLIN},
    };
    uint64_t now_ns = sock_now_ns(), next_ns = carrier_next_ns(path->carrier);
    uint64_t wait_ns = next_ns > now_ns + TURN_NS ? next_ns - now_ns : TURN_NS;
    bool busy = count > 0;
    if (busy)
        wait_ns = count < READS ? TURN_NS : 0;
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / 1000000000u),
                            .tv_nsec = (long)(wait_ns % 1000000000u)};
    bool endless = !busy && next_ns == UINT64_MAX;

    if (ppoll(fds, busy ? 2 : 4, endless ? NULL : &wait, NULL) <= 0)
        return;
    if (fds[0].revents)
        read_commands(path);
    if (fds[1].revents)
        path->ended = true;
}

static void carry(struct path *path)
{
    while (!path->ended) {
        int count = 0;
        for (int from = 0; from < FLOW_ENDS; from++)
            count += read_packets(path, from, sock_now_ns());
        for (int from = 0; from < FLOW_ENDS; from++)
            count += write_packets(path, from, sock_now_ns());
        wait_for_turn(path, count);
    }
}

/* -- the program ----------------------------------------------------------------------------- */

static int usage(FILE *out)
{
    fputs(usage_text, out);
    return out == stdout ? 0 : 2;
}

/* 0, or the exit code. *prefix and *congestion_control stay as they are when not given. */
static int parse_options(int argc, char **argv, struct carrier *carrier, const char **prefix,
                         const char **congestion_control)
{
    static const struct option table[] = {
        {"delay-ms", required_argument, NULL, 's'},
        {"jitter-ms", required_argument, NULL, 's'},
        {"loss", required_argument, NULL, 's'},
        {"rate-mbit", required_argument, NULL, 's'},
        {"queue-ms", required_argument, NULL, 's'},
        {"reorder", no_argument, NULL, 'r'},
        {"seed", required_argument, NULL, 'i'},
        {"name", required_argument, NULL, 'n'},
        {"congestion-control", required_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    int letter, which;
    while ((letter = getopt_long(argc, argv, "", table, &which)) != -1) {
        const char *wrong = NULL;
        if (letter == 's')
            wrong = apply_setting(carrier, table[which].name, optarg);
        else if (letter == 'r')
            carrier_reorder(carrier, true);
        else if (letter == 'i')
            carrier_seed(carrier, strtoull(optarg, NULL, 10));
        else if (letter == 'n')
            *prefix = optarg;
        else if (letter == 'c')
            *congestion_control = optarg;
        else if (letter == '?')
            return usage(stderr);
        if (letter == 'n' && (strchr(optarg, '/') != NULL || strlen(optarg) > NAMESPACES_NAME - 8))
            wrong = "it is to be the beginning of a short name";
        if (wrong != NULL) {
            fprintf(stderr, "packet-path: --%s %s: %s\n", table[which].name, optarg, wrong);
            return 2;
        }
    }
    return optind == argc ? 0 : usage(stderr);
}

/* Late turns are late packets: this comes before the programs whose packets it carries. It is best
 * effort. */
static void ask_for_punctuality(void)
{
    struct sched_param parameters = {.sched_priority = 1};
    sched_setscheduler(0, SCHED_FIFO, &parameters);
}

/* Namespaces and all, until the end of the input. Returns the exit code. */
static int run(struct path *path, const char *prefix, const char *congestion_control)
{
    int result = EXIT_IMPOSSIBLE;
    if (namespaces_make(&path->namespaces, prefix) == 0) {
        result = 1;
        path->signals = sock_signal_fd();
        if (path->signals >= 0 &&
            (congestion_control == NULL ||
             namespaces_use_congestion_control(&path->namespaces, congestion_control) == 0)) {
            ask_for_punctuality();
            printf("{\"near\":\"%s\",\"far\":\"%s\",\"near_address\":\"%s\","
                   "\"far_address\":\"%s\"}\n",
                   path->namespaces.names[FLOW_NEAR], path->namespaces.names[FLOW_FAR],
                   namespaces_address[FLOW_NEAR], namespaces_address[FLOW_FAR]);
            fflush(stdout);
            carry(path);
            result = 0;
        }
    }
    namespaces_delete(&path->namespaces);
    return result;
}

int main(int argc, char **argv)
{
    char own_prefix[NAMESPACES_NAME];
    const char *prefix = own_prefix, *congestion_control = NULL;
    struct path path = {.carrier = carrier_new()};

    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage(stdout);
    if (path.carrier == NULL) {
        perror("packet-path");
        return 1;
    }
    for (int from = 0; from < FLOW_ENDS; from++)
        *carrier_settings(path.carrier, from) =
            (struct carrier_settings){.delay_ms = 25, .rate_mbit = 500, .queue_ms = 50};
    snprintf(own_prefix, sizeof(own_prefix), "path-%d", (int)getpid());
    int result = parse_options(argc, argv, path.carrier, &prefix, &congestion_control);
    if (result == 0)
        result = run(&path, prefix, congestion_control);
    carrier_free(path.carrier);
    return result;
}

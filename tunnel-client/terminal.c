#include "terminal.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/printable.h"
#include "colour.h"
#include "io/clock.h"
#include "io/timer.h"

enum {
    TEXT_MAX = 512,
    IN_PLACE_MAX = 2 * TEXT_MAX,
    COLUMNS_USUAL = 80,
    TICK_S = 1,
    /* How long a terminal that was stopped (Ctrl-S) may hold the program up. */
    STUCK_WAIT_MS = 20,
};

/* A line of the log begins with a time of this size: 2026-11-20T20:30:00.123Z */
#define LOG_TIME_SIZE 24

struct terminal {
    struct worker *worker;
    const struct options *options;
    struct log_settings before;
    struct timer *tick; /* while it is connecting */
    uint64_t since_us;  /* it is connecting since then */
    unsigned failures;  /* since then */
    size_t shown;       /* columns that the line in place takes */
    bool own_lines;     /* the log leaves out what is said here */
    bool coloured;
    char failure[TEXT_MAX];
};

static void put_on_terminal(const char *text, size_t size)
{
    struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
    ssize_t written = 0;

    if (poll(&ready, 1, STUCK_WAIT_MS) != 1)
        return;
    do {
        written = write(STDERR_FILENO, text, size);
    } while (written < 0 && errno == EINTR);
}

/* At once, so that nobody else's line takes the colour. */
static void put_coloured(const struct terminal *terminal, enum colour colour, const char *text,
                         size_t size)
{
    char line[LOG_LINE_MAX + 16];
    int used = snprintf(line, sizeof line, "%s%.*s%s", colour_begin(terminal->coloured, colour),
                        (int)size, text, colour_end(terminal->coloured, colour));

    put_on_terminal(line, (size_t)used < sizeof line ? (size_t)used : sizeof line - 1);
}

/* ---- the line in place */

static size_t columns(void)
{
    struct winsize size;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return COLUMNS_USUAL;
    return size.ws_col;
}

/* With blanks, not with an escape sequence: every terminal understands that. */
static void erase(struct terminal *terminal)
{
    char line[IN_PLACE_MAX + 3];

    if (terminal->shown == 0)
        return;
    int size = snprintf(line, sizeof line, "\r%*s\r", (int)terminal->shown, "");
    put_on_terminal(line, (size_t)size);
    terminal->shown = 0;
}

/* Returns the columns. */
static size_t write_progress(const struct terminal *terminal, bool names_server, char *line,
                             size_t size)
{
    char server[ADDRESS_TEXT_MAX];
    unsigned seconds = (unsigned)((clock_now_us() - terminal->since_us) / 1000000);

    address_format(terminal->options->url.host, terminal->options->url.port, server);
    int used = snprintf(line, size, "Connecting%s%s ... %u s", names_server ? " to " : "",
                        names_server ? server : "", seconds);
    if (terminal->failures > 0)
        snprintf(line + used, size - (size_t)used, ", attempt %u: %s", terminal->failures + 1,
                 terminal->failure);
    printable_columns(line);
    return strlen(line);
}

static void draw(struct terminal *terminal)
{
    char line[IN_PLACE_MAX];
    size_t room = columns();

    /* The summary above has the server; the reason is what people wait for. */
    if (write_progress(terminal, true, line, sizeof line) >= room)
        write_progress(terminal, false, line, sizeof line);
    /* A line that fills the last column might wrap. */
    if (room > 0 && strlen(line) >= room)
        line[room - 1] = '\0';
    erase(terminal);
    put_coloured(terminal, COLOUR_WARNING, line, strlen(line));
    terminal->shown = strlen(line);
}

static void on_terminal_tick(void *argument)
{
    struct terminal *terminal = argument;

    /* Of a job in the background nobody wants to see it. */
    pid_t foreground = tcgetpgrp(STDERR_FILENO);
    if (foreground < 0 || foreground == getpgrp())
        draw(terminal);
    else
        erase(terminal);
    timer_start_ms(terminal->tick, TICK_S * 1000);
}

/* ---- lines */

static void put_time_of_day(char *out, size_t size)
{
    time_t now = time(NULL);
    struct tm local;

    if (!localtime_r(&now, &local) || strftime(out, size, "%H:%M:%S", &local) == 0)
        out[0] = '\0';
}

static enum colour level_colour(const char *level)
{
    if (strncmp(level, "error", strlen("error")) == 0)
        return COLOUR_BAD;
    return strncmp(level, "warning", strlen("warning")) == 0 ? COLOUR_WARNING : COLOUR_NONE;
}

/* The log's sink: the time of day is enough here. */
static void write_log(void *context, const char *line, size_t size)
{
    struct terminal *terminal = context;
    char text[LOG_LINE_MAX];

    erase(terminal);
    if (size <= LOG_TIME_SIZE || size > sizeof text) {
        put_on_terminal(line, size);
        return;
    }
    put_time_of_day(text, sizeof text);
    /* " warning The link to the server ...": the level is the first word. */
    const char *rest = line + LOG_TIME_SIZE;
    const char *end = line + size;
    size_t level = 1 + strcspn(rest + 1, " \n");
    put_on_terminal(text, strlen(text));
    put_coloured(terminal, level_colour(rest + 1), rest, level);
    put_on_terminal(rest + level, (size_t)(end - rest) - level);
}

__attribute__((format(printf, 3, 4))) static void
say_on_terminal(struct terminal *terminal, enum colour colour, const char *format, ...)
{
    char text[2 * TEXT_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text - 1, format, arguments);
    va_end(arguments);
    printable_columns(text);
    erase(terminal);
    put_coloured(terminal, colour, text, strlen(text));
    put_on_terminal("\n", 1);
}

static void describe_login(const struct options *options, char *out, size_t size)
{
    const char *scheme = options_use_snowflake(options) ? "Authorization: Snowflake Token=\"...\""
                                                        : "Authorization: Bearer ...";

    if (options->token_file)
        snprintf(out, size, "the token in %s, as %s", options->token_file, scheme);
    else if (options->token)
        snprintf(out, size, "a token, as %s", scheme);
    else if (options->token_command)
        snprintf(out, size, "what --token-command prints, as %s", scheme);
    else if (options->private_key_file)
        snprintf(out, size, "a token for %s by the key in %s, as %s", options->snowflake_user,
                 options->private_key_file, scheme);
    else if (options->cert)
        snprintf(out, size, "the client certificate %s", options->cert);
    else
        snprintf(out, size, "none");
}

static void say_port(struct terminal *terminal, const struct port *port)
{
    char address[ADDRESS_TEXT_MAX];
    char nodes[64] = "";

    address_format(port_local_host(port), port->number, address);
    if (port->kind == MUX_TARGET_TCP) {
        say_on_terminal(terminal, COLOUR_NONE, "  %-12s %s", port->name, address);
        return;
    }
    if (port->node_ports.first != 0)
        snprintf(nodes, sizeof nodes, "; brokers on ports %u-%u", port->node_ports.first,
                 port->node_ports.last);
    say_on_terminal(terminal, COLOUR_NONE, "  %-12s bootstrap.servers=%s%s", port->name, address,
                    nodes);
}

void terminal_summary(struct terminal *terminal, const struct ports *ports)
{
    char login[TEXT_MAX];

    if (!terminal || !terminal->own_lines)
        return;
    say_on_terminal(terminal, COLOUR_NONE, "tunnel-client %s", KAFKA_TUNNEL_VERSION);
    list_each(at, &ports->all)
        say_port(terminal, list_entry(at, struct port, node));
    describe_login(terminal->options, login, sizeof login);
    say_on_terminal(terminal, COLOUR_NONE, "  %-12s %s", "server", terminal->options->server);
    say_on_terminal(terminal, COLOUR_NONE, "  %-12s %s", "login", login);
}

/* ---- states */

void terminal_connecting(struct terminal *terminal)
{
    if (!terminal || timer_is_running(terminal->tick))
        return;
    terminal->since_us = clock_now_us();
    terminal->failures = 0;
    on_terminal_tick(terminal);
}

void terminal_lost(struct terminal *terminal, bool announced)
{
    char now[16];

    if (!terminal)
        return;
    put_time_of_day(now, sizeof now);
    if (announced && terminal->own_lines)
        say_on_terminal(terminal, COLOUR_WARNING,
                        "%s The server is about to stop; connecting again", now);
    terminal_connecting(terminal);
}

void terminal_shorten(const char *hop, const char *reason, const char *server, char *out,
                      size_t size)
{
    size_t length = strlen(server);
    const char *behind = reason + length;

    /* "server: what" or "server (address): what" */
    if (strncmp(reason, server, length) == 0) {
        if (strncmp(behind, " (", 2) == 0 && strstr(behind, "): "))
            behind = strstr(behind, "): ") + 1;
        if (strncmp(behind, ": ", 2) == 0)
            reason = behind + 2;
    }
    snprintf(out, size, "%s: %.*s", hop, (int)strcspn(reason, ";"), reason);
}

void terminal_failed(struct terminal *terminal, const char *hop, const char *reason)
{
    if (!terminal)
        return;
    terminal_connecting(terminal);
    terminal->failures++;
    char server[ADDRESS_TEXT_MAX];

    address_format(terminal->options->url.host, terminal->options->url.port, server);
    terminal_shorten(hop, reason, server, terminal->failure, sizeof terminal->failure);
    on_terminal_tick(terminal);
}

void terminal_quiet(struct terminal *terminal)
{
    if (!terminal)
        return;
    timer_stop(terminal->tick);
    erase(terminal);
}

void terminal_up(struct terminal *terminal, const char *how, bool resumed)
{
    char now[16];

    if (!terminal)
        return;
    terminal_quiet(terminal);
    put_time_of_day(now, sizeof now);
    if (terminal->own_lines)
        say_on_terminal(terminal, COLOUR_GOOD, "%s %s (%s)", now,
                        resumed ? "The link is back; connections continue" : "Connected", how);
}

/* ---- life */

struct terminal *terminal_new(struct worker *worker, const struct options *options)
{
    if (options->shared.log_format != LOG_FORMAT_TEXT || !isatty(STDERR_FILENO))
        return NULL;
    struct terminal *terminal = memory_new(sizeof *terminal);
    terminal->worker = worker;
    terminal->options = options;
    terminal->before = worker->log->settings;
    terminal->coloured = colour_is_wanted(STDERR_FILENO);
    terminal->own_lines = options->call.command == COMMAND_NONE && !options->shared.log_level_given;
    terminal->tick = timer_new(worker, on_terminal_tick, terminal);
    worker->log->settings.sink = write_log;
    worker->log->settings.sink_context = terminal;
    if (terminal->own_lines)
        worker->log->settings.level = LOG_LEVEL_WARNING;
    return terminal;
}

void terminal_free(struct terminal *terminal)
{
    if (!terminal)
        return;
    erase(terminal);
    terminal->worker->log->settings = terminal->before;
    timer_free(terminal->tick);
    free(terminal);
}

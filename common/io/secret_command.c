#include "io/secret_command.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "base/redact.h"
#include "config/secret.h"
#include "io/children.h"
#include "io/socket.h"
#include "io/timer.h"
#include "io/watch.h"

enum {
    OUTPUT_MAX = 64 * 1024, /* a command that prints more of it is not what we think it is */
    COMPLAINTS_KEPT = 4 * 1024,
    COMPLAINT_LINE_MAX = 300,
    COMPLAINT_LINES_MAX = 20,
    /* Killed, and not gone yet: the system is stuck in them. */
    KILLED_MAX = 8,
    REASON_MAX = 800,
    TOKEN_SIZE_MIN = 8, /* shorter output is no token, and every other word would hold it */
    FIRST_OWN_DESCRIPTOR = 3,
};

struct secret_command {
    struct worker *worker;
    struct secret_command_settings settings;
    char *text; /* copies */
    char *named_by;
    char **environment;
    size_t killed_count; /* processes */
    uint64_t said;       /* digest of what was last logged of its standard error */

    /* the run under way */
    pid_t pid; /* 0: there is none, or it could not be started */
    secret_command_callback callback;
    void *context;
    unsigned timeout_ms;
    struct timer *deadline;
    struct timer *answer; /* answers outside of secret_command_start() */
    struct watch *output;
    struct watch *complaints;
    int output_fd;
    int complaints_fd;
    char line[SECRET_TOKEN_MAX + 2]; /* the first one, as far as it has come; ends in a NUL */
    size_t line_size;
    bool line_ended;
    bool line_cut;                            /* there is more of it than fits */
    size_t output_size;                       /* of all lines */
    char complained[2 * COMPLAINTS_KEPT + 1]; /* the end of standard error */
    size_t complained_size;
    bool complaints_cut;
    char reason[REASON_MAX];
};

/* ---- reading */

static void stop_reading(struct watch **watch, int *fd)
{
    watch_free(*watch);
    *watch = NULL;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void take_output(struct secret_command *command, const char *bytes, size_t size)
{
    command->output_size += size;
    for (size_t i = 0; i < size && !command->line_ended; i++) {
        if (bytes[i] == '\n')
            command->line_ended = true;
        else if (command->line_size < sizeof command->line - 1)
            command->line[command->line_size++] = bytes[i];
        else
            command->line_cut = true;
    }
}

static void take_complaints(struct secret_command *command, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (command->complained_size == sizeof command->complained) {
            /* What matters is mostly said last. */
            command->complained_size -= COMPLAINTS_KEPT;
            memmove(command->complained, command->complained + COMPLAINTS_KEPT,
                    command->complained_size);
            command->complaints_cut = true;
        }
        command->complained[command->complained_size++] = bytes[i];
    }
}

/* Reads what is there; false: no more will come. */
static bool read_once(struct secret_command *command, int fd,
                      void (*take)(struct secret_command *, const char *, size_t))
{
    char bytes[4096];
    ssize_t got = read(fd, bytes, sizeof bytes);

    if (got > 0)
        take(command, bytes, (size_t)got);
    byte_wipe(bytes, sizeof bytes);
    return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

static void read_pipe_of_command(struct secret_command *command, int fd,
                                 void (*take)(struct secret_command *, const char *, size_t))
{
    /* A child of the command may write for ever. */
    for (int i = 0; fd >= 0 && i < OUTPUT_MAX / 4096; i++) {
        errno = 0;
        if (!read_once(command, fd, take) || errno == EAGAIN)
            return;
    }
}

/* ---- the end of a run */

/* What must not be shown of what it wrote to standard error; NULL: nothing particular. */
static const char *secret_of(const struct secret_command *command)
{
    size_t least = command->settings.check == secret_check_token ? TOKEN_SIZE_MIN : 1;

    return command->line_size >= least ? command->line : NULL;
}

/* What is around the secret is not part of it, also where it must not be shown. */
static void trim_first_line(struct secret_command *command)
{
    size_t size = command->line_size;
    const char *secret = secret_trim(command->line, &size);

    memmove(command->line, secret, size);
    byte_wipe(command->line + size, sizeof command->line - size);
    command->line_size = size;
}

static void log_complaint(struct secret_command *command, enum log_level level, const char *line,
                          size_t size)
{
    char shown[COMPLAINT_LINE_MAX];

    redact(line, size, secret_of(command), shown, sizeof shown);
    if (shown[0])
        log_event(command->worker->log, level, "secret_command_said",
                  "A command for a token or password wrote to standard error",
                  (const struct log_field[]){log_str("command", command->named_by),
                                             log_str("text", shown)},
                  2);
}

/* The same again, at each of many dials, is not worth a line. */
static enum log_level level_of_complaints(struct secret_command *command)
{
    uint64_t digest = 14695981039346656037u; /* FNV-1a */

    for (size_t i = 0; i < command->complained_size; i++)
        digest = (digest ^ (unsigned char)command->complained[i]) * 1099511628211u;
    bool again = digest == command->said;
    command->said = digest;
    return again ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

/* Where the last lines begin. What is before the first newline of a text whose beginning is gone is
 * no line: it may be the rest of a secret. */
static const char *last_lines(const char *start, const char *end, int count, bool cut)
{
    const char *at = end;

    while (at > start && (at[-1] != '\n' || at == end || --count > 0))
        at--;
    if (at > start || !cut)
        return at;
    const char *newline = memchr(start, '\n', (size_t)(end - start));
    return newline ? newline + 1 : end;
}

static void log_complaints(struct secret_command *command)
{
    const char *start = command->complained;
    const char *end = start + command->complained_size;
    const char *at = last_lines(start, end, COMPLAINT_LINES_MAX, command->complaints_cut);

    enum log_level level = level_of_complaints(command);

    if (at > start)
        log_event(command->worker->log, level, "secret_command_said",
                  "A command for a token or password wrote more to standard error than is shown",
                  (const struct log_field[]){log_str("command", command->named_by)}, 1);
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        log_complaint(command, level, at, (size_t)((newline ? newline : end) - at));
        at = newline ? newline + 1 : end;
    }
}

static void end_run(struct secret_command *command)
{
    stop_reading(&command->output, &command->output_fd);
    stop_reading(&command->complaints, &command->complaints_fd);
    timer_stop(command->deadline);
    timer_stop(command->answer);
    command->pid = 0;
    command->callback = NULL;
    byte_wipe(command->line, sizeof command->line);
    byte_wipe(command->complained, command->complained_size);
    command->line_size = command->output_size = command->complained_size = 0;
    command->line_ended = command->line_cut = command->complaints_cut = false;
}

static void answer_secret_command(struct secret_command *command, bool with_secret)
{
    char line[sizeof command->line];
    char reason[sizeof command->reason];
    struct secret_result result = {.secret = with_secret ? line : NULL, .reason = reason};
    secret_command_callback callback = command->callback;
    void *context = command->context;

    log_complaints(command);
    memcpy(line, command->line, sizeof line);
    memcpy(reason, command->reason, sizeof reason);
    end_run(command);
    callback(context, &result);
    byte_wipe(line, sizeof line);
}

static void fail_secret_command(struct secret_command *command, const char *what)
{
    snprintf(command->reason, sizeof command->reason, "%s %s", command->named_by, what);
    answer_secret_command(command, false);
}

/* The last line that it wrote to standard error, for the sentence about its failure. */
static void last_complaint(struct secret_command *command, char *out, size_t size)
{
    const char *start = command->complained;
    const char *end = start + command->complained_size;

    while (end > start && (unsigned char)end[-1] <= ' ')
        end--;
    const char *at = last_lines(start, end, 1, command->complaints_cut);
    redact(at, (size_t)(end - at), secret_of(command), out, size);
}

static void explain_end(struct secret_command *command, int status, char *what, size_t size)
{
    char said[COMPLAINT_LINE_MAX];

    last_complaint(command, said, sizeof said);
    if (WIFSIGNALED(status))
        snprintf(what, size, "was ended by signal %d%s%s", WTERMSIG(status), said[0] ? ": " : "",
                 said);
    else if (WEXITSTATUS(status) == 127)
        snprintf(what, size, "was not found by /bin/sh (exit code 127)%s%s", said[0] ? ": " : "",
                 said);
    else
        snprintf(what, size, "failed with exit code %d%s%s", WEXITSTATUS(status),
                 said[0] ? ": " : "", said);
}

/* status: 0. What is wrong with its output, in what; NULL: nothing. */
static const char *check_output(const struct secret_command *command, char *what, size_t room)
{
    const char *kind = command->settings.what;
    const char *why = command->line_cut
                          ? "is longer than 12 KiB"
                          : command->settings.check(command->line, command->line_size);

    if (command->line_size == 0 && command->line_ended)
        snprintf(what, room, "printed an empty line; the first line of its output is the %s", kind);
    else if (command->line_size == 0)
        snprintf(what, room, "succeeded but printed nothing; it must print the %s", kind);
    else if (why)
        snprintf(what, room, "did not print a %s: the first line of its output %s", kind, why);
    else
        return NULL;
    return what;
}

static void on_exited(struct secret_command *command, int status)
{
    char what[COMPLAINT_LINE_MAX + 100];

    command->pid = 0;
    read_pipe_of_command(command, command->output_fd, take_output);
    read_pipe_of_command(command, command->complaints_fd, take_complaints);
    trim_first_line(command);
    if (status != 0) {
        explain_end(command, status, what, sizeof what);
        fail_secret_command(command, what);
    } else if (check_output(command, what, sizeof what)) {
        fail_secret_command(command, what);
    } else {
        answer_secret_command(command, true);
    }
}

/* ---- processes */

/* Kills it and all that it has started; its end is noticed later. */
static void kill_run(struct secret_command *command)
{
    if (command->pid == 0)
        return;
    kill(-command->pid, SIGKILL);
    command->killed_count++;
    command->pid = 0;
}

static void on_child(void *context, pid_t pid, int status)
{
    struct secret_command *command = context;

    if (pid != command->pid) {
        command->killed_count--;
    } else if (status != CHILDREN_UNKNOWN) {
        on_exited(command, status);
    } else {
        command->pid = 0;
        fail_secret_command(command, "has ended, and the system did not say how");
    }
}

static void on_secret_command_deadline(void *argument)
{
    struct secret_command *command = argument;
    char text[COMPLAINT_LINE_MAX + 100];
    char said[COMPLAINT_LINE_MAX];

    kill_run(command);
    trim_first_line(command);
    last_complaint(command, said, sizeof said);
    snprintf(text, sizeof text, "did not end within %u.%u s%s and was killed%s%s",
             command->timeout_ms / 1000, command->timeout_ms % 1000 / 100,
             command->settings.time_limit, said[0] ? ": " : "", said);
    fail_secret_command(command, text);
}

static void on_output(void *argument)
{
    struct secret_command *command = argument;

    if (!read_once(command, command->output_fd, take_output)) {
        stop_reading(&command->output, &command->output_fd);
    } else if (command->output_size > OUTPUT_MAX) {
        char text[120];
        kill_run(command);
        trim_first_line(command);
        snprintf(text, sizeof text,
                 "printed more than 64 KiB and was killed; print only the %s, on the first line",
                 command->settings.what);
        fail_secret_command(command, text);
    }
}

static void on_complaints(void *argument)
{
    struct secret_command *command = argument;

    if (!read_once(command, command->complaints_fd, take_complaints))
        stop_reading(&command->complaints, &command->complaints_fd);
}

/* It could not be started: command->reason says why. */
static void on_secret_command_answer(void *argument)
{
    answer_secret_command(argument, false);
}

/* ends[0] is ours and does not block, ends[1] the command's. */
static bool make_pipe(int ends[2])
{
    return socket_pipe(ends) && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0;
}

/* Signals as a program expects them, no terminal, no descriptor of ours. */
static void set_attributes(posix_spawnattr_t *attributes)
{
    short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
    sigset_t standard;
    sigset_t none;

    sigemptyset(&none);
    sigemptyset(&standard);
    sigaddset(&standard, SIGPIPE);
    sigaddset(&standard, SIGINT);
    sigaddset(&standard, SIGTERM);
    sigaddset(&standard, SIGHUP);
    sigaddset(&standard, SIGQUIT);
    sigaddset(&standard, SIGCHLD);
    posix_spawnattr_setsigdefault(attributes, &standard);
    posix_spawnattr_setsigmask(attributes, &none);
#ifdef POSIX_SPAWN_SETSID
    flags |= POSIX_SPAWN_SETSID;
#else
    flags |= POSIX_SPAWN_SETPGROUP;
    posix_spawnattr_setpgroup(attributes, 0);
#endif
#ifdef POSIX_SPAWN_CLOEXEC_DEFAULT
    flags |= POSIX_SPAWN_CLOEXEC_DEFAULT;
#endif
    posix_spawnattr_setflags(attributes, flags);
}

#if defined __GLIBC__
#if __GLIBC_PREREQ(2, 34)
#define HAVE_CLOSE_FROM
#endif
#endif

/* Libraries may hold descriptors that are not marked close-on-exec. (macOS closes all that no
 * action names: set_attributes().) */
static void close_inherited(posix_spawn_file_actions_t *actions)
{
#if defined HAVE_CLOSE_FROM
    posix_spawn_file_actions_addclosefrom_np(actions, FIRST_OWN_DESCRIPTOR);
#elif defined POSIX_SPAWN_CLOEXEC_DEFAULT
    (void)actions;
#else
    /* musl and others have no call that closes all from one on. */
    DIR *directory = opendir("/dev/fd");

    for (const struct dirent *entry; directory && (entry = readdir(directory));) {
        int fd = atoi(entry->d_name);
        if (fd >= FIRST_OWN_DESCRIPTOR && fd != dirfd(directory))
            posix_spawn_file_actions_addclose(actions, fd);
    }
    if (directory)
        closedir(directory);
#endif
}

static void set_descriptors(posix_spawn_file_actions_t *actions, int output, int complaints)
{
    posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(actions, complaints, STDERR_FILENO);
    close_inherited(actions);
}

/* Returns 0 or an error number. */
static int spawn(struct secret_command *command, int output, int complaints)
{
    char shell[] = "sh";
    char option[] = "-c";
    char *const arguments[] = {shell, option, command->text, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    pid_t pid;
    int error;

    if (posix_spawn_file_actions_init(&actions) != 0 || posix_spawnattr_init(&attributes) != 0)
        abort();
    set_descriptors(&actions, output, complaints);
    set_attributes(&attributes);
    error = posix_spawn(&pid, "/bin/sh", &actions, &attributes, arguments, command->environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (error != 0)
        return error;
    command->pid = pid;
    children_add(command->worker, pid, on_child, command);
    return 0;
}

static struct watch *start_reading(struct secret_command *command, int fd,
                                   void (*on_readable)(void *argument))
{
    struct watch *watch = watch_new(command->worker, fd, WATCH_READ, on_readable, command);

    watch_want(watch, true);
    return watch;
}

/* Returns 0 or an error number. */
static int run_shell(struct secret_command *command)
{
    int output[2];
    int complaints[2];
    int error;

    if (!make_pipe(output))
        return errno;
    if (!make_pipe(complaints)) {
        error = errno;
        close(output[0]);
        close(output[1]);
        return error;
    }
    error = spawn(command, output[1], complaints[1]);
    close(output[1]);
    close(complaints[1]);
    command->output_fd = output[0];
    command->complaints_fd = complaints[0];
    command->output = start_reading(command, output[0], on_output);
    command->complaints = start_reading(command, complaints[0], on_complaints);
    return error;
}

void secret_command_start(struct secret_command *command, unsigned timeout_ms,
                          secret_command_callback callback, void *context)
{
    int error;

    command->callback = callback;
    command->context = context;
    command->timeout_ms = timeout_ms;
    if (command->killed_count == KILLED_MAX) {
        snprintf(command->reason, sizeof command->reason,
                 "%s is not started again: %d runs of it were killed and have not ended",
                 command->named_by, KILLED_MAX);
        timer_fire(command->answer);
        return;
    }
    error = run_shell(command);
    if (error != 0) {
        snprintf(command->reason, sizeof command->reason, "%s could not be started: %s",
                 command->named_by, strerror(error));
        timer_fire(command->answer);
        return;
    }
    timer_start_ms(command->deadline, timeout_ms);
}

void secret_command_cancel(struct secret_command *command)
{
    kill_run(command);
    end_run(command);
}

/* ---- life */

static char **copy_environment(char *const *environment, bool (*is_hidden)(const char *entry))
{
    size_t count = 0;
    size_t kept = 0;

    while (environment[count])
        count++;
    char **copy = memory_new_array(count + 1, sizeof *copy);
    for (size_t i = 0; i < count; i++)
        if (!is_hidden || !is_hidden(environment[i]))
            copy[kept++] = memory_text(environment[i]);
    return copy;
}

struct secret_command *secret_command_new(struct worker *worker,
                                          const struct secret_command_settings *settings)
{
    struct secret_command *command = memory_new(sizeof *command);

    command->worker = worker;
    command->settings = *settings;
    command->text = memory_text(settings->command);
    command->named_by = memory_text(settings->named_by);
    command->environment = copy_environment(settings->environment, settings->is_hidden);
    command->output_fd = command->complaints_fd = -1;
    children_begin(worker);
    command->deadline = timer_new(worker, on_secret_command_deadline, command);
    command->answer = timer_new(worker, on_secret_command_answer, command);
    return command;
}

void secret_command_free(struct secret_command *command)
{
    if (!command)
        return;
    secret_command_cancel(command);
    children_forget(command->worker, command);
    timer_free(command->deadline);
    timer_free(command->answer);
    for (char **at = command->environment; *at; at++)
        free(*at);
    free(command->environment);
    free(command->text);
    free(command->named_by);
    free(command);
}

#include "audit/audit_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "base/memory.h"
#include "io/clock.h"
#include "io/thread.h"
#include "monitoring/telemetry.h"

#ifdef __APPLE__
#define SYSTEM_LOG "/var/run/syslog"
#else
#define SYSTEM_LOG "/dev/log"
#endif

enum {
    RETRY_MS = 1000,
    SYNC_US = 1000 * 1000,
    LOOK_MS = 100, /* how long one wait for a reader lasts: the thread is to notice its end */
    STACK_SIZE = 256 * 1024,
    /* What a pipe takes as a whole, and what is written after poll() without waiting (Linux). */
    PIPE_PART = 4096,
    DATAGRAM_ROOM = 256 * 1024,
    SYSLOG_HEAD_MAX = 80,
};

enum sink_kind { SINK_FILE, SINK_PIPE, SINK_STDOUT, SINK_SYSLOG };
static const char *const sink_names[] = {"file", "pipe", "stdout", "syslog"};

struct audit_entry {
    struct list node;
    uint64_t queued_us;
    size_t size;
    char body[];
};

struct audit_sink {
    pthread_mutex_t lock;   /* of what is in the first part */
    pthread_cond_t changed; /* for the thread: there is something to do */
    pthread_cond_t ended;
    struct list waiting; /* struct audit_entry, the oldest first; it stays until it is written */
    size_t waiting_count;
    size_t waiting_bytes;
    uint64_t untold; /* records that are lost and not told of yet */
    bool reopen;
    bool stop;
    bool over; /* the thread has ended */
    bool down; /* it fails or stands still, and that is counted */
    struct audit_sink_state state;

    /* The thread's, and before it runs its maker's. */
    enum sink_kind kind;
    const char *path; /* NULL: standard output */
    int fd;           /* -1: none is open */
    pthread_t thread;
    bool runs;
    _Atomic bool hurry; /* a wait for a reader is to end */
    struct audit_chain chain;
    struct audit_entry *first; /* goes before those that wait: audit_opened */
    /* The line that is being written; size 0: none. */
    struct audit_chain next; /* where the chain stands when it is written */
    size_t line_size;
    size_t line_sent;
    bool torn;      /* the file ends within a line: the next one begins with the end of that */
    bool too_large; /* the system's log does not take the line at all */
    uint64_t unsynced_us; /* since when something is written that no fsync() has followed; 0: no */
    char line[SYSLOG_HEAD_MAX + AUDIT_LINE_MAX];
};

/* ---- records of its own */

static struct audit_entry *entry_new(const char *body, size_t size)
{
    struct audit_entry *entry = memory_raw(sizeof *entry + size);

    entry->queued_us = clock_now_us();
    entry->size = size;
    memcpy(entry->body, body, size);
    return entry;
}

static struct audit_entry *own_entry(const char *event, const struct log_field *fields,
                                     size_t count)
{
    char body[AUDIT_BODY_MAX];

    return entry_new(body, audit_body_write(body, telemetry_wall_clock_us(), event, fields, count));
}

static void announce_opening(struct audit_sink *sink, const char *reason, uint64_t torn_bytes)
{
    const struct log_field fields[] = {
        log_u64("torn_bytes", torn_bytes), log_str("sink", sink_names[sink->kind]),
        log_str("reason", reason), log_str("version", KAFKA_TUNNEL_VERSION),
        log_i64("pid", getpid())};

    free(sink->first);
    sink->first = own_entry("audit_opened", fields, sizeof fields / sizeof fields[0]);
}

/* ---- opening */

static bool fail_sink(const char *path, const char *why, char *error, size_t size)
{
    snprintf(error, size, "%.150s: %s", path ? path : "stdout", why);
    return false;
}

/* The last complete line of the file, and what stands behind it. Where that is too long for a line,
 * and where there is none though there is something, the file is none of ours. */
struct file_tail {
    char bytes[2 * AUDIT_LINE_MAX];
    size_t size;
    const char *line;
    size_t line_size; /* 0: there is none */
    size_t torn_size;
};

static bool read_file_tail(int fd, off_t file_size, struct file_tail *tail)
{
    size_t wanted = file_size < (off_t)sizeof tail->bytes ? (size_t)file_size : sizeof tail->bytes;
    ssize_t got = pread(fd, tail->bytes, wanted, file_size - (off_t)wanted);

    if (got != (ssize_t)wanted)
        return false;
    tail->size = wanted;
    size_t end = wanted;
    while (end > 0 && tail->bytes[end - 1] != '\n')
        end--;
    tail->torn_size = wanted - end;
    size_t start = end > 0 ? end - 1 : 0;
    while (start > 0 && tail->bytes[start - 1] != '\n')
        start--;
    tail->line = tail->bytes + start;
    tail->line_size = end > 0 ? end - 1 - start : 0;
    return tail->torn_size < AUDIT_LINE_MAX;
}

/* Where the chain of the file stands. false: error says why it cannot be gone on with. */
static bool read_chain(struct audit_sink *sink, int fd, off_t file_size, struct audit_chain *chain,
                       size_t *torn, char *error, size_t size)
{
    struct audit_line line;

    *torn = 0;
    if (file_size == 0)
        return true;
    struct file_tail *tail = memory_new(sizeof *tail);
    bool ours = read_file_tail(fd, file_size, tail);
    *torn = tail->torn_size;
    /* All that there is may be a first line that was cut short. */
    if (ours && tail->line_size > 0)
        ours = audit_line_read(&line, tail->line, tail->line_size);
    else if (ours)
        ours = strncmp(tail->line, "{\"chain\":\"", tail->size < 10 ? tail->size : 10) == 0;
    if (ours && tail->line_size > 0)
        *chain = line.place;
    free(tail);
    return ours || fail_sink(sink->path, "its last line is no audit record: name another file",
                             error, size);
}

/* -1: errno says why. */
static int open_path(const char *path, bool *is_file)
{
    struct stat status;

    *is_file = stat(path, &status) != 0 || S_ISREG(status.st_mode);
    return open(path,
                (*is_file ? O_RDWR | O_CREAT | O_APPEND : O_WRONLY) | O_NONBLOCK | O_NOCTTY |
                    O_CLOEXEC,
                0600);
}

/* NULL, or why another file cannot take its place. */
static const char *check_opened(int fd, struct stat *status)
{
    if (fstat(fd, status) != 0)
        return strerror(errno);
    if (S_ISDIR(status->st_mode) || S_ISSOCK(status->st_mode) || S_ISBLK(status->st_mode))
        return "is neither a file nor a pipe";
    if (S_ISREG(status->st_mode) && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return "another process writes to it";
    return NULL;
}

static void use_descriptor(struct audit_sink *sink, int fd)
{
    if (sink->fd >= 0 && sink->path)
        close(sink->fd);
    sink->fd = fd;
    /* What could not be written whole comes again, with another place in the chain. */
    sink->line_size = sink->line_sent = 0;
}

/* Takes a file in place of the one that there is, if any. */
static bool open_file(struct audit_sink *sink, const char *reason, char *error, size_t size)
{
    struct audit_chain chain = sink->chain;
    struct stat status;
    size_t torn = 0;
    bool is_file;
    int fd = open_path(sink->path, &is_file);
    bool unread = fd < 0 && errno == ENXIO && !is_file;
    const char *why = unread   ? "nobody reads this pipe"
                      : fd < 0 ? strerror(errno)
                               : check_opened(fd, &status);

    if (why && fd >= 0)
        close(fd);
    if (why)
        return fail_sink(sink->path, why, error, size);
    sink->kind = S_ISREG(status.st_mode) ? SINK_FILE : SINK_PIPE;
    bool usable =
        sink->kind == SINK_PIPE || read_chain(sink, fd, status.st_size, &chain, &torn, error, size);
    if (usable && sink->chain.sequence > 0 && strcmp(chain.hash, sink->chain.hash) != 0)
        usable = fail_sink(sink->path,
                           "it holds records of another chain, or later ones: move it "
                           "away",
                           error, size);
    if (!usable) {
        close(fd);
        return false;
    }
    size_t left = sink->line_sent - (sink->torn && sink->line_sent > 0);
    use_descriptor(sink, fd);
    sink->chain = chain;
    sink->torn = torn > 0;
    announce_opening(sink, reason, torn > 0 ? torn : left);
    return true;
}

static bool open_syslog(struct audit_sink *sink, char *error, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int room = DATAGRAM_ROOM;
    int fd;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", sink->path);
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        use_descriptor(sink, fd);
        return true;
    }
    const char *why = strerror(errno);
    if (fd >= 0)
        close(fd);
    return fail_sink(sink->path, why, error, size);
}

/* Opens what is not open. */
static bool open_anew(struct audit_sink *sink, const char *reason, char *error, size_t size)
{
    if (sink->kind == SINK_SYSLOG)
        return open_syslog(sink, error, size);
    return open_file(sink, reason, error, size);
}

/* ---- writing */

static size_t write_syslog_head(char head[SYSLOG_HEAD_MAX])
{
    time_t now = time(NULL);
    struct tm tm;
    char stamp[20];

    /* RFC 3164 as programs write it to this socket: in local time, without the host's name. */
    if (!localtime_r(&now, &tm) || strftime(stamp, sizeof stamp, "%b %e %H:%M:%S", &tm) == 0)
        stamp[0] = '\0';
    return (size_t)snprintf(head, SYSLOG_HEAD_MAX,
                            "<%d>%s tunnel-server[%ld]: ", LOG_AUTHPRIV | LOG_INFO, stamp,
                            (long)getpid());
}

static void make_line(struct audit_sink *sink, const struct audit_entry *entry)
{
    size_t head = sink->kind == SINK_SYSLOG ? write_syslog_head(sink->line) : 0;

    if (sink->torn)
        sink->line[head++] = '\n';
    sink->next = sink->chain;
    sink->line_size =
        head + audit_line_write(&sink->next, entry->body, entry->size, sink->line + head);
    sink->line_sent = 0;
    if (sink->kind == SINK_SYSLOG)
        sink->line_size--; /* a datagram needs no end of line */
}

/* Waits until somebody reads, for as long as a try may take. */
static bool wait_for_room(struct audit_sink *sink)
{
    struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};

    for (int waited = 0; waited < RETRY_MS; waited += LOOK_MS) {
        if (poll(&ready, 1, LOOK_MS) > 0)
            return true;
        if (atomic_load(&sink->hurry))
            return false;
    }
    return false;
}

/* Bytes written; 0: nobody reads; negative: errno says why. */
static ssize_t write_part(struct audit_sink *sink)
{
    const char *from = sink->line + sink->line_sent;
    size_t left = sink->line_size - sink->line_sent;
    ssize_t written;

    if (sink->kind != SINK_FILE && !wait_for_room(sink))
        return 0;
    if (sink->kind == SINK_SYSLOG)
        written = send(sink->fd, from, left, 0);
    else
        written =
            write(sink->fd, from, sink->kind != SINK_FILE && left > PIPE_PART ? PIPE_PART : left);
    return written < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : written;
}

/* Whether whoever reads is gone: only another one can go on. */
static bool has_hung_up(const struct audit_sink *sink, int error)
{
    return (sink->kind == SINK_SYSLOG && error != ENOBUFS) ||
           (sink->kind == SINK_PIPE && error == EPIPE);
}

/* Writes what is left of the line. false: error says why not. */
static bool write_line(struct audit_sink *sink, char *error, size_t size)
{
    while (sink->line_sent < sink->line_size) {
        ssize_t written = write_part(sink);
        if (written == 0)
            return fail_sink(sink->path, "whoever reads it does not", error, size);
        if (written < 0) {
            int why = errno;
            sink->too_large = sink->kind == SINK_SYSLOG && why == EMSGSIZE;
            if (sink->too_large) {
                sink->line_size = 0;
                return true;
            }
            if (has_hung_up(sink, why))
                use_descriptor(sink, -1);
            return fail_sink(sink->path, strerror(why), error, size);
        }
        sink->line_sent += (size_t)written;
    }
    sink->chain = sink->next;
    sink->line_size = sink->line_sent = 0;
    sink->torn = false;
    if (sink->kind == SINK_FILE && sink->unsynced_us == 0)
        sink->unsynced_us = clock_now_us();
    return true;
}

/* A file that has no name any more: what is written to it nobody would find. */
static bool was_deleted(const struct audit_sink *sink)
{
    struct stat status;

    return sink->kind == SINK_FILE && fstat(sink->fd, &status) == 0 && status.st_nlink == 0;
}

/* Writes one record: first, if there is that, else entry. false: error says why not. *done: it was
 * entry. */
static bool write_entry(struct audit_sink *sink, const struct audit_entry *entry, bool *done,
                        char *error, size_t size)
{
    bool begins = sink->line_size == 0;

    *done = false;
    if (sink->fd < 0 && !open_anew(sink, "start", error, size))
        return false;
    if (begins && was_deleted(sink) && !open_anew(sink, "deleted", error, size))
        return false;
    bool own = sink->first != NULL;
    if (sink->line_size == 0)
        make_line(sink, own ? sink->first : entry);
    if (!write_line(sink, error, size))
        return false;
    if (own) {
        free(sink->first);
        sink->first = NULL;
    }
    *done = !own;
    return true;
}

static bool sync_file(struct audit_sink *sink, char *error, size_t size)
{
    sink->unsynced_us = 0;
    return fsync(sink->fd) == 0 || errno == EINVAL ||
           fail_sink(sink->path, strerror(errno), error, size);
}

/* ---- the thread; the lock is held where nothing else is said */

static bool is_stalled(const struct audit_sink *sink)
{
    if (list_empty(&sink->waiting))
        return false;
    return clock_now_us() - list_entry(sink->waiting.next, struct audit_entry, node)->queued_us >
           AUDIT_STALL_US;
}

/* Times that it began to fail or to stand still. What does both, one after the other, counts once.
 */
static void count_failure(struct audit_sink *sink)
{
    sink->state.failures += !sink->down;
    sink->down = true;
}

static void note_failure(struct audit_sink *sink, const char *error)
{
    count_failure(sink);
    sink->state.failed = true;
    snprintf(sink->state.error, sizeof sink->state.error, "%s", error);
}

static void forget_entry(struct audit_sink *sink, struct audit_entry *entry)
{
    list_remove(&entry->node);
    sink->waiting_count--;
    sink->waiting_bytes -= sizeof *entry + entry->size;
    free(entry);
}

static void wait_for_work(struct audit_sink *sink, unsigned limit_ms)
{
    struct timespec limit;

    clock_gettime(CLOCK_REALTIME, &limit);
    uint64_t nanoseconds = (uint64_t)limit.tv_nsec + (uint64_t)limit_ms * 1000000;
    limit.tv_sec += (time_t)(nanoseconds / 1000000000);
    limit.tv_nsec = (long)(nanoseconds % 1000000000);
    pthread_cond_timedwait(&sink->changed, &sink->lock, &limit);
}

static bool has_work(const struct audit_sink *sink)
{
    return sink->first || !list_empty(&sink->waiting);
}

/* Unlocks meanwhile. Returns whether something was written. */
static bool write_next(struct audit_sink *sink)
{
    struct audit_entry *entry = list_empty(&sink->waiting)
                                    ? NULL
                                    : list_entry(sink->waiting.next, struct audit_entry, node);
    char error[sizeof sink->state.error];
    bool done;

    pthread_mutex_unlock(&sink->lock);
    bool written = write_entry(sink, entry, &done, error, sizeof error);
    pthread_mutex_lock(&sink->lock);
    sink->state.chain = sink->chain;
    if (!written) {
        note_failure(sink, error);
        return false;
    }
    sink->state.failed = false;
    sink->state.written += !sink->too_large;
    sink->state.lost += sink->too_large;
    sink->untold += sink->too_large;
    sink->too_large = false;
    if (done)
        forget_entry(sink, entry);
    sink->down = sink->down && is_stalled(sink);
    return true;
}

/* Unlocks meanwhile. */
static void reopen_now(struct audit_sink *sink)
{
    struct stat open_one;
    struct stat named;
    char error[sizeof sink->state.error];
    bool opened = true;
    bool other = false;

    sink->reopen = false;
    atomic_store(&sink->hurry, sink->stop);
    if (sink->kind != SINK_FILE)
        return;
    pthread_mutex_unlock(&sink->lock);
    bool same = fstat(sink->fd, &open_one) == 0 && stat(sink->path, &named) == 0 &&
                open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
    if (!same) {
        opened = open_file(sink, "reopened", error, sizeof error);
        other = opened;
    }
    pthread_mutex_lock(&sink->lock);
    sink->state.reopened += other;
    if (!opened) {
        sink->state.refused++;
        snprintf(sink->state.refused_error, sizeof sink->state.refused_error, "%s", error);
    }
}

/* Unlocks meanwhile. */
static void sync_if_due(struct audit_sink *sink, bool now)
{
    char error[sizeof sink->state.error];

    if (sink->unsynced_us == 0 || (!now && clock_now_us() - sink->unsynced_us < SYNC_US))
        return;
    pthread_mutex_unlock(&sink->lock);
    bool synced = sync_file(sink, error, sizeof error);
    pthread_mutex_lock(&sink->lock);
    if (!synced)
        note_failure(sink, error);
}

static void *run_sink(void *argument)
{
    struct audit_sink *sink = argument;
    bool fails = false;

    pthread_mutex_lock(&sink->lock);
    for (;;) {
        if (sink->reopen)
            reopen_now(sink);
        bool work = has_work(sink);
        if (sink->stop && (!work || fails))
            break;
        if (work && !fails) {
            fails = !write_next(sink);
            sync_if_due(sink, false);
            continue;
        }
        if (!fails && sink->unsynced_us == 0)
            pthread_cond_wait(&sink->changed, &sink->lock);
        else
            wait_for_work(sink, RETRY_MS);
        fails = fails && sink->stop;
        sync_if_due(sink, false);
    }
    sync_if_due(sink, true);
    sink->over = true;
    pthread_cond_signal(&sink->ended);
    pthread_mutex_unlock(&sink->lock);
    return NULL;
}

/* ---- from other threads */

/* The lock is held. false: there is no room. */
static bool queue_entry(struct audit_sink *sink, struct audit_entry *entry)
{
    size_t size = sizeof *entry + entry->size;

    if (size > AUDIT_WAITING_MAX - sink->waiting_bytes)
        return false;
    list_append(&sink->waiting, &entry->node);
    sink->waiting_count++;
    sink->waiting_bytes += size;
    return true;
}

/* The lock is held. Records that are lost are told of where they would stand. */
static bool tell_lost(struct audit_sink *sink)
{
    if (sink->untold == 0)
        return true;
    const struct log_field fields[] = {log_u64("records", sink->untold)};
    struct audit_entry *entry = own_entry("records_lost", fields, 1);
    if (!queue_entry(sink, entry)) {
        free(entry);
        return false;
    }
    sink->untold = 0;
    return true;
}

void audit_sink_put(struct audit_sink *sink, const char *body, size_t size)
{
    struct audit_entry *entry = entry_new(body, size);

    pthread_mutex_lock(&sink->lock);
    bool idle = list_empty(&sink->waiting);
    if (!tell_lost(sink) || !queue_entry(sink, entry)) {
        sink->untold++;
        sink->state.lost++;
        free(entry);
    }
    if (idle)
        pthread_cond_signal(&sink->changed);
    pthread_mutex_unlock(&sink->lock);
}

void audit_sink_reopen(struct audit_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    sink->reopen = true;
    atomic_store(&sink->hurry, true);
    pthread_cond_signal(&sink->changed);
    pthread_mutex_unlock(&sink->lock);
}

void audit_sink_look(struct audit_sink *sink, struct audit_sink_state *state)
{
    pthread_mutex_lock(&sink->lock);
    if (sink->untold > 0 && tell_lost(sink))
        pthread_cond_signal(&sink->changed);
    sink->state.stalled = !sink->state.failed && is_stalled(sink);
    if (sink->state.stalled)
        count_failure(sink);
    *state = sink->state;
    state->waiting = sink->waiting_count;
    pthread_mutex_unlock(&sink->lock);
}

bool audit_sink_works(struct audit_sink *sink)
{
    pthread_mutex_lock(&sink->lock);
    bool works = !sink->state.failed && !is_stalled(sink);
    pthread_mutex_unlock(&sink->lock);
    return works;
}

/* ---- life */

static void sink_free(struct audit_sink *sink)
{
    for (struct list *node; (node = list_pop(&sink->waiting));)
        free(list_entry(node, struct audit_entry, node));
    free(sink->first);
    use_descriptor(sink, -1);
    pthread_cond_destroy(&sink->ended);
    pthread_cond_destroy(&sink->changed);
    pthread_mutex_destroy(&sink->lock);
    free(sink);
}

/* What may come later is no reason not to start. */
static bool may_come(const struct audit_sink *sink)
{
    struct stat status;

    return sink->kind == SINK_SYSLOG ||
           (sink->kind != SINK_STDOUT && stat(sink->path, &status) == 0 &&
            S_ISFIFO(status.st_mode));
}

static bool is_syslog(const char *where)
{
    return strncmp(where, "syslog", 6) == 0 && (where[6] == '\0' || where[6] == ':');
}

const char *audit_sink_path(const char *where)
{
    return strcmp(where, "stdout") == 0 || is_syslog(where) ? NULL : where;
}

static bool open_first(struct audit_sink *sink, const char *where, char *error, size_t size)
{
    if (strcmp(where, "stdout") == 0) {
        sink->kind = SINK_STDOUT;
        sink->fd = STDOUT_FILENO;
        return fcntl(sink->fd, F_GETFD) >= 0 || fail_sink(NULL, strerror(errno), error, size);
    }
    sink->path = where;
    if (is_syslog(where)) {
        sink->kind = SINK_SYSLOG;
        sink->path = where[6] ? where + 7 : SYSTEM_LOG;
        if (strlen(sink->path) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
            return fail_sink(sink->path, "a socket's path is not that long", error, size);
    }
    if (open_anew(sink, "start", error, size))
        return true;
    if (!may_come(sink))
        return false;
    note_failure(sink, error);
    return true;
}

struct audit_sink *audit_sink_open(const char *where, char *error, size_t size)
{
    struct audit_sink *sink = memory_new(sizeof *sink);

    pthread_mutex_init(&sink->lock, NULL);
    pthread_cond_init(&sink->changed, NULL);
    pthread_cond_init(&sink->ended, NULL);
    list_init(&sink->waiting);
    sink->fd = -1;
    if (!open_first(sink, where, error, size)) {
        sink_free(sink);
        return NULL;
    }
    if (sink->chain.id[0] == '\0')
        audit_chain_begin(&sink->chain);
    if (!sink->first)
        announce_opening(sink, "start", 0);
    sink->state.chain = sink->chain;
    return sink;
}

bool audit_sink_start(struct audit_sink *sink)
{
    pthread_attr_t attributes;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int error = thread_start(&sink->thread, &attributes, run_sink, sink);
    pthread_attr_destroy(&attributes);
    sink->runs = error == 0;
    errno = error;
    return sink->runs;
}

bool audit_sink_close(struct audit_sink *sink, unsigned limit_ms, struct audit_sink_state *last)
{
    struct timespec limit;
    int error = 0;

    if (!sink)
        return true;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += limit_ms / 1000 + 1;
    pthread_mutex_lock(&sink->lock);
    sink->stop = true;
    atomic_store(&sink->hurry, true);
    pthread_cond_signal(&sink->changed);
    while (sink->runs && !sink->over && error == 0)
        error = pthread_cond_timedwait(&sink->ended, &sink->lock, &limit);
    bool over = !sink->runs || sink->over;
    bool written = over && list_empty(&sink->waiting) && !sink->first;
    if (last) {
        *last = sink->state;
        last->waiting = sink->waiting_count;
    }
    pthread_mutex_unlock(&sink->lock);
    /* A disk that hangs keeps the thread: the process ends without it, and what it uses stays. */
    if (!over) {
        pthread_detach(sink->thread);
        return false;
    }
    if (sink->runs)
        pthread_join(sink->thread, NULL);
    sink_free(sink);
    return written;
}

/* Small exchanges: round trips, short connections, idle connections, a half-closed connection. */
#include "load.h"
#include "sock.h"

#include <endian.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    PING_WARMUP = 200,              /* round trips that are not counted */
    PING_SAMPLES = 4 * 1024 * 1024, /* the most that are kept */
    CHURN_BYTES = 16,
};

static int compare_u64(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* One echo of size bytes; its time in ns, or -1. */
static int64_t round_trip(int fd, uint8_t *bytes, size_t size)
{
    uint64_t start_ns = sock_now_ns();
    if (sock_write_all(fd, bytes, size) != 0 || sock_read_all(fd, bytes, size) != 0)
        return -1;
    return (int64_t)(sock_now_ns() - start_ns);
}

void load_print_percentiles(uint64_t *samples, size_t count)
{
    static const struct {
        const char *name;
        double rank;
    } points[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};

    qsort(samples, count, sizeof(*samples), compare_u64);
    printf("\"count\":%zu", count);
    for (size_t i = 0; count > 0 && i < sizeof(points) / sizeof(points[0]); i++) {
        size_t at = (size_t)((double)(count - 1) * points[i].rank + 0.5);
        printf(",\"%s_us\":%.1f", points[i].name, (double)samples[at] / 1e3);
    }
    printf("}\n");
}

/* The number of samples taken, or 0 after a failure. */
static size_t sample(int fd, const struct load_options *options, uint64_t *samples)
{
    uint8_t bytes[65536] = {0};
    size_t size = (size_t)options->size, count = 0;
    char mode = LOAD_ECHO;

    if (sock_write_all(fd, &mode, 1) != 0)
        return 0;
    for (int i = 0; i < PING_WARMUP; i++)
        if (round_trip(fd, bytes, size) < 0)
            return 0;
    uint64_t end_ns = sock_now_ns() + (uint64_t)(options->seconds * 1e9);
    do {
        int64_t ns = round_trip(fd, bytes, size);
        if (ns < 0)
            return 0;
        samples[count++] = (uint64_t)ns;
    } while (count < PING_SAMPLES && sock_now_ns() < end_ns);
    return count;
}

int load_ping(const struct load_options *options)
{
    uint64_t *samples = malloc(PING_SAMPLES * sizeof(*samples));
    int fd = sock_connect(&options->address);
    size_t count = 0;

    if (samples != NULL && fd >= 0)
        count = sample(fd, options, samples);
    if (count > 0) {
        printf("{");
        load_print_percentiles(samples, count);
    }
    if (fd >= 0)
        close(fd);
    free(samples);
    return count > 0 ? 0 : 1;
}

struct churn_worker {
    const struct load_options *options;
    uint64_t end_ns;
    uint64_t done, failed;
    pthread_t thread;
};

static int connect_echo_close(const struct load_options *options)
{
    uint8_t out[1 + CHURN_BYTES] = {LOAD_ECHO}, in[CHURN_BYTES];
    int fd = sock_connect(&options->address);
    if (fd < 0)
        return -1;
    int failed =
        sock_write_all(fd, out, sizeof(out)) != 0 || sock_read_all(fd, in, sizeof(in)) != 0;
    close(fd);
    return failed ? -1 : 0;
}

static void *churn_thread(void *argument)
{
    struct churn_worker *worker = argument;
    while (sock_now_ns() < worker->end_ns && worker->failed < 10) {
        if (connect_echo_close(worker->options) == 0)
            worker->done++;
        else
            worker->failed++;
    }
    return NULL;
}

int load_churn(const struct load_options *options)
{
    struct churn_worker *workers = calloc((size_t)options->streams, sizeof(*workers));
    uint64_t start_ns = sock_now_ns(), done = 0, failed = 0;
    int started = 0;

    if (workers == NULL)
        return 1;
    for (; started < options->streams; started++) {
        struct churn_worker *worker = &workers[started];
        worker->options = options;
        worker->end_ns = start_ns + (uint64_t)(options->seconds * 1e9);
        if (pthread_create(&worker->thread, NULL, churn_thread, worker) != 0)
            break;
    }
    for (int i = 0; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
        done += workers[i].done;
        failed += workers[i].failed;
    }
    double seconds = (double)(sock_now_ns() - start_ns) / 1e9;
    printf("{\"connections\":%llu,\"failed\":%llu,\"per_s\":%.1f}\n", (unsigned long long)done,
           (unsigned long long)failed, (double)done / seconds);
    free(workers);
    return started == options->streams && failed == 0 ? 0 : 1;
}

int load_hold(const struct load_options *options)
{
    uint8_t out[2] = {LOAD_ECHO, 0}, in;
    uint64_t start_ns = sock_now_ns();
    struct pollfd signals = {.fd = sock_signal_fd(), .events = POLLIN};
    if (signals.fd < 0)
        return 1;

    /* The echo proves that the connection reaches the far end. The descriptors stay open until the
     * process ends. */
    for (int i = 0; i < options->streams; i++) {
        int fd = sock_connect(&options->address);
        if (fd < 0 || sock_write_all(fd, out, sizeof(out)) != 0 || sock_read_all(fd, &in, 1) != 0) {
            fprintf(stderr, "load hold: failed at connection %d\n", i + 1);
            return 1;
        }
    }
    printf("{\"held\":%d,\"seconds\":%.3f}\n", options->streams,
           (double)(sock_now_ns() - start_ns) / 1e9);
    fflush(stdout);
    while (poll(&signals, 1, -1) <= 0) {
    }
    return 0;
}

int load_half_close(const struct load_options *options)
{
    enum { ANSWER_TIMEOUT_S = 5, BYTES = 1024 * 1024 };
    struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
    char mode = LOAD_ANSWER;
    uint8_t *bytes = calloc(1, BYTES);
    uint64_t answer = 0;
    int fd = sock_connect(&options->address);

    if (bytes == NULL || fd < 0 || sock_write_all(fd, &mode, 1) != 0 ||
        sock_write_all(fd, bytes, BYTES) != 0) {
        free(bytes);
        return 1;
    }
    free(bytes);
    /* From here on a failure is a finding about the tunnel, no failure of the measurement. */
    shutdown(fd, SHUT_WR);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    int answered = sock_read_all(fd, &answer, sizeof(answer)) == 0 && be64toh(answer) == BYTES;
    printf("{\"half_close\":%s}\n", answered ? "true" : "false");
    close(fd);
    return 0;
}

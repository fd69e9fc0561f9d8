/*
 * embedded-cluster: a small Kafka-protocol cluster in one process, for trying things out.
 *
 *     embedded-cluster --brokers 3 --topic demo:6
 *
 * prints one line, "ready bootstrap=127.0.0.1:PORT,127.0.0.1:PORT,...", and serves until SIGTERM or
 * SIGINT. The brokers are librdkafka's mock cluster (rdkafka_mock.h): they listen on 127.0.0.1 at
 * ports the kernel chooses, keep only the newest few megabytes of each partition, and know no newer
 * protocol than Produce v7 and Fetch v11. librdkafka's clients (kcat, confluent-kafka), aiokafka
 * and kafkajs work with them; the Java client does not. It is no substitute for a real broker in
 * tests.
 *
 * Exit codes: 0 asked to stop, 1 failed, 2 bad usage.
 */
#include <errno.h>
#include <getopt.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_BROKERS = 100,
    MAX_PARTITIONS = 10000,
    MAX_TOPICS = 1000,
    MAX_TOPIC_NAME = 249, /* Kafka's own limit */
};

struct topic {
    char name[MAX_TOPIC_NAME + 1];
    int partitions;
};

struct options {
    int brokers;
    struct topic *topics; /* owned; ntopics of them */
    size_t ntopics;
};

static const char usage_text[] =
    "usage: embedded-cluster [--brokers N] [--topic NAME:PARTITIONS]...\n"
    "\n"
    "Runs N (default 3) small Kafka-protocol brokers on 127.0.0.1 until SIGTERM or SIGINT.\n"
    "Prints \"ready bootstrap=HOST:PORT,...\" when they serve. A topic that nobody named is\n"
    "created with 4 partitions when a client first asks for it.\n";

/* 0, or -1 when text is no whole number in low..high. */
static int parse_int(const char *text, int low, int high, int *value)
{
    char *end;
    errno = 0;
    long parsed = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || parsed < low || parsed > high)
        return -1;
    *value = (int)parsed;
    return 0;
}

/* 0, or -1 after saying what is wrong with "NAME:PARTITIONS". */
static int add_topic(struct options *options, const char *text)
{
    const char *colon = strrchr(text, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - text);
    struct topic topic;

    if (length == 0 || length > MAX_TOPIC_NAME ||
        parse_int(colon + 1, 1, MAX_PARTITIONS, &topic.partitions) != 0) {
        fprintf(stderr,
                "embedded-cluster: --topic %s: expected NAME:PARTITIONS, partitions 1 to %d\n",
                text, MAX_PARTITIONS);
        return -1;
    }
    memcpy(topic.name, text, length);
    topic.name[length] = '\0';

    if (options->ntopics == MAX_TOPICS) {
        fprintf(stderr, "embedded-cluster: more than %d topics\n", MAX_TOPICS);
        return -1;
    }
    struct topic *grown = realloc(options->topics, (options->ntopics + 1) * sizeof(*grown));
    if (grown == NULL) {
        fprintf(stderr, "embedded-cluster: out of memory\n");
        return -1;
    }
    grown[options->ntopics++] = topic;
    options->topics = grown;
    return 0;
}

/* 0 = go on; 1 = help was asked for and printed; -1 = bad usage, said. */
static int parse_options(int argc, char **argv, struct options *options)
{
    static const struct option table[] = {
        {"brokers", required_argument, NULL, 'b'},
        {"topic", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int letter;

    while ((letter = getopt_long(argc, argv, "b:t:h", table, NULL)) != -1) {
        switch (letter) {
        case 'b':
            if (parse_int(optarg, 1, MAX_BROKERS, &options->brokers) != 0) {
                fprintf(stderr, "embedded-cluster: --brokers %s: expected 1 to %d\n", optarg,
                        MAX_BROKERS);
                return -1;
            }
            break;
        case 't':
            if (add_topic(options, optarg) != 0)
                return -1;
            break;
        case 'h':
            fputs(usage_text, stdout);
            return 1;
        default:
            fputs(usage_text, stderr);
            return -1;
        }
    }
    if (optind != argc) {
        fprintf(stderr, "embedded-cluster: unexpected argument %s\n%s", argv[optind], usage_text);
        return -1;
    }
    return 0;
}

/*
 * 0, or -1 after saying which topic could not be created. Every broker is a replica, and leadership
 * goes round: left to itself the mock chooses at random and may leave a broker without any.
 */
static int create_topics(rd_kafka_mock_cluster_t *cluster, const struct options *options)
{
    for (size_t i = 0; i < options->ntopics; i++) {
        const struct topic *topic = &options->topics[i];
        rd_kafka_resp_err_t error =
            rd_kafka_mock_topic_create(cluster, topic->name, topic->partitions, options->brokers);

        for (int p = 0; p < topic->partitions && error == RD_KAFKA_RESP_ERR_NO_ERROR; p++)
            error = rd_kafka_mock_partition_set_leader(cluster, topic->name, p,
                                                       1 + p % options->brokers);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR) {
            fprintf(stderr, "embedded-cluster: cannot create topic %s: %s\n", topic->name,
                    rd_kafka_err2str(error));
            return -1;
        }
    }
    return 0;
}

/* Serves until a signal of the set arrives. 0 = asked to stop, 1 = failed, said. */
static int serve(rd_kafka_t *handle, const struct options *options, const sigset_t *signals)
{
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(handle, options->brokers);
    if (cluster == NULL) {
        fprintf(stderr, "embedded-cluster: cannot start %d brokers on 127.0.0.1\n",
                options->brokers);
        return 1;
    }

    int result = 1;
    if (create_topics(cluster, options) == 0) {
        int signal_number;
        printf("ready bootstrap=%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
        fflush(stdout);
        sigwait(signals, &signal_number);
        result = 0;
    }
    rd_kafka_mock_cluster_destroy(cluster);
    return result;
}

/*
 * The mock cluster lives in a client instance, which itself connects to nothing: log level "error"
 * keeps its warning about that quiet. 0 = asked to stop, 1 = failed, said.
 */
static int run(const struct options *options, const sigset_t *signals)
{
    char error[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "3", NULL, 0);
    rd_kafka_t *handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
    if (handle == NULL) {
        fprintf(stderr, "embedded-cluster: cannot start librdkafka: %s\n", error);
        rd_kafka_conf_destroy(conf);
        return 1;
    }
    int result = serve(handle, options, signals);
    rd_kafka_destroy(handle);
    return result;
}

int main(int argc, char **argv)
{
    struct options options = {.brokers = 3};
    int parsed = parse_options(argc, argv, &options);
    if (parsed != 0) {
        free(options.topics);
        return parsed > 0 ? 0 : 2;
    }

    /* Blocked before librdkafka starts its threads, so that they inherit it and only sigwait()
     * in the main thread ever sees these signals. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);

    int result = run(&options, &signals);
    free(options.topics);
    return result;
}

#include "kafka/sniff.h"

#include <string.h>

static const struct {
    const char *bytes;
    uint8_t size;
    uint8_t sniffed;
} starts[] = {
    {"\x16\x03", 2, KAFKA_SNIFF_TLS},   {"\x15\x03", 2, KAFKA_SNIFF_TLS_ALERT},
    {"GET ", 4, KAFKA_SNIFF_HTTP},      {"POST", 4, KAFKA_SNIFF_HTTP},
    {"PUT ", 4, KAFKA_SNIFF_HTTP},      {"HEAD", 4, KAFKA_SNIFF_HTTP},
    {"DELE", 4, KAFKA_SNIFF_HTTP},      {"OPTI", 4, KAFKA_SNIFF_HTTP},
    {"PATC", 4, KAFKA_SNIFF_HTTP},      {"CONN", 4, KAFKA_SNIFF_HTTP},
    {"TRAC", 4, KAFKA_SNIFF_HTTP},      {"PRI ", 4, KAFKA_SNIFF_HTTP}, /* HTTP/2 */
    {"HTTP", 4, KAFKA_SNIFF_HTTP},                                     /* a response */
    {"SSH-", 4, KAFKA_SNIFF_SSH},       {"PROX", 4, KAFKA_SNIFF_PROXY},
    {"\r\n\r\n", 4, KAFKA_SNIFF_PROXY},
};

enum kafka_sniff kafka_sniff(const uint8_t *bytes, size_t size)
{
    enum kafka_sniff sniffed = size < 4 ? KAFKA_SNIFF_MORE : KAFKA_SNIFF_KAFKA;

    if (size == 0)
        return KAFKA_SNIFF_MORE;
    if (size < 4 && bytes[0] == 0)
        return KAFKA_SNIFF_KAFKA;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        if (size >= starts[i].size && memcmp(bytes, starts[i].bytes, starts[i].size) == 0)
            sniffed = (enum kafka_sniff)starts[i].sniffed;
    }
    return sniffed;
}

const char *kafka_sniff_client_advice(enum kafka_sniff sniffed)
{
    switch (sniffed) {
    case KAFKA_SNIFF_TLS:
    case KAFKA_SNIFF_TLS_ALERT:
        return "this listener speaks plaintext Kafka, but the client tried TLS: set its "
               "security.protocol to PLAINTEXT, or to SASL_PLAINTEXT if it logs in (the tunnel "
               "itself is encrypted), or start tunnel-client with --listener-tls auto";
    case KAFKA_SNIFF_HTTP:
        return "this listener speaks Kafka, but the client sent HTTP: for a Schema Registry or a "
               "Connect REST service use a --tcp listener";
    case KAFKA_SNIFF_SSH:
        return "this listener speaks Kafka, but the client sent SSH: use a --tcp listener for it";
    case KAFKA_SNIFF_PROXY:
        return "this listener speaks Kafka, but the client sent a PROXY protocol header: turn that "
               "off in the load balancer in front of it";
    default:
        return "";
    }
}

const char *kafka_sniff_broker_advice(enum kafka_sniff sniffed)
{
    switch (sniffed) {
    case KAFKA_SNIFF_TLS:
    case KAFKA_SNIFF_TLS_ALERT:
        return "the broker speaks TLS on this port: start the server with --kafka-tls, or give the "
               "port of a plaintext listener";
    case KAFKA_SNIFF_HTTP:
        return "the broker's port answers with HTTP: it is not a Kafka listener";
    case KAFKA_SNIFF_SSH:
        return "the broker's port answers with SSH: it is not a Kafka listener";
    case KAFKA_SNIFF_PROXY:
        return "the broker's port answers with a PROXY protocol header: it is not a Kafka listener";
    default:
        return "";
    }
}

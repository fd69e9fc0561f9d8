#include "listeners/local_port.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "io/socket.h"
#include "kafka/bootstrap.h"

enum { PATIENCE_S = 2, CORRELATION_ID = 1, ANSWER_MAX = 64 * 1024 };

/* Whether a listener could be opened. */
static bool is_free(const struct socket_address *address, char *why, size_t size)
{
    int on = 1;

    if (socket_is_answered(address)) {
        snprintf(why, size, "%s", strerror(EADDRINUSE));
        return false;
    }
    int fd = socket(address->storage.ss_family, SOCK_STREAM, 0);

    if (fd < 0)
        return true;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bool bound = bind(fd, (const struct sockaddr *)&address->storage, address->size) == 0 &&
                 listen(fd, 1) == 0;
    if (!bound)
        snprintf(why, size, "%s", strerror(errno));
    close(fd);
    return bound;
}

struct nodes {
    const struct local_port_names *names;
    uint16_t bootstrap;
    size_t count;
    size_t local;
    char first[300];
};

static void note_direct_node(void *context, int32_t node, const struct kafka_address *address)
{
    struct nodes *nodes = context;
    struct socket_address parsed;
    char host[256];

    snprintf(host, sizeof host, "%.*s", (int)(address->host_size < 255 ? address->host_size : 255),
             address->host);
    if (nodes->count++ == 0)
        snprintf(nodes->first, sizeof nodes->first, "broker %d at %s:%d", (int)node, host,
                 (int)address->port);
    bool on_loopback = socket_parse(host, 0, &parsed) && socket_is_loopback(&parsed);
    if (nodes->names->kept)
        /* A local Kafka has such names only if others are to reach it. */
        nodes->local += !on_loopback && strcmp(host, "localhost") != 0;
    else
        /* A tunnel-client's nodes are never at the bootstrap port; a local Kafka's are, as a rule.
         */
        nodes->local +=
            address->port != nodes->bootstrap &&
            (nodes->names->advertise[0] ? strcmp(host, nodes->names->advertise) == 0 : on_loopback);
}

/* Reads until the answer is whole; false: it is none. */
static bool receive_response(int fd, struct nodes *nodes)
{
    static uint8_t answer[ANSWER_MAX];
    const char *reason;
    size_t fill = 0;

    while (fill < sizeof answer) {
        ssize_t got = recv(fd, answer + fill, sizeof answer - fill, 0);
        if (got <= 0)
            return false;
        fill += (size_t)got;
        switch (kafka_bootstrap_response(KAFKA_ENDPOINT_BROKER, answer, fill, CORRELATION_ID,
                                         note_direct_node, nodes, &reason)) {
        case KAFKA_BOOTSTRAP_OK:
            return true;
        case KAFKA_BOOTSTRAP_MORE:
            break;
        default:
            return false;
        }
    }
    return false;
}

/* -1: nobody is there, or not in time. */
static int dial_port_holder(const struct socket_address *address)
{
    const struct timeval patience = {PATIENCE_S, 0};
    int fd = socket(address->storage.ss_family, SOCK_STREAM, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&address->storage, address->size) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Asks as a Kafka client would. false: no Kafka answers. */
static bool ask_port_holder(const struct socket_address *address, struct nodes *nodes)
{
    uint8_t request[KAFKA_BOOTSTRAP_REQUEST_MAX];
    size_t size = kafka_bootstrap_request(KAFKA_ENDPOINT_BROKER, request, CORRELATION_ID);
    int fd = dial_port_holder(address);

    if (fd < 0)
        return false;
    bool answered = send(fd, request, size, 0) == (ssize_t)size && receive_response(fd, nodes);
    close(fd);
    return answered;
}

/* Whose it is, the caller judges: nothing but the certificate is wanted, and nothing is sent that
 * would need to be trusted. */
X509 *local_port_certificate(const char *host, uint16_t port)
{
    struct socket_address address;
    X509 *certificate = NULL;
    int fd = port != 0 && socket_parse(host, port, &address) ? dial_port_holder(&address) : -1;

    if (fd < 0)
        return NULL;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = context ? SSL_new(context) : NULL;
    if (ssl && SSL_set_fd(ssl, fd) == 1) {
        /* It may fail for want of a client certificate, and has shown its own by then. */
        if (SSL_connect(ssl) == 1)
            SSL_shutdown(ssl);
        certificate = SSL_get_peer_certificate(ssl);
    }
    ERR_clear_error();
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fd);
    return certificate;
}

enum local_port local_port_look(const char *host, uint16_t port,
                                const struct local_port_names *names, char *why, size_t size)
{
    struct socket_address address;
    struct nodes nodes = {.names = names, .bootstrap = port};

    if (port == 0 || !socket_parse(host, port, &address) || is_free(&address, why, size))
        return LOCAL_PORT_FREE;
    if (!ask_port_holder(&address, &nodes)) {
        snprintf(why, size,
                 "another program has it (or a tunnel-client without a link, or whose brokers are "
                 "down), and it does not answer as a Kafka broker");
        return LOCAL_PORT_OTHER;
    }
    if (nodes.count > 0 && nodes.local == nodes.count)
        return LOCAL_PORT_TUNNEL;
    snprintf(why, size, "another Kafka broker has it (%s)",
             nodes.count > 0 ? nodes.first : "it knows no brokers");
    return LOCAL_PORT_OTHER;
}

/*
 * Whatever a stranger sends first to a local listener that takes TLS, with the real event loop over
 * a socket pair. The same bytes, whole and in parts, must come to the same end; who is let in
 * yields exactly what was sent; plaintext is let in only where it may be; and when the stranger has
 * gone, nothing is left.
 *
 * Input: a byte of flags (enum flag), one as the seed of the parts, then the stranger's bytes.
 */
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/certificate.h"
#include "../lib/pair.h"
#include "check.h"
#include "listeners/greeter.h"

enum flag {
    FLAG_SECURE = 1, /* the listener requires TLS */
    FLAG_CLIENT = 2, /* the stranger speaks TLS, and the bytes go through it */
};

enum { ROUNDS_MAX = 1000, BYTES_MAX = 16 * 1024, TLS_HANDSHAKE = 0x16 };

static struct {
    struct log log;
    struct worker worker;
    struct greeter *greeter;
    SSL_CTX *tls;
    SSL_CTX *client;
    struct transport *greeted;
    unsigned calls;
} hall;

/* One stranger, as the fuzzer sees it. */
struct stranger {
    int fd;
    SSL *ssl; /* NULL: the bytes go out as they are */
    bool let_in;
    bool plain;
    size_t yielded_size;
    uint8_t yielded[BYTES_MAX];
};

static void on_hall_greeted(void *context, void *connection, struct transport *transport)
{
    (void)context;
    CHECK(connection == &hall);
    hall.calls++;
    hall.greeted = transport;
}

static void on_hall_dismissed(void *context, void *connection, enum greeter_end end)
{
    (void)context;
    CHECK(end <= GREETER_CROWDED);
    CHECK(connection == &hall);
    hall.calls++;
}

static void drop_line(void *context, const char *line, size_t size)
{
    (void)context;
    CHECK(size > 0 && memchr(line, '\n', size) == line + size - 1);
}

static void start(void)
{
    static const struct greeter_owner owner = {.greeted = on_hall_greeted,
                                               .dismissed = on_hall_dismissed};
    static const struct greeter_settings settings = {.max = 4, .timeout_ms = 300 * 1000};
    const struct log_settings quiet = {.level = LOG_LEVEL_DEBUG, .sink = drop_line};
    struct tls_material *material = certificate_make(0);
    struct tls_error error;

    signal(SIGPIPE, SIG_IGN);
    log_init(&hall.log, &quiet);
    worker_init(&hall.worker, &hall.log, 16 << 20);
    hall.greeter = greeter_new(&hall.worker, &settings, &owner, NULL);
    hall.tls = tls_listener_context(material, false, &error);
    hall.client = SSL_CTX_new(TLS_client_method());
    CHECK(hall.tls && hall.client);
    tls_material_free(material);
}

static void turn(struct stranger *stranger)
{
    event_base_loop(hall.worker.base, EVLOOP_NONBLOCK);
    if (!hall.greeted)
        return;
    stranger->let_in = true;
    stranger->plain = strcmp(transport_protection(hall.greeted), "plain") == 0;
    long got = transport_read(hall.greeted, stranger->yielded + stranger->yielded_size,
                              sizeof stranger->yielded - stranger->yielded_size);
    if (got > 0)
        stranger->yielded_size += (size_t)got;
}

static void say(struct stranger *stranger, const uint8_t *bytes, size_t size)
{
    for (int round = 0; size > 0 && round < ROUNDS_MAX; round++) {
        long put = stranger->ssl ? SSL_write(stranger->ssl, bytes, (int)size)
                                 : send(stranger->fd, bytes, size, 0);
        ERR_clear_error();
        if (put > 0) {
            bytes += put;
            size -= (size_t)put;
        }
        turn(stranger);
    }
}

static void meet(struct stranger *stranger, uint8_t flags)
{
    struct socket_address address;
    int ends[2];

    pair_make(ends);
    CHECK(socket_parse("192.0.2.1", 1234, &address));
    *stranger = (struct stranger){.fd = ends[1]};
    hall.calls = 0;
    greeter_adopt(
        hall.greeter,
        &(struct greeter_guest){.transport = transport_new(ends[0]),
                                .peer = &address,
                                .security = flags & FLAG_SECURE ? LISTENER_SECURE : LISTENER_EITHER,
                                .tls = hall.tls,
                                .label = "kafka",
                                .connection = &hall});
    if (!(flags & FLAG_CLIENT))
        return;
    stranger->ssl = SSL_new(hall.client);
    CHECK(stranger->ssl && SSL_set_fd(stranger->ssl, stranger->fd) == 1);
    SSL_set_connect_state(stranger->ssl);
    SSL_set_mode(stranger->ssl,
                 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    for (int round = 0; round < 20 && SSL_do_handshake(stranger->ssl) != 1; round++)
        turn(stranger);
    CHECK(SSL_is_init_finished(stranger->ssl));
}

static void leave(struct stranger *stranger)
{
    shutdown(stranger->fd, SHUT_WR);
    for (int round = 0; round < 10; round++)
        turn(stranger);
    CHECK(greeter_count(hall.greeter) == 0 && hall.calls == 1);
    transport_free(hall.greeted);
    hall.greeted = NULL;
    SSL_free(stranger->ssl);
    close(stranger->fd);
    ERR_clear_error();
}

static void check(const struct stranger *stranger, uint8_t flags, const uint8_t *bytes, size_t size)
{
    if (flags & FLAG_CLIENT) {
        CHECK(stranger->let_in && !stranger->plain);
    } else {
        /* Nobody completes a handshake by chance. */
        bool may = size > 0 && bytes[0] != TLS_HANDSHAKE && !(flags & FLAG_SECURE);
        CHECK(stranger->let_in == may && (!may || stranger->plain));
    }
    if (stranger->let_in)
        CHECK(stranger->yielded_size == size && memcmp(stranger->yielded, bytes, size) == 0);
}

static void run(struct stranger *stranger, uint8_t flags, uint32_t seed, const uint8_t *bytes,
                size_t size)
{
    meet(stranger, flags);
    for (size_t at = 0; at < size;) {
        size_t part = size - at;
        if (seed != 0) {
            seed = seed * 1664525 + 1013904223;
            size_t most = 1 + (seed >> 16) % 200;
            part = part < most ? part : most;
        }
        say(stranger, bytes + at, part);
        at += part;
    }
    leave(stranger);
    check(stranger, flags, bytes, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stranger stranger;

    if (!hall.worker.base)
        start();
    if (size < 2 || size > BYTES_MAX)
        return 0;
    run(&stranger, data[0], 0, data + 2, size - 2);
    run(&stranger, data[0], data[1] + 1u, data + 2, size - 2);
    return 0;
}

/* Who comes to a listener with TLS: the first byte, deadlines, slots, and a certificate that is
 * renewed, with real sockets and a clock of our own. */
#include "net_support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../tunnel-client/listeners/greeter.h"
#include "../../tunnel-client/listeners/listener_tls.h"

enum { SLOTS = 4, TIMEOUT_MS = 1000, DAY = 24 * 3600, GUESTS = 3 * SLOTS };

static struct {
    struct greeter *greeter;
    struct transport *greeted[GUESTS];
    bool dismissed[GUESTS];
    enum greeter_end ends[GUESTS]; /* of those */
} hall;

static void on_hall_greeted(void *context, void *connection, struct transport *transport)
{
    size_t guest = (size_t)(uintptr_t)connection;

    (void)context;
    assert_null(hall.greeted[guest]);
    assert_false(hall.dismissed[guest]);
    hall.greeted[guest] = transport;
}

static void on_hall_dismissed(void *context, void *connection, enum greeter_end end)
{
    size_t guest = (size_t)(uintptr_t)connection;

    (void)context;
    assert_null(hall.greeted[guest]);
    assert_false(hall.dismissed[guest]);
    hall.dismissed[guest] = true;
    hall.ends[guest] = end;
}

static void open_hall(void)
{
    static const struct greeter_owner owner = {.greeted = on_hall_greeted,
                                               .dismissed = on_hall_dismissed};
    static const struct greeter_settings settings = {.max = SLOTS, .timeout_ms = TIMEOUT_MS};

    memset(&hall, 0, sizeof hall);
    hall.greeter = greeter_new(&net.near, &settings, &owner, NULL);
}

static void close_hall(void)
{
    greeter_free(hall.greeter);
    for (size_t i = 0; i < GUESTS; i++)
        transport_free(hall.greeted[i]);
}

/* Returns the guest's end. */
static int come(size_t guest, enum listener_security security, const char *from)
{
    struct socket_address peer;
    int ends[2];

    net_tcp_pair(ends);
    assert_true(socket_parse(from, 1234, &peer));
    greeter_adopt(hall.greeter, &(struct greeter_guest){.transport = transport_new(ends[0]),
                                                        .peer = &peer,
                                                        .security = security,
                                                        .tls = net_tls_server(),
                                                        .label = "kafka",
                                                        .connection = (void *)(uintptr_t)guest});
    return ends[1];
}

static void say(int fd, const void *bytes, size_t size)
{
    assert_int_equal(send(fd, bytes, size, 0), (ssize_t)size);
}

static const uint8_t KAFKA[] = {0, 0, 0, 20, 0, 18};
static const uint8_t HALF_HELLO[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc};

/* All that a plain client has sent is there for whoever gets it. */
static void plaintext_goes_on(void **state)
{
    uint8_t bytes[20];

    (void)state;
    open_hall();
    int fd = come(0, LISTENER_EITHER, "127.0.0.1");
    net_turns(5);
    assert_null(hall.greeted[0]);
    say(fd, KAFKA, sizeof KAFKA);
    NET_UNTIL(hall.greeted[0]);
    assert_int_equal(transport_read(hall.greeted[0], bytes, sizeof bytes), sizeof KAFKA);
    assert_memory_equal(bytes, KAFKA, sizeof KAFKA);
    assert_string_equal(transport_protection(hall.greeted[0]), "plain");
    assert_int_equal(greeter_count(hall.greeter), 0);
    close(fd);
    close_hall();
}

static void each_first_byte(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 256; first++) {
        for (enum listener_security s = LISTENER_EITHER; s <= LISTENER_SECURE; s++) {
            const uint8_t bytes[] = {(uint8_t)first, 3, 1, 1};
            open_hall();
            int fd = come(0, s, "127.0.0.1");
            say(fd, bytes, 1 + first % sizeof bytes);
            net_turns(5);
            if (first == 0x16)
                assert_true(!hall.greeted[0] && !hall.dismissed[0]);
            else if (s == LISTENER_EITHER)
                assert_non_null(hall.greeted[0]);
            else
                assert_true(hall.dismissed[0] && hall.ends[0] == GREETER_PLAINTEXT);
            close_hall();
            close(fd);
        }
    }
}

static void tls_goes_on(void **state)
{
    (void)state;
    for (enum listener_security s = LISTENER_EITHER; s <= LISTENER_SECURE; s++) {
        uint8_t bytes[20];
        open_hall();
        int fd = come(0, s, "127.0.0.1");
        struct transport *client =
            transport_secure(transport_new(fd), net_tls_client(), "localhost");
        NET_UNTIL(transport_handshake(client) == 1);
        transport_commit(client, KAFKA, sizeof KAFKA);
        assert_int_equal(transport_flush(client), 1);
        NET_UNTIL(hall.greeted[0]);
        long got = TRANSPORT_BLOCKED;
        NET_UNTIL((got = transport_read(hall.greeted[0], bytes, sizeof bytes)) !=
                  TRANSPORT_BLOCKED);
        assert_int_equal(got, sizeof KAFKA);
        assert_memory_equal(bytes, KAFKA, sizeof KAFKA);
        transport_free(client);
        close_hall();
    }
}

/* Who does not trust the certificate says so; the alert is read before the end. */
static void a_stranger_is_dismissed(void **state)
{
    int result;

    (void)state;
    open_hall();
    int fd = come(0, LISTENER_EITHER, "127.0.0.1");
    struct transport *client = transport_secure(transport_new(fd), net_tls_stranger(), "localhost");
    NET_UNTIL((result = transport_handshake(client)) != TRANSPORT_BLOCKED);
    assert_int_equal(result, TRANSPORT_ERROR);
    transport_free(client);
    NET_UNTIL(hall.dismissed[0]);
    assert_int_equal(hall.ends[0], GREETER_CLIENT_REFUSED);
    assert_non_null(strstr(net.lines, "listener-ca"));
    close_hall();
}

static void garbage_gets_its_alert(void **state)
{
    uint8_t bytes[100];
    ssize_t got;

    (void)state;
    open_hall();
    int fd = come(0, LISTENER_EITHER, "127.0.0.1");
    say(fd, "\x16\x03\x01\x00\x05hello", 10);
    NET_UNTIL((got = recv(fd, bytes, sizeof bytes, 0)) >= 0);
    assert_true(got >= 7 && bytes[0] == 0x15);
    close(fd);
    NET_UNTIL(hall.dismissed[0]);
    assert_int_equal(hall.ends[0], GREETER_HANDSHAKE);
    close_hall();
}

/* A program that leaves, before its first byte and in its handshake. */
static void who_leaves_is_let_go(void **state)
{
    (void)state;
    open_hall();
    int silent = come(0, LISTENER_SECURE, "127.0.0.1");
    int half = come(1, LISTENER_SECURE, "127.0.0.1");
    say(half, HALF_HELLO, sizeof HALF_HELLO);
    net_turns(5);
    close(silent);
    close(half);
    NET_UNTIL(hall.dismissed[0] && hall.dismissed[1]);
    assert_int_equal(hall.ends[0], GREETER_LEFT);
    assert_int_equal(hall.ends[1], GREETER_HANDSHAKE);
    close_hall();
}

/* Nothing is computed for a program that has given up while it waited to be accepted. */
static void who_has_left_behind_a_hello_is_let_go(void **state)
{
    (void)state;
    for (enum listener_security s = LISTENER_EITHER; s <= LISTENER_SECURE; s++) {
        uint8_t byte;
        open_hall();
        int fd = come(0, s, "127.0.0.1");
        struct transport *client =
            transport_secure(transport_new(fd), net_tls_client(), "localhost");
        assert_int_equal(transport_handshake(client), TRANSPORT_BLOCKED);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        NET_UNTIL(hall.dismissed[0]);
        assert_int_equal(hall.ends[0], GREETER_HANDSHAKE);
        assert_true(recv(fd, &byte, 1, 0) <= 0);
        transport_free(client);
        close_hall();
    }
}

static void each_has_a_deadline(void **state)
{
    uint8_t byte;

    (void)state;
    NET_NEEDS_JUMPS();
    open_hall();
    int silent = come(0, LISTENER_EITHER, "127.0.0.1");
    int half = come(1, LISTENER_EITHER, "127.0.0.1");
    say(half, HALF_HELLO, sizeof HALF_HELLO);
    net_turns(5);
    net_jump_ms(TIMEOUT_MS - 100);
    net_turns(5);
    /* A byte more buys no time. */
    say(half, "\3", 1);
    net_turns(5);
    assert_true(!hall.dismissed[0] && !hall.dismissed[1]);
    net_jump_ms(200);
    NET_UNTIL(hall.dismissed[0] && hall.dismissed[1]);
    assert_int_equal(hall.ends[0], GREETER_SILENT);
    assert_int_equal(hall.ends[1], GREETER_TIMEOUT);
    assert_int_equal(recv(half, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    assert_non_null(strstr(net.lines, "within 1 s"));
    close(silent);
    close(half);
    close_hall();
}

/* As many as there are slots; the oldest of the address that has most makes way. */
static void so_many_at_a_time(void **state)
{
    int fds[GUESTS];

    (void)state;
    open_hall();
    fds[0] = come(0, LISTENER_EITHER, "192.0.2.7");
    for (size_t i = 1; i < GUESTS; i++) {
        fds[i] = come(i, LISTENER_EITHER, "192.0.2.1");
        assert_true(greeter_count(hall.greeter) <= SLOTS);
    }
    assert_false(hall.dismissed[0]);
    for (size_t i = 1; i < GUESTS; i++) {
        assert_int_equal(hall.dismissed[i], i <= GUESTS - SLOTS);
        assert_true(!hall.dismissed[i] || hall.ends[i] == GREETER_CROWDED);
    }
    /* Who has sent something in the meantime is served, not sent away. */
    size_t oldest = GUESTS - SLOTS + 1;
    say(fds[oldest], KAFKA, sizeof KAFKA);
    hall.dismissed[1] = false;
    int late = come(1, LISTENER_EITHER, "192.0.2.2");
    assert_non_null(hall.greeted[oldest]);
    assert_false(hall.dismissed[1]);
    close(late);
    close_hall();
    net_close_all(fds, GUESTS);
}

/* ---- renewal */

static time_t hall_clock = 1800000000;

static time_t read_hall_clock(void)
{
    return hall_clock;
}

static bool refuses_certificates;

/* In place of OpenSSL's, which has no reason to refuse what the local CA has issued. */
int SSL_CTX_use_certificate(SSL_CTX *context, X509 *certificate)
{
    return refuses_certificates ? 0 : SSL_CTX_use_cert_and_key(context, certificate, NULL, NULL, 1);
}

/* What a client sees until when. */
static X509 *shown(const struct listener_tls *tls)
{
    return SSL_CTX_get0_certificate(listener_tls_context(tls, LISTENER_EITHER));
}

static void certificates_are_renewed(void **state)
{
    char directory[] = "/tmp/kafka-tunnel-test-XXXXXX";
    char path[100];
    char error[1000] = "";

    (void)state;
    NET_NEEDS_JUMPS();
    assert_non_null(mkdtemp(directory));
    const struct listener_tls_settings settings = {.mode = LISTENER_TLS_AUTO,
                                                   .files = {.cert_option = "listener-tls-cert",
                                                             .key_option = "listener-tls-key",
                                                             .ca_option = "listener-client-ca"},
                                                   .state_directory = directory,
                                                   .now = read_hall_clock};
    struct listener_tls *tls = listener_tls_new(&net.near, &settings, error, sizeof error);
    if (!tls)
        fail_msg("%s", error);
    X509 *first = shown(tls);
    X509_up_ref(first);
    for (int hour = 0; hour < 3; hour++) {
        net_jump_ms(3600 * 1000);
        net_turns(3);
    }
    assert_ptr_equal(shown(tls), first);
    hall_clock += 21 * DAY;
    refuses_certificates = true;
    net_jump_ms(3600 * 1000);
    NET_UNTIL(strstr(net.lines, "cannot be used for the listeners"));
    assert_ptr_equal(shown(tls), first);
    refuses_certificates = false;
    net_jump_ms(3600 * 1000);
    NET_UNTIL(shown(tls) != first);
    assert_false(tls_issued_is_due(shown(tls), hall_clock));
    assert_non_null(strstr(net.lines, "new certificate"));
    /* The clock is set right after it was far ahead. */
    hall_clock -= 400 * DAY;
    net_jump_ms(3600 * 1000);
    NET_UNTIL(!tls_issued_is_due(shown(tls), hall_clock));
    /* At the end of the CA's time nothing is done by itself. */
    hall_clock += 4100 * (time_t)DAY;
    net_jump_ms(3600 * 1000);
    NET_UNTIL(strstr(net.lines, "has expired"));
    X509_free(first);
    listener_tls_free(tls);
    assert_null(listener_tls_new(&net.near, &settings, error, sizeof error));
    assert_non_null(strstr(error, "expired on"));
    snprintf(path, sizeof path, "%s/listener-ca.pem", directory);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/listener-ca-key.pem", directory);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

static void security_follows_the_address(void **state)
{
    (void)state;
    assert_int_equal(listener_security_at(LISTENER_TLS_OFF, "0.0.0.0"), LISTENER_PLAIN);
    assert_int_equal(listener_security_at(LISTENER_TLS_AUTO, "127.0.0.1"), LISTENER_EITHER);
    assert_int_equal(listener_security_at(LISTENER_TLS_AUTO, "::1"), LISTENER_EITHER);
    assert_int_equal(listener_security_at(LISTENER_TLS_AUTO, "0.0.0.0"), LISTENER_SECURE);
    assert_int_equal(listener_security_at(LISTENER_TLS_AUTO, "192.0.2.1"), LISTENER_SECURE);
    assert_int_equal(listener_security_at(LISTENER_TLS_OPTIONAL, "::"), LISTENER_EITHER);
    assert_int_equal(listener_security_at(LISTENER_TLS_REQUIRED, "127.0.0.1"), LISTENER_SECURE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(plaintext_goes_on),
        NET_TEST(each_first_byte),
        NET_TEST(tls_goes_on),
        NET_TEST(a_stranger_is_dismissed),
        NET_TEST(garbage_gets_its_alert),
        NET_TEST(who_leaves_is_let_go),
        NET_TEST(who_has_left_behind_a_hello_is_let_go),
        NET_TEST(each_has_a_deadline),
        NET_TEST(so_many_at_a_time),
        NET_TEST(certificates_are_renewed),
        NET_TEST(security_follows_the_address),
    };

    return NET_RUN(tests);
}

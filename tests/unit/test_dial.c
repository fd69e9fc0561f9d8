/* Dials to brokers and targets: TCP, then TLS, one deadline for both, and what each failure is
 * called. */
#include "net_support.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "io/clock.h"
#include "io/dial.h"

static struct dialled {
    unsigned answers;
    struct dial_result result;
    char error[TRANSPORT_ERROR_MAX];
} got;

static struct socket_address address;
static int listener;
static struct transport *server; /* with the accepted connection */
static int accepted;
static bool shakes;

static void on_dialled(void *context, const struct dial_result *result)
{
    assert_ptr_equal(context, &got);
    got.answers++;
    got.result = *result;
    snprintf(got.error, sizeof got.error, "%s", result->error ? result->error : "");
}

static struct dial *start(const char *host, const struct dial_tls *tls, unsigned timeout_ms)
{
    memset(&got, 0, sizeof got);
    struct dial *dial =
        dial_start(&net.near, host, socket_port(&address), tls, timeout_ms, on_dialled, &got);
    assert_int_equal(got.answers, 0);
    return dial;
}

/* The broker: accepts, and speaks TLS if it is to. */
static void serve(void *context)
{
    (void)context;
    if (accepted < 0 && net_is_readable(listener)) {
        accepted = net_accept(listener);
        if (shakes)
            server = transport_secure_server(transport_new(accepted), net_tls_server());
    }
    if (server)
        transport_handshake(server);
}

static void open_broker(bool tls)
{
    listener = net_listener(&address, 5);
    accepted = -1;
    server = NULL;
    shakes = tls;
    net.step = serve;
}

static void close_broker(void)
{
    if (server)
        transport_free(server);
    else if (accepted >= 0)
        close(accepted);
    accepted = -1;
    server = NULL;
    close(listener);
}

static void expect_failure(enum dial_failure failure, enum tls_failure tls, bool timed_out,
                           const char *error)
{
    NET_UNTIL(got.answers > 0);
    net_turns(5);
    assert_int_equal(got.answers, 1);
    assert_null(got.result.transport);
    assert_int_equal(got.result.failure, failure);
    assert_int_equal(got.result.tls, tls);
    assert_int_equal(got.result.timed_out, timed_out);
    if (!strstr(got.error, error))
        fail_msg("no \"%s\" in: %s", error, got.error);
}

static void plain(void **state)
{
    static const struct dial_tls none = {NULL, NULL};

    (void)state;
    for (int i = 0; i < 2; i++) {
        open_broker(false);
        start("127.0.0.1", i ? &none : NULL, 5000);
        NET_UNTIL(got.answers > 0 && accepted >= 0);
        assert_int_equal(got.answers, 1);
        assert_int_equal(got.result.failure, DIAL_FAILURE_NONE);
        assert_string_equal(transport_protection(got.result.transport), "plain");
        assert_int_equal(send(transport_fd(got.result.transport), "x", 1, 0), 1);
        NET_UNTIL(net_is_readable(accepted));
        transport_free(got.result.transport);
        close_broker();
    }
}

static void with_tls(void **state)
{
    const struct dial_tls by_host = {net_tls_client(), NULL};
    const struct dial_tls by_name = {net_tls_client(), "localhost"};
    uint8_t byte = 'x';

    (void)state;
    for (int i = 0; i < 2; i++) {
        open_broker(true);
        start(i ? "127.0.0.1" : "localhost", i ? &by_name : &by_host, 5000);
        NET_UNTIL(got.answers > 0 && server);
        assert_int_equal(got.result.failure, DIAL_FAILURE_NONE);
        assert_non_null(got.result.transport);
        NET_UNTIL(transport_handshake(server) == 1);
        assert_int_equal(transport_commit(got.result.transport, &byte, 1), 0);
        assert_int_equal(transport_flush(got.result.transport), 1);
        NET_UNTIL(transport_read(server, &byte, 1) == 1);
        transport_free(got.result.transport);
        close_broker();
    }
}

static void certificates_that_do_not_do(void **state)
{
    const struct dial_tls other_name = {net_tls_client(), "broker.example"};
    const struct dial_tls other_host = {net_tls_client(), NULL};
    const struct dial_tls stranger = {net_tls_stranger(), "localhost"};

    (void)state;
    open_broker(true);
    start("localhost", &other_name, 5000);
    expect_failure(DIAL_FAILURE_TLS, TLS_FAILURE_NAME, false, "hostname mismatch");
    close_broker();
    open_broker(true);
    start("127.0.0.1", &other_host, 5000);
    expect_failure(DIAL_FAILURE_TLS, TLS_FAILURE_NAME, false, "IP address mismatch");
    close_broker();
    open_broker(true);
    start("localhost", &stranger, 5000);
    expect_failure(DIAL_FAILURE_TLS, TLS_FAILURE_TRUST, false, "self");
    close_broker();
}

/* What the broker does instead of TLS, once it has been spoken to. */
static void no_tls_there(void **state)
{
    static const uint8_t kafka[] = {0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0};
    static const uint8_t refusal[] = {21, 3, 3, 0, 2, 2, 40}; /* an alert: handshake_failure */
    const struct dial_tls tls = {net_tls_client(), "localhost"};
    enum { PLAIN, ALERT, END, RESET, KINDS };
    static const struct {
        enum tls_failure failure;
        const char *error;
    } expected[KINDS] = {
        [PLAIN] = {TLS_FAILURE_NOT_TLS, "wrong version number"},
        [ALERT] = {TLS_FAILURE_ALERT, "the TLS alert handshake failure"},
        [END] = {TLS_FAILURE_NOT_TLS, "the connection was closed during the TLS handshake"},
        [RESET] = {TLS_FAILURE_OTHER, "Connection reset by peer"},
    };

    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        uint8_t hello[2000];
        open_broker(false);
        start("127.0.0.1", &tls, 5000);
        NET_UNTIL(accepted >= 0 && net_is_readable(accepted));
        assert_int_equal(got.answers, 0);
        /* Read first: a close with something unread is a reset. */
        assert_true(recv(accepted, hello, sizeof hello, 0) > 0);
        if (kind == PLAIN)
            send(accepted, kafka, sizeof kafka, 0);
        else if (kind == ALERT)
            send(accepted, refusal, sizeof refusal, 0);
        else if (kind == RESET)
            socket_reset(accepted);
        else
            close(accepted);
        if (kind == RESET || kind == END) {
            accepted = -1;
            net.step = NULL;
        }
        expect_failure(DIAL_FAILURE_TLS, expected[kind].failure, false, expected[kind].error);
        close_broker();
    }
}

/* One deadline: what TCP has taken of it is not there for TLS. */
static void the_deadline_is_for_both(void **state)
{
    const struct dial_tls tls = {net_tls_client(), "localhost"};
    static const uint8_t record[] = {22, 3, 3, 0, 100, 2};

    (void)state;
    NET_NEEDS_JUMPS();
    open_broker(false);
    start("127.0.0.1", &tls, 1000);
    net_jump_ms(600);
    NET_UNTIL(accepted >= 0);
    /* A byte now and then does not move it. */
    for (size_t i = 0; i < sizeof record; i++) {
        assert_int_equal(send(accepted, record + i, 1, 0), 1);
        net_jump_ms(50);
        net_turns(5);
        assert_int_equal(got.answers, 0);
    }
    net_jump_ms(100);
    expect_failure(DIAL_FAILURE_TLS, TLS_FAILURE_NOT_TLS, true,
                   "no answer during the TLS handshake");
    close_broker();
}

static bool permit_nothing(void *context, const struct socket_address *to)
{
    (void)to;
    assert_ptr_equal(context, &got);
    return false;
}

static void before_tls(void **state)
{
    const struct dial_tls tls = {net_tls_client(), "localhost"};
    int hanging[NET_HANGING_FDS];

    (void)state;
    NET_NEEDS_JUMPS();
    net_closed_port(&address);
    start("127.0.0.1", &tls, 5000);
    expect_failure(DIAL_FAILURE_TCP, TLS_FAILURE_OTHER, false, strerror(ECONNREFUSED));
    dial_guard(start("127.0.0.1", &tls, 5000), permit_nothing);
    expect_failure(DIAL_FAILURE_FORBIDDEN, TLS_FAILURE_OTHER, false, "forbidden");
    resolver_replace(&net.near, net_no_such_name);
    start("nowhere.example", &tls, 5000);
    expect_failure(DIAL_FAILURE_NAME, TLS_FAILURE_OTHER, false, "");
    net_hanging_port(&address, hanging);
    start("127.0.0.1", &tls, 5000);
    net_turns(5);
    net_jump_ms(5000);
    expect_failure(DIAL_FAILURE_TCP, TLS_FAILURE_OTHER, true, "no answer in time");
    net_close_all(hanging, NET_HANGING_FDS);
}

/* After any number of turns: looking up, connecting, shaking hands. */
static void taken_back(void **state)
{
    const struct dial_tls tls = {net_tls_client(), "localhost"};

    (void)state;
    dial_cancel(NULL);
    for (unsigned turns = 0; turns < 12; turns++) {
        open_broker(turns % 2);
        struct dial *dial = start("localhost", &tls, 5000);
        for (unsigned i = 0; i < turns && got.answers == 0; i++)
            net_turn();
        if (got.answers == 0)
            dial_cancel(dial);
        transport_free(got.result.transport);
        memset(&got, 0, sizeof got);
        net_turns(5);
        assert_int_equal(got.answers, 0);
        close_broker();
    }
}

/* The context may be exchanged, and its owner's reference go, while a dial goes on with it. */
static void the_context_is_kept(void **state)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    const struct dial_tls tls = {context, "localhost"};

    (void)state;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), net_tls_material()->certificate);
    open_broker(true);
    start("127.0.0.1", &tls, 5000);
    SSL_CTX_free(context);
    NET_UNTIL(got.answers > 0);
    assert_int_equal(got.result.failure, DIAL_FAILURE_NONE);
    transport_free(got.result.transport);
    close_broker();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(plain),
        NET_TEST(with_tls),
        NET_TEST(certificates_that_do_not_do),
        NET_TEST(no_tls_there),
        NET_TEST(the_deadline_is_for_both),
        NET_TEST(before_tls),
        NET_TEST(taken_back),
        NET_TEST(the_context_is_kept),
    };

    return NET_RUN(tests);
}

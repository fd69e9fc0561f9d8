#include "peers/peers.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/memory.h"
#include "config/secret.h"
#include "io/clock.h"
#include "io/connector.h"
#include "io/file_watch.h"
#include "io/listener.h"
#include "io/timer.h"
#include "io/tls_keeper.h"
#include "io/watch.h"
#include "peers/peer_exchange.h"

enum {
    SEARCH_TIMEOUT_S = 3,
    /* From accepting a connection of another instance to its proof, however it comes. */
    PROOF_TIMEOUT_S = 5,
    UNPROVEN_MAX = 256,
};

/* One connection between two instances, until both know what they want to. */
struct peer_connection {
    struct list node; /* in search->connections or peers->unproven */
    struct peers *peers;
    struct peer_search *search; /* NULL: it is the other one that asks */
    struct connector *connector;
    struct watch *readable;
    struct transport *transport; /* NULL: not connected yet, or handed over */
    const char *host;            /* that is asked: its certificate is for this name */
    bool shakes;                 /* TLS has not come to the end of its handshake */
    uint64_t deadline_us;        /* of one that asks us */
    struct peer_exchange exchange;
};

/* The addresses of one of --peers. */
struct peer_lookup {
    struct peer_search *search;
    struct resolver_query *query; /* NULL: it has answered */
};

struct peer_search {
    struct list node;        /* in peers->searches */
    struct list connections; /* that may still say yes */
    struct peers *peers;
    struct peer_lookup lookups[PEERS_MAX];
    size_t lookups_left;
    struct timer *timeout;
    struct peer_question question;
    peer_search_callback callback;
    void *context;
};

struct peers {
    struct worker *worker;
    const struct options *options;
    const struct peers_owner *owner;
    void *context;
    char *secret; /* "": there is none, TLS says who the others are */
    struct file_watch *secret_watch;
    struct tls_keeper *files; /* NULL: plain TCP */
    SSL_CTX *asks_by;         /* exchanged when the files have changed */
    SSL_CTX *answers_by;
    struct listener *listener;
    struct list searches;
    struct list unproven; /* that have not proven anything yet, oldest first */
    size_t unproven_count;
    struct timer *proof_timer; /* of the oldest */
};

/* ---- what both sides do */

static void make_nonce(uint8_t nonce[PEER_NONCE_SIZE])
{
    if (RAND_bytes(nonce, PEER_NONCE_SIZE) != 1)
        abort();
}

static struct peer_connection *peer_connection_new(struct peers *peers, struct peer_search *search,
                                                   struct list *list)
{
    struct peer_connection *connection = memory_new(sizeof *connection);

    connection->peers = peers;
    connection->search = search;
    list_append(list, &connection->node);
    return connection;
}

static void peer_connection_free(struct peer_connection *connection)
{
    if (!connection->search)
        connection->peers->unproven_count--;
    connector_cancel(connection->connector);
    watch_free(connection->readable);
    transport_free(connection->transport);
    list_remove(&connection->node);
    free(connection);
}

/* Messages are far smaller than an empty socket's buffer: they go out whole, or the peer is no
 * good. */
static bool say_to_peer(const struct peer_connection *connection)
{
    const struct iovec span = {(void *)(uintptr_t)connection->exchange.out,
                               connection->exchange.out_size};

    return transport_writev(connection->transport, &span, 1) == (long)span.iov_len;
}

/* 1: the connection is as safe as it gets; 0: more is to come; -1: it is no good. A handshake's
 * messages go out whole as well. */
static int secure_peer(struct peer_connection *connection)
{
    if (!connection->shakes)
        return 1;
    int result = transport_handshake(connection->transport);
    if (result == 1) {
        connection->shakes = false;
        return 1;
    }
    if (result == TRANSPORT_BLOCKED && !transport_busy(connection->transport))
        return 0;
    if (result == TRANSPORT_ERROR)
        log_warning(connection->peers->worker->log, "peer_untrusted",
                    connection->search ? "TLS with another instance failed"
                                       : "TLS with whoever has connected to --peer-listen failed",
                    log_str("host", connection->host ? connection->host : "?"),
                    log_str("reason", transport_error(connection->transport)));
    return -1;
}

/* Reads and answers as long as there is something to read. */
static enum peer_exchange_step talk(struct peer_connection *connection)
{
    enum peer_exchange_step step;

    do {
        size_t size;
        uint8_t *room = peer_exchange_room(&connection->exchange, &size);
        long got = transport_read(connection->transport, room, size);
        if (got == TRANSPORT_BLOCKED)
            return PEER_EXCHANGE_MORE;
        if (got < 0)
            return PEER_EXCHANGE_MALFORMED;
        step =
            peer_exchange_received(&connection->exchange, connection->peers->secret, (size_t)got);
        if (step == PEER_EXCHANGE_SAY && !say_to_peer(connection))
            return PEER_EXCHANGE_MALFORMED;
    } while (step == PEER_EXCHANGE_MORE || step == PEER_EXCHANGE_SAY);
    return step;
}

/* The connection goes on as something else. */
static struct transport *take_transport(struct peer_connection *connection)
{
    struct transport *transport = connection->transport;

    connection->transport = NULL;
    transport_stop_wiping(transport);
    return transport;
}

static void await_message(struct peer_connection *connection, void (*callback)(void *argument))
{
    connection->readable = watch_new(connection->peers->worker, transport_fd(connection->transport),
                                     WATCH_READ, callback, connection);
    watch_want(connection->readable, true);
}

/* ---- asking */

static void search_free(struct peer_search *search)
{
    while (!list_empty(&search->connections))
        peer_connection_free(list_entry(search->connections.next, struct peer_connection, node));
    for (size_t i = 0; i < search->peers->options->peer_count; i++)
        resolver_cancel(search->lookups[i].query);
    timer_free(search->timeout);
    list_remove(&search->node);
    free(search);
}

static void search_done(struct peer_search *search, struct transport *transport)
{
    peer_search_callback callback = search->callback;
    void *context = search->context;

    search_free(search);
    callback(context, transport);
}

/* One instance has not got it, or does not answer. */
static void peer_connection_over(struct peer_connection *connection)
{
    struct peer_search *search = connection->search;

    peer_connection_free(connection);
    if (list_empty(&search->connections) && search->lookups_left == 0)
        search_done(search, NULL);
}

/* The question goes out as soon as it may. false: the connection is over. */
static bool ask_when_secured(struct peer_connection *connection)
{
    int secured = secure_peer(connection);

    if (secured == 0 || (secured == 1 && say_to_peer(connection)))
        return true;
    peer_connection_over(connection);
    return false;
}

static void on_peer_answer(void *argument)
{
    struct peer_connection *connection = argument;

    if (connection->shakes && (!ask_when_secured(connection) || connection->shakes))
        return;
    enum peer_exchange_step step = talk(connection);

    if (step == PEER_EXCHANGE_MORE)
        return;
    if (step == PEER_EXCHANGE_UNTRUSTED)
        log_warning(connection->peers->worker->log, "peer_untrusted",
                    "Another instance does not know the secret in --peer-secret-file");
    if (step == PEER_EXCHANGE_YES)
        search_done(connection->search, take_transport(connection));
    else
        peer_connection_over(connection);
}

static void on_peer_connected(void *context, const struct connector_result *result)
{
    struct peer_connection *connection = context;
    uint8_t nonce[PEER_NONCE_SIZE];

    connection->connector = NULL;
    if (result->fd < 0) {
        peer_connection_over(connection);
        return;
    }
    connection->transport = transport_new(result->fd);
    if (connection->peers->files) {
        connection->transport =
            transport_secure(connection->transport, connection->peers->asks_by, connection->host);
        connection->shakes = true;
    }
    make_nonce(nonce);
    peer_exchange_asker(&connection->exchange, nonce, &connection->search->question);
    await_message(connection, on_peer_answer);
    ask_when_secured(connection);
}

static void on_peer_resolved(void *context, const struct resolver_result *result)
{
    struct peer_lookup *lookup = context;
    struct peer_search *search = lookup->search;
    struct peers *peers = search->peers;

    lookup->query = NULL;
    search->lookups_left--;
    for (size_t i = 0; !result->error && i < result->count; i++) {
        char host[SOCKET_TEXT_MAX];
        struct peer_connection *connection =
            peer_connection_new(peers, search, &search->connections);
        connection->host = peers->options->peer_addresses[lookup - search->lookups].host;
        socket_format_host(&result->addresses[i], host);
        connection->connector =
            connector_start(peers->worker, host, socket_port(&result->addresses[i]),
                            SEARCH_TIMEOUT_S * 1000, on_peer_connected, connection);
    }
    if (result->error)
        log_warning(peers->worker->log, "peer_unknown", "The name in --peers does not resolve",
                    log_str("reason", result->error));
    if (list_empty(&search->connections) && search->lookups_left == 0)
        search_done(search, NULL);
}

static void on_timeout(void *argument)
{
    search_done(argument, NULL);
}

struct peer_search *peers_search(struct peers *peers, const uint8_t id[MUX_SESSION_ID_SIZE],
                                 const char *identity, const char *peer,
                                 peer_search_callback callback, void *context)
{
    struct peer_search *search = memory_new(sizeof *search);

    search->peers = peers;
    search->callback = callback;
    search->context = context;
    memcpy(search->question.id, id, sizeof search->question.id);
    snprintf(search->question.identity, sizeof search->question.identity, "%s", identity);
    snprintf(search->question.peer, sizeof search->question.peer, "%s", peer);
    list_init(&search->connections);
    list_append(&peers->searches, &search->node);
    search->timeout = timer_new(peers->worker, on_timeout, search);
    timer_start_ms(search->timeout, SEARCH_TIMEOUT_S * 1000);
    search->lookups_left = peers->options->peer_count;
    for (size_t i = 0; i < peers->options->peer_count; i++) {
        const struct address *address = &peers->options->peer_addresses[i];
        struct peer_lookup *lookup = &search->lookups[i];
        lookup->search = search;
        lookup->query = resolver_lookup(peers->worker, address->host, address->port,
                                        SEARCH_TIMEOUT_S * 1000, on_peer_resolved, lookup);
    }
    return search;
}

void peer_search_cancel(struct peer_search *search)
{
    if (search)
        search_free(search);
}

/* ---- answering */

static void answer_peer(struct peer_connection *connection)
{
    struct peers *peers = connection->peers;
    const struct peer_question question = connection->exchange.question;
    bool has = peers->owner->has(peers->context, question.id);

    peer_exchange_answer(&connection->exchange, peers->secret, has);
    struct transport *transport =
        say_to_peer(connection) && has ? take_transport(connection) : NULL;
    peer_connection_free(connection);
    if (transport)
        peers->owner->handed_on(peers->context, transport, question.identity, question.peer);
}

static void on_question(void *argument)
{
    struct peer_connection *connection = argument;
    int secured = secure_peer(connection);

    if (secured != 1) {
        if (secured < 0)
            peer_connection_free(connection);
        return;
    }
    enum peer_exchange_step step = talk(connection);

    if (step == PEER_EXCHANGE_MORE)
        return;
    if (step == PEER_EXCHANGE_ASKED) {
        answer_peer(connection);
        return;
    }
    if (step == PEER_EXCHANGE_UNTRUSTED)
        log_warning(
            connection->peers->worker->log, "peer_untrusted",
            "A connection asks for a session without knowing the secret in --peer-secret-file");
    peer_connection_free(connection);
}

static struct peer_connection *oldest_unproven(const struct peers *peers)
{
    return list_entry(peers->unproven.next, struct peer_connection, node);
}

static void arm_proof_timer(struct peers *peers)
{
    uint64_t now = clock_now_us();

    if (list_empty(&peers->unproven))
        return;
    uint64_t due = oldest_unproven(peers)->deadline_us;
    uint64_t wait = due > now ? due - now : 0;
    timer_start_us(peers->proof_timer, wait);
}

static void on_proof_timer(void *argument)
{
    struct peers *peers = argument;

    while (!list_empty(&peers->unproven) && oldest_unproven(peers)->deadline_us <= clock_now_us())
        peer_connection_free(oldest_unproven(peers));
    arm_proof_timer(peers);
}

/* Another instance proves itself within milliseconds: who takes longest is the one to go. */
static void drop_oldest_unproven(struct peers *peers)
{
    log_warning(
        peers->worker->log, "peers_crowded",
        "Unauthenticated connections fill all places of --peer-listen; the oldest makes way",
        log_u64("limit", UNPROVEN_MAX));
    peer_connection_free(oldest_unproven(peers));
}

static void on_peer_accept(void *context, int fd, const struct socket_address *peer)
{
    struct peers *peers = context;
    uint8_t nonce[PEER_NONCE_SIZE];

    (void)peer;
    if (peers->unproven_count >= UNPROVEN_MAX)
        drop_oldest_unproven(peers);
    struct peer_connection *connection = peer_connection_new(peers, NULL, &peers->unproven);
    peers->unproven_count++;
    connection->transport = transport_new(fd);
    if (peers->files) {
        connection->transport = transport_secure_server(connection->transport, peers->answers_by);
        connection->shakes = true;
    }
    connection->deadline_us = clock_now_us() + PROOF_TIMEOUT_S * UINT64_C(1000000);
    make_nonce(nonce);
    peer_exchange_answerer(&connection->exchange, nonce);
    await_message(connection, on_question);
    if (peers->unproven_count == 1)
        arm_proof_timer(peers);
}

/* ---- life */

static char *read_peer_secret(const struct options *options, char why[SECRET_ERROR_MAX])
{
    const char *path = options->peer_secret_file;
    bool exposed;

    if (!path)
        return memory_text("");
    char *secret = secret_read_looking(path, secret_check_line, &exposed, why);

    if (!secret || secret_is_guarded(path, exposed, options->shared.strict_files, why))
        return secret;
    secret_free(secret);
    return NULL;
}

void peers_reload(struct peers *peers, struct reload *reload)
{
    char why[SECRET_ERROR_MAX];
    char *secret;

    if (!peers)
        return;
    tls_keeper_reload(peers->files, reload);
    file_watch_reset(peers->secret_watch);
    secret = read_peer_secret(peers->options, why);
    if (!secret) {
        log_error(
            peers->worker->log, "peer_secret_unusable",
            "The file with the instances' secret cannot be used; the old secret stays in force",
            log_str("reason", why));
        reload->failed++;
        return;
    }
    if (strcmp(secret, peers->secret) != 0) {
        log_info(peers->worker->log, "peer_secret_renewed",
                 "The instances' secret was read again; the others must know the new one too");
        reload->renewed++;
    }
    /* Exchanges under way fail; whoever asked asks again with the client's next link. */
    secret_free(peers->secret);
    peers->secret = secret;
}

static void on_secret_changed(void *context)
{
    struct reload reload = {0};

    peers_reload(context, &reload);
}

static bool use_peer_material(void *context, const struct tls_material *material,
                              struct tls_error *error)
{
    struct peers *peers = context;
    SSL_CTX *asks_by = tls_closed_context(material, error);
    SSL_CTX *answers_by = asks_by ? tls_listener_context(material, true, error) : NULL;

    if (!answers_by) {
        SSL_CTX_free(asks_by);
        return false;
    }
    SSL_CTX_free(peers->asks_by);
    SSL_CTX_free(peers->answers_by);
    peers->asks_by = asks_by;
    peers->answers_by = answers_by;
    return true;
}

static bool start_peer_tls(struct peers *peers, char *error, size_t size)
{
    const struct options *options = peers->options;
    const struct tls_files files = {.cert_option = "peer-cert",
                                    .cert_file = options->peer_cert,
                                    .key_option = "peer-key",
                                    .key_file = options->peer_key,
                                    .passphrase_file = options->peer_key_passphrase_file,
                                    .passphrase = options->peer_key_passphrase,
                                    .ca_option = "peer-ca",
                                    .ca_file = options->peer_ca,
                                    .policy = &options->tls_policy,
                                    .strict = options->shared.strict_files};
    struct tls_error why;

    if (!options->peer_cert)
        return true;
    peers->files = tls_keeper_new(peers->worker, &files, use_peer_material, peers, &why);
    if (!peers->files)
        snprintf(error, size, "%s", why.text);
    return peers->files != NULL;
}

struct peers *peers_new(struct worker *worker, const struct options *options,
                        const struct peers_owner *owner, void *context, char *error, size_t size)
{
    struct peers *peers = memory_new(sizeof *peers);
    struct socket_address address;
    char why[SECRET_ERROR_MAX];

    *peers =
        (struct peers){.worker = worker, .options = options, .owner = owner, .context = context};
    list_init(&peers->searches);
    list_init(&peers->unproven);
    peers->proof_timer = timer_new(worker, on_proof_timer, peers);
    peers->secret_watch =
        file_watch_new(worker, &options->peer_secret_file, 1, on_secret_changed, peers);
    peers->secret = read_peer_secret(options, why);
    if (!peers->secret) {
        snprintf(error, size, "--peer-secret-file: %s", why);
        peers_free(peers);
        return NULL;
    }
    if (!start_peer_tls(peers, error, size)) {
        peers_free(peers);
        return NULL;
    }
    if (!socket_parse(options->peer_listen_address.host, options->peer_listen_address.port,
                      &address) ||
        !(peers->listener = listener_new(worker, "peers", &address, on_peer_accept, peers))) {
        snprintf(error, size, "--peer-listen %s: %s", options->peer_listen, strerror(errno));
        peers_free(peers);
        return NULL;
    }
    listener_warn_if_at_risk(peers->listener);
    return peers;
}

void peers_free(struct peers *peers)
{
    if (!peers)
        return;
    listener_free(peers->listener);
    while (!list_empty(&peers->searches))
        search_free(list_entry(peers->searches.next, struct peer_search, node));
    while (!list_empty(&peers->unproven))
        peer_connection_free(oldest_unproven(peers));
    timer_free(peers->proof_timer);
    file_watch_free(peers->secret_watch);
    tls_keeper_free(peers->files);
    SSL_CTX_free(peers->asks_by);
    SSL_CTX_free(peers->answers_by);
    secret_free(peers->secret);
    free(peers);
}

#include "peers.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/list.h"
#include "config/secret.h"
#include "net/connector.h"
#include "net/file_watch.h"
#include "net/http_server.h"
#include "net/listener.h"

enum {
    MAGIC_SIZE = 4,
    NONCE_SIZE = 16,
    MAC_SIZE = 32,
    BODY_MAX = MUX_SESSION_ID_SIZE + 2 + HTTP_IDENTITY_MAX + 2 + SOCKET_TEXT_MAX,
    MESSAGE_MAX = 2 + BODY_MAX + MAC_SIZE,
    SEARCH_TIMEOUT_S = 3,
    ANSWER_TIMEOUT_S = 5,
    ANSWERS_MAX = 256, /* connections of other instances that have not said all yet */
};

static const uint8_t MAGIC[MAGIC_SIZE] = {'K', 'T', 'P', '1'};

/* One connection between two instances, until both know what they want to. */
struct exchange {
    struct list node; /* in search->exchanges or peers->answers */
    struct peers *peers;
    struct peer_search *search; /* NULL: it is the other one that asks */
    struct connector *connector;
    struct event *event;
    int fd;
    bool nonces; /* both are known */
    uint8_t asker_nonce[NONCE_SIZE];
    uint8_t answerer_nonce[NONCE_SIZE];
    uint8_t in[MESSAGE_MAX];
    size_t fill;
    size_t needed;
};

/* The addresses of one of --peers. */
struct lookup {
    struct peer_search *search;
    struct resolver_query *query; /* NULL: it has answered */
};

struct peer_search {
    struct list node;      /* in peers->searches */
    struct list exchanges; /* that may still say yes */
    struct peers *peers;
    struct lookup lookups[PEERS_MAX];
    size_t lookups_left;
    struct event *timeout;
    uint8_t id[MUX_SESSION_ID_SIZE];
    char identity[HTTP_IDENTITY_MAX];
    char peer[SOCKET_TEXT_MAX];
    peer_search_callback callback;
    void *context;
};

struct peers {
    struct worker *worker;
    const struct options *options;
    const struct peers_owner *owner;
    void *context;
    char *secret;
    struct file_watch *secret_watch;
    struct listener *listener;
    struct list searches;
    struct list answers;
    size_t answer_count;
};

/* ---- what both sides do */

static void authenticate(const struct exchange *exchange, const char *what, const uint8_t *body,
                         size_t size, uint8_t mac[MAC_SIZE])
{
    uint8_t text[8 + 2 * NONCE_SIZE + BODY_MAX];
    struct byte_writer w;
    unsigned mac_size = MAC_SIZE;

    byte_writer_init(&w, text, sizeof text);
    byte_writer_bytes(&w, what, strlen(what));
    byte_writer_bytes(&w, exchange->asker_nonce, NONCE_SIZE);
    byte_writer_bytes(&w, exchange->answerer_nonce, NONCE_SIZE);
    byte_writer_bytes(&w, body, size);
    const char *secret = exchange->peers->secret;
    if (w.failed || !HMAC(EVP_sha256(), secret, (int)strlen(secret), text, byte_writer_size(&w),
                          mac, &mac_size))
        abort();
}

static bool is_authentic(const struct exchange *exchange, const char *what, const uint8_t *body,
                         size_t size, const uint8_t *mac)
{
    uint8_t due[MAC_SIZE];

    authenticate(exchange, what, body, size, due);
    return byte_equal_secret(due, mac, MAC_SIZE);
}

static void make_nonce(uint8_t nonce[NONCE_SIZE])
{
    if (RAND_bytes(nonce, NONCE_SIZE) != 1)
        abort();
}

static struct exchange *exchange_new(struct peers *peers, struct peer_search *search,
                                     struct list *list)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);

    if (!exchange)
        abort();
    exchange->peers = peers;
    exchange->search = search;
    exchange->fd = -1;
    list_append(list, &exchange->node);
    return exchange;
}

static void exchange_free(struct exchange *exchange)
{
    if (!exchange->search)
        exchange->peers->answer_count--;
    connector_cancel(exchange->connector);
    if (exchange->event)
        event_free(exchange->event);
    if (exchange->fd >= 0)
        close(exchange->fd);
    list_remove(&exchange->node);
    free(exchange);
}

/* Messages are far smaller than an empty socket's buffer: they go out whole, or the peer is no
 * good. */
static bool say(const struct exchange *exchange, const struct byte_writer *w)
{
    size_t size = byte_writer_size(w);

    return !w->failed && write(exchange->fd, w->start, size) == (ssize_t)size;
}

/* false: the exchange has failed. */
static bool receive(struct exchange *exchange)
{
    ssize_t got =
        read(exchange->fd, exchange->in + exchange->fill, exchange->needed - exchange->fill);

    if (got > 0) {
        exchange->fill += (size_t)got;
        return true;
    }
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

/* The connection goes on as something else. */
static int take_fd(struct exchange *exchange)
{
    int fd = exchange->fd;

    exchange->fd = -1;
    return fd;
}

static void watch(struct exchange *exchange, size_t needed, event_callback_fn callback,
                  const struct timeval *timeout)
{
    exchange->fill = 0;
    exchange->needed = needed;
    if (exchange->event)
        return;
    exchange->event = event_new(exchange->peers->worker->base, exchange->fd, EV_READ | EV_PERSIST,
                                callback, exchange);
    if (!exchange->event)
        abort();
    event_add(exchange->event, timeout);
}

/* ---- asking */

static void search_free(struct peer_search *search)
{
    while (!list_empty(&search->exchanges))
        exchange_free(list_entry(search->exchanges.next, struct exchange, node));
    for (size_t i = 0; i < search->peers->options->peer_count; i++)
        resolver_cancel(search->lookups[i].query);
    event_free(search->timeout);
    list_remove(&search->node);
    free(search);
}

static void search_done(struct peer_search *search, int fd)
{
    peer_search_callback callback = search->callback;
    void *context = search->context;

    search_free(search);
    callback(context, fd);
}

/* One instance has not got it, or does not answer. */
static void exchange_over(struct exchange *exchange)
{
    struct peer_search *search = exchange->search;

    exchange_free(exchange);
    if (list_empty(&search->exchanges) && search->lookups_left == 0)
        search_done(search, -1);
}

static bool ask(struct exchange *exchange)
{
    const struct peer_search *search = exchange->search;
    uint8_t message[MESSAGE_MAX];
    uint8_t mac[MAC_SIZE];
    struct byte_writer w;

    byte_writer_init(&w, message, sizeof message);
    byte_writer_u16(&w, 0);
    byte_writer_bytes(&w, search->id, sizeof search->id);
    byte_writer_u16(&w, (uint16_t)strlen(search->identity));
    byte_writer_bytes(&w, search->identity, strlen(search->identity));
    byte_writer_u16(&w, (uint16_t)strlen(search->peer));
    byte_writer_bytes(&w, search->peer, strlen(search->peer));
    size_t size = byte_writer_size(&w) - 2;
    byte_store_u16(message, (uint16_t)size);
    authenticate(exchange, "ask", message + 2, size, mac);
    byte_writer_bytes(&w, mac, sizeof mac);
    return say(exchange, &w);
}

static void on_answer(evutil_socket_t fd, short what, void *argument)
{
    struct exchange *exchange = argument;

    (void)fd;
    (void)what;
    if (!receive(exchange)) {
        exchange_over(exchange);
        return;
    }
    if (exchange->fill < exchange->needed)
        return;
    if (!exchange->nonces) {
        exchange->nonces = true;
        memcpy(exchange->answerer_nonce, exchange->in, NONCE_SIZE);
        watch(exchange, 1 + MAC_SIZE, on_answer, NULL);
        if (!ask(exchange))
            exchange_over(exchange);
        return;
    }
    if (!is_authentic(exchange, "answer", exchange->in, 1, exchange->in + 1)) {
        log_warning(exchange->peers->worker->log, "peer_untrusted",
                    "Another instance does not know the secret in --peer-secret-file");
        exchange_over(exchange);
    } else if (exchange->in[0] == 1) {
        search_done(exchange->search, take_fd(exchange));
    } else {
        exchange_over(exchange);
    }
}

static void on_connected(void *context, const struct connector_result *result)
{
    struct exchange *exchange = context;
    uint8_t message[MAGIC_SIZE + NONCE_SIZE];
    struct byte_writer w;

    exchange->connector = NULL;
    exchange->fd = result->fd;
    if (exchange->fd < 0) {
        exchange_over(exchange);
        return;
    }
    make_nonce(exchange->asker_nonce);
    byte_writer_init(&w, message, sizeof message);
    byte_writer_bytes(&w, MAGIC, sizeof MAGIC);
    byte_writer_bytes(&w, exchange->asker_nonce, NONCE_SIZE);
    watch(exchange, NONCE_SIZE, on_answer, NULL);
    if (!say(exchange, &w))
        exchange_over(exchange);
}

static void on_resolved(void *context, const struct resolver_result *result)
{
    struct lookup *lookup = context;
    struct peer_search *search = lookup->search;
    struct peers *peers = search->peers;

    lookup->query = NULL;
    search->lookups_left--;
    for (size_t i = 0; !result->error && i < result->count; i++) {
        char host[SOCKET_TEXT_MAX];
        struct exchange *exchange = exchange_new(peers, search, &search->exchanges);
        socket_format_host(&result->addresses[i], host);
        exchange->connector =
            connector_start(peers->worker, host, socket_port(&result->addresses[i]),
                            SEARCH_TIMEOUT_S * 1000, on_connected, exchange);
    }
    if (result->error)
        log_warning(peers->worker->log, "peer_unknown", "The name in --peers does not resolve",
                    log_str("reason", result->error));
    if (list_empty(&search->exchanges) && search->lookups_left == 0)
        search_done(search, -1);
}

static void on_timeout(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    search_done(argument, -1);
}

struct peer_search *peers_search(struct peers *peers, const uint8_t id[MUX_SESSION_ID_SIZE],
                                 const char *identity, const char *peer,
                                 peer_search_callback callback, void *context)
{
    struct peer_search *search = calloc(1, sizeof *search);
    const struct timeval timeout = {SEARCH_TIMEOUT_S, 0};

    if (!search)
        abort();
    search->peers = peers;
    search->callback = callback;
    search->context = context;
    memcpy(search->id, id, sizeof search->id);
    snprintf(search->identity, sizeof search->identity, "%s", identity);
    snprintf(search->peer, sizeof search->peer, "%s", peer);
    list_init(&search->exchanges);
    list_append(&peers->searches, &search->node);
    search->timeout = event_new(peers->worker->base, -1, 0, on_timeout, search);
    if (!search->timeout)
        abort();
    event_add(search->timeout, &timeout);
    search->lookups_left = peers->options->peer_count;
    for (size_t i = 0; i < peers->options->peer_count; i++) {
        const struct address *address = &peers->options->peer_addresses[i];
        struct lookup *lookup = &search->lookups[i];
        lookup->search = search;
        lookup->query = resolver_lookup(peers->worker, address->host, address->port,
                                        SEARCH_TIMEOUT_S * 1000, on_resolved, lookup);
    }
    return search;
}

void peer_search_cancel(struct peer_search *search)
{
    if (search)
        search_free(search);
}

/* ---- answering */

/* What the asker says of its client; texts of ours, bounded. false: malformed. */
static bool read_text(struct byte_reader *r, char *text, size_t size)
{
    size_t length = byte_reader_u16(r);
    const uint8_t *bytes = byte_reader_bytes(r, length);

    if (!bytes || length >= size || memchr(bytes, '\0', length))
        return false;
    memcpy(text, bytes, length);
    text[length] = '\0';
    return true;
}

static void answer(struct exchange *exchange, size_t size)
{
    struct peers *peers = exchange->peers;
    char identity[HTTP_IDENTITY_MAX];
    char peer[SOCKET_TEXT_MAX];
    uint8_t message[1 + MAC_SIZE];
    struct byte_reader r;
    struct byte_writer w;

    if (!is_authentic(exchange, "ask", exchange->in + 2, size, exchange->in + 2 + size)) {
        log_warning(peers->worker->log, "peer_untrusted",
                    "Somebody asks for a session without knowing the secret in --peer-secret-file");
        exchange_free(exchange);
        return;
    }
    byte_reader_init(&r, exchange->in + 2, size);
    const uint8_t *id = byte_reader_bytes(&r, MUX_SESSION_ID_SIZE);
    bool whole = id && read_text(&r, identity, sizeof identity) && read_text(&r, peer, sizeof peer);
    message[0] = whole && peers->owner->has(peers->context, id);
    authenticate(exchange, "answer", message, 1, message + 1);
    byte_writer_init(&w, message, sizeof message);
    w.at = w.end;
    int fd = say(exchange, &w) && message[0] == 1 ? take_fd(exchange) : -1;
    exchange_free(exchange);
    if (fd >= 0)
        peers->owner->handed_on(peers->context, fd, identity, peer);
}

static void on_question(evutil_socket_t fd, short what, void *argument)
{
    struct exchange *exchange = argument;
    struct byte_writer w;

    (void)fd;
    if (!(what & EV_READ) || !receive(exchange)) {
        exchange_free(exchange);
        return;
    }
    if (exchange->fill < exchange->needed)
        return;
    if (!exchange->nonces) {
        if (memcmp(exchange->in, MAGIC, sizeof MAGIC) != 0) {
            exchange_free(exchange);
            return;
        }
        exchange->nonces = true;
        memcpy(exchange->asker_nonce, exchange->in + MAGIC_SIZE, NONCE_SIZE);
        make_nonce(exchange->answerer_nonce);
        watch(exchange, 2, on_question, NULL);
        byte_writer_init(&w, exchange->answerer_nonce, NONCE_SIZE);
        w.at = w.end;
        if (!say(exchange, &w))
            exchange_free(exchange);
        return;
    }
    size_t size = byte_load_u16(exchange->in);
    if (size > BODY_MAX) {
        exchange_free(exchange);
    } else if (exchange->needed == 2) {
        exchange->needed = 2 + size + MAC_SIZE;
    } else {
        answer(exchange, size);
    }
}

static void on_accept(void *context, int fd, const struct socket_address *peer)
{
    struct peers *peers = context;
    const struct timeval timeout = {ANSWER_TIMEOUT_S, 0};

    (void)peer;
    if (peers->answer_count >= ANSWERS_MAX) {
        close(fd);
        return;
    }
    struct exchange *exchange = exchange_new(peers, NULL, &peers->answers);
    peers->answer_count++;
    exchange->fd = fd;
    watch(exchange, MAGIC_SIZE + NONCE_SIZE, on_question, &timeout);
}

/* ---- life */

void peers_reload(struct peers *peers, struct reload *reload)
{
    char why[SECRET_ERROR_MAX];
    char *secret;

    if (!peers)
        return;
    file_watch_reset(peers->secret_watch);
    secret = secret_read_file(peers->options->peer_secret_file, why);
    if (!secret) {
        log_error(peers->worker->log, "peer_secret_unusable",
                  "The file of the instances' secret is unusable; the old one stays in force",
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

struct peers *peers_new(struct worker *worker, const struct options *options,
                        const struct peers_owner *owner, void *context, char *error, size_t size)
{
    struct peers *peers = calloc(1, sizeof *peers);
    struct socket_address address;
    char why[SECRET_ERROR_MAX];

    if (!peers)
        abort();
    *peers =
        (struct peers){.worker = worker, .options = options, .owner = owner, .context = context};
    list_init(&peers->searches);
    list_init(&peers->answers);
    peers->secret_watch =
        file_watch_new(worker, &options->peer_secret_file, 1, on_secret_changed, peers);
    peers->secret = secret_read_file(options->peer_secret_file, why);
    if (!peers->secret) {
        snprintf(error, size, "--peer-secret-file: %s", why);
        peers_free(peers);
        return NULL;
    }
    if (!socket_parse(options->peer_listen_address.host, options->peer_listen_address.port,
                      &address) ||
        !(peers->listener = listener_new(worker, "peers", &address, on_accept, peers))) {
        snprintf(error, size, "--peer-listen %s: %s", options->peer_listen, strerror(errno));
        peers_free(peers);
        return NULL;
    }
    return peers;
}

void peers_free(struct peers *peers)
{
    if (!peers)
        return;
    listener_free(peers->listener);
    while (!list_empty(&peers->searches))
        search_free(list_entry(peers->searches.next, struct peer_search, node));
    while (!list_empty(&peers->answers))
        exchange_free(list_entry(peers->answers.next, struct exchange, node));
    file_watch_free(peers->secret_watch);
    secret_free(peers->secret);
    free(peers);
}

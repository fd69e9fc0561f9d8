#include "brokers/node_listeners.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "brokers/cluster.h"
#include "io/clock.h"

enum {
    EXPOSE_TIMEOUT_US = 10 * 1000 * 1000,
    EXPOSE_CHECK_S = 1,
    NAME_AGAIN_US = 60 * 1000 * 1000,
    HOST_MAX = 255,
};

/* A listener that the client has, or was asked to have, for a node. */
struct exposed {
    struct list node;  /* in listeners->unanswered until the client has answered */
    uint64_t number;   /* among those that it was asked for */
    struct list named; /* in book->named */
    struct list again; /* in book->again, or in none */
    uint64_t named_us; /* by a response */
    uint64_t asked_us; /* of the client */
    uint8_t type;
    int32_t node_id;
    bool ready;
    bool failed;
    uint64_t failed_after; /* waits that had begun when it did */
    uint16_t port;
    char host[HOST_MAX + 1];
    uint64_t told; /* of a client that keeps names: the address for which it was asked, hashed */
};

static struct exposed *exposed_get(struct node_listeners *listeners, size_t cluster, unsigned type,
                                   int32_t node)
{
    return idmap_get(&listeners->books[cluster].nodes[type], (uint32_t)node);
}

static void exposed_remove(struct exposed_book *book, struct exposed *exposed)
{
    idmap_remove(&book->nodes[exposed->type], (uint32_t)exposed->node_id);
    list_remove(&exposed->node);
    list_remove(&exposed->named);
    list_remove(&exposed->again);
    free(exposed);
}

static bool has_room(struct exposed_book *book, unsigned type, uint64_t now_us)
{
    if (book->nodes[type].count < CLUSTER_NODES_MAX)
        return true;
    struct exposed *oldest = list_entry(book->named[type].next, struct exposed, named);
    if (!list_empty(&oldest->node) || now_us - oldest->named_us < CLUSTER_FORGET_AFTER_US)
        return false;
    exposed_remove(book, oldest);
    return true;
}

static uint64_t hash_address(const struct node_listeners *listeners, const char *host, size_t size,
                             int32_t port)
{
    return hash_bytes(&listeners->worker->hash_key, host, size) + (uint64_t)port;
}

static struct exposed *exposed_add(struct node_listeners *listeners, size_t cluster, unsigned type,
                                   int32_t node)
{
    struct exposed_book *book = &listeners->books[cluster];
    uint64_t now = clock_now_us();
    struct exposed *exposed;

    if (!has_room(book, type, now))
        return NULL;
    exposed = memory_new(sizeof *exposed);
    idmap_put(&book->nodes[type], (uint32_t)node, exposed);
    exposed->type = (uint8_t)type;
    exposed->node_id = node;
    exposed->named_us = exposed->asked_us = now;
    exposed->number = ++listeners->asked;
    list_append(&listeners->unanswered, &exposed->node);
    list_append(&book->named[type], &exposed->named);
    list_init(&exposed->again);
    return exposed;
}

/* A failure is forgotten when all those who waited then have heard of it: the next response that
 * names the node makes the client try again. */
static bool is_forgotten(const struct node_listeners *listeners, const struct exposed *failed)
{
    if (listeners->telling)
        return false;
    return list_empty(&listeners->waiting) ||
           list_entry(listeners->waiting.next, struct node_wait, node)->number >
               failed->failed_after;
}

static void check_soon(struct node_listeners *listeners)
{
    timer_start_ms(listeners->timer, EXPOSE_CHECK_S * 1000);
}

static void note_named(struct node_listeners *listeners, struct exposed_book *book,
                       struct exposed *exposed)
{
    exposed->named_us = clock_now_us();
    list_remove(&exposed->named);
    list_append(&book->named[exposed->type], &exposed->named);
    if (exposed->named_us - exposed->asked_us < NAME_AGAIN_US || !list_empty(&exposed->again))
        return;
    list_append(&book->again, &exposed->again);
    check_soon(listeners);
}

/* One that the client was asked for at another address is of no use; but as long as it has not
 * answered, others wait for that. */
static bool is_elsewhere(const struct node_listeners *listeners, const struct exposed_book *book,
                         const struct exposed *exposed, const struct kafka_address *real)
{
    return book->keeps_names &&
           exposed->told != hash_address(listeners, real->host, real->host_size, real->port);
}

int node_listeners_find(struct node_listeners *listeners, size_t cluster,
                        enum kafka_endpoint_type type, int32_t node,
                        const struct kafka_address *real, struct kafka_address *local)
{
    struct exposed_book *book = &listeners->books[cluster];
    struct exposed *exposed = exposed_get(listeners, cluster, type, node);

    if (exposed && is_elsewhere(listeners, book, exposed, real)) {
        if (!list_empty(&exposed->node))
            return 1;
        exposed_remove(book, exposed);
        exposed = NULL;
    }
    if (!exposed)
        return has_room(book, type, clock_now_us()) ? 1 : -1;
    if (exposed->failed && !is_forgotten(listeners, exposed))
        return -1;
    if (exposed->failed) {
        exposed_remove(book, exposed);
        return 1;
    }
    if (!exposed->ready)
        return 1;
    note_named(listeners, book, exposed);
    *local = (struct kafka_address){exposed->host, strlen(exposed->host), exposed->port};
    return 0;
}

void node_listeners_keep_names(struct node_listeners *listeners, size_t cluster)
{
    listeners->books[cluster].keeps_names = true;
}

static void send_names(struct node_listeners *listeners, uint8_t *payload,
                       struct mux_expose_writer *writer)
{
    if (writer->count > 0)
        mux_session_send_message(listeners->mux, MUX_NAMES, payload,
                                 mux_names_end(writer, 0, (struct mux_text){NULL, 0}));
}

/* For a client that keeps names: where the nodes are that it is about to be asked for. */
static void tell_names(struct node_listeners *listeners, size_t cluster, const struct cluster *book,
                       const struct kafka_wanted *nodes, size_t count)
{
    const char *name = listeners->clusters[cluster].name;
    uint8_t payload[MUX_MESSAGE_PAYLOAD_MAX];
    struct mux_expose_writer writer;

    mux_names_begin(&writer, payload, mux_text_of(name));
    for (size_t i = 0; i < count; i++) {
        const struct kafka_wanted *wanted = &nodes[i];
        struct exposed *exposed = exposed_get(listeners, cluster, wanted->type, wanted->node);
        struct address at;
        if (!exposed || list_empty(&exposed->node) || exposed->told != 0 ||
            !cluster_node(book, wanted->type, wanted->node, &at))
            continue;
        struct mux_text host = mux_text_of(at.host);
        exposed->told = hash_address(listeners, host.bytes, host.size, at.port);
        if (mux_exposed_add(&writer, (uint8_t)wanted->type, wanted->node, at.port, host))
            continue;
        send_names(listeners, payload, &writer);
        mux_names_begin(&writer, payload, mux_text_of(name));
        mux_exposed_add(&writer, (uint8_t)wanted->type, wanted->node, at.port, host);
    }
    send_names(listeners, payload, &writer);
}

/* For people: of a very large cluster the first nodes are enough. */
static void tell_addresses(struct node_listeners *listeners, size_t cluster,
                           const struct cluster *book, const struct kafka_wanted *nodes,
                           size_t count)
{
    const char *name = listeners->clusters[cluster].name;
    uint8_t payload[MUX_MESSAGE_PAYLOAD_MAX];
    struct mux_expose_writer writer;

    mux_expose_begin(&writer, payload, sizeof payload, (struct mux_text){name, strlen(name)});
    for (size_t i = 0; i < count; i++) {
        struct address at;
        if (cluster_node(book, nodes[i].type, nodes[i].node, &at) &&
            !mux_exposed_add(&writer, (uint8_t)nodes[i].type, nodes[i].node, at.port,
                             (struct mux_text){at.host, strlen(at.host)}))
            break;
    }
    if (writer.count > 0)
        mux_session_send_message(listeners->mux, MUX_ADDRESSES, payload, mux_expose_end(&writer));
}

void node_listeners_ask(struct node_listeners *listeners, size_t cluster,
                        const struct cluster *book, const struct kafka_wanted *nodes, size_t count)
{
    const char *name = listeners->clusters[cluster].name;
    uint8_t payload[MUX_MESSAGE_PAYLOAD_MAX];
    struct mux_expose_writer writer;
    const size_t all = count;
    size_t i = 0;
    bool asked = false;

    while (i < count) {
        mux_expose_begin(&writer, payload, sizeof payload, (struct mux_text){name, strlen(name)});
        for (; i < count; i++) {
            const struct kafka_wanted *wanted = &nodes[i];
            if (exposed_get(listeners, cluster, wanted->type, wanted->node))
                continue;
            if (!mux_expose_add(&writer, (uint8_t)wanted->type, wanted->node))
                break;
            /* A full book asks for nothing more: whoever waits for it hears so next time. */
            if (!exposed_add(listeners, cluster, wanted->type, wanted->node))
                count = i;
        }
        if (writer.count == 0)
            break;
        if (listeners->books[cluster].keeps_names)
            tell_names(listeners, cluster, book, nodes, all);
        mux_session_send_message(listeners->mux, MUX_EXPOSE, payload,
                                 mux_expose_end_with(&writer, MUX_EXPOSE_MAY_WITHDRAW));
        asked = true;
    }
    if (asked && !listeners->books[cluster].keeps_names)
        tell_addresses(listeners, cluster, book, nodes, all);
}

/* One message a turn of the timer, and at most so many nodes as it holds. */
static void name_again(struct node_listeners *listeners, size_t cluster)
{
    const char *name = listeners->clusters[cluster].name;
    struct list *again = &listeners->books[cluster].again;
    uint8_t payload[MUX_MESSAGE_PAYLOAD_MAX];
    struct mux_expose_writer writer;

    if (list_empty(again))
        return;
    mux_expose_begin(&writer, payload, sizeof payload, (struct mux_text){name, strlen(name)});
    while (!list_empty(again)) {
        struct exposed *exposed = list_entry(again->next, struct exposed, again);
        if (!mux_expose_add(&writer, exposed->type, exposed->node_id)) {
            check_soon(listeners);
            break;
        }
        exposed->asked_us = clock_now_us();
        list_remove(&exposed->again);
    }
    mux_session_send_message(listeners->mux, MUX_EXPOSE, payload,
                             mux_expose_end_with(&writer, MUX_EXPOSE_MAY_WITHDRAW));
}

/* ---- waiting */

void node_listeners_wait(struct node_listeners *listeners, struct node_wait *wait)
{
    if (!list_empty(&wait->node))
        return;
    wait->since_us = clock_now_us();
    wait->until = listeners->asked;
    wait->number = ++listeners->waits;
    list_append(&listeners->waiting, &wait->node);
    check_soon(listeners);
}

static void on_node_listeners_timer(void *argument)
{
    struct node_listeners *listeners = argument;
    uint64_t now = clock_now_us();

    for (size_t i = 0; i < listeners->cluster_count; i++)
        name_again(listeners, i);
    while (!list_empty(&listeners->waiting)) {
        struct node_wait *wait = list_entry(listeners->waiting.next, struct node_wait, node);
        if (!listeners->linked || now - wait->since_us < EXPOSE_TIMEOUT_US) {
            check_soon(listeners);
            return;
        }
        list_remove(&wait->node);
        wait->owner->timed_out(wait->context);
    }
}

/*
 * Those for whom nothing is unanswered any more look again; each may begin to wait anew. To look
 * again is to rewrite the whole response that is held: it happens once for all its nodes, in
 * however many pieces the client answers.
 */
static void answer_waiting(struct node_listeners *listeners)
{
    struct list waiting;
    struct list *node;
    uint64_t oldest = UINT64_MAX;

    if (!list_empty(&listeners->unanswered))
        oldest = list_entry(listeners->unanswered.next, struct exposed, node)->number;
    list_init(&waiting);
    while (!list_empty(&listeners->waiting) &&
           list_entry(listeners->waiting.next, struct node_wait, node)->until < oldest)
        list_append(&waiting, list_pop(&listeners->waiting));
    listeners->telling = true;
    while ((node = list_pop(&waiting))) {
        struct node_wait *wait = list_entry(node, struct node_wait, node);
        wait->owner->answered(wait->context);
    }
    listeners->telling = false;
}

/* ---- the client's answer */

static void note_failed(struct node_listeners *listeners, size_t cluster, struct exposed *exposed,
                        const struct mux_exposed_node *node)
{
    exposed->ready = false;
    exposed->failed = true;
    exposed->failed_after = listeners->waits;
    log_warning(
        listeners->worker->log, "expose_failed", "The client could not open a listener for a node",
        log_str("session", listeners->session),
        log_str("cluster", listeners->clusters[cluster].name), log_i64("node", node->node_id),
        log_bytes("reason", node->host.bytes, node->host.size));
}

static void note_ready(struct node_listeners *listeners, size_t cluster, struct exposed *exposed,
                       const struct mux_exposed_node *node)
{
    /* The answer for a node that was named again says what is known already. */
    if (exposed->ready && exposed->port == node->port && strlen(exposed->host) == node->host.size &&
        memcmp(exposed->host, node->host.bytes, node->host.size) == 0)
        return;
    memcpy(exposed->host, node->host.bytes, node->host.size);
    exposed->host[node->host.size] = '\0';
    exposed->port = node->port;
    exposed->ready = true;
    log_info(listeners->worker->log, "exposed", "The client has a listener for a node",
             log_str("session", listeners->session),
             log_str("cluster", listeners->clusters[cluster].name), log_i64("node", node->node_id),
             log_str("host", exposed->host), log_u64("port", exposed->port));
}

/* Whether somebody may have waited for that. */
static bool note_exposed(struct node_listeners *listeners, size_t cluster,
                         const struct mux_exposed_node *node)
{
    struct exposed *exposed;

    if (node->endpoint_type < 1 || node->endpoint_type > 2)
        return false;
    exposed = exposed_get(listeners, cluster, node->endpoint_type, node->node_id);
    if (!exposed || exposed->failed)
        return false;
    bool asked = !list_empty(&exposed->node);
    list_remove(&exposed->node);
    if (node->port == 0 || node->host.size == 0 || node->host.size > HOST_MAX ||
        memchr(node->host.bytes, '\0', node->host.size))
        note_failed(listeners, cluster, exposed, node);
    else
        note_ready(listeners, cluster, exposed, node);
    return asked;
}

static bool find_cluster(const struct node_listeners *listeners, struct mux_text name,
                         size_t *cluster)
{
    for (*cluster = 0; *cluster < listeners->cluster_count; ++*cluster) {
        const char *own = listeners->clusters[*cluster].name;
        if (strlen(own) == name.size && memcmp(own, name.bytes, name.size) == 0)
            return true;
    }
    return false;
}

void node_listeners_receive(struct node_listeners *listeners, const uint8_t *payload, size_t size)
{
    struct mux_expose_reader reader;
    struct mux_exposed_node node;
    size_t cluster;
    bool answered = false;

    if (!mux_expose_read(&reader, payload, size) ||
        !find_cluster(listeners, reader.cluster, &cluster))
        return;
    while (mux_exposed_next(&reader, &node))
        answered |= note_exposed(listeners, cluster, &node);
    if (answered)
        answer_waiting(listeners);
}

/* One that the client was asked for since is not meant: it answers in order. */
void node_listeners_withdrawn(struct node_listeners *listeners, const uint8_t *payload, size_t size)
{
    struct mux_expose_reader reader;
    struct mux_exposed_node node;
    size_t cluster;

    if (!mux_expose_read(&reader, payload, size) ||
        !find_cluster(listeners, reader.cluster, &cluster))
        return;
    while (mux_expose_next(&reader, &node)) {
        if (node.endpoint_type < 1 || node.endpoint_type > 2)
            continue;
        struct exposed *exposed = exposed_get(listeners, cluster, node.endpoint_type, node.node_id);
        if (exposed && exposed->ready)
            exposed_remove(&listeners->books[cluster], exposed);
    }
}

/* ---- life */

void node_listeners_init(struct node_listeners *listeners, struct worker *worker,
                         struct mux_session *mux, const struct address_cluster *clusters,
                         size_t cluster_count, const char *session)
{
    *listeners = (struct node_listeners){.worker = worker,
                                         .mux = mux,
                                         .clusters = clusters,
                                         .cluster_count = cluster_count,
                                         .session = session};
    list_init(&listeners->waiting);
    list_init(&listeners->unanswered);
    listeners->books = memory_new_array(cluster_count + 1, sizeof *listeners->books);
    listeners->timer = timer_new(worker, on_node_listeners_timer, listeners);
    for (size_t i = 0; i < cluster_count; i++) {
        struct exposed_book *book = &listeners->books[i];
        list_init(&book->again);
        for (size_t type = 0; type < 3; type++) {
            list_init(&book->named[type]);
            idmap_init(&book->nodes[type], &worker->hash_key);
        }
    }
}

void node_listeners_clear(struct node_listeners *listeners)
{
    assert(list_empty(&listeners->waiting));
    for (size_t i = 0; i < listeners->cluster_count; i++) {
        for (size_t type = 0; type < 3; type++) {
            struct idmap *map = &listeners->books[i].nodes[type];
            struct exposed *exposed;
            for (size_t at = 0; (exposed = idmap_next(map, &at));)
                free(exposed);
            idmap_clear(map);
        }
    }
    free(listeners->books);
    timer_free(listeners->timer);
}

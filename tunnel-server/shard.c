#include "shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "io/clock.h"
#include "io/timer.h"
#include "mux/handshake.h"
#include "tunnel/link.h"

enum {
    CLOSE_POLICY = 1008, /* of a WebSocket (RFC 6455, 7.4.1) */
    GRANT_LOOK_S = 5,
};

/* An upgraded connection; its session is known when HELLO has come. */
struct server_link {
    struct list node; /* in shard->links */
    struct shard *shard;
    struct tenant *tenant;
    struct link *link;
    struct session_ref ref;     /* to no session: before HELLO, or it has ended */
    struct peer_search *search; /* another instance may have the session */
    bool greeted;               /* HELLO has come */
    bool joins;                 /* a session that has other links */
    bool joined;                /* and has a place of TENANT_JOINS */
    bool handed_on;             /* it is another instance's client */
    bool forwarded;             /* it is another instance's session */
    size_t tried;               /* workers that have no place for its session */
    struct crew_mail mail;      /* it goes to another worker: */
    size_t to;
    struct account *account;
    struct grant *grant;      /* that let it in; NULL: none was needed */
    struct timer *grant_look; /* NULL: the grant does not end by itself */
    bool dismissed;           /* the grant has ended, and the link is being closed */
    char identity[HTTP_IDENTITY_MAX];
    char peer[SOCKET_TEXT_MAX];
};

static void note_refused(const struct server_link *entry, enum audit_kind kind, struct mux_text why)
{
    char reason[MUX_REASON_MAX + 1];
    const struct log_field fields[] = {log_str("identity", entry->identity),
                                       log_str("peer", entry->peer),
                                       log_bytes("reason", why.bytes, why.size)};

    snprintf(reason, sizeof reason, "%.*s", (int)why.size, why.bytes);
    audit_note_refusal(entry->shard->audit, kind, entry->identity, reason, fields, 3);
}

/* ---- other instances */

static void say_rejected(const struct server_link *entry, const struct mux_reject *reject)
{
    struct log *log = entry->shard->worker->log;
    const struct log_field fields[] = {
        log_str("peer", entry->peer), log_str("identity", entry->identity),
        log_bytes("reason", reject->reason.bytes, reject->reason.size)};

    if (entry->joins)
        metrics_add(entry->shard->worker->metrics, METRIC_LINK_JOINS, telemetry_join(reject->code),
                    0, 1);
    /* Nobody misses a link while there are others. */
    if (entry->joins)
        log_event(log, LOG_LEVEL_INFO, "join_refused", "One more link of a session was refused",
                  fields, 3);
    else
        log_event(log, LOG_LEVEL_WARNING, "session_rejected", "A session was refused", fields, 3);
    if (!entry->joins)
        note_refused(entry, AUDIT_SESSION_REFUSED, reject->reason);
}

static void on_searched(void *context, struct transport *transport)
{
    static const char unknown[] = "unknown or expired session";
    static const struct mux_reject reject = {.code = MUX_CODE_UNKNOWN_SESSION,
                                             .reason = {unknown, sizeof unknown - 1}};
    struct server_link *entry = context;

    entry->search = NULL;
    if (!transport) {
        say_rejected(entry, &reject);
        link_reject(entry->link, &reject);
        return;
    }
    entry->forwarded = true;
    log_info(entry->shard->worker->log, "link_forwarded",
             "Another instance has the session of a link: handing it on",
             log_str("peer", entry->peer), log_str("identity", entry->identity));
    link_forward(entry->link, transport);
}

/* No worker knows the session: another instance may. A link that has been handed on stays. */
static bool search_elsewhere(struct server_link *entry, const struct mux_hello *hello,
                             struct mux_reject *reject)
{
    struct shard *shard = entry->shard;
    size_t place;

    if (!shard->peers || entry->handed_on || reject->code != MUX_CODE_UNKNOWN_SESSION ||
        session_table_locate(shard->host.table, hello->key.id, &place))
        return false;
    entry->search =
        peers_search(shard->peers, hello->key.id, entry->identity, entry->peer, on_searched, entry);
    reject->code = MUX_CODE_NONE;
    return true;
}

/* ---- which worker */

static size_t load_of(const struct shard *shard)
{
    return share_used_of(&shard->tenants.held[TENANT_SESSIONS]) + atomic_load(&shard->arriving);
}

/* The worker with the fewest sessions; of several, the one with the fewest streams. */
static size_t find_idlest(const struct shard *home)
{
    const struct shard *idlest = home;

    for (size_t i = 1; i < crew_size(home->crew); i++) {
        const struct shard *shard = &home->all[i];
        size_t load = load_of(shard);
        size_t least = load_of(idlest);
        if (load < least ||
            (load == least && share_used_of(&shard->tenants.held[TENANT_STREAMS]) <
                                  share_used_of(&idlest->tenants.held[TENANT_STREAMS])))
            idlest = shard;
    }
    return idlest->place;
}

/* Where the session of HELLO is, or is to be: here, if nobody has it. */
static size_t place_of_session(const struct server_link *entry, const struct mux_hello *hello)
{
    struct shard *shard = entry->shard;
    size_t place = shard->place;

    if (hello->resume || hello->join)
        session_table_locate(shard->host.table, hello->key.id, &place);
    else if (shard->place == 0 && entry->tried == 0)
        place = find_idlest(shard);
    return place;
}

static void go_to(struct server_link *entry, size_t place)
{
    entry->to = place;
    link_depart(entry->link);
}

/* A session that has no place here may take that of one at another worker. */
static bool try_next_worker(struct server_link *entry, const struct mux_hello *hello,
                            const struct mux_reject *reject)
{
    size_t workers = crew_size(entry->shard->crew);

    if (hello->resume || hello->join || reject->code != MUX_CODE_LIMIT || ++entry->tried >= workers)
        return false;
    go_to(entry, (entry->shard->place + 1) % workers);
    return true;
}

static void watch_grant(struct server_link *entry);

static void deliver_link(struct crew_mail *mail, struct worker *worker, size_t place)
{
    struct server_link *entry = list_entry(mail, struct server_link, mail);
    struct shard *shard = &entry->shard->all[place];
    const struct link_counters counters = telemetry_link(worker);

    entry->shard = shard;
    entry->tenant = tenant_arrive(&shard->tenants, entry->account, TENANT_LINKS);
    entry->account = NULL;
    list_append(&shard->links, &entry->node);
    link_count(entry->link, &counters);
    watch_grant(entry);
    link_arrive(entry->link, worker, entry);
    atomic_fetch_sub(&shard->arriving, 1);
}

static void on_departed(void *context, struct link *link)
{
    struct server_link *entry = context;
    struct shard *from = entry->shard;
    size_t to = entry->to;

    (void)link;
    atomic_fetch_add(&from->all[to].arriving, 1);
    entry->account = tenant_depart(entry->tenant, TENANT_LINKS);
    tenant_release(entry->tenant);
    entry->tenant = NULL;
    timer_free(entry->grant_look);
    entry->grant_look = NULL;
    list_remove(&entry->node);
    entry->mail.deliver = deliver_link;
    crew_post(from->crew, to, &entry->mail);
}

/* ---- links */

static struct mux_link *on_hello(void *context, struct link *link, const struct mux_hello *hello,
                                 struct mux_reject *reject)
{
    struct server_link *entry = context;
    struct shard *shard = entry->shard;
    size_t workers = crew_size(shard->crew);

    if (!entry->greeted)
        tenant_give(entry->tenant, TENANT_GREETINGS);
    entry->greeted = true;
    entry->joins = hello->join;
    size_t place = workers > 1 ? place_of_session(entry, hello) : shard->place;
    if (place != shard->place) {
        go_to(entry, place);
        return NULL;
    }
    entry->ref.others = workers - entry->tried - 1;
    struct mux_link *mux = session_hello(&shard->host, link, entry->tenant, entry->identity,
                                         entry->peer, hello, reject, &entry->ref);

    entry->joined = mux && hello->join;
    if (entry->joined)
        metrics_add(shard->worker->metrics, METRIC_LINK_JOINS, METRICS_JOIN_JOINED, 0, 1);
    if (!mux && !try_next_worker(entry, hello, reject) && !search_elsewhere(entry, hello, reject))
        say_rejected(entry, reject);
    return mux;
}

static void leave_joins(struct server_link *entry)
{
    if (entry->joined)
        tenant_give(entry->tenant, TENANT_JOINS);
    entry->joined = false;
}

static void entry_free(struct server_link *entry)
{
    leave_joins(entry);
    if (!entry->greeted)
        tenant_give(entry->tenant, TENANT_GREETINGS);
    tenant_give(entry->tenant, TENANT_LINKS);
    tenant_release(entry->tenant);
    peer_search_cancel(entry->search);
    timer_free(entry->grant_look);
    grant_release(entry->grant);
    list_remove(&entry->ref.node);
    list_remove(&entry->node);
    free(entry);
}

static void on_server_link_ended(void *context, struct link *link, enum link_end end,
                                 const char *reason)
{
    struct server_link *entry = context;

    metrics_add(entry->shard->worker->metrics, METRIC_LINK_ENDS, end, 0, 1);
    bool known = entry->ref.session != NULL;
    if (known)
        session_link_lost(entry->ref.session, link, end, reason);
    else if (end != LINK_END_REJECTED && !entry->shard->host.stopping && !entry->greeted)
        log_warning(entry->shard->worker->log, "link_dropped",
                    "A WebSocket ended before it said which session it is for",
                    log_str("peer", entry->peer), log_str("reason", reason));
    if (known && (end == LINK_END_GARBLED || end == LINK_END_PROTOCOL))
        log_warning(entry->shard->worker->log, "protocol_error",
                    "A client broke the protocol; its link was closed",
                    log_str("peer", entry->peer), log_str("reason", reason));
    entry_free(entry);
}

static const struct link_owner link_owner = {
    .hello = on_hello, .ended = on_server_link_ended, .departed = on_departed};

/* The oldest link of the tenant that carries no session, or has not even said HELLO. */
static bool drop_link(struct shard *shard, const struct tenant *tenant, bool greeting)
{
    list_each(at, &shard->links) {
        struct server_link *entry = list_entry(at, struct server_link, node);
        if (entry->tenant != tenant || (greeting ? entry->greeted : entry->ref.session != NULL))
            continue;
        log_warning(shard->worker->log, "link_gave_way",
                    "A link is closed: its identity has more than its share of links",
                    log_str("peer", entry->peer), log_str("identity", entry->identity));
        link_abort(entry->link);
        entry_free(entry);
        return true;
    }
    return false;
}

/* A link that its session, which has most, can do without; NULL: there is none. The session itself
 * may be another's: an anonymous client's that has come from another address. */
static struct server_link *find_joined(const struct shard *shard, const struct tenant *tenant)
{
    struct server_link *found = NULL;
    unsigned most = 0;

    list_each(at, &shard->links) {
        struct server_link *entry = list_entry(at, struct server_link, node);
        if (entry->tenant != tenant || !entry->joined || !entry->ref.session)
            continue;
        unsigned links = session_spares(entry->ref.session, entry->link);
        if (links > most)
            found = entry;
        most = links > most ? links : most;
    }
    return found;
}

static bool close_joined(const struct shard *shard, const struct tenant *tenant)
{
    struct server_link *entry = find_joined(shard, tenant);

    if (!entry)
        return false;
    log_info(shard->worker->log, "join_gave_way",
             "One of a session's links is closed: its identity has more than its share of links",
             log_str("peer", entry->peer), log_str("identity", entry->identity));
    session_spare(entry->ref.session, entry->link);
    leave_joins(entry);
    link_close(entry->link, 1013, "its place is needed by others with less than their share");
    return true;
}

static bool on_give_way(void *context, struct tenant *from, enum tenant_thing thing)
{
    switch (thing) {
    case TENANT_JOINS:
        return close_joined(context, from);
    case TENANT_SESSIONS:
        return session_give_way(from);
    case TENANT_STREAMS:
        return session_give_way_stream(from);
    default:
        return drop_link(context, from, thing == TENANT_GREETINGS);
    }
}

static bool on_give_way_memory(void *context, struct tenant *from, enum memory_way way)
{
    (void)context;
    return session_give_way_memory(from, way);
}

/* What an account is to give way with here. */
struct wish_mail {
    struct crew_mail mail;
    struct shard *all;
    struct tenant_wish wish;
};

static void deliver_wish(struct crew_mail *mail, struct worker *worker, size_t place)
{
    struct wish_mail *one = list_entry(mail, struct wish_mail, mail);

    (void)worker;
    tenants_grant(&one->all[place].tenants, &one->wish);
    free(one);
}

static void on_ask(void *context, size_t place, const struct tenant_wish *wish)
{
    const struct shard *shard = context;
    struct wish_mail *one = memory_new(sizeof *one);

    *one = (struct wish_mail){.mail.deliver = deliver_wish, .all = shard->all, .wish = *wish};
    crew_post(shard->crew, place, &one->mail);
}

static const struct tenants_owner tenants_owner = {
    .give_way = on_give_way, .give_way_memory = on_give_way_memory, .ask = on_ask};

/* ---- grants that end */

static void dismiss_link(struct server_link *entry)
{
    enum grant_state state = grant_state(entry->grant);
    const char *reason = grant_reason(state);

    if (state == GRANT_GOOD || entry->dismissed)
        return;
    entry->dismissed = true;
    log_warning(entry->shard->worker->log, "link_dismissed",
                "A link is closed: what let its client in is not valid any more",
                log_str("peer", entry->peer), log_str("identity", entry->identity),
                log_str("reason", reason));
    peer_search_cancel(entry->search);
    entry->search = NULL;
    leave_joins(entry);
    if (entry->ref.session)
        session_dismiss(entry->ref.session, entry->link, CLOSE_POLICY, reason,
                        grant_keeps_session(state));
    else
        link_close(entry->link, CLOSE_POLICY, reason);
}

static void on_grant_look(void *argument)
{
    struct server_link *entry = argument;

    dismiss_link(entry);
    if (!entry->dismissed)
        watch_grant(entry);
}

/* A grant may have ended while its link was on its way here. The time may be set, so it is looked
 * at again and again. */
static void watch_grant(struct server_link *entry)
{
    int64_t until = grant_until(entry->grant);
    int64_t left = until - (int64_t)time(NULL);

    if (until != 0 && left <= 0)
        grant_end(entry->grant, GRANT_LAPSED);
    bool ended = grant_state(entry->grant) != GRANT_GOOD;
    if (!ended && until == 0)
        return;
    if (!entry->grant_look)
        entry->grant_look = timer_new(entry->shard->worker, on_grant_look, entry);
    if (ended)
        timer_fire(entry->grant_look);
    else
        timer_start_ms(entry->grant_look,
                       (uint64_t)(left < GRANT_LOOK_S ? left : GRANT_LOOK_S) * 1000);
}

/* Takes a place for a link that has not said HELLO. */
static bool admit_link(struct shard *shard, struct tenant *tenant, const char *identity,
                       const char *peer)
{
    const char *reason = NULL;
    enum metrics_limit limit = METRICS_LIMIT_LINKS;

    enum ledger_answer answer = tenant_take_within(tenant, TENANT_LINKS);
    if (answer == LEDGER_LIMITED) {
        limit = METRICS_LIMIT_LINKS_OF;
        reason = "this identity has reached its limit of links (--max-links-per-identity)";
    } else if (answer != LEDGER_TAKEN) {
        reason = "there are as many links as sessions and handshakes allow (--max-sessions, "
                 "--max-handshakes)";
    } else if (!tenant_take(tenant, TENANT_GREETINGS)) {
        tenant_give(tenant, TENANT_LINKS);
        reason = "too many links have not yet said which session they are for (--max-handshakes)";
    }
    if (!reason)
        return true;
    tenant_limited(&shard->tenants, limit);
    const struct log_field fields[] = {log_str("peer", peer), log_str("identity", identity),
                                       log_str("reason", reason)};
    log_warning(shard->worker->log, "link_refused", "A WebSocket is closed at once", fields[0],
                fields[1], fields[2]);
    audit_note_refusal(shard->audit, AUDIT_LINK_REFUSED, identity, reason, fields, 3);
    return false;
}

const char *shard_obstacle_to_link(struct shard *shard, const char *identity, const char *peer)
{
    struct tenant *tenant = tenant_use(&shard->tenants, identity, peer);
    enum metrics_limit limit;
    const char *why = tenant_obstacle_to_link(tenant, clock_now_us(), &limit);

    tenant_release(tenant);
    if (!why)
        return NULL;
    const struct log_field fields[] = {log_str("peer", peer), log_str("identity", identity),
                                       log_str("reason", why)};
    tenant_limited(&shard->tenants, limit);
    log_warning(shard->worker->log, "link_refused", "A link was refused", fields[0], fields[1],
                fields[2]);
    audit_note_refusal(shard->audit, AUDIT_LINK_REFUSED, identity, why, fields, 3);
    return why;
}

void shard_add_link(struct shard *shard, struct transport *transport, const char *identity,
                    const char *peer, struct grant *grant, bool handed_on)
{
    const struct link_counters counters = telemetry_link(shard->worker);
    struct server_link *entry;

    struct tenant *tenant = tenant_use(&shard->tenants, identity, peer);

    if (!admit_link(shard, tenant, identity, peer)) {
        tenant_release(tenant);
        grant_release(grant);
        transport_free(transport);
        return;
    }
    entry = memory_new(sizeof *entry);
    entry->shard = shard;
    entry->tenant = tenant;
    snprintf(entry->identity, sizeof entry->identity, "%s", identity);
    snprintf(entry->peer, sizeof entry->peer, "%s", peer);
    list_append(&shard->links, &entry->node);
    list_init(&entry->ref.node);
    entry->handed_on = handed_on;
    entry->grant = grant;
    entry->link = handed_on ? link_new_handed_on(shard->worker, transport, &link_owner, entry)
                            : link_new_server(shard->worker, transport, &link_owner, entry);
    link_count(entry->link, &counters);
    link_limit_frames(entry->link, shard->options->shared.max_frame);
    watch_grant(entry);
}

/* ---- mail from home */

struct order_mail {
    struct crew_mail mail;
    struct shard *all;
    void (*carry_out)(struct shard *shard, const struct order_mail *order);
    SSL_CTX *tls;
    struct login_book *book;
    size_t rule;
    struct access_rules *rules;
    size_t cluster;
    size_t broker;
};

static void deliver_order(struct crew_mail *mail, struct worker *worker, size_t place)
{
    struct order_mail *order = list_entry(mail, struct order_mail, mail);

    (void)worker;
    order->carry_out(&order->all[place], order);
    free(order);
}

/* In the shard's thread: at home at once. */
static void give_order(struct shard *shard, const struct order_mail *order)
{
    if (shard->place == 0) {
        order->carry_out(shard, order);
        return;
    }
    struct order_mail *mail = memory_new(sizeof *mail);
    *mail = *order;
    mail->mail.deliver = deliver_order;
    mail->all = shard->all;
    crew_post(shard->crew, shard->place, &mail->mail);
}

static void set_broker_tls(struct shard *shard, const struct order_mail *order)
{
    /* Connections, and dials under way, have references of their own. */
    SSL_CTX_free(shard->broker_tls);
    shard->broker_tls = order->tls;
    for (size_t i = 0; i < shard->options->cluster_count; i++)
        shard->clusters[i].access.tls.context = order->tls;
}

void shard_use_broker_tls(struct shard *shard, SSL_CTX *context)
{
    SSL_CTX_up_ref(context);
    give_order(shard, &(struct order_mail){.carry_out = set_broker_tls, .tls = context});
}

static void set_access(struct shard *shard, const struct order_mail *order)
{
    access_rules_release(shard->access.rules);
    shard->access.rules = order->rules;
    shard->access.generation++;
    session_access_changed(&shard->host);
}

void shard_use_access(struct shard *shard, struct access_rules *rules)
{
    give_order(shard, &(struct order_mail){.carry_out = set_access,
                                           .rules = access_rules_reference(rules)});
}

static void dismiss_links(struct shard *shard, const struct order_mail *order)
{
    (void)order;
    list_each(at, &shard->links)
        dismiss_link(list_entry(at, struct server_link, node));
}

void shard_dismiss(struct shard *shard)
{
    give_order(shard, &(struct order_mail){.carry_out = dismiss_links});
}

static void set_logins(struct shard *shard, const struct order_mail *order)
{
    logins_use(&shard->logins, order->book);
    login_book_release(order->book);
}

void shard_use_logins(struct shard *shard, struct login_book *book)
{
    give_order(shard,
               &(struct order_mail){.carry_out = set_logins, .book = login_book_reference(book)});
}

static void drain_shard(struct shard *shard, const struct order_mail *order)
{
    (void)order;
    session_drain_all(&shard->host);
    /* A session that is elsewhere goes on there, over whatever instance its client reaches next. */
    list_each(at, &shard->links) {
        struct server_link *entry = list_entry(at, struct server_link, node);
        if (entry->forwarded)
            link_close(entry->link, 1001, "this instance stops");
    }
}

void shard_drain(struct shard *shard)
{
    give_order(shard, &(struct order_mail){.carry_out = drain_shard});
}

static void stop_shard(struct shard *shard, const struct order_mail *order)
{
    (void)order;
    session_stop_all(&shard->host);
    list_each(at, &shard->links)
        link_close(list_entry(at, struct server_link, node)->link, 1001, "the server stops");
}

void shard_stop(struct shard *shard)
{
    give_order(shard, &(struct order_mail){.carry_out = stop_shard});
}

bool shard_is_empty(const struct shard *shard)
{
    return atomic_load(&shard->arriving) == 0 &&
           share_used_of(&shard->tenants.held[TENANT_LINKS]) == 0 &&
           share_used_of(&shard->tenants.held[TENANT_SESSIONS]) == 0;
}

/* ---- mail to home */

static void look_at_broker(struct shard *home, const struct order_mail *order)
{
    const struct cluster *cluster = &home->clusters[order->cluster];

    if (cluster->doubted)
        cluster->doubted(cluster->context, order->broker);
}

/* Home has the probes. */
static void on_doubted_elsewhere(void *context, size_t broker)
{
    const struct shard_doubt *doubt = context;
    const struct shard *shard = doubt->shard;
    struct order_mail *mail = memory_new(sizeof *mail);

    *mail = (struct order_mail){.mail.deliver = deliver_order,
                                .all = shard->all,
                                .carry_out = look_at_broker,
                                .cluster = doubt->cluster,
                                .broker = broker};
    crew_post(shard->crew, 0, &mail->mail);
}

static void tell_refused_secret(struct shard *home, const struct order_mail *order)
{
    if (home->secret_refused)
        home->secret_refused(home->secret_context, order->book, order->rule);
    login_book_release(order->book);
}

/* Home asks commands and token endpoints for secrets. */
static void on_shard_secret_refused(void *context, struct login_book *book, size_t rule)
{
    struct shard *shard = context;
    const struct order_mail order = {.mail.deliver = deliver_order,
                                     .all = shard->all,
                                     .carry_out = tell_refused_secret,
                                     .book = login_book_reference(book),
                                     .rule = rule};

    if (shard->place == 0) {
        tell_refused_secret(shard, &order);
        return;
    }
    struct order_mail *mail = memory_new(sizeof *mail);
    *mail = order;
    crew_post(shard->crew, 0, &mail->mail);
}

void shard_on_secret_refused(struct shard *home, shard_secret_refused refused, void *context)
{
    home->secret_refused = refused;
    home->secret_context = context;
}

/* ---- life */

static void init_clusters(struct shard *shard, const struct shard *first)
{
    const struct options *options = shard->options;

    shard->clusters = memory_new_array(options->cluster_count + 1, sizeof *shard->clusters);
    shard->doubts = memory_new_array(options->cluster_count + 1, sizeof *shard->doubts);
    for (size_t i = 0; i < options->cluster_count; i++) {
        struct cluster *cluster = &shard->clusters[i];
        if (first) {
            shard->doubts[i] = (struct shard_doubt){.shard = shard, .cluster = i};
            cluster_view(cluster, shard->worker, &first->clusters[i]);
            cluster->doubted = on_doubted_elsewhere;
            cluster->context = &shard->doubts[i];
            continue;
        }
        cluster_init(cluster, shard->worker, &options->clusters[i],
                     (struct cluster_access){
                         .tls = {shard->broker_tls, options->kafka_server_name},
                         .rules = &options->node_rules,
                         .check = options->check_brokers,
                     });
    }
}

void shard_init(struct shard *shard, const struct options *options, struct ledger *ledger,
                struct session_table *table, struct shard *first)
{
    shard->worker = crew_worker(shard->crew, shard->place);
    shard->options = options;
    list_init(&shard->links);
    tenants_init(&shard->tenants, shard->worker, ledger, shard->place, &tenants_owner, shard);
    if (first && first->broker_tls) {
        SSL_CTX_up_ref(first->broker_tls);
        shard->broker_tls = first->broker_tls;
    }
    init_clusters(shard, first);
    logins_init(&shard->logins, shard->worker, options->cluster_count);
    shard->logins.refused = on_shard_secret_refused;
    shard->logins.context = shard;
    shard->topics = memory_new_array(options->cluster_count + 1, sizeof *shard->topics);
    for (size_t i = 0; i < options->cluster_count; i++)
        topic_names_init(&shard->topics[i], &shard->worker->hash_key, TOPIC_NAMES_MAX);
    shard->host = (struct session_host){.worker = shard->worker,
                                        .options = options,
                                        .clusters = shard->clusters,
                                        .logins = &shard->logins,
                                        .access = &shard->access,
                                        .topics = shard->topics,
                                        .place = shard->place,
                                        .audit = shard->audit,
                                        .table = table,
                                        .tenants = &shard->tenants};
    session_host_init(&shard->host);
}

void shard_clear_links(struct shard *shard)
{
    struct list *node;

    if (!shard->worker)
        return;
    while ((node = list_pop(&shard->links))) {
        struct server_link *entry = list_entry(node, struct server_link, node);
        link_abort(entry->link);
        entry_free(entry);
    }
}

void shard_clear(struct shard *shard)
{
    tenants_clear(&shard->tenants);
    logins_clear(&shard->logins);
    for (size_t i = 0; shard->topics && i < shard->options->cluster_count; i++)
        topic_names_clear(&shard->topics[i]);
    free(shard->topics);
    access_rules_release(shard->access.rules);
    for (size_t i = 0; shard->clusters && i < shard->options->cluster_count; i++)
        cluster_clear(&shard->clusters[i]);
    free(shard->clusters);
    free(shard->doubts);
    SSL_CTX_free(shard->broker_tls);
}

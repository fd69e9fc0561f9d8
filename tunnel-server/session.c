#include "session.h"

#include <assert.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "brokers/broker_stream.h"
#include "brokers/names.h"
#include "brokers/node_listeners.h"
#include "http/server.h"
#include "io/clock.h"
#include "io/timer.h"
#include "monitoring/link_status.h"
#include "monitoring/telemetry.h"
#include "tunnel/relay.h"

/* An identity is never cut on its way to the client (tunnel-server/identity.h). */
_Static_assert(HTTP_IDENTITY_MAX - 1 <= UINT8_MAX, "WELCOME carries every identity whole");

struct session {
    struct session_entry entry; /* in host->table */
    struct list node;           /* in host->sessions */
    struct list of;             /* in tenant->sessions */
    struct list refs;           /* struct session_ref, by its node */
    struct tenant *tenant;
    struct session_host *host;
    struct mux_session *mux;
    struct link *links[MUX_LINKS_MAX]; /* in no order; none: all are lost, it may come back */
    size_t link_count;
    char identity[HTTP_IDENTITY_MAX];
    char peer[SOCKET_TEXT_MAX];
    char id[2 * MUX_SESSION_ID_SIZE + 1]; /* for the log: it is no secret */
    struct node_listeners listeners;
    struct names names;
    struct broker_streams streams;
    struct timer *resume_timer;
    uint64_t began_us;
    uint64_t links_ever; /* that have carried it */
    struct frame_limit frames;
    char software[64];
    uint8_t *offers; /* what its identity may use; NULL: the host's */
    size_t offers_size;
    uint16_t offer_count;
    char *rights; /* for the client's people, MUX_RIGHTS_MAX at the most; NULL: everything */
    bool leaving; /* the client has said that it stops */
};

static const char STOPPING[] = "the server stops";

void session_host_init(struct session_host *host)
{
    list_init(&host->sessions);
}

static void session_end(struct session *session, enum mux_code code, const char *reason);

static struct log *log_of_session(const struct session *session)
{
    return session->host->worker->log;
}

static bool is_linked(const struct session *session)
{
    return session->link_count > 0;
}

static void add_session_link(struct session *session, struct link *link)
{
    assert(session->link_count < MUX_LINKS_MAX);
    session->links[session->link_count++] = link;
    session->listeners.linked = true;
}

/* false: it is none of the session's, or no longer. */
static bool remove_session_link(struct session *session, const struct link *link)
{
    for (size_t i = 0; i < session->link_count; i++) {
        if (session->links[i] != link)
            continue;
        session->links[i] = session->links[--session->link_count];
        session->listeners.linked = is_linked(session);
        return true;
    }
    return false;
}

static void close_session_links(struct session *session, uint16_t code, const char *reason)
{
    while (is_linked(session)) {
        struct link *link = session->links[0];
        remove_session_link(session, link);
        link_close(link, code, reason);
    }
}

static void on_open(void *context, struct mux_stream *stream, const struct mux_target *target,
                    struct mux_text peer)
{
    struct session *session = context;

    broker_stream_open(&session->streams, stream, target, peer);
}

static void on_session_message(void *context, uint8_t type, const uint8_t *payload, size_t size)
{
    struct session *session = context;

    if (type == MUX_EXPOSED)
        node_listeners_receive(&session->listeners, payload, size);
    else if (type == MUX_WITHDRAWN)
        node_listeners_withdrawn(&session->listeners, payload, size);
    else if (type == MUX_KEEP)
        names_keep(&session->names, payload, size);
}

/* The client stops: its session will not be carried on. */
static void on_session_goaway(void *context, enum mux_code code, struct mux_text reason)
{
    struct session *session = context;

    (void)code;
    (void)reason;
    session->leaving = true;
    broker_streams_drain(&session->streams);
}

static void on_session_measured(void *context, struct mux_link *link, uint64_t rtt_us)
{
    const struct session *session = context;

    (void)link;
    metrics_observe(session->host->worker->metrics, METRIC_RTT, 0, rtt_us);
}

static void on_limited(void *context, uint32_t stream, enum mux_limit limit, const char *reason)
{
    struct session *session = context;

    broker_stream_limited(&session->streams, stream, limit, reason);
}

static const struct mux_session_callbacks session_callbacks = {
    .open = on_open,
    .message = on_session_message,
    .goaway = on_session_goaway,
    .measured = on_session_measured,
    .limited = on_limited,
};

static void on_resume_timer(void *argument)
{
    struct session *session = argument;

    session_end(session, MUX_CODE_SESSION_LOST, "the client did not come back in time");
}

static void format_id(const struct mux_session_key *key, char id[2 * MUX_SESSION_ID_SIZE + 1])
{
    for (size_t i = 0; i < MUX_SESSION_ID_SIZE; i++)
        snprintf(id + 2 * i, 3, "%02x", key->id[i]);
}

static void draw_id(uint8_t id[MUX_SESSION_ID_SIZE])
{
    if (RAND_bytes(id, MUX_SESSION_ID_SIZE) != 1)
        abort();
}

static void offer_name(struct session *session, struct byte_writer *w, enum mux_target_kind kind,
                       const char *name)
{
    const struct access_rules *rules = session->host->access->rules;
    bool allowed = kind == MUX_TARGET_TCP ? access_rules_target(rules, session->identity, name)
                                          : access_rules_cluster(rules, session->identity, name);

    if (!allowed)
        return;
    mux_offer_write(w, kind, (struct mux_text){name, strlen(name)});
    session->offer_count++;
}

/* "main: produce, topic facts.*; test: all", cut to what there is room for. */
static void tell_rights(struct session *session)
{
    const struct options *options = session->host->options;
    const struct access_rules *rules = session->host->access->rules;
    struct text text;

    text_init(&text, 64 * 1024);
    for (size_t i = 0; i < options->cluster_count; i++) {
        const char *name = options->clusters[i].name;
        if (!access_rules_cluster(rules, session->identity, name))
            continue;
        if (text.size > 0)
            text_string(&text, " | ");
        text_string(&text, name);
        text_string(&text, ": ");
        access_rules_describe(rules, session->identity, name, &text);
    }
    size_t size = text.size < MUX_RIGHTS_MAX ? text.size : MUX_RIGHTS_MAX;
    session->rights = memory_new(size + 1);
    if (size > 0)
        memcpy(session->rights, text.bytes, size);
    if (text.size > MUX_RIGHTS_MAX)
        memcpy(session->rights + MUX_RIGHTS_MAX - 3, "...", 3);
    text_clear(&text);
}

/* What WELCOME says: that of the session's beginning, also when the rules change later. */
static void list_offers_of_session(struct session *session)
{
    const struct session_host *host = session->host;
    const struct options *options = host->options;
    struct byte_writer w;

    if (!host->access->rules)
        return;
    session->offers = memory_new(host->offers.size + 1);
    byte_writer_init(&w, session->offers, host->offers.size + 1);
    for (size_t i = 0; i < options->cluster_count; i++)
        offer_name(session, &w, MUX_TARGET_CLUSTER, options->clusters[i].name);
    for (size_t i = 0; i < options->target_count; i++)
        offer_name(session, &w, MUX_TARGET_TCP, options->targets[i].name);
    session->offers_size = byte_writer_size(&w);
    tell_rights(session);
}

static struct mux_session *new_mux(struct session *session)
{
    const struct options *options = session->host->options;
    struct worker *worker = session->host->worker;
    struct mux_settings settings;
    struct mux_session_key key;

    mux_settings_default(&settings);
    settings.role = MUX_SERVER;
    settings.tells_names = true;
    settings.hash_key = worker->hash_key;
    settings.max_streams = (uint32_t)options->shared.max_streams;
    settings.ping_interval_us = options->shared.ping_interval_ms * 1000;
    settings.resume_window_ms = (uint32_t)options->shared.resume_window_ms;
    settings.links_max = (unsigned)options->max_links;
    settings.software = (struct mux_text){"kafka-tunnel/" KAFKA_TUNNEL_VERSION,
                                          sizeof "kafka-tunnel/" KAFKA_TUNNEL_VERSION - 1};
    settings.identity = (struct mux_text){session->identity, strlen(session->identity)};
    if (session->rights)
        settings.rights = (struct mux_text){session->rights, strlen(session->rights)};
    session->entry.place = session->host->place;
    session_table_put(session->host->table, &session->entry, draw_id);
    memcpy(key.id, session->entry.id, sizeof key.id);
    if (RAND_bytes(key.secret, sizeof key.secret) != 1)
        abort();
    format_id(&key, session->id);
    struct mux_session *mux = mux_session_new(&settings, &session_callbacks, session, &key,
                                              &worker->pool, &session->tenant->share);
    byte_wipe(&key, sizeof key);
    return mux;
}

/* The tenant has a place for it. */
static struct session *session_new(struct session_host *host, struct tenant *tenant,
                                   const char *identity, const char *peer)
{
    struct session *session = memory_new(sizeof *session);

    session->host = host;
    session->began_us = clock_now_us();
    session->resume_timer = timer_new(host->worker, on_resume_timer, session);
    list_init(&session->refs);
    list_append(&host->sessions, &session->node);
    host->session_count++;
    tenant_reference(tenant);
    session->tenant = tenant;
    list_append(&tenant->sessions, &session->of);
    snprintf(session->identity, sizeof session->identity, "%s", identity);
    snprintf(session->peer, sizeof session->peer, "%s", peer);
    frame_limit_init(&session->frames, host->options->shared.max_frame);
    list_offers_of_session(session);
    session->mux = new_mux(session);
    node_listeners_init(&session->listeners, host->worker, session->mux, host->options->clusters,
                        host->options->cluster_count, session->id);
    session->names = (struct names){.mux = session->mux,
                                    .listeners = &session->listeners,
                                    .clusters = host->clusters,
                                    .cluster_count = host->options->cluster_count,
                                    .logins = host->logins,
                                    .identity = session->identity,
                                    .access = host->access,
                                    .tenant = tenant,
                                    .timeout_ms = (unsigned)host->options->connect_timeout_ms};
    names_init(&session->names);
    session->streams = (struct broker_streams){
        .worker = host->worker,
        .options = host->options,
        .clusters = host->clusters,
        .logins = host->logins,
        .listeners = &session->listeners,
        .tenant = tenant,
        .audit = host->audit,
        .access = host->access,
        .topics = host->topics,
        .session = session->id,
        .identity = session->identity,
        .peer = session->peer,
        .told = memory_new_array(host->options->cluster_count + 1, sizeof *session->streams.told)};
    list_init(&session->streams.all);
    return session;
}

/* With --audit the same line is for the record: it says more, and --log-rate never drops it. */
static void note_session_end(const struct session *session, enum mux_code code, const char *reason,
                             size_t streams_reset)
{
    const struct broker_streams *streams = &session->streams;

    if (!session->host->options->audit)
        log_info(log_of_session(session), "session_ended", "A session has ended",
                 log_str("session", session->id), log_str("identity", session->identity),
                 log_str("reason", reason), log_u64("streams_opened", streams->opened),
                 log_u64("streams_reset", streams_reset));
    const struct log_field fields[] = {
        log_str("session", session->id),
        log_str("identity", session->identity),
        log_str("peer", session->peer),
        log_str("end", session->leaving ? "complete" : mux_code_name(code)),
        log_str("reason", reason),
        log_u64("streams_opened", streams->opened),
        log_u64("streams_reset", streams_reset),
        log_u64("links", session->links_ever),
        log_u64("bytes_up", streams->bytes_up),
        log_u64("bytes_down", streams->bytes_down),
        log_ms("duration", (clock_now_us() - session->began_us) / 1000),
        log_str("software", session->software)};
    audit_note(session->host->audit, AUDIT_SESSION_ENDED, fields, sizeof fields / sizeof fields[0]);
}

/* Links must not name it any more. */
static void drop_refs(struct session *session)
{
    for (struct list *node; (node = list_pop(&session->refs));)
        list_entry(node, struct session_ref, node)->session = NULL;
}

static void session_end(struct session *session, enum mux_code code, const char *reason)
{
    struct session_host *host = session->host;

    size_t streams_reset = mux_session_stream_count(session->mux);

    assert(!is_linked(session));
    drop_refs(session);
    mux_session_reset_streams(session->mux, code, reason);
    assert(list_empty(&session->streams.all));
    if (code == MUX_CODE_SESSION_LOST && !session->leaving)
        metrics_add(host->worker->metrics, METRIC_SESSIONS_LOST, 0, 0, 1);
    note_session_end(session, code, reason, streams_reset);
    names_clear(&session->names);
    mux_session_free(session->mux);
    node_listeners_clear(&session->listeners);
    timer_free(session->resume_timer);
    free(session->streams.told);
    free(session->offers);
    free(session->rights);
    session_table_remove(host->table, &session->entry);
    list_remove(&session->node);
    host->session_count--;
    list_remove(&session->of);
    tenant_give(session->tenant, TENANT_SESSIONS);
    tenant_release(session->tenant);
    free(session);
}

static struct session *find_session(const struct session_host *host,
                                    const uint8_t id[MUX_SESSION_ID_SIZE])
{
    struct session_entry *entry = session_table_find(host->table, host->place, id);
    struct session *session = entry ? list_entry(entry, struct session, entry) : NULL;

    return session && !mux_session_is_broken(session->mux) ? session : NULL;
}

bool session_exists(const struct session_host *host, const uint8_t id[MUX_SESSION_ID_SIZE])
{
    return find_session(host, id) != NULL;
}

static struct mux_link *reject_with(struct mux_reject *reject, enum mux_code code,
                                    const char *reason)
{
    *reject = (struct mux_reject){.code = (uint16_t)code, .reason = {reason, strlen(reason)}};
    return NULL;
}

/* Secret and identity must be those of the client that began the session. */
static struct session *find_owned(struct session_host *host, const char *identity,
                                  const struct mux_hello *hello)
{
    struct session *session = find_session(host, hello->key.id);

    if (!session ||
        !byte_equal_secret(mux_session_key(session->mux)->secret, hello->key.secret,
                           sizeof hello->key.secret) ||
        strcmp(session->identity, identity) != 0)
        return NULL;
    return session;
}

/* How little a session is missed: one that has a link, streams, and was there first, most. */
static unsigned worth(const struct session *session)
{
    return (is_linked(session) ? 2 : 0) + (mux_session_stream_count(session->mux) > 0);
}

/* The session of the tenant that is worth least, the newest of several; NULL: it has none. */
static struct session *find_least(const struct tenant *tenant)
{
    struct session *least = NULL;

    list_each(at, &tenant->sessions) {
        struct session *session = list_entry(at, struct session, of);
        if (!least || worth(session) <= worth(least))
            least = session;
    }
    return least;
}

static void end_for_others(struct session *session)
{
    static const char reason[] =
        "its place is needed by others with less than their share (--max-sessions)";

    log_warning(log_of_session(session), "session_gave_way",
                "A session is ended: its identity has more than its share of sessions",
                log_str("session", session->id), log_str("identity", session->identity));
    close_session_links(session, 1013, reason);
    session_end(session, MUX_CODE_LIMIT, reason);
}

bool session_give_way(struct tenant *tenant)
{
    struct session *session = find_least(tenant);

    if (session)
        end_for_others(session);
    return session != NULL;
}

/* One that has neither link nor streams makes room for another of the same tenant. */
static bool replace_own(struct tenant *tenant)
{
    struct session *session = find_least(tenant);

    if (!session || worth(session) > 0)
        return false;
    session_end(session, MUX_CODE_LIMIT, "others need its place, and it has no streams");
    return true;
}

/* One that has neither link nor streams, whosever it is, for a tenant that has less than its part.
 */
static bool replace_any(struct session_host *host)
{
    list_each(at, &host->sessions) {
        struct session *session = list_entry(at, struct session, node);
        if (worth(session) == 0) {
            session_end(session, MUX_CODE_LIMIT, "others need its place, and it has no streams");
            return true;
        }
    }
    return false;
}

/* A place for another session; NULL, or why there is none. counts: nobody else is asked. */
static const char *admit_session(struct session_host *host, struct tenant *tenant, bool counts)
{
    enum ledger_answer answer = tenant_take_within(tenant, TENANT_SESSIONS);

    if (answer == LEDGER_LIMITED && replace_own(tenant))
        answer = tenant_take_within(tenant, TENANT_SESSIONS);
    if (answer == LEDGER_TAKEN)
        return NULL;
    if (answer == LEDGER_LIMITED) {
        if (counts)
            tenant_limited(host->tenants, METRICS_LIMIT_SESSIONS_OF);
        return "this identity has reached its limit of sessions (--max-sessions-per-identity)";
    }
    bool entitled = tenant_ask(tenant, TENANT_SESSIONS) == SHARE_ENTITLED;
    if ((replace_own(tenant) || (entitled && replace_any(host))) &&
        tenant_take_within(tenant, TENANT_SESSIONS) == LEDGER_TAKEN)
        return NULL;
    if (counts)
        tenant_limited(host->tenants, METRICS_LIMIT_SESSIONS);
    return entitled ? "the server has as many sessions as it allows (--max-sessions)"
                    : "the server has as many sessions as it allows (--max-sessions), and this "
                      "identity has its share of them";
}

void session_access_changed(struct session_host *host)
{
    list_each(at, &host->sessions)
        broker_streams_access_changed(&list_entry(at, struct session, node)->streams);
}

bool session_give_way_stream(struct tenant *tenant)
{
    struct session *most = NULL;

    list_each(at, &tenant->sessions) {
        struct session *session = list_entry(at, struct session, of);
        if (!most || mux_session_stream_count(session->mux) > mux_session_stream_count(most->mux))
            most = session;
    }
    return most && broker_streams_cut_newest(
                       &most->streams,
                       "this connection's place is needed by others with less than their share");
}

bool session_give_way_memory(struct tenant *tenant, enum memory_way way)
{
    struct session *most = NULL;

    list_each(at, &tenant->sessions) {
        struct session *session = list_entry(at, struct session, of);
        if (!most || mux_session_charged(session->mux, way) > mux_session_charged(most->mux, way))
            most = session;
    }
    return most && broker_streams_cut_largest(
                       &most->streams, way,
                       "this connection's memory is needed by others with less than their share");
}

unsigned session_spares(const struct session *session, const struct link *link)
{
    const struct mux_link *mux = link_mux(link);
    unsigned links = mux_session_links_up(session->mux);

    return mux && mux_link_entry(mux) == MUX_ENTRY_JOIN && mux != mux_session_lead(session->mux) &&
                   links > 1
               ? links
               : 0;
}

void session_spare(struct session *session, const struct link *link)
{
    remove_session_link(session, link);
}

/* A link is gone, or its client has given it up for another one. */
static void learn_session_frames(struct session *session, const struct link *link,
                                 enum link_end end)
{
    const struct link_record record = link_record(link);

    /* A client closes links that it does not need any more. */
    if (end == LINK_END_CLOSED && is_linked(session) && !record.frames.refused)
        return;
    if (frame_limit_learn(&session->frames, &record.frames))
        log_warning(log_of_session(session), "smaller_frames",
                    "Something in between cuts large WebSocket messages; trying smaller frames",
                    log_str("session", session->id), log_str("identity", session->identity),
                    log_u64("was_sent", record.frames.largest_sent),
                    log_u64("max_frame", session->frames.max));
}

/* How large frames may be, by what this session has met, and by what the client says. */
static void limit_frames(struct session *session, struct link *link, const struct mux_hello *hello)
{
    frame_limit_lower(&session->frames, hello->message_max);
    link_limit_frames(link, session->frames.max);
    mux_session_limit_messages(session->mux, (uint32_t)session->frames.max);
}

static void note_link(struct session *session, struct link *link, const struct mux_hello *hello)
{
    struct metrics *metrics = session->host->worker->metrics;

    session->links_ever++;
    snprintf(session->software, sizeof session->software, "%.*s", (int)hello->software.size,
             hello->software.size > 0 ? hello->software.bytes : "");
    metrics_add(metrics, METRIC_LINKS_OPENED, 0, 0, 1);
    if (!hello->join)
        metrics_add(metrics, hello->resume ? METRIC_SESSION_RESUMES : METRIC_SESSIONS_OPENED, 0, 0,
                    1);
    const struct log_field fields[] = {
        log_str("session", session->id),
        log_str("identity", session->identity),
        log_str("peer", session->peer),
        log_str("protection", link_protection(link)),
        log_u64("links", session->link_count),
        log_bytes("software", hello->software.bytes, hello->software.size)};
    const size_t count = sizeof fields / sizeof fields[0];
    log_event(log_of_session(session), LOG_LEVEL_INFO,
              hello->join     ? "link_joined"
              : hello->resume ? "session_resumed"
                              : "session_up",
              hello->join     ? "A session has one more link"
              : hello->resume ? "A session continues over a new link"
                              : "A session is up",
              fields, count);
    audit_note(session->host->audit,
               hello->join     ? AUDIT_LINK_JOINED
               : hello->resume ? AUDIT_SESSION_RESUMED
                               : AUDIT_SESSION_OPENED,
               fields, count);
}

/* A place for one more link of a session that has some; NULL, or why there is none. */
static const char *admit_join(const struct session *session, struct tenant *tenant)
{
    struct tenants *tenants = session->host->tenants;

    if (!mux_session_established(session->mux))
        return "the session has no link that others could join";
    if (session->link_count >= (size_t)session->host->options->max_links)
        return "the session has as many links as the server allows (--max-links)";
    if (tenant_take(tenant, TENANT_JOINS))
        return NULL;
    tenant_limited(tenants, METRICS_LIMIT_LINKS);
    return "the server has as many links beyond the first of each session as it allows "
           "(--max-sessions, --max-links, ulimit -n)";
}

/* The session that HELLO carries on, ready for its link; NULL: *reject says why not. */
static struct session *continue_session(struct session_host *host, struct tenant *tenant,
                                        const char *identity, const struct mux_hello *hello,
                                        struct mux_reject *reject)
{
    struct session *session = find_owned(host, identity, hello);
    const char *limited = NULL;

    if (!session)
        reject_with(reject, MUX_CODE_UNKNOWN_SESSION, "unknown or expired session");
    else if (!mux_session_is_newer(session->mux, hello))
        limited = "a later link carries the session already";
    else if (hello->join)
        limited = admit_join(session, tenant);
    if (limited)
        reject_with(reject, MUX_CODE_LIMIT, limited);
    if (!session || limited)
        return NULL;
    if (!hello->join) {
        for (size_t i = 0; i < session->link_count; i++)
            learn_session_frames(session, session->links[i], LINK_END_LOST);
        close_session_links(session, 1001, "the session continues over a newer link");
        timer_stop(session->resume_timer);
    }
    return session;
}

static struct session *begin_session(struct session_host *host, struct tenant *tenant,
                                     const char *identity, const char *peer, bool counts,
                                     struct mux_reject *reject)
{
    if (host->draining) {
        reject_with(reject, MUX_CODE_GOING_AWAY, STOPPING);
        return NULL;
    }
    const char *limited = audit_obstacle(host->audit);
    if (limited && counts)
        tenant_limited(host->tenants, METRICS_LIMIT_AUDIT);
    if (!limited)
        limited = admit_session(host, tenant, counts);
    if (limited) {
        reject_with(reject, MUX_CODE_LIMIT, limited);
        return NULL;
    }
    return session_new(host, tenant, identity, peer);
}

struct mux_link *session_hello(struct session_host *host, struct link *link, struct tenant *tenant,
                               const char *identity, const char *peer,
                               const struct mux_hello *hello, struct mux_reject *reject,
                               struct session_ref *ref)
{
    static const char not_offered[] = "HELLO asks for what this server does not offer";

    if (mux_version_choose(hello->version_min, hello->version_max) == 0)
        return reject_with(
            reject, MUX_CODE_VERSION,
            "client and server speak different versions of the tunnel protocol: update "
            "the older of them");
    bool begun = hello->resume || hello->join;
    struct session *session =
        begun ? continue_session(host, tenant, identity, hello, reject)
              : begin_session(host, tenant, identity, peer, ref->others == 0, reject);
    if (!session)
        return NULL;
    limit_frames(session, link, hello);
    bool all = session->offers == NULL;
    const struct mux_text offers =
        all ? host->offers : (struct mux_text){(const char *)session->offers, session->offers_size};
    struct mux_link *accepted =
        mux_link_accept(session->mux, hello, all ? host->offer_count : session->offer_count, offers,
                        link_output(link), clock_now_us());
    if (!accepted) {
        if (hello->join)
            tenant_give(tenant, TENANT_JOINS);
        else
            session_end(session, MUX_CODE_VERSION, not_offered);
        return reject_with(reject, MUX_CODE_VERSION, not_offered);
    }
    add_session_link(session, link);
    snprintf(session->peer, sizeof session->peer, "%s", peer);
    note_link(session, link, hello);
    ref->session = session;
    list_append(&session->refs, &ref->node);
    return accepted;
}

/* One of several. */
static void note_left(const struct session *session, enum link_end end, const char *reason)
{
    log_info(log_of_session(session), "link_left", "A session goes on without one of its links",
             log_str("session", session->id), log_str("end", link_end_name(end)),
             log_str("reason", reason), log_u64("links", session->link_count));
}

void session_link_lost(struct session *session, struct link *link, enum link_end end,
                       const char *reason)
{
    uint64_t keep_ms = session->host->options->shared.resume_window_ms;

    if (!remove_session_link(session, link))
        return;
    learn_session_frames(session, link, end);
    /* Whoever broke the protocol once is not trusted to know where the streams stand. */
    if (end == LINK_END_PROTOCOL)
        close_session_links(session, 1002, "tunnel protocol");
    else if (is_linked(session)) {
        note_left(session, end, reason);
        return;
    }
    /* A session without streams is kept as well: the request to open one may be what was lost. */
    if (end == LINK_END_PROTOCOL || keep_ms == 0 || session->host->stopping ||
        (session->leaving && end == LINK_END_CLOSED) ||
        (session->host->draining && mux_session_stream_count(session->mux) == 0)) {
        session_end(session, MUX_CODE_SESSION_LOST, reason);
        return;
    }
    log_info(log_of_session(session), "link_lost",
             "A client's link is lost; its session is kept for a while",
             log_str("session", session->id), log_str("reason", reason), log_ms("kept", keep_ms));
    timer_start_ms(session->resume_timer, keep_ms);
}

void session_dismiss(struct session *session, struct link *link, uint16_t code, const char *reason,
                     bool keep)
{
    uint64_t keep_ms = session->host->options->shared.resume_window_ms;

    bool carries = remove_session_link(session, link);
    link_close(link, code, reason);
    if (!carries || is_linked(session))
        return;
    if (!keep || keep_ms == 0 || session->host->draining) {
        session_end(session, MUX_CODE_REVOKED, reason);
        return;
    }
    log_info(log_of_session(session), "link_lost",
             "A client's link is lost; its session is kept for a while",
             log_str("session", session->id), log_str("reason", reason), log_ms("kept", keep_ms));
    timer_start_ms(session->resume_timer, keep_ms);
}

void session_drain_all(struct session_host *host)
{
    host->draining = true;
    for (struct list *at = host->sessions.next, *next; at != &host->sessions; at = next) {
        struct session *session = list_entry(at, struct session, node);
        next = at->next;
        mux_session_goaway(session->mux, MUX_CODE_GOING_AWAY, STOPPING);
        broker_streams_drain(&session->streams);
        if (!is_linked(session) && mux_session_stream_count(session->mux) == 0)
            session_end(session, MUX_CODE_GOING_AWAY, STOPPING);
    }
}

void session_stop_all(struct session_host *host)
{
    host->draining = host->stopping = true;
    while (!list_empty(&host->sessions)) {
        struct session *session = list_entry(host->sessions.next, struct session, node);
        close_session_links(session, 1001, STOPPING);
        session_end(session, MUX_CODE_GOING_AWAY, STOPPING);
    }
}

/* As many as a session may have. */
static void write_session_links(const struct session *session, struct json_writer *json)
{
    uint64_t now_us = clock_now_us();

    json_put_u64(json, "links_wanted", mux_session_links_wanted(session->mux));
    json_put_array(json, "links_now");
    for (size_t i = 0; i < session->link_count; i++) {
        json_put_object(json, NULL);
        link_status_put(session->links[i], now_us, json);
        json_put_end(json);
    }
    json_put_end(json);
}

static void write_session(const struct session *session, struct json_writer *json,
                          size_t *streams_left)
{
    uint64_t up;
    uint64_t down;

    broker_streams_bytes(&session->streams, &up, &down);
    json_put_object(json, NULL);
    json_put_string(json, "session", session->id);
    json_put_string(json, "identity", session->identity);
    json_put_string(json, "peer", session->peer);
    json_put_string(json, "software", session->software);
    json_put_u64(json, "worker", session->host->place);
    json_put_bool(json, "linked", is_linked(session));
    json_put_u64(json, "links", session->links_ever);
    json_put_u64(json, "rtt_us", mux_session_rtt_us(session->mux));
    json_put_u64(json, "age_ms", (clock_now_us() - session->began_us) / 1000);
    write_session_links(session, json);
    json_put_u64(json, "stream_count", mux_session_stream_count(session->mux));
    json_put_u64(json, "streams_opened", session->streams.opened);
    json_put_u64(json, "bytes_up", up);
    json_put_u64(json, "bytes_down", down);
    broker_streams_write(&session->streams, json, streams_left);
    json_put_end(json);
}

void session_write_all(const struct session_host *host, struct json_writer *json,
                       struct session_shown *left)
{
    for (struct list *at = host->sessions.next; at != &host->sessions && left->sessions > 0;
         at = at->next, left->sessions--)
        write_session(list_entry(at, struct session, node), json, &left->streams);
}

void session_sum_up(const struct session_host *host, struct telemetry_sessions *sum)
{
    list_each(at, &host->sessions)
        telemetry_add_session(sum, list_entry(at, struct session, node)->mux);
}

#include "doctor/doctor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/printable.h"
#include "client.h"
#include "doctor/diagnosis.h"
#include "doctor/listener_check.h"
#include "doctor/path_check.h"
#include "io/clock.h"
#include "io/listener.h"
#include "io/timer.h"
#include "io/worker.h"
#include "kafka/bootstrap.h"
#include "listeners/local_port.h"
#include "listeners/node_ports.h"
#include "monitoring/telemetry.h"
#include "uplink.h"

/* What may be behind a connection that a broker ends without an answer. */
#define CLOSED                                                                                     \
    "; a broker that requires TLS (--kafka-tls of tunnel-server), or another service, ends a "     \
    "connection like this"

enum {
    CORRELATION_ID = 1,
    NODES_MAX = 64, /* brokers that are tried one by one */
    NAMES_MAX = 64, /* of brokers that keep theirs */
    ANSWER_FIRST = 4096,
    /* The server's own time for a broker that does not answer is 10 s unless it is configured. */
    ANSWER_MAX_MS = 20 * 1000,
    GOODBYE_MS = 1000,
};

struct node {
    int32_t id;
    char broker[ADDRESS_TEXT_MAX]; /* where it is behind the server; "": not told */
    char local[ADDRESS_TEXT_MAX];  /* where Kafka clients are told that it is */
};

/* What a stream is opened for. */
enum question {
    QUESTION_VERSIONS, /* of a bootstrap broker */
    QUESTION_METADATA, /* on the same stream */
    QUESTION_NODE,     /* ApiVersions of one broker */
    QUESTION_TARGET,   /* whether it opens */
};

struct doctor {
    struct worker *worker;
    const struct options *options;
    struct diagnosis diagnosis;
    struct uplink *uplink;
    struct path_check *path; /* NULL: there is no uplink */
    struct timer *deadline;
    struct node_ports *listeners; /* as in the configuration: clusters, then targets */
    bool over;                    /* nothing more is to be found out */

    /* the question under way */
    size_t cluster; /* index of the cluster, then of the target */
    size_t node;
    bool nodes_are_due; /* the cluster has told its nodes: each is asked */
    enum question question;
    struct mux_stream *stream;
    uint64_t asked_us;
    bool opened;
    char login[300]; /* as whom the server has logged in there, if it is still to be told */
    uint8_t *answer;
    size_t answer_size;
    size_t answer_room;
    struct node nodes[NODES_MAX]; /* of the cluster */
    size_t node_count;
    size_t node_total;
    char *names[NAMES_MAX]; /* that brokers keep */
    size_t name_count;
};

static void finish_doctor(struct doctor *doctor)
{
    doctor->over = true;
    timer_stop(doctor->deadline);
    worker_end(doctor->worker);
}

static const char *cluster_name(const struct doctor *doctor)
{
    return doctor->options->clusters[doctor->cluster].name;
}

/* ---- the way to the server */

static int64_t since(uint64_t later_us, uint64_t earlier_us)
{
    return later_us > earlier_us ? (int64_t)(later_us - earlier_us) : 0;
}

/* What of the way worked, up to the layer that did not. */
static void add_stages(struct doctor *doctor, const struct http_dial_result *result)
{
    struct diagnosis *diagnosis = &doctor->diagnosis;
    const struct http_trace *trace = result->trace;
    uint64_t before = trace->named_us;
    const char *whose = trace->proxy[0] ? "the proxy " : "";

    if (trace->named_us > 0)
        diagnosis_add(diagnosis, LAYER_DNS, VERDICT_OK, (int64_t)trace->named_us, "%s%s is %s",
                      whose, trace->proxy[0] ? trace->proxy : doctor->options->url.host,
                      trace->addresses);
    if (trace->connected_us > 0) {
        diagnosis_add(diagnosis, LAYER_TCP, VERDICT_OK, since(trace->connected_us, before),
                      "connected to %s%s", whose, trace->address);
        before = trace->connected_us;
    }
    if (trace->proxied_us > 0) {
        diagnosis_add(diagnosis, LAYER_PROXY, VERDICT_OK, since(trace->proxied_us, before),
                      "the proxy %s connects to %s", trace->proxy, trace->target);
        before = trace->proxied_us;
    }
    if (trace->secured_us > 0) {
        diagnosis_add(diagnosis, LAYER_TLS, VERDICT_OK, since(trace->secured_us, before), "%s; %s",
                      trace->protection, trace->certificate);
        before = trace->secured_us;
    }
    if (trace->answered_us == 0)
        return;
    char server[80] = "";
    http_response_header(result->response, "server", server, sizeof server);
    enum verdict verdict = result->hop == HTTP_HOP_HTTP ? VERDICT_FAILED : VERDICT_OK;
    if (verdict == VERDICT_OK)
        diagnosis_add(diagnosis, LAYER_HTTP, VERDICT_OK, since(trace->answered_us, before),
                      "%d%s%s", result->status, server[0] ? " from " : "", server);
}

static void on_doctor_dialled(void *context, const struct http_dial_result *result)
{
    struct doctor *doctor = context;
    struct diagnosis *diagnosis = &doctor->diagnosis;
    const struct options *options = doctor->options;

    add_stages(doctor, result);
    if (result->hop != HTTP_HOP_NONE) {
        if (result->hop == HTTP_HOP_UPGRADE && result->status != 0)
            diagnosis_add(diagnosis, LAYER_AUTH, VERDICT_OK, -1, "not refused");
        return; /* on_doctor_failed() says what it was */
    }
    diagnosis_add(diagnosis, LAYER_AUTH, VERDICT_OK, -1, "admitted %s%s",
                  options_has_token(options) ? "with a token" : "without a token",
                  options->cert ? ", with a client certificate" : "");
    diagnosis_add(diagnosis, LAYER_UPGRADE, VERDICT_OK, -1, "the connection is a WebSocket");
}

static bool on_doctor_failed(void *context, const char *hop, const char *reason, bool refused)
{
    struct doctor *doctor = context;

    (void)refused;
    if (doctor->over)
        return true;
    diagnosis_add(&doctor->diagnosis, diagnosis_layer_of(hop), VERDICT_FAILED, -1, "%s", reason);
    finish_doctor(doctor);
    return true;
}

/* All that a Kafka client needs was found in order. */
static void add_lost_in_trial(struct diagnosis *diagnosis, enum path_trial trial)
{
    if (trial == PATH_TRIAL_JOINING)
        diagnosis_add(diagnosis, LAYER_TUNNEL, VERDICT_NOTE, -1,
                      "a second link cannot be had: the first one was lost when the second one was "
                      "tried; something in between may allow only one: set --links 1");
    else
        diagnosis_add(diagnosis, LAYER_TUNNEL, VERDICT_WARNING, -1,
                      "the WebSocket was lost while as much was sent as it carries; does something "
                      "in between cut it?");
}

static void on_doctor_lost(void *context, bool announced)
{
    struct doctor *doctor = context;

    (void)announced;
    if (doctor->over)
        return;
    enum path_trial trial = path_check_trial(doctor->path);
    if (trial != PATH_TRIAL_NONE) {
        add_lost_in_trial(&doctor->diagnosis, trial);
        finish_doctor(doctor);
        return;
    }
    diagnosis_add(&doctor->diagnosis, LAYER_TUNNEL, VERDICT_FAILED, -1,
                  "the WebSocket was lost during the checks; does something in between cut it? "
                  "--log-level info says why");
    finish_doctor(doctor);
}

/* ---- questions */

static void next_question(struct doctor *doctor);

static void end_stream(struct doctor *doctor)
{
    if (doctor->stream)
        mux_stream_reset(doctor->stream, MUX_CODE_PEER_RESET, "the doctor is done", MUX_RESET_NOW,
                         clock_now_us());
    doctor->stream = NULL;
    timer_stop(doctor->deadline);
}

static void set_deadline(struct doctor *doctor)
{
    doctor->asked_us = clock_now_us();
    timer_start_ms(doctor->deadline, ANSWER_MAX_MS);
}

static int64_t took(const struct doctor *doctor)
{
    return since(clock_now_us(), doctor->asked_us);
}

static void ask_question(struct doctor *doctor)
{
    uint8_t request[KAFKA_BOOTSTRAP_REQUEST_MAX];
    size_t size = doctor->question == QUESTION_METADATA
                      ? kafka_bootstrap_request(KAFKA_ENDPOINT_BROKER, request, CORRELATION_ID)
                      : kafka_bootstrap_versions_request(request, CORRELATION_ID);

    doctor->answer_size = 0;
    set_deadline(doctor);
    mux_stream_write(doctor->stream, request, size);
}

static const struct mux_stream_callbacks stream_callbacks;

static void open_probe_stream(struct doctor *doctor, enum question question,
                              enum mux_target_kind kind, const char *name, int32_t node)
{
    const struct mux_target target = {kind, {name, strlen(name)}, node};
    struct mux_session *session = uplink_session(doctor->uplink);

    doctor->question = question;
    doctor->opened = false;
    doctor->login[0] = '\0';
    doctor->stream = session ? mux_stream_open(session, &target, (struct mux_text){"doctor", 6},
                                               &stream_callbacks, doctor)
                             : NULL;
    if (!doctor->stream) {
        finish_doctor(doctor);
        return;
    }
    if (question == QUESTION_TARGET)
        set_deadline(doctor);
    else
        ask_question(doctor);
}

/* A broker is out of the question: so are those that come after it. */
static void question_failed(struct doctor *doctor, enum diagnosis_layer layer, const char *reason)
{
    struct diagnosis *diagnosis = &doctor->diagnosis;
    const struct node *node = &doctor->nodes[doctor->node];
    /* The server's reasons begin with the address. */
    bool is_named = strncmp(reason, node->broker, strlen(node->broker)) == 0;

    end_stream(doctor);
    switch (doctor->question) {
    case QUESTION_NODE:
        diagnosis_add(diagnosis, layer, VERDICT_FAILED, took(doctor),
                      "broker %d of %s%s%s: %s; tunnel-server must reach the brokers' advertised "
                      "listeners, and be allowed to (--allow-brokers, --deny-brokers)",
                      (int)node->id, cluster_name(doctor), is_named ? "" : ", at ",
                      is_named ? "" : node->broker, reason);
        doctor->node++;
        break;
    case QUESTION_TARGET:
        diagnosis_add(
            diagnosis, LAYER_TARGET, VERDICT_FAILED, took(doctor),
            "target %s: %s; is its address right in tunnel-server's --tcp, and is the service "
            "running?",
            doctor->options->targets[doctor->cluster - doctor->options->cluster_count].name,
            reason);
        doctor->cluster++;
        break;
    case QUESTION_METADATA:
        diagnosis_add(diagnosis, layer, VERDICT_WARNING, took(doctor),
                      "cluster %s: a broker answers ApiVersions but not Metadata (%s); if it "
                      "requires a login (SASL), your Kafka client does that; the brokers and their "
                      "listeners were not checked",
                      cluster_name(doctor), reason);
        doctor->cluster++;
        break;
    default:
        diagnosis_add(diagnosis, layer, VERDICT_FAILED, took(doctor), "cluster %s: %s%s",
                      cluster_name(doctor), reason,
                      layer == LAYER_BROKER && !strstr(reason, "TLS")
                          ? "; are the addresses right in tunnel-server's --kafka, and are the "
                            "brokers running?"
                          : "");
        doctor->cluster++;
    }
    next_question(doctor);
}

static void note_listed_node(void *context, int32_t id, const struct kafka_address *address)
{
    struct doctor *doctor = context;
    char host[ADDRESS_HOST_MAX + 1];

    doctor->node_total++;
    for (size_t i = 0; i < doctor->node_count; i++) {
        if (doctor->nodes[i].id != id)
            continue;
        snprintf(host, sizeof host, "%.*s", (int)address->host_size, address->host);
        address_format(host, (uint16_t)address->port, doctor->nodes[i].local);
    }
}

/* No broker is there. A cluster of controllers (KIP-919) may be meant, but not where nobody has
 * given it a name of its own. */
static void tell_of_controllers(struct doctor *doctor, const struct kafka_bootstrap_apis *apis)
{
    bool meant =
        apis->describe_cluster && strcmp(cluster_name(doctor), ADDRESS_DEFAULT_CLUSTER) != 0;

    diagnosis_add(&doctor->diagnosis, LAYER_KAFKA, meant ? VERDICT_WARNING : VERDICT_FAILED, -1,
                  "cluster %s: the answer is not from a broker: it does not serve Metadata; a "
                  "KRaft controller is like that, and serves only admin clients with "
                  "bootstrap.controllers. For all others, give a broker in tunnel-server's --kafka",
                  cluster_name(doctor));
}

/* The server has taken their addresses out: who wants to know these finds them in its log. */
static void tell_of_unusable(struct doctor *doctor)
{
    uint32_t unusable =
        kafka_bootstrap_unusable(KAFKA_ENDPOINT_BROKER, doctor->answer, doctor->answer_size);

    if (unusable > 0)
        diagnosis_add(&doctor->diagnosis, LAYER_KAFKA, VERDICT_WARNING, -1,
                      "cluster %s: clients cannot be sent to %u of its brokers, because their id "
                      "is negative, they have no port, or their host is none; node_unusable in "
                      "tunnel-server's log "
                      "names them. A broker that has just started is like that for a moment",
                      cluster_name(doctor), (unsigned)unusable);
}

/* Whether the system will choose where the cluster's brokers are found: near a bootstrap listener
 * with port 0. */
static bool are_ports_free_ones(const struct doctor *doctor)
{
    return doctor->listeners[doctor->cluster].port == 0 &&
           doctor->options->cluster_ports[doctor->cluster].first == 0;
}

/* The first answer on a connection on which the server has logged in. */
static void tell_of_login(struct doctor *doctor)
{
    char to[40] = "a bootstrap broker";

    if (doctor->login[0] == '\0')
        return;
    if (doctor->question == QUESTION_NODE)
        snprintf(to, sizeof to, "broker %d", (int)doctor->nodes[doctor->node].id);
    diagnosis_add(&doctor->diagnosis, LAYER_BROKER, VERDICT_OK, -1,
                  "cluster %s: tunnel-server logged in to %s as %s", cluster_name(doctor), to,
                  doctor->login);
    doctor->login[0] = '\0';
}

/* The answer is whole. */
static void question_answered(struct doctor *doctor, const struct kafka_bootstrap_apis *apis)
{
    struct diagnosis *diagnosis = &doctor->diagnosis;
    const struct node *node = &doctor->nodes[doctor->node];
    int64_t took_us = took(doctor);

    tell_of_login(doctor);
    switch (doctor->question) {
    case QUESTION_VERSIONS:
        diagnosis_add(diagnosis, LAYER_BROKER, VERDICT_OK, took_us,
                      "cluster %s: a bootstrap %s answers", cluster_name(doctor),
                      apis->metadata ? "broker" : "address");
        diagnosis_add(diagnosis, LAYER_KAFKA, VERDICT_OK, -1, "ApiVersions: %u APIs",
                      (unsigned)apis->count);
        if (apis->metadata) {
            doctor->question = QUESTION_METADATA;
            ask_question(doctor);
            return;
        }
        tell_of_controllers(doctor, apis);
        doctor->cluster++;
        break;
    case QUESTION_METADATA:
        diagnosis_add(diagnosis, LAYER_KAFKA, VERDICT_OK, took_us, "Metadata: %zu broker%s",
                      doctor->node_total, doctor->node_total == 1 ? "" : "s");
        tell_of_unusable(doctor);
        doctor->nodes_are_due = true;
        break;
    default:
        diagnosis_add(diagnosis, LAYER_BROKER, VERDICT_OK, took_us,
                      "broker %d of %s%s%s answers; Kafka clients find it at %s", (int)node->id,
                      cluster_name(doctor), node->broker[0] ? ", at " : "", node->broker,
                      are_ports_free_ones(doctor) ? "a port that is free then" : node->local);
        doctor->node++;
    }
    end_stream(doctor);
    next_question(doctor);
}

/* ---- the streams' callbacks */

static void on_opened(void *owner, struct mux_stream *stream)
{
    struct doctor *doctor = owner;

    if (stream != doctor->stream || doctor->over)
        return;
    doctor->opened = true;
    if (doctor->question != QUESTION_TARGET)
        return;
    const struct options *options = doctor->options;
    diagnosis_add(&doctor->diagnosis, LAYER_TARGET, VERDICT_OK, took(doctor),
                  "target %s: the server reaches it",
                  options->targets[doctor->cluster - options->cluster_count].name);
    end_stream(doctor);
    doctor->cluster++;
    next_question(doctor);
}

static void keep_answer(struct doctor *doctor, const uint8_t *bytes, size_t size)
{
    while (doctor->answer_size + size > doctor->answer_room) {
        doctor->answer_room = doctor->answer_room ? 2 * doctor->answer_room : ANSWER_FIRST;
        doctor->answer = memory_grow(doctor->answer, doctor->answer_room);
    }
    memcpy(doctor->answer + doctor->answer_size, bytes, size);
    doctor->answer_size += size;
}

static void on_data(void *owner, struct mux_stream *stream, const uint8_t *bytes, size_t size)
{
    struct doctor *doctor = owner;
    enum kafka_bootstrap_result result;
    const char *reason = "";
    struct kafka_bootstrap_apis apis = {0};

    mux_stream_consume(stream, size, clock_now_us());
    if (stream != doctor->stream || doctor->question == QUESTION_TARGET || doctor->over)
        return;
    keep_answer(doctor, bytes, size);
    if (doctor->question == QUESTION_METADATA) {
        doctor->node_total = 0;
        result =
            kafka_bootstrap_response(KAFKA_ENDPOINT_BROKER, doctor->answer, doctor->answer_size,
                                     CORRELATION_ID, note_listed_node, doctor, &reason);
    } else {
        result = kafka_bootstrap_versions_response(doctor->answer, doctor->answer_size,
                                                   CORRELATION_ID, &apis, &reason);
    }
    if (result == KAFKA_BOOTSTRAP_OK)
        question_answered(doctor, &apis);
    else if (result == KAFKA_BOOTSTRAP_EFRAME)
        question_failed(doctor, LAYER_KAFKA, reason);
}

static void on_finished(void *owner, struct mux_stream *stream)
{
    struct doctor *doctor = owner;

    if (stream == doctor->stream && doctor->question != QUESTION_TARGET && !doctor->over)
        question_failed(doctor, LAYER_KAFKA, "the connection was closed without an answer" CLOSED);
}

/* Refused, or cut short: the server says why. */
static void on_reset(void *owner, struct mux_stream *stream, enum mux_code code,
                     struct mux_text reason)
{
    struct doctor *doctor = owner;
    char why[MUX_REASON_MAX + sizeof CLOSED];

    if (stream != doctor->stream || doctor->over)
        return;
    doctor->stream = NULL;
    bool unreachable = (!doctor->opened && code != MUX_CODE_KAFKA_PROTOCOL) ||
                       code == MUX_CODE_UPSTREAM_UNREACHABLE || code == MUX_CODE_UPSTREAM_TIMEOUT;
    snprintf(why, sizeof why, "%.*s%s", (int)reason.size, reason.bytes,
             !unreachable && code == MUX_CODE_PEER_RESET ? CLOSED : "");
    question_failed(doctor, unreachable ? LAYER_BROKER : LAYER_KAFKA, why);
}

static const struct mux_stream_callbacks stream_callbacks = {
    .opened = on_opened,
    .data = on_data,
    .finished = on_finished,
    .reset = on_reset,
};

static void on_doctor_deadline(void *argument)
{
    struct doctor *doctor = argument;

    question_failed(doctor, doctor->opened ? LAYER_KAFKA : LAYER_BROKER, "no answer in time");
}

/* ---- nodes */

/* The server names a node again when responses still do. */
static bool is_known(const struct doctor *doctor, int32_t id)
{
    for (size_t i = 0; i < doctor->node_count; i++)
        if (doctor->nodes[i].id == id)
            return true;
    return false;
}

/* The ports that the client would give to nodes; no listener is opened. */
static void answer_expose_request(struct doctor *doctor, struct mux_session *session,
                                  const uint8_t *payload, size_t size)
{
    const struct options *options = doctor->options;
    const struct node_ports *bootstrap = &doctor->listeners[doctor->cluster];
    const char *host = options->advertise_host[0] ? options->advertise_host : bootstrap->host;
    struct mux_expose_reader reader;
    struct mux_expose_writer writer;
    struct mux_exposed_node asked;
    uint8_t answer[MUX_MESSAGE_PAYLOAD_MAX];

    if (!mux_expose_read(&reader, payload, size))
        return;
    mux_expose_begin(&writer, answer, sizeof answer, reader.cluster);
    while (mux_expose_next(&reader, &asked)) {
        uint16_t port = bootstrap->nodes.first != 0
                            ? node_ports_at(&bootstrap->nodes, asked.node_id, 0)
                            : ADDRESS_NODE_PORTS;
        mux_exposed_add(&writer, asked.endpoint_type, asked.node_id, port,
                        (struct mux_text){host, strlen(host)});
        if (asked.endpoint_type == 1 && doctor->node_count < NODES_MAX &&
            !is_known(doctor, asked.node_id))
            doctor->nodes[doctor->node_count++] = (struct node){.id = asked.node_id};
    }
    mux_session_send_message(session, MUX_EXPOSED, answer, mux_expose_end(&writer));
}

/* What Kafka clients with TLS want to see in the listeners' certificate. */
static void note_kept_name(struct doctor *doctor, const char *host)
{
    struct socket_address address;

    if (doctor->cluster >= doctor->options->cluster_count ||
        !doctor->options->cluster_keeps_names[doctor->cluster] || doctor->name_count == NAMES_MAX ||
        socket_parse(host, 0, &address))
        return;
    for (size_t i = 0; i < doctor->name_count; i++)
        if (strcmp(doctor->names[i], host) == 0)
            return;
    doctor->names[doctor->name_count++] = memory_text(host);
}

static void note_broker_addresses(struct doctor *doctor, const uint8_t *payload, size_t size)
{
    struct mux_expose_reader reader;
    struct mux_exposed_node told;

    if (!mux_expose_read(&reader, payload, size))
        return;
    while (mux_exposed_next(&reader, &told)) {
        char host[ADDRESS_HOST_MAX + 1];
        if (!address_take_host(told.host.bytes, told.host.size, host))
            continue;
        note_kept_name(doctor, host);
        for (size_t i = 0; i < doctor->node_count; i++)
            if (doctor->nodes[i].id == told.node_id && told.endpoint_type == 1)
                address_format(host, told.port, doctor->nodes[i].broker);
    }
}

/* Comes before the answer to the stream that was opened on the cluster. */
static void note_trouble(struct doctor *doctor, const uint8_t *payload, size_t size)
{
    struct mux_text cluster;
    struct mux_text what;

    if (doctor->over || !mux_trouble_decode(payload, size, &cluster, &what))
        return;
    diagnosis_add(
        &doctor->diagnosis, LAYER_BROKER, VERDICT_WARNING, -1,
        "cluster %.*s: of the addresses in tunnel-server's --kafka, %.*s; the others serve clients",
        (int)cluster.size, cluster.bytes, (int)what.size, what.bytes);
}

/* Comes before the answer to the stream as well. */
static void note_login(struct doctor *doctor, const uint8_t *payload, size_t size)
{
    uint32_t stream;
    struct mux_text who;

    if (doctor->over || !doctor->stream || !mux_login_decode(payload, size, &stream, &who) ||
        stream != mux_stream_id(doctor->stream))
        return;
    printable(who.bytes, who.size, doctor->login, sizeof doctor->login);
}

static void on_doctor_message(void *context, struct mux_session *session, uint8_t type,
                              const uint8_t *payload, size_t size)
{
    if (type == MUX_EXPOSE)
        answer_expose_request(context, session, payload, size);
    else if (type == MUX_ADDRESSES)
        note_broker_addresses(context, payload, size);
    else if (type == MUX_TROUBLE)
        note_trouble(context, payload, size);
    else if (type == MUX_LOGIN)
        note_login(context, payload, size);
}

/* ---- one after the other */

static bool is_target_offered(const struct mux_welcome *welcome, enum mux_target_kind kind,
                              const char *wanted)
{
    struct mux_text rest = welcome->offers;
    struct mux_text name;
    enum mux_target_kind is;

    while (mux_offer_next(&rest, &is, &name))
        if (is == kind && name.size == strlen(wanted) && memcmp(name.bytes, wanted, name.size) == 0)
            return true;
    return false;
}

static void describe_offers(const struct mux_welcome *welcome, char *text, size_t size)
{
    struct mux_text rest = welcome->offers;
    struct mux_text name;
    enum mux_target_kind kind;
    size_t fill = 0;

    snprintf(text, size, "nothing");
    while (mux_offer_next(&rest, &kind, &name) && fill + name.size + 16 < size)
        fill += (size_t)snprintf(text + fill, size - fill, "%s%s %.*s", fill > 0 ? ", " : "",
                                 kind == MUX_TARGET_TCP ? "target" : "cluster", (int)name.size,
                                 name.bytes);
}

/* Whether every name of the configuration is on offer. */
static bool check_names(struct doctor *doctor, const struct mux_welcome *welcome,
                        const char *offers)
{
    const struct options *options = doctor->options;
    bool good = true;

    for (size_t i = 0; i < options->cluster_count + options->target_count; i++) {
        bool cluster = i < options->cluster_count;
        const char *name =
            cluster ? options->clusters[i].name : options->targets[i - options->cluster_count].name;
        if (is_target_offered(welcome, cluster ? MUX_TARGET_CLUSTER : MUX_TARGET_TCP, name))
            continue;
        good = false;
        diagnosis_add(&doctor->diagnosis, LAYER_SERVER, VERDICT_FAILED, -1,
                      "the server has no --%s named %s; it offers %s", cluster ? "kafka" : "tcp",
                      name, offers);
    }
    return good;
}

static void on_doctor_up(void *context, const struct mux_welcome *welcome)
{
    struct doctor *doctor = context;
    char offers[400];

    if (doctor->over)
        return;
    diagnosis_add(&doctor->diagnosis, LAYER_TUNNEL, VERDICT_OK, -1,
                  "protocol version %u, %.*s; connections survive a lost link for %u s",
                  (unsigned)welcome->version, (int)welcome->software.size, welcome->software.bytes,
                  (unsigned)(welcome->resume_window_ms / 1000));
    describe_offers(welcome, offers, sizeof offers);
    if (!check_names(doctor, welcome, offers)) {
        finish_doctor(doctor);
        return;
    }
    diagnosis_add(&doctor->diagnosis, LAYER_SERVER, VERDICT_OK, -1,
                  "the server knows you as %.*s and offers %s",
                  welcome->identity.size > 0 ? (int)welcome->identity.size : 9,
                  welcome->identity.size > 0 ? welcome->identity.bytes : "anonymous", offers);
    if (welcome->rights.size > 0)
        diagnosis_add(&doctor->diagnosis, LAYER_SERVER, VERDICT_NOTE, -1,
                      "the server's rules (--access) allow you only this: %.*s",
                      (int)welcome->rights.size, welcome->rights.bytes);
    next_question(doctor);
}

/* ---- the path, when all questions are answered */

static void add_join(struct diagnosis *diagnosis, enum path_join join, const char *reason)
{
    if (join == PATH_JOIN_UP)
        diagnosis_add(diagnosis, LAYER_TUNNEL, VERDICT_OK, -1,
                      "a second link joins the session: several links can be used");
    else if (join == PATH_JOIN_FAILED)
        diagnosis_add(diagnosis, LAYER_TUNNEL, VERDICT_NOTE, -1,
                      "a second link cannot be had: %s; tunnel-client works with one, and tries "
                      "again now and then",
                      reason);
}

static void on_path_checked(void *context, const struct path_report *report, enum path_join join,
                            const char *reason)
{
    struct doctor *doctor = context;
    struct diagnosis *diagnosis = &doctor->diagnosis;
    char text[400];

    if (doctor->over)
        return;
    if (report->pings > 0)
        diagnosis_add(diagnosis, LAYER_TUNNEL, VERDICT_OK, (int64_t)report->rtt_median_us,
                      "a round trip to the server; the shortest of %u took %.1f ms", report->pings,
                      (double)report->rtt_least_us / 1000);
    path_report_carried(report, text, sizeof text);
    if (text[0])
        diagnosis_add(diagnosis, LAYER_TUNNEL, VERDICT_OK, (int64_t)report->took_us, "%s", text);
    path_report_advice(report, text, sizeof text);
    if (text[0])
        diagnosis_add(diagnosis, LAYER_TUNNEL, VERDICT_OK, -1, "%s", text);
    add_join(diagnosis, join, reason);
    finish_doctor(doctor);
}

static void next_question(struct doctor *doctor)
{
    const struct options *options = doctor->options;

    if (doctor->nodes_are_due && doctor->node < doctor->node_count) {
        open_probe_stream(doctor, QUESTION_NODE, MUX_TARGET_BROKER, cluster_name(doctor),
                          doctor->nodes[doctor->node].id);
        return;
    }
    doctor->cluster += doctor->nodes_are_due;
    doctor->nodes_are_due = false;
    doctor->node_count = doctor->node = 0;
    if (doctor->cluster < options->cluster_count) {
        open_probe_stream(doctor, QUESTION_VERSIONS, MUX_TARGET_CLUSTER, cluster_name(doctor), -1);
        return;
    }
    size_t target = doctor->cluster - options->cluster_count;
    if (target < options->target_count) {
        open_probe_stream(doctor, QUESTION_TARGET, MUX_TARGET_TCP, options->targets[target].name,
                          -1);
        return;
    }
    if (uplink_session(doctor->uplink))
        path_check_start(doctor->path);
    else
        finish_doctor(doctor);
}

static const struct uplink_owner uplink_owner = {
    .dialled = on_doctor_dialled,
    .message = on_doctor_message,
    .up = on_doctor_up,
    .lost = on_doctor_lost,
    .failed = on_doctor_failed,
};

/* ---- this machine */

static void plan_listeners(struct doctor *doctor)
{
    const struct options *options = doctor->options;
    size_t count = options->cluster_count + options->target_count;

    doctor->listeners = memory_new_array(count + 1, sizeof *doctor->listeners);
    for (size_t i = 0; i < count; i++) {
        bool cluster = i < options->cluster_count;
        const struct address_named *at =
            cluster ? &options->clusters[i] : &options->targets[i - options->cluster_count];
        doctor->listeners[i] = (struct node_ports){.name = at->name,
                                                   .host = at->address.host,
                                                   .port = at->address.port,
                                                   .cluster = cluster};
        if (cluster)
            doctor->listeners[i].nodes = options->cluster_ports[i];
    }
    node_ports_plan(doctor->listeners, count);
}

/* Whether a tunnel-client has a listener's port, which nobody can see who may only speak TLS there:
 * but the certificate tells. Says what is odd about it. */
static bool is_tunnels(struct doctor *doctor, const struct listener_check *check,
                       const struct node_ports *listener, enum local_port found)
{
    char shown[500];
    bool tls = *listener_check_takes(check, listener->host) != '\0';

    if (!listener->cluster || !tls || found == LOCAL_PORT_FREE)
        return found == LOCAL_PORT_TUNNEL;
    switch (listener_check_look(check, listener->host, listener->port, shown, sizeof shown)) {
    case LISTENER_SHOWN_OURS:
        diagnosis_add(&doctor->diagnosis, LAYER_LISTENER, VERDICT_OK, -1,
                      "%s is shown to Kafka clients at port %u for %s", shown,
                      (unsigned)listener->port, listener->name);
        return true;
    case LISTENER_SHOWN_OTHER:
        if (found == LOCAL_PORT_TUNNEL)
            diagnosis_add(&doctor->diagnosis, LAYER_LISTENER, VERDICT_WARNING, -1,
                          "the tunnel-client at port %u for %s shows another certificate to Kafka "
                          "clients: %s; was it started with this configuration?",
                          (unsigned)listener->port, listener->name, shown);
        return found == LOCAL_PORT_TUNNEL;
    default:
        if (found == LOCAL_PORT_TUNNEL)
            diagnosis_add(&doctor->diagnosis, LAYER_LISTENER, VERDICT_WARNING, -1,
                          "the tunnel-client at port %u for %s takes no TLS: was it started with "
                          "this configuration?",
                          (unsigned)listener->port, listener->name);
        return found == LOCAL_PORT_TUNNEL;
    }
}

static void look_at_port(struct doctor *doctor, const struct listener_check *check, size_t index)
{
    const struct options *options = doctor->options;
    const struct node_ports *listener = &doctor->listeners[index];
    const struct local_port_names names = {.advertise = options->advertise_host,
                                           .kept = listener->cluster &&
                                                   options->cluster_keeps_names[index]};
    const char *takes = listener->cluster ? listener_check_takes(check, listener->host) : "";
    char at[ADDRESS_TEXT_MAX];
    char why[400];

    address_format(listener->host, listener->port, at);
    enum local_port found =
        local_port_look(listener->host, listener->port, &names, why, sizeof why);
    if (is_tunnels(doctor, check, listener, found))
        diagnosis_add(&doctor->diagnosis, LAYER_LISTENER, VERDICT_OK, -1,
                      "%s for %s: a tunnel-client listens there%s", at, listener->name, takes);
    else if (found == LOCAL_PORT_FREE)
        diagnosis_add(&doctor->diagnosis, LAYER_LISTENER, VERDICT_OK, -1,
                      "%s for %s is free for tunnel-client%s", at, listener->name, takes);
    else
        diagnosis_add(
            &doctor->diagnosis, LAYER_LISTENER,
            listener->cluster ? VERDICT_FAILED : VERDICT_WARNING, -1,
            "%s for %s is in use: %s; your Kafka client would talk to that. " LISTENER_WHO_HOLDS
            "; to use another port, set --%s",
            at, listener->name, why, listener->cluster ? "kafka" : "tcp");
}

static void look_at_listeners(struct doctor *doctor)
{
    const struct options *options = doctor->options;
    const struct tls_authority_names kept = {(const char *const *)doctor->names,
                                             doctor->name_count};
    struct listener_check check;

    listener_check_begin(&check, &doctor->diagnosis, options, &kept);
    for (size_t i = 0; i < options->cluster_count + options->target_count; i++)
        look_at_port(doctor, &check, i);
    listener_check_clear(&check);
}

/* Lets the last frames leave. */
static void say_goodbye_and_wait(struct doctor *doctor)
{
    uint64_t limit_us = clock_now_us() + GOODBYE_MS * 1000;

    uplink_stop(doctor->uplink);
    while (!uplink_stopped(doctor->uplink) && clock_now_us() < limit_us) {
        worker_run_once_us(doctor->worker, 50 * 1000);
    }
}

/* As the client itself, so that what it cannot do then is found out now. */
static void confine_doctor(struct doctor *doctor)
{
    const struct options *options = doctor->options;
    const struct confined confined = client_confine(doctor->worker, options);
    bool files = confined.files || options->shared.core_dumps;

    if (!options->shared.confine || options->token_command || (files && confined.system_calls))
        return;
    diagnosis_add(&doctor->diagnosis, LAYER_CONFIGURATION, VERDICT_NOTE, -1,
                  "--confine gives up less here: the kernel has no %s%s%s for it",
                  files ? "" : "Landlock", files || confined.system_calls ? "" : " and no ",
                  confined.system_calls ? "" : "seccomp");
}

/* A misspelt TUNNEL_TOKEN looks like a wrong token further up. */
static void warn_of_ignored_settings(struct doctor *doctor)
{
    const struct config_call *call = &doctor->options->call;

    for (size_t i = 0; i < call->warning_count; i++)
        diagnosis_add(&doctor->diagnosis, LAYER_CONFIGURATION, VERDICT_WARNING, -1,
                      "a setting is ignored: %s", call->warnings[i]);
}

int doctor_run(struct worker *worker, const struct options *options)
{
    struct doctor *doctor = memory_new(sizeof *doctor);
    const struct telemetry_names names = {
        .clusters = TELEMETRY_LIST(options->clusters, options->cluster_count),
        .targets = TELEMETRY_LIST(options->targets, options->target_count)};
    char server[ADDRESS_TEXT_MAX];
    char error[600];

    doctor->worker = worker;
    doctor->options = options;
    doctor->deadline = timer_new(worker, on_doctor_deadline, doctor);
    address_format(options->url.host, options->url.port, server);
    diagnosis_begin(&doctor->diagnosis, stdout, options->json, server);
    plan_listeners(doctor);
    telemetry_start(worker, METRIC_CLIENT, &names);
    warn_of_ignored_settings(doctor);
    doctor->uplink = uplink_new(worker, options, &uplink_owner, doctor, error, sizeof error);
    if (doctor->uplink) {
        diagnosis_add(&doctor->diagnosis, LAYER_CONFIGURATION, VERDICT_OK, -1,
                      "%s, path %s, %zu cluster%s and %zu raw target%s",
                      options->url.tls ? "HTTPS" : "plain HTTP", options->url.path,
                      options->cluster_count, options->cluster_count == 1 ? "" : "s",
                      options->target_count, options->target_count == 1 ? "" : "s");
        confine_doctor(doctor);
        doctor->path = path_check_new(worker, doctor->uplink, options, on_path_checked, doctor);
        uplink_start(doctor->uplink);
        worker_run(worker);
        say_goodbye_and_wait(doctor);
    } else {
        diagnosis_add(&doctor->diagnosis, LAYER_CONFIGURATION, VERDICT_FAILED, -1, "%s", error);
    }
    look_at_listeners(doctor);
    int exit_code = diagnosis_end(&doctor->diagnosis);
    path_check_free(doctor->path);
    uplink_free(doctor->uplink);
    diagnosis_clear(&doctor->diagnosis);
    timer_free(doctor->deadline);
    free(doctor->listeners);
    free(doctor->answer);
    for (size_t i = 0; i < doctor->name_count; i++)
        free(doctor->names[i]);
    free(doctor);
    return exit_code;
}

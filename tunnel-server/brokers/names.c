#include "brokers/names.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "brokers/learner.h"
#include "io/clock.h"

/* What is told of one cluster. */
struct names_answer {
    struct names *names;
    struct cluster *cluster;
    struct learner *learner; /* asks the brokers; NULL: not yet, or no longer */
    bool given;              /* or about to be */
};

/* ---- the answer's messages */

struct names_writer {
    struct names_answer *answer;
    struct mux_expose_writer message;
    uint8_t payload[MUX_MESSAGE_PAYLOAD_MAX];
};

static void begin_names(struct names_writer *writer)
{
    mux_names_begin(&writer->message, writer->payload,
                    mux_text_of(writer->answer->cluster->settings->name));
}

static void end_names(struct names_writer *writer, uint8_t flags, const char *reason)
{
    size_t size = mux_names_end(&writer->message, flags, mux_text_of(reason));

    mux_session_send_message(writer->answer->names->mux, MUX_NAMES, writer->payload, size);
}

static void put_name(struct names_writer *writer, uint8_t type, int32_t id,
                     const struct address *address)
{
    struct mux_text host = mux_text_of(address->host);

    if (mux_exposed_add(&writer->message, type, id, address->port, host))
        return;
    end_names(writer, 0, "");
    begin_names(writer);
    mux_exposed_add(&writer->message, type, id, address->port, host);
}

static void put_node_names(struct names_writer *writer, enum kafka_endpoint_type type)
{
    const struct cluster *cluster = writer->answer->cluster;
    int32_t *ids = memory_new_array(CLUSTER_NODES_MAX, sizeof *ids);
    size_t count = cluster_node_ids(cluster, type, ids, CLUSTER_NODES_MAX);
    struct address address;

    for (size_t i = 0; i < count; i++)
        if (cluster_node(cluster, type, ids[i], &address))
            put_name(writer, (uint8_t)type, ids[i], &address);
    free(ids);
}

/* error: why the brokers could not be asked; "": they were. */
static void give_answer(struct names_answer *answer, const char *error)
{
    const struct address_cluster *settings = answer->cluster->settings;
    struct names_writer writer = {.answer = answer};

    begin_names(&writer);
    for (size_t i = 0; i < settings->count; i++)
        put_name(&writer, MUX_NAMES_BOOTSTRAP, (int32_t)i, &settings->brokers[i]);
    put_node_names(&writer, KAFKA_ENDPOINT_BROKER);
    put_node_names(&writer, KAFKA_ENDPOINT_CONTROLLER);
    end_names(&writer, MUX_NAMES_LAST, error);
}

/* ---- asking */

static void on_names_learned(void *context, const struct learner_result *result)
{
    struct names_answer *answer = context;

    answer->learner = NULL;
    give_answer(answer, result->error ? result->error : "");
}

static struct names_answer *find_answer(struct names *names, struct mux_text cluster)
{
    for (size_t i = 0; i < names->cluster_count; i++) {
        const char *name = names->clusters[i].settings->name;
        if (strlen(name) == cluster.size && memcmp(name, cluster.bytes, cluster.size) == 0)
            return &names->answers[i];
    }
    return NULL;
}

static void ask_for_names(struct names_answer *answer)
{
    const struct names *names = answer->names;
    struct login_account *account =
        logins_find(names->logins, names->identity, answer->cluster->settings->name,
                    (size_t)(answer - names->answers));

    answer->learner = learner_start(answer->cluster, KAFKA_ENDPOINT_BROKER, account,
                                    names->timeout_ms, on_names_learned, answer);
    login_account_release(account);
}

/* What it may not use is none of its business. */
static bool may_know(const struct names *names, const struct names_answer *answer)
{
    const struct access_rules *rules = names->access->rules;

    return !rules || access_rules_cluster(rules, names->identity, answer->cluster->settings->name);
}

void names_keep(struct names *names, const uint8_t *payload, size_t size)
{
    struct mux_text cluster;

    if (!mux_keep_decode(payload, size, &cluster))
        return;
    struct names_answer *answer = find_answer(names, cluster);
    if (!answer || answer->given || !may_know(names, answer))
        return;
    answer->given = true;
    node_listeners_keep_names(names->listeners, (size_t)(answer - names->answers));
    if (tenant_may_dial(names->tenant, clock_now_us())) {
        ask_for_names(answer);
        return;
    }
    tenant_limited(names->tenant->tenants, METRICS_LIMIT_DIALS);
    give_answer(answer, "this identity has reached its limit of new connections per minute "
                        "(--max-dials-per-minute)");
}

/* ---- life */

void names_init(struct names *names)
{
    names->answers = memory_new_array(names->cluster_count + 1, sizeof *names->answers);
    for (size_t i = 0; i < names->cluster_count; i++)
        names->answers[i] = (struct names_answer){.names = names, .cluster = &names->clusters[i]};
}

void names_clear(struct names *names)
{
    for (size_t i = 0; i < names->cluster_count; i++)
        learner_cancel(names->answers[i].learner);
    free(names->answers);
}

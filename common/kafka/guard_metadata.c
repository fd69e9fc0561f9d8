#include "kafka/guard_metadata.h"

#include "kafka/api.h"
#include "kafka/errors.h"

#include <stdlib.h>
#include <string.h>

enum {
    FIRST_WITH_CREATION = 4, /* AllowAutoTopicCreation; before, topics are always created */
    FIRST_WITH_IDS = 10,
    FIRST_WITHOUT_NAMES = 12, /* a topic may be named by id alone */
};

/* What the response must know of its request: the bytes of its note. */
struct metadata_note {
    bool all;  /* all topics were asked for: what is denied is left out */
    bool none; /* the client asked for none that it may see, but the request says all */
    uint32_t denied_count;
    size_t size; /* topics that were taken out, as they are in the response */
    const uint8_t *topics;
};

enum { NOTE_HEAD = 1 + 1 + 4 };

static struct kafka_note *write_note(const struct metadata_note *head)
{
    struct kafka_note *note = malloc(sizeof *note + NOTE_HEAD + head->size);

    if (!note)
        return NULL;
    note->size = NOTE_HEAD + head->size;
    note->bytes[0] = head->all;
    note->bytes[1] = head->none;
    byte_store_u32(note->bytes + 2, head->denied_count);
    if (head->size > 0)
        memcpy(note->bytes + NOTE_HEAD, head->topics, head->size);
    return note;
}

static struct metadata_note read_note(const struct kafka_note *note)
{
    return (struct metadata_note){
        .all = note->bytes[0] != 0,
        .none = note->bytes[1] != 0,
        .denied_count = byte_load_u32(note->bytes + 2),
        .size = note->size - NOTE_HEAD,
        .topics = note->bytes + NOTE_HEAD,
    };
}

/* A topic that is denied, as brokers show it: nothing but its name, or its id where it was asked
 * for by that. What stands before the name, and behind it. */
struct denied_topic {
    uint8_t before[2 + KAFKA_UVARINT_MAX];
    size_t before_size;
    uint8_t after[KAFKA_TOPIC_ID_SIZE + 1 + 4 + 4 + 1];
    size_t after_size;
};

/* named: it has a name, of so many bytes. id: NULL for none. */
static struct denied_topic make_denied(int16_t version, bool flexible, bool named, size_t name_size,
                                       const uint8_t *id)
{
    struct denied_topic denied;
    struct byte_writer w;

    byte_store_u16(denied.before, KAFKA_TOPIC_AUTHORIZATION_FAILED);
    if (flexible) {
        denied.before_size =
            2 + kafka_wire_put_uvarint(denied.before + 2, named ? (uint32_t)name_size + 1 : 0);
    } else {
        byte_store_u16(denied.before + 2, (uint16_t)name_size);
        denied.before_size = 4;
    }
    static const uint8_t no_id[KAFKA_TOPIC_ID_SIZE];
    byte_writer_init(&w, denied.after, sizeof denied.after);
    if (version >= FIRST_WITH_IDS)
        byte_writer_bytes(&w, id ? id : no_id, KAFKA_TOPIC_ID_SIZE);
    if (version >= 1)
        byte_writer_u8(&w, 0); /* IsInternal */
    if (flexible)
        byte_writer_u8(&w, 1); /* no partitions */
    else
        byte_writer_u32(&w, 0);
    if (version >= 8)
        byte_writer_u32(&w, 0x80000000); /* TopicAuthorizedOperations: unknown */
    if (flexible)
        byte_writer_u8(&w, 0); /* tags */
    denied.after_size = byte_writer_size(&w);
    return denied;
}

/* ---- requests */

struct metadata_request {
    struct kafka_guard_requests *g;
    struct byte_reader in;
    bool flexible;
    int16_t version;
    struct kafka_buffer *out;
    struct kafka_buffer denied; /* topics, as in the note */
    uint32_t denied_count;
    const uint8_t *first_denied; /* its name, for the record */
    size_t first_denied_size;
    uint32_t kept;
    bool creates; /* every kept topic may be created by the client */
    int error;
    const char *reason;
};

static void fail_metadata(struct metadata_request *m, int error, const char *reason)
{
    if (m->error == 0) {
        m->error = error;
        m->reason = reason;
    }
    m->in.failed = true;
}

/* How much comes is bounded by the request. */
static void put(struct metadata_request *m, struct kafka_buffer *to, const void *bytes, size_t size)
{
    if (size > 0 && !kafka_buffer_append(to, bytes, size, SIZE_MAX))
        fail_metadata(m, KAFKA_FILTER_EMEMORY, "could not be handled: out of memory");
}

static void put_count(struct metadata_request *m, int64_t count)
{
    uint8_t bytes[KAFKA_UVARINT_MAX];

    if (m->flexible) {
        put(m, m->out, bytes, kafka_wire_put_uvarint(bytes, (uint32_t)(count + 1)));
        return;
    }
    byte_store_u32(bytes, (uint32_t)(int32_t)count);
    put(m, m->out, bytes, 4);
}

/* How many; -1: null. */
static int64_t take_count(struct metadata_request *m)
{
    struct byte_reader start = m->in;

    if (m->flexible) {
        uint32_t coded = kafka_wire_uvarint(&m->in);
        if (coded == 0)
            return -1;
    } else if ((int32_t)byte_reader_u32(&m->in) == -1) {
        return -1;
    }
    m->in = start;
    return kafka_wire_count(&m->in, m->flexible);
}

static bool may_see(const struct kafka_guard_requests *g, const char *name, size_t size)
{
    return g->guard->resource(g->context, KAFKA_KEY_METADATA, KAFKA_TOPIC, name, size);
}

static void deny_name(struct metadata_request *m, const uint8_t *name, size_t size)
{
    const struct denied_topic denied = make_denied(m->version, m->flexible, true, size, NULL);

    put(m, &m->denied, denied.before, denied.before_size);
    put(m, &m->denied, name, size);
    put(m, &m->denied, denied.after, denied.after_size);
    if (m->denied_count++ == 0) {
        m->first_denied = name;
        m->first_denied_size = size;
    }
}

static void take_topic(struct metadata_request *m)
{
    struct kafka_guard_requests *g = m->g;
    const uint8_t *start = m->in.at;
    size_t size;

    if (m->version >= FIRST_WITH_IDS)
        byte_reader_bytes(&m->in, KAFKA_TOPIC_ID_SIZE);
    const uint8_t *name = kafka_wire_string(&m->in, m->flexible, &size);
    if (m->flexible)
        kafka_wire_skip_tags(&m->in);
    if (size > KAFKA_SHAPE_TEXT_MAX)
        fail_metadata(m, KAFKA_FILTER_EFRAME, "has a name of more than 1024 bytes");
    if (m->in.failed)
        return;
    bool creates = g->guard->api(g->context, KAFKA_GUARD_CREATE_TOPICS) &&
                   g->guard->resource(g->context, KAFKA_GUARD_CREATE_TOPICS, KAFKA_TOPIC,
                                      (const char *)name, size);
    /* An id's name is in the response, and is judged there. */
    if (size > 0 &&
        (!may_see(g, (const char *)name, size) || (m->version < FIRST_WITH_CREATION && !creates))) {
        deny_name(m, name, size);
        return;
    }
    m->creates &= creates;
    m->kept++;
    put(m, m->out, start, (size_t)(m->in.at - start));
}

static struct kafka_note *make_note(const struct metadata_request *m, int64_t count)
{
    const struct metadata_note note = {
        .all = count < 0 || (m->version == 0 && count == 0),
        .none = m->version == 0 && count > 0 && m->kept == 0,
        .denied_count = m->denied_count,
        .size = m->denied.size,
        .topics = m->denied.bytes,
    };

    return write_note(&note);
}

/* The rest behind the topics, with the creation of topics forbidden if need be. */
static void take_metadata_options(struct metadata_request *m)
{
    size_t left = byte_reader_left(&m->in);
    const uint8_t *rest = byte_reader_bytes(&m->in, left);

    if (m->version < FIRST_WITH_CREATION || left == 0) {
        m->in.failed |= (m->version < FIRST_WITH_CREATION) != (left == 0);
        put(m, m->out, rest, left);
        return;
    }
    const uint8_t create = m->creates ? rest[0] : 0;
    put(m, m->out, &create, 1);
    put(m, m->out, rest + 1, left - 1);
}

static void take_topics(struct metadata_request *m, int64_t *count)
{
    struct kafka_buffer *out = m->out;
    struct kafka_buffer topics = {0};

    *count = take_count(m);
    if (*count > KAFKA_GUARD_TOPICS_MAX)
        fail_metadata(m, KAFKA_FILTER_ELIMIT,
                      "names more than 65536 topics, too many to be judged by --access");
    m->out = &topics;
    for (int64_t i = 0; i < *count && !m->in.failed; i++)
        take_topic(m);
    m->out = out;
    /* In the first version none is all; the response leaves all out. */
    put_count(m, *count < 0 ? -1 : (int64_t)m->kept);
    put(m, out, topics.bytes, topics.size);
    kafka_buffer_free(&topics);
}

int kafka_guard_metadata_request(struct kafka_guard_requests *g, const uint8_t *frame, size_t size,
                                 size_t body, struct kafka_buffer *out, struct kafka_note **note)
{
    struct metadata_request m = {
        .g = g,
        .version = g->request.version,
        .flexible = g->request.version >= g->shapes->first_flexible,
        .out = out,
        .creates = g->guard->api(g->context, KAFKA_GUARD_CREATE_TOPICS),
    };
    int64_t count;

    out->size = 0;
    byte_reader_init(&m.in, frame + body, size - body);
    if (m.flexible)
        kafka_wire_skip_tags(&m.in);
    put(&m, out, frame, (size_t)(m.in.at - frame));
    take_topics(&m, &count);
    take_metadata_options(&m);
    *note = make_note(&m, count);
    kafka_buffer_free(&m.denied);
    if (!*note)
        fail_metadata(&m, KAFKA_FILTER_EMEMORY, "could not be handled: out of memory");
    if (m.in.failed) {
        free(*note);
        *note = NULL;
        g->reason = m.error != 0 ? m.reason : "is malformed";
        return m.error != 0 ? m.error : KAFKA_FILTER_EFRAME;
    }
    if (m.denied_count > 0)
        kafka_guard_note_topic(g, m.first_denied, m.first_denied_size);
    byte_store_u32(out->bytes, (uint32_t)(out->size - 4));
    return 0;
}

/* ---- responses */

struct seen_topic {
    int16_t error;
    const uint8_t *name;
    size_t name_size;
    const uint8_t *id; /* NULL: the version has none */
};

static void skip_ids(struct kafka_rewrite *r)
{
    uint32_t count = kafka_wire_count(&r->in, r->flexible);

    if (count > byte_reader_left(&r->in) / 4)
        r->in.failed = true;
    else
        byte_reader_bytes(&r->in, (size_t)count * 4);
}

static void skip_partition(struct kafka_rewrite *r)
{
    byte_reader_bytes(&r->in, 2 + 4 + 4 + (r->version >= 7 ? 4 : 0)); /* to LeaderEpoch */
    skip_ids(r);                                                      /* replicas */
    skip_ids(r);                                                      /* in sync */
    if (r->version >= 5)
        skip_ids(r); /* offline */
    if (r->flexible)
        kafka_wire_skip_tags(&r->in);
}

static void read_topic(struct kafka_rewrite *r, struct seen_topic *topic)
{
    *topic = (struct seen_topic){.error = (int16_t)byte_reader_u16(&r->in)};
    topic->name = kafka_wire_string(&r->in, r->flexible, &topic->name_size);
    if (topic->name_size > KAFKA_SHAPE_TEXT_MAX)
        kafka_rewrite_fail(r, KAFKA_FILTER_EFRAME, "has a topic's name of more than 1024 bytes");
    if (r->version >= FIRST_WITH_IDS)
        topic->id = byte_reader_bytes(&r->in, KAFKA_TOPIC_ID_SIZE);
    if (r->version >= 1)
        byte_reader_u8(&r->in); /* IsInternal */
    for (uint32_t count = kafka_wire_count(&r->in, r->flexible); count > 0 && !r->in.failed;
         count--)
        skip_partition(r);
    if (r->version >= 8)
        byte_reader_u32(&r->in); /* TopicAuthorizedOperations */
    if (r->flexible)
        kafka_wire_skip_tags(&r->in);
}

static void put_denied(struct kafka_rewrite *r, const uint8_t *name, size_t size, const uint8_t *id)
{
    const struct denied_topic denied = make_denied(r->version, r->flexible, name != NULL, size, id);

    kafka_rewrite_put(r, denied.before, denied.before_size);
    kafka_rewrite_put(r, name, size);
    kafka_rewrite_put(r, denied.after, denied.after_size);
}

enum fate { KEEP, MARK, DROP };

/* A topic without a name is one that the broker does not have: its id tells nothing. */
static enum fate fate_of(const struct kafka_guard_requests *g, const struct seen_topic *topic,
                         const struct metadata_note *note)
{
    if (note->none)
        return DROP;
    if (topic->name_size == 0 || may_see(g, (const char *)topic->name, topic->name_size))
        return KEEP;
    return note->all ? DROP : MARK;
}

/* How many topics the response will have. Only where some are left out must they be looked at. */
static uint32_t count_kept(struct kafka_guard_requests *g, struct kafka_rewrite *r, uint32_t count,
                           const struct metadata_note *note)
{
    struct byte_reader start = r->in;
    struct seen_topic topic;
    uint32_t kept = note->denied_count;

    if (!note->all)
        return note->none ? kept : kept + count;
    for (; count > 0 && !r->in.failed; count--) {
        read_topic(r, &topic);
        kept += !r->in.failed && fate_of(g, &topic, note) != DROP;
    }
    bool failed = r->in.failed;
    r->in = start;
    r->in.failed = failed;
    return kept;
}

static void put_topics_count(struct kafka_rewrite *r, uint32_t count)
{
    uint8_t bytes[KAFKA_UVARINT_MAX];

    if (r->flexible) {
        kafka_rewrite_put(r, bytes, kafka_wire_put_uvarint(bytes, count + 1));
        return;
    }
    byte_store_u32(bytes, count);
    kafka_rewrite_put(r, bytes, 4);
}

static void put_topic(struct kafka_guard_requests *g, struct kafka_rewrite *r,
                      const struct metadata_note *note)
{
    struct seen_topic topic;

    r->copied = r->in.at;
    read_topic(r, &topic);
    if (r->in.failed)
        return;
    r->judged++;
    switch (fate_of(g, &topic, note)) {
    case KEEP:
        if (topic.id && topic.name_size > 0 && topic.error == 0)
            g->guard->learnt(g->context, topic.id, (const char *)topic.name, topic.name_size);
        kafka_rewrite_copy(r);
        break;
    case MARK: {
        /* Asked for by id, it has a name only here. */
        bool by_id = topic.id && r->version >= FIRST_WITHOUT_NAMES;
        put_denied(r, by_id ? NULL : topic.name, by_id ? 0 : topic.name_size,
                   by_id ? topic.id : NULL);
        break;
    }
    default:
        break;
    }
    r->copied = r->in.at;
}

void kafka_guard_metadata_response(struct kafka_guard_requests *g, struct kafka_rewrite *r,
                                   const struct kafka_note *note)
{
    const struct metadata_note told = read_note(note);
    size_t size;

    if (r->version >= 2)
        kafka_wire_string(&r->in, r->flexible, &size); /* ClusterId */
    if (r->version >= 1)
        byte_reader_u32(&r->in); /* ControllerId */
    kafka_rewrite_copy(r);
    uint32_t count = kafka_wire_count(&r->in, r->flexible);
    uint32_t kept = count_kept(g, r, count, &told);
    if (r->in.failed)
        return;
    put_topics_count(r, kept);
    for (; count > 0 && !r->in.failed && r->error == 0; count--)
        put_topic(g, r, &told);
    kafka_rewrite_put(r, told.topics, told.size);
    r->copied = r->in.at;
    byte_reader_bytes(&r->in, byte_reader_left(&r->in));
}

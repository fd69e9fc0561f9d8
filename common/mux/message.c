#include "mux/message.h"

#include <stdio.h>
#include <string.h>

const char *mux_code_name(unsigned code)
{
    static const char *const names[MUX_CODES] = {
        [MUX_CODE_NONE] = "none",
        [MUX_CODE_PEER_RESET] = "peer_reset",
        [MUX_CODE_UNKNOWN_TARGET] = "unknown_target",
        [MUX_CODE_UNKNOWN_NODE] = "unknown_node",
        [MUX_CODE_UPSTREAM_UNREACHABLE] = "upstream_unreachable",
        [MUX_CODE_UPSTREAM_TIMEOUT] = "upstream_timeout",
        [MUX_CODE_LIMIT] = "limit",
        [MUX_CODE_KAFKA_PROTOCOL] = "kafka_protocol",
        [MUX_CODE_LISTENER] = "listener",
        [MUX_CODE_GOING_AWAY] = "going_away",
        [MUX_CODE_SESSION_LOST] = "session_lost",
        [MUX_CODE_VERSION] = "version",
        [MUX_CODE_UNKNOWN_SESSION] = "unknown_session",
        [MUX_CODE_INTERNAL] = "internal",
        [MUX_CODE_REVOKED] = "revoked",
        [MUX_CODE_LOGIN] = "login",
    };

    return code < MUX_CODES ? names[code] : "other";
}

void mux_target_text(const struct mux_target *target, char text[MUX_TARGET_TEXT_MAX])
{
    int size = target->name.size < MUX_NAME_MAX ? (int)target->name.size : (int)MUX_NAME_MAX;
    const char *name = target->name.bytes;

    if (target->kind == MUX_TARGET_BOOTSTRAP)
        snprintf(text, MUX_TARGET_TEXT_MAX, "%.*s/bootstrap/%d", size, name, (int)target->node_id);
    else if (target->kind == MUX_TARGET_CONTROLLER)
        snprintf(text, MUX_TARGET_TEXT_MAX, "%.*s/controller/%d", size, name, (int)target->node_id);
    else if (target->kind == MUX_TARGET_BROKER)
        snprintf(text, MUX_TARGET_TEXT_MAX, "%.*s/%d", size, name, (int)target->node_id);
    else
        snprintf(text, MUX_TARGET_TEXT_MAX, "%.*s", size, name);
}

static struct mux_text read_text8(struct byte_reader *r)
{
    struct mux_text text;

    text.size = byte_reader_u8(r);
    text.bytes = (const char *)byte_reader_bytes(r, text.size);
    return text;
}

static void write_text8(struct byte_writer *w, struct mux_text text, size_t bound)
{
    size_t size = text.size < bound ? text.size : bound;

    byte_writer_u8(w, (uint8_t)size);
    byte_writer_bytes(w, text.bytes, size);
}

static void read_open(struct byte_reader *r, struct mux_message *message)
{
    struct mux_target *target = &message->u.open.target;
    uint8_t kind = byte_reader_u8(r);

    target->kind = (enum mux_target_kind)kind;
    target->node_id = (int32_t)byte_reader_u32(r);
    target->name = read_text8(r);
    message->u.open.peer = read_text8(r);
    if (kind < MUX_TARGET_CLUSTER || kind > MUX_TARGET_BOOTSTRAP || target->name.size == 0 ||
        target->name.size > MUX_NAME_MAX)
        r->failed = true;
    bool numbered = mux_target_is_node(target->kind) || kind == MUX_TARGET_BOOTSTRAP;
    if (numbered ? target->node_id < 0 : target->node_id != -1)
        r->failed = true;
}

bool mux_message_decode(uint8_t type, const uint8_t *payload, size_t size,
                        struct mux_message *message)
{
    struct byte_reader r;

    memset(message, 0, sizeof *message);
    byte_reader_init(&r, payload, size);
    message->type = type;
    message->stream = byte_reader_u32(&r);
    if (message->stream == MUX_CONTROL_STREAM)
        return false;
    switch (type) {
    case MUX_OPEN:
        read_open(&r, message);
        break;
    case MUX_FINISH:
        message->u.finish.final = byte_reader_u64(&r);
        break;
    case MUX_RESET:
    case MUX_REFUSED:
        message->u.reset.final = byte_reader_u64(&r);
        message->u.reset.code = byte_reader_u16(&r);
        message->u.reset.reason = read_text8(&r);
        break;
    case MUX_OPENED:
    case MUX_DONE:
        break;
    default:
        return false;
    }
    return !r.failed;
}

void mux_message_encode(struct byte_writer *w, const struct mux_message *message)
{
    size_t before = byte_writer_size(w);

    byte_writer_u8(w, message->type);
    byte_writer_u8(w, 0);
    byte_writer_u16(w, 0);
    byte_writer_u32(w, message->stream);
    switch (message->type) {
    case MUX_OPEN:
        byte_writer_u8(w, (uint8_t)message->u.open.target.kind);
        byte_writer_u32(w, (uint32_t)message->u.open.target.node_id);
        write_text8(w, message->u.open.target.name, MUX_NAME_MAX);
        write_text8(w, message->u.open.peer, MUX_NAME_MAX);
        break;
    case MUX_FINISH:
        byte_writer_u64(w, message->u.finish.final);
        break;
    case MUX_RESET:
    case MUX_REFUSED:
        byte_writer_u64(w, message->u.reset.final);
        byte_writer_u16(w, message->u.reset.code);
        write_text8(w, message->u.reset.reason, MUX_REASON_MAX);
        break;
    default:
        break;
    }
    if (!w->failed)
        byte_store_u16(w->start + before + 2,
                       (uint16_t)(byte_writer_size(w) - before - MUX_MESSAGE_HEADER));
}

void mux_expose_begin(struct mux_expose_writer *w, void *buffer, size_t size,
                      struct mux_text cluster)
{
    if (size > MUX_MESSAGE_PAYLOAD_MAX)
        size = MUX_MESSAGE_PAYLOAD_MAX;
    byte_writer_init(&w->bytes, buffer, size);
    write_text8(&w->bytes, cluster, MUX_NAME_MAX);
    w->count = 0;
    w->count_at = w->bytes.at;
    byte_writer_u16(&w->bytes, 0);
}

bool mux_expose_add(struct mux_expose_writer *w, uint8_t endpoint_type, int32_t node_id)
{
    /* The last byte is for flags. */
    if ((size_t)(w->bytes.end - w->bytes.at) < 5 + 1 || w->count == UINT16_MAX)
        return false;
    byte_writer_u8(&w->bytes, endpoint_type);
    byte_writer_u32(&w->bytes, (uint32_t)node_id);
    w->count++;
    return true;
}

bool mux_exposed_add(struct mux_expose_writer *w, uint8_t endpoint_type, int32_t node_id,
                     uint16_t port, struct mux_text host)
{
    if ((size_t)(w->bytes.end - w->bytes.at) < 8 + (host.size < UINT8_MAX ? host.size : UINT8_MAX))
        return false;
    if (!mux_expose_add(w, endpoint_type, node_id))
        return false;
    byte_writer_u16(&w->bytes, port);
    write_text8(&w->bytes, host, UINT8_MAX);
    return true;
}

size_t mux_expose_end(struct mux_expose_writer *w)
{
    byte_store_u16(w->count_at, w->count);
    return byte_writer_size(&w->bytes);
}

size_t mux_expose_end_with(struct mux_expose_writer *w, uint8_t flags)
{
    byte_writer_u8(&w->bytes, flags);
    return mux_expose_end(w);
}

void mux_names_begin(struct mux_expose_writer *w, void *buffer, struct mux_text cluster)
{
    mux_expose_begin(w, buffer, MUX_MESSAGE_PAYLOAD_MAX - MUX_NAMES_TAIL, cluster);
}

size_t mux_names_end(struct mux_expose_writer *w, uint8_t flags, struct mux_text reason)
{
    w->bytes.end += MUX_NAMES_TAIL;
    byte_writer_u8(&w->bytes, flags);
    write_text8(&w->bytes, reason, MUX_REASON_MAX);
    return mux_expose_end(w);
}

size_t mux_keep_encode(uint8_t payload[MUX_KEEP_MAX], struct mux_text cluster)
{
    struct byte_writer w;

    byte_writer_init(&w, payload, MUX_KEEP_MAX);
    write_text8(&w, cluster, MUX_NAME_MAX);
    return byte_writer_size(&w);
}

bool mux_keep_decode(const uint8_t *payload, size_t size, struct mux_text *cluster)
{
    struct byte_reader r;

    byte_reader_init(&r, payload, size);
    *cluster = read_text8(&r);
    return !r.failed && cluster->size > 0 && cluster->size <= MUX_NAME_MAX;
}

bool mux_expose_read(struct mux_expose_reader *r, const uint8_t *payload, size_t size)
{
    byte_reader_init(&r->bytes, payload, size);
    r->cluster = read_text8(&r->bytes);
    r->left = byte_reader_u16(&r->bytes);
    return !r->bytes.failed && r->cluster.size > 0 && r->cluster.size <= MUX_NAME_MAX;
}

bool mux_expose_next(struct mux_expose_reader *r, struct mux_exposed_node *node)
{
    if (r->left == 0)
        return false;
    r->left--;
    memset(node, 0, sizeof *node);
    node->endpoint_type = byte_reader_u8(&r->bytes);
    node->node_id = (int32_t)byte_reader_u32(&r->bytes);
    return !r->bytes.failed;
}

uint8_t mux_expose_flags(struct mux_expose_reader *r)
{
    if (r->left > 0 || r->bytes.failed || byte_reader_left(&r->bytes) == 0)
        return 0;
    return byte_reader_u8(&r->bytes);
}

bool mux_exposed_next(struct mux_expose_reader *r, struct mux_exposed_node *node)
{
    if (!mux_expose_next(r, node))
        return false;
    node->port = byte_reader_u16(&r->bytes);
    node->host = read_text8(&r->bytes);
    return !r->bytes.failed;
}

bool mux_names_tail(struct mux_expose_reader *r, uint8_t *flags, struct mux_text *reason)
{
    if (r->left > 0)
        return false;
    *flags = byte_reader_u8(&r->bytes);
    *reason = read_text8(&r->bytes);
    return !r->bytes.failed;
}

size_t mux_trouble_encode(uint8_t payload[MUX_TROUBLE_MAX], struct mux_text cluster,
                          struct mux_text what)
{
    struct byte_writer w;

    byte_writer_init(&w, payload, MUX_TROUBLE_MAX);
    write_text8(&w, cluster, MUX_NAME_MAX);
    write_text8(&w, what, MUX_REASON_MAX);
    return byte_writer_size(&w);
}

bool mux_trouble_decode(const uint8_t *payload, size_t size, struct mux_text *cluster,
                        struct mux_text *what)
{
    struct byte_reader r;

    byte_reader_init(&r, payload, size);
    *cluster = read_text8(&r);
    *what = read_text8(&r);
    return !r.failed && cluster->size > 0 && cluster->size <= MUX_NAME_MAX;
}

size_t mux_login_encode(uint8_t payload[MUX_LOGIN_MAX], uint32_t stream, struct mux_text who)
{
    struct byte_writer w;

    byte_writer_init(&w, payload, MUX_LOGIN_MAX);
    byte_writer_u32(&w, stream);
    write_text8(&w, who, MUX_REASON_MAX);
    return byte_writer_size(&w);
}

bool mux_login_decode(const uint8_t *payload, size_t size, uint32_t *stream, struct mux_text *who)
{
    struct byte_reader r;

    byte_reader_init(&r, payload, size);
    *stream = byte_reader_u32(&r);
    *who = read_text8(&r);
    return !r.failed;
}

/* The receiving side of a link: its greeting, its frames, and what they say of the link itself. */
#include <string.h>

#include "mux/link.h"
#include "mux/scheduler.h"
#include "mux/session_core.h"
#include "mux/session_receive.h"
#include "mux/stream_internal.h"

/* Nothing on any link for so long: the path itself was gone, or there was nothing to say. */
enum { SILENCE_US = 1000 * 1000 };

/* Before WELCOME, only what all versions have in common is understood. */
static unsigned link_version(const struct mux_link *link)
{
    return link->phase == MUX_PHASE_GREETING ? MUX_VERSION_MIN : link->session->version;
}

/* ---- the greeting */

static bool contradicts(const struct mux_link *link, const struct mux_welcome *welcome)
{
    const struct mux_session *session = link->session;

    return welcome->resumed != (link->entry == MUX_ENTRY_RESUME) ||
           welcome->joined != (link->entry == MUX_ENTRY_JOIN) ||
           (link->entry == MUX_ENTRY_JOIN &&
            (welcome->version != session->version ||
             memcmp(welcome->key.id, session->key.id, sizeof welcome->key.id) != 0));
}

static int receive_welcome(struct mux_link *link, const uint8_t *payload, size_t size)
{
    struct mux_session *session = link->session;
    struct mux_welcome welcome;

    if (session->settings.role != MUX_CLIENT || link->phase != MUX_PHASE_GREETING)
        return mux_core_broken(session, "WELCOME at the wrong time");
    if (!mux_welcome_decode(payload, size, &welcome) || welcome.version < MUX_VERSION_MIN ||
        welcome.version > MUX_VERSION_MAX || contradicts(link, &welcome))
        return mux_core_broken(session, "WELCOME is malformed or contradicts HELLO");
    link->greeting_us = session->now_us;
    if (link->entry == MUX_ENTRY_JOIN) {
        mux_schedule_link_up(link);
        if (session->callbacks->joined)
            session->callbacks->joined(session->context, link, &welcome);
        return 0;
    }
    session->known_to_server = true;
    session->version = welcome.version;
    session->peer_initial_window = welcome.initial_window;
    session->key = welcome.key;
    if (welcome.resumed)
        link->phase = MUX_PHASE_POSITIONS;
    else
        mux_schedule_link_up(link);
    if (session->callbacks->established)
        session->callbacks->established(session->context, link, &welcome);
    mux_core_output(link);
    return 0;
}

static int receive_reject(struct mux_link *link, const uint8_t *payload, size_t size)
{
    if (link->session->settings.role != MUX_CLIENT || link->phase != MUX_PHASE_GREETING ||
        !mux_reject_decode(payload, size, &link->rejection))
        return mux_core_broken(link->session, "REJECT is malformed or at the wrong time");
    struct mux_text *text = &link->rejection.reason;
    size_t kept = text->size < MUX_REASON_MAX ? text->size : MUX_REASON_MAX;
    memcpy(link->rejection_reason, text->bytes ? text->bytes : "", kept);
    *text = (struct mux_text){link->rejection_reason, kept};
    link->reason = link->entry == MUX_ENTRY_JOIN ? "the server rejected another link"
                                                 : "the server rejected the session";
    return MUX_ERROR_REJECTED;
}

static int receive_position(struct mux_link *link, const struct mux_frame *frame,
                            struct byte_reader *r)
{
    struct mux_session *session = link->session;
    struct mux_stream *stream = &session->control;
    uint64_t received = byte_reader_u64(r);
    uint64_t consumed = byte_reader_u64(r);
    uint64_t limit = byte_reader_u64(r);

    if (link->phase != MUX_PHASE_POSITIONS)
        return mux_core_broken(session, "POSITION at the wrong time");
    if (frame->stream != MUX_CONTROL_STREAM)
        stream = idmap_get(&session->streams, frame->stream);
    if (stream) {
        struct byte_queue *queue = &stream->send;
        /* Twice for a stream, and less the second time, takes back what was let go of. */
        if (consumed > received || received < queue->start || received < stream->acknowledged ||
            received > queue->end || limit < received)
            return mux_core_broken(session, "POSITION at an invalid position");
        session->unacknowledged -= queue->read - queue->start;
        byte_queue_rewind(queue, received);
        session->unacknowledged += received - queue->start;
        mux_schedule_acknowledged(stream, received);
        if (consumed < queue->start)
            consumed = queue->start;
        if (!mux_stream_receive_credit(stream, consumed, limit))
            return mux_core_broken(session, "POSITION at an invalid position");
    }
    if (frame->stream == MUX_CONTROL_STREAM) {
        mux_schedule_link_up(link);
        if (session->settings.role == MUX_SERVER && session->callbacks->established)
            session->callbacks->established(session->context, link, NULL);
    }
    return 0;
}

/* ---- what a frame says of links */

/* RFC 6298, 2: smoothed round trip and its variation. */
static void smooth(struct mux_link *link)
{
    uint64_t rtt_us = link->rtt_us;

    if (link->rtt_smooth_us == 0) {
        link->rtt_smooth_us = rtt_us;
        link->rtt_variation_us = rtt_us / 2;
        return;
    }
    uint64_t off =
        link->rtt_smooth_us > rtt_us ? link->rtt_smooth_us - rtt_us : rtt_us - link->rtt_smooth_us;
    link->rtt_variation_us = (3 * link->rtt_variation_us + off) / 4;
    link->rtt_smooth_us = (7 * link->rtt_smooth_us + rtt_us) / 8;
}

static int receive_pong(struct mux_link *link, uint64_t token)
{
    struct mux_session *session = link->session;

    if (link->ping_us == 0 || token != link->ping_us)
        return 0; /* the answer to an earlier probe */
    link->rtt_us = session->now_us - link->ping_us;
    if (link->rtt_us == 0)
        link->rtt_us = 1;
    if (link->rtt_min_us == 0 || link->rtt_us < link->rtt_min_us)
        link->rtt_min_us = link->rtt_us;
    smooth(link);
    mux_allowance_answered(&link->allowance, link->rtt_us, link->rtt_min_us, session->now_us);
    if (link->held)
        mux_core_output(link);
    link->rtt_at_us = session->now_us;
    link->ping_us = 0;
    link->pings.answered = link->pings.asked;
    link->asked_us = link->ping_due ? session->now_us : 0;
    while (list_pop(&link->told_before))
        ;
    /* It may have been slow by chance. */
    if (session->version >= MUX_VERSION_LINKS && link->pings.answered < MUX_GROWTH_PINGS &&
        link->rtt_min_us >= MUX_GROWTH_LONG_US)
        mux_core_ask(link);
    mux_schedule_trust(link);
    if (session->callbacks->measured)
        session->callbacks->measured(session->context, link, link->rtt_us);
    return 0;
}

static int receive_goaway(struct mux_session *session, struct byte_reader *r)
{
    uint16_t code = byte_reader_u16(r);
    uint16_t size = byte_reader_u16(r);
    struct mux_text reason = {.size = size};

    reason.bytes = (const char *)byte_reader_bytes(r, size);
    if (r->failed)
        return mux_core_broken(session, "GOAWAY is malformed");
    if (session->callbacks->goaway)
        session->callbacks->goaway(session->context, (enum mux_code)code, reason);
    return 0;
}

/* Another link of the session; NULL: it is gone here, too. */
static struct mux_link *find_other(const struct mux_link *link, uint32_t attempt)
{
    for (unsigned i = 0; i < MUX_LINKS_MAX; i++) {
        struct mux_link *other = link->session->links[i];
        if (other && other != link && other->attempt == attempt)
            return other;
    }
    return NULL;
}

static void receive_gone(struct mux_link *other)
{
    if (!other || other->given_up)
        return;
    other->given_up = true;
    if (other->output.attend)
        other->output.attend(other->output.link);
}

static int receive_more_links(struct mux_session *session, uint32_t links)
{
    if (session->settings.role != MUX_CLIENT)
        return mux_core_broken(session, "MORE_LINKS from a client");
    session->links_asked = links < MUX_LINKS_MAX ? links : MUX_LINKS_MAX;
    mux_schedule_tell_wanted(session);
    return 0;
}

static void receive_suspect(struct mux_link *other)
{
    if (other)
        mux_schedule_suspect(other, true);
}

/* Of a SHRINK. */
static uint32_t number_of(const struct mux_session *session, struct byte_reader *r)
{
    return session->version >= MUX_VERSION_LINKS ? byte_reader_u32(r) : 0;
}

/* A whole frame other than DATA. */
static int receive_frame(struct mux_link *link, const struct mux_frame *frame,
                         const uint8_t *payload)
{
    struct mux_session *session = link->session;
    struct mux_credit credit;
    struct byte_reader r;
    uint64_t value;

    if (link->phase == MUX_PHASE_GREETING && frame->type != MUX_WELCOME &&
        frame->type != MUX_REJECT && !(frame->type & MUX_MAY_IGNORE))
        return mux_core_broken(session, "the first frame is neither WELCOME nor REJECT");
    if (link->phase == MUX_PHASE_POSITIONS && frame->type != MUX_POSITION &&
        !(frame->type & MUX_MAY_IGNORE))
        return mux_core_broken(session, "a frame comes before the peer's positions");
    byte_reader_init(&r, payload, frame->size);
    switch (frame->type) {
    case MUX_WELCOME:
        return receive_welcome(link, payload, frame->size);
    case MUX_REJECT:
        return receive_reject(link, payload, frame->size);
    case MUX_POSITION:
        return receive_position(link, frame, &r);
    case MUX_WINDOW:
        mux_frame_read_window(&r, session->version, &credit);
        return mux_session_receive_window(session, frame, &credit);
    case MUX_PING:
        link->pong_due = true;
        link->pong_token = byte_reader_u64(&r);
        mux_core_output(link);
        return 0;
    case MUX_PONG:
        return receive_pong(link, byte_reader_u64(&r));
    case MUX_GOAWAY:
        return receive_goaway(session, &r);
    case MUX_SHRINK:
        value = byte_reader_u64(&r);
        return mux_session_receive_shrink(session, frame, value, number_of(session, &r));
    case MUX_LIMIT:
        value = byte_reader_u64(&r);
        return mux_session_receive_limit(session, frame, value, number_of(session, &r));
    case MUX_GONE:
        receive_gone(find_other(link, byte_reader_u32(&r)));
        return 0;
    case MUX_SUSPECT:
        receive_suspect(find_other(link, byte_reader_u32(&r)));
        return 0;
    case MUX_MORE_LINKS:
        return receive_more_links(session, byte_reader_u32(&r));
    case MUX_HELLO:
        return mux_core_broken(session, "HELLO in the middle of a link");
    default:
        return 0; /* may be ignored: mux_frame_check() has looked */
    }
}

/* ---- bytes */

/* How many bytes the frame that begins in bytes must have before it can be acted upon. */
static size_t frame_wanted(const struct mux_frame *frame)
{
    return frame->type == MUX_DATA ? MUX_DATA_HEADER : MUX_FRAME_HEADER + (size_t)frame->size;
}

static int begin_data(struct mux_link *link, const struct mux_frame *frame, uint64_t offset)
{
    int error = mux_session_check_data(link->session, frame, offset);

    if (!error) {
        link->input.data = *frame;
        link->input.data_offset = offset;
        link->input.data_left = frame->size - 8u;
    }
    return error;
}

static int act(struct mux_link *link, const uint8_t *bytes)
{
    struct mux_frame frame;

    mux_frame_decode_header(bytes, &frame);
    if (frame.type != MUX_DATA)
        return receive_frame(link, &frame, bytes + MUX_FRAME_HEADER);
    if (link->phase != MUX_PHASE_UP)
        return mux_core_broken(link->session, "DATA before the link is up");
    return begin_data(link, &frame, byte_load_u64(bytes + MUX_FRAME_HEADER));
}

/* What does not lie whole in bytes: the header first, which is checked before any more is taken. */
static int collect_frame(struct mux_link *link, const uint8_t *bytes, size_t size, size_t *taken)
{
    struct mux_collector *pieces = &link->input.pieces;
    struct mux_frame frame;

    if (pieces->fill < MUX_FRAME_HEADER) {
        *taken = mux_collect(pieces, bytes, size, MUX_FRAME_HEADER);
        if (pieces->fill < MUX_FRAME_HEADER)
            return 0;
        mux_frame_decode_header(mux_collector_bytes(pieces), &frame);
        const char *wrong = mux_frame_check(&frame, link_version(link));
        if (wrong)
            return mux_core_broken(link->session, wrong);
    } else {
        mux_frame_decode_header(mux_collector_bytes(pieces), &frame);
        *taken = mux_collect(pieces, bytes, size, frame_wanted(&frame));
    }
    if (pieces->fill < frame_wanted(&frame))
        return 0;
    int error = act(link, mux_collector_bytes(pieces));
    mux_collector_clear(pieces);
    return error;
}

/* One step: some bytes of a DATA frame, or of a frame's beginning. */
static int receive_step(struct mux_link *link, const uint8_t *bytes, size_t size, size_t *taken)
{
    struct mux_frame_input *input = &link->input;
    struct mux_frame frame;

    if (input->data_left > 0) {
        *taken = size < input->data_left ? size : input->data_left;
        input->data_left -= (uint32_t)*taken;
        link->progress += *taken;
        input->data_offset += *taken;
        return mux_session_receive_data(link->session, input->data.stream,
                                        input->data_offset - *taken, bytes, *taken);
    }
    if (input->pieces.fill == 0 && size >= MUX_FRAME_HEADER) {
        /* The common case: a frame's beginning lies whole in bytes. */
        mux_frame_decode_header(bytes, &frame);
        const char *wrong = mux_frame_check(&frame, link_version(link));
        if (wrong)
            return mux_core_broken(link->session, wrong);
        size_t want = frame_wanted(&frame);
        if (size >= want) {
            *taken = want;
            return act(link, bytes);
        }
    }
    return collect_frame(link, bytes, size, taken);
}

static void note_heard(struct mux_link *link, uint64_t now_us)
{
    struct mux_session *session = link->session;

    if (now_us - session->heard_us > SILENCE_US)
        session->relieved_us = now_us;
    session->now_us = session->heard_us = link->heard_us = now_us;
}

int mux_link_receive(struct mux_link *link, const uint8_t *bytes, size_t size, uint64_t now_us)
{
    mux_core_reap(link->session);
    note_heard(link, now_us);
    link->doubted_us = 0;
    if (link->session->broken)
        return MUX_ERROR_PROTOCOL;
    while (size > 0) {
        size_t taken = 0;
        int error = receive_step(link, bytes, size, &taken);
        if (error)
            return error;
        bytes += taken;
        size -= taken;
    }
    return 0;
}

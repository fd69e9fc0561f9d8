/*
 * The sending side of the control stream: a queue of messages, which arrive exactly once whatever
 * happens to links. The layer above mux/session_core.h; see mux/types.h.
 *
 * A queue that is full sets session->control_overflow, and the next verb ends the session: the
 * peer reads nothing of it.
 */
#pragma once

#include "mux/session_core.h"

/* What links could not carry yet, bytes; more than the second number only while the session's share
 * of memory has room. */
#define MUX_CONTROL_QUEUE_MAX (4u * 1024 * 1024)
#define MUX_CONTROL_QUEUE_FREE (64u * 1024)

/* Messages about streams. */
void mux_control_send(struct mux_session *session, const struct mux_message *message);
void mux_control_send_simple(struct mux_session *session, enum mux_message_type type,
                             uint32_t stream);
/* RESET or REFUSED. */
void mux_control_send_reset(struct mux_session *session, enum mux_message_type type,
                            uint32_t stream, uint64_t final, enum mux_code code,
                            struct mux_text reason);
/* Any other, already encoded: at most MUX_MESSAGE_PAYLOAD_MAX bytes. */
void mux_control_send_payload(struct mux_session *session, uint8_t type, const uint8_t *payload,
                              size_t size);

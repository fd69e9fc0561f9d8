/*
 * What a session makes of the frames that concern streams, whichever link they came over. The layer
 * above mux/scheduler.h; see mux/types.h. Each returns 0 or MUX_ERROR_PROTOCOL.
 */
#pragma once

#include "mux/session_core.h"

/* Before any byte of a DATA frame is taken. */
int mux_session_check_data(struct mux_session *session, const struct mux_frame *frame,
                           uint64_t offset);
/* Some bytes of it, which was checked. In version 1 offset is where the stream stands. */
int mux_session_receive_data(struct mux_session *session, uint32_t stream, uint64_t offset,
                             const uint8_t *bytes, size_t size);
int mux_session_receive_window(struct mux_session *session, const struct mux_frame *frame,
                               struct mux_credit *credit);
/* number: of the SHRINK; 0 in version 1. */
int mux_session_receive_shrink(struct mux_session *session, const struct mux_frame *frame,
                               uint64_t limit, uint32_t number);
int mux_session_receive_limit(struct mux_session *session, const struct mux_frame *frame,
                              uint64_t limit, uint32_t number);

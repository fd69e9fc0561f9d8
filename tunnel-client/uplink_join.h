/*
 * How an uplink gets one more link for a session that has some, and closes those that it no longer
 * needs. When to dial, joining.h knows.
 */
#pragma once

#include "http/client.h"
#include "monitoring/telemetry.h"
#include "mux/handshake.h"
#include "uplink_core.h"

/* The timer uplink->join: looks whether there should be more links, or fewer. */
void uplink_join(void *uplink);
/* Has it do so soon, outside of callbacks. */
void uplink_look_at_links(struct uplink *uplink);
/* Nothing else is under way, and the session can have one more. */
bool uplink_may_join(const struct uplink *uplink);
void uplink_count_join(const struct uplink *uplink, enum metrics_join result);
/* The dial for one more link, or what it led to, has failed; nobody misses the link. rejection:
 * NULL if the server did not send one. */
void uplink_join_failed(struct uplink *uplink, const char *hop, int status,
                        const struct mux_reject *rejection, const char *reason, unsigned asked_ms);
/* A link that was to be one more has ended before WELCOME. */
void uplink_join_ended(struct uplink *uplink, const struct carrier_link *at, enum link_end end,
                       const char *reason);

/*
 * Notices that the machine has slept, or that the network has changed for it: a link may then be
 * dead without a sign of it, and whoever waits before the next dial may try at once.
 *
 * Sleep shows as wall-clock time that passed without the loop (so does a stopped process, or a
 * clock that was set). That addresses or routes have changed is told by the kernel: over netlink on
 * Linux, over a routing socket on macOS and the BSDs; elsewhere nobody tells. They do all the time
 * on a machine with containers, so it counts only if another address of this machine would be used
 * towards the peer, or one where there was none.
 */
#pragma once

#include "io/socket.h"
#include "io/worker.h"

struct wake;

enum wake_reason { WAKE_SLEPT, WAKE_NETWORK };

/* For WAKE_SLEPT, slept_ms is about how long. */
typedef void (*wake_callback)(void *context, enum wake_reason reason, uint64_t slept_ms);

struct wake *wake_new(struct worker *worker, wake_callback callback, void *context);
void wake_free(struct wake *wake);
/* Whom the way is watched to; before the first call, and until there is an address, all that is far
 * away. */
void wake_watch(struct wake *wake, const struct socket_address *peer);

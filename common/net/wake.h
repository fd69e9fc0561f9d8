/*
 * Notices that the machine has slept, or that its network has changed: a link may then be dead
 * without a sign of it, and whoever waits before the next dial may try at once.
 *
 * Sleep shows as wall-clock time that passed without the loop (so does a stopped process, or a
 * clock that was set). Changes of the machine's own addresses are told by the kernel: over netlink
 * on Linux, over a routing socket on macOS and the BSDs; elsewhere nobody tells.
 */
#pragma once

#include "net/worker.h"

struct wake;

enum wake_reason { WAKE_SLEPT, WAKE_NETWORK };

/* For WAKE_SLEPT, slept_ms is about how long. */
typedef void (*wake_callback)(void *context, enum wake_reason reason, uint64_t slept_ms);

struct wake *wake_new(struct worker *worker, wake_callback callback, void *context);
void wake_free(struct wake *wake);

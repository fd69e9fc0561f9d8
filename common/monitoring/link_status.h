/* What /status.json says of a link, at both ends. */
#pragma once

#include "base/json.h"
#include "tunnel/link.h"

/* Members of the object that is open: number, role ("greeting" before it is up), age, round trip,
 * what the kernel knows of its path, and what it has carried. */
void link_status_put(const struct link *link, uint64_t now_us, struct json_writer *json);

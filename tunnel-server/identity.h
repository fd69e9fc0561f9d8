/*
 * What an identity is: who a client is, as text. It names the client in the log and on the status
 * page, and only who has it may carry on a session.
 *
 * Two clients that are not the same must not have one identity: none is ever cut to fit. One that
 * is too long is refused where it comes from, so that whoever set it up learns it, and not hashed:
 * identities are for people who read an audit log.
 */
#pragma once

#include <stddef.h>

#include "http/server.h"

/* Without the NUL. WELCOME (docs/protocol.md) and the peers' protocol carry as many. */
#define IDENTITY_MAX (HTTP_IDENTITY_MAX - 1)

/* Why these bytes can be no identity: the part of a sentence that follows its kind ("is ...",
 * "holds ..."). NULL: they can, being 1 to IDENTITY_MAX bytes of printable UTF-8. */
const char *identity_check(const char *text, size_t size);

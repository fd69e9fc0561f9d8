/* What --header says: header fields of the user's own for the request that becomes the WebSocket.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

/* All of them together, as they are sent: servers take 8 KiB at least, and there are others. */
#define REQUEST_HEADERS_MAX (4 * 1024)

/*
 * Looks at entries NAME:VALUE (RFC 9110 section 5). Those that the handshake itself sends, or that
 * say where a request ends, are refused; Authorization too if with_token.
 * false: error holds a sentence without any value, for values may be secrets.
 */
bool request_headers_check(const struct config_list *list, bool with_token, char *error,
                           size_t size);

/* "Name: value" of a checked entry, to be given to secret_free(). Aborts without memory. */
char *request_header_line(const char *entry);

/*
 * The header lines of an HTTP/1.x message (RFC 9112, 5; RFC 9110, 5): NAME ":" OWS VALUE OWS. What
 * requests and responses have in common.
 *
 * The room http/ is HTTP/1.x (RFC 9112) on both sides. Its readers and writers of heads are
 * sans-I/O and use base/ and libc only: responses as a client gets them, to CONNECT, to the upgrade
 * to a WebSocket, to a request for a token; requests as a server gets them; answers. Above them are
 * the client's calls and the server's door, which move bytes.
 *
 * There is no library under it. libwebsockets does both sides, but could not use a connection that
 * exists already, as behind a proxy, and could be crashed before anybody had logged in (HTTP/2,
 * which cannot be left out of Debian 12's); http-parser is no longer kept, and llhttp is not in
 * Debian 12.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Points into the message. */
struct http_field {
    const char *name;
    size_t name_size;
    const char *value; /* without the blanks around it */
    size_t value_size;
};

/* Lines yet to be read; each ends in LF or CRLF. Copy it to read them again. */
struct http_fields {
    const char *at;
    const char *end;
};

/* What names of headers, methods and the like consist of (RFC 9110, 5.6.2). */
bool http_is_token(char c);
/* How many bytes at the beginning of text can be the name of a header. */
size_t http_name_size(const char *text);
/* Whether a header of that name speaks of the connection, of where the message ends, or of the
 * upgrade (RFC 9112, RFC 6455): only whoever makes the request can get that right. */
bool http_is_framing(const char *name, size_t size);

/* The next line without its end; false: there is none. */
bool http_fields_line(struct http_fields *fields, const char **line, size_t *size);
/* Cuts a line apart; false: it is no header, or the name has blanks around it (which is how a
 * header that is folded over lines goes on). */
bool http_field_split(const char *line, size_t size, struct http_field *field);
/* The next header of that name, which is given in any case; lines that are none are skipped. */
bool http_fields_find(struct http_fields *fields, const char *name, struct http_field *field);
/* Whether one of the comma-separated elements of the headers of that name is word, without regard
 * to case. */
bool http_fields_have(struct http_fields fields, const char *name, const char *word);
/* A Content-Length: digits only. false: it is none, or far beyond any body of interest. */
bool http_field_length(const struct http_field *field, uint64_t *length);

/*
 * Others' words for the log: what a command wrote to standard error, what a server answered. They
 * may hold a token or key (a server may repeat what it was sent), so whatever could be one is left
 * out. That is all: what is shown goes through base/printable.h as well.
 */
#pragma once

#include <stddef.h>

/* Fingerprints and request ids are shorter, tokens worth the name are longer. */
#define REDACT_PART_MAX 48

/*
 * Copies text[0..size) to out, of room bytes (at least 1) with the NUL, cut to fit. Runs of
 * blanks and control characters become one blank, none at either end. Each occurrence of secret
 * (NULL: none) becomes "(...)", and so does a run of letters, digits and -._~+/=:% that looks like
 * a token: it has more than REDACT_PART_MAX characters between dots and colons, or begins a JSON
 * object in base64 (eyJ).
 */
void redact(const char *text, size_t size, const char *secret, char *out, size_t room);

/* For a text whose end was cut off before: its size without the run that it ends in, which may be
 * the beginning of a token. */
size_t redact_cut(const char *text, size_t size);

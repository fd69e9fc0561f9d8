/*
 * Others' words where people read them: what a server, a proxy, a broker or a Kafka client says,
 * before it reaches a terminal, the log or a page. A peer's bytes must neither steer a terminal
 * (control characters, also C1 as UTF-8 or as single bytes) nor break, reorder or hide what is
 * shown (line separators, bidirectional controls, characters without width).
 *
 * Log and JSON writer do this by themselves; what is printed otherwise goes through printable().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for the escape of a character, or the character itself, and a NUL. */
#define PRINTABLE_MAX 16

/* As it stands in JSON: \n, \u001b, a pair of \u above U+FFFF. NULL: it may stand for itself. */
const char *printable_escape(uint32_t c, char buffer[PRINTABLE_MAX]);
/*
 * How the first character of bytes (size > 0) is shown: *written bytes in out. Returns how many
 * bytes it is made of; one that is no UTF-8 is shown as \x9b. Backslashes stand for themselves, so
 * that what has been made printable stays as it is.
 */
size_t printable_character(const uint8_t *bytes, size_t size, char out[PRINTABLE_MAX],
                           size_t *written);
/* text[0..size) in out, of room bytes with the NUL. false: it did not fit, and was cut between two
 * characters. */
bool printable(const char *text, size_t size, char *out, size_t room);
/* The same in place, where each byte must be one column: all but ASCII becomes a question mark. */
void printable_columns(char *text);
/* Whether there is something, and nothing but visible ASCII: all that a host can be made of,
 * whoever names it. */
bool printable_is_word(const char *text, size_t size);

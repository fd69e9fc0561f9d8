/* Base64 with the alphabet of URLs and without padding (RFC 4648, 5; RFC 7515, 2). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room that decoding so much text takes. */
#define BASE64URL_DECODED_MAX(text_size) ((text_size) / 4 * 3 + 2)

/* Fills in out, of room bytes, and its *size. false: text is no such encoding, or there is no room.
 * Each sequence of bytes has exactly one text that is taken: bits beyond the last byte are zero. */
bool base64url_decode(const char *text, size_t text_size, uint8_t *out, size_t room, size_t *size);

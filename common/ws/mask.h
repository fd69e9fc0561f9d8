/* Masking of payload, RFC 6455 section 5.3: byte i of a payload is XORed with byte i mod 4 of the
 * key. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * Masks (or unmasks: it is the same) size bytes in place. offset is the position of bytes[0] in its
 * frame's payload, so that a payload can be handled in pieces of any size.
 */
void ws_mask(uint8_t *bytes, size_t size, const uint8_t key[4], uint64_t offset);
/* The same into another place, so that bytes which are kept and copied anyway are not gone through
 * once more. */
void ws_mask_copy(uint8_t *out, const uint8_t *bytes, size_t size, const uint8_t key[4],
                  uint64_t offset);

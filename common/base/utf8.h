/* UTF-8 (RFC 3629): strict, no overlong forms, no surrogates, nothing above U+10FFFF. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Decodes the character at bytes into code_point and returns its size, 1 to 4.
 * Returns 0 if the bytes are no character or size cuts it short; code_point is then untouched.
 */
size_t utf8_decode(const uint8_t *bytes, size_t size, uint32_t *code_point);

bool utf8_valid(const uint8_t *bytes, size_t size);

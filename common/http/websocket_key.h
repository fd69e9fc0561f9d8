/* The nonce of a WebSocket's upgrade, and the answer that proves that it was understood (RFC 6455,
 * 4.1 and 4.2.2). */
#pragma once

#include <stdbool.h>

#define WEBSOCKET_KEY_SIZE 25    /* 16 bytes in base64, and a NUL */
#define WEBSOCKET_ACCEPT_SIZE 29 /* a SHA-1 digest in base64, and a NUL */

/* A new one, for Sec-WebSocket-Key. */
void websocket_key_new(char key[WEBSOCKET_KEY_SIZE]);
/* Whether it is 16 bytes in base64. */
bool websocket_key_valid(const char *key);
/* What Sec-WebSocket-Accept must say to a key. */
void websocket_key_accept(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE]);

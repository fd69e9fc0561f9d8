#include "http/websocket_key.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NONCE_SIZE = 16 };

void websocket_key_new(char key[WEBSOCKET_KEY_SIZE])
{
    unsigned char nonce[NONCE_SIZE];

    if (RAND_bytes(nonce, sizeof nonce) != 1)
        abort();
    EVP_EncodeBlock((unsigned char *)key, nonce, sizeof nonce);
}

bool websocket_key_valid(const char *key)
{
    size_t digits = 0;

    while (isalnum((unsigned char)key[digits]) || key[digits] == '+' || key[digits] == '/')
        digits++;
    return digits == 22 && strcmp(key + digits, "==") == 0;
}

void websocket_key_accept(const char *key, char accept[WEBSOCKET_ACCEPT_SIZE])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
    unsigned char digest[EVP_MAX_MD_SIZE];
    char text[WEBSOCKET_KEY_SIZE + sizeof guid];
    unsigned size = 0;

    snprintf(text, sizeof text, "%.24s%s", key, guid);
    if (EVP_Digest(text, strlen(text), digest, &size, EVP_sha1(), NULL) != 1)
        abort();
    EVP_EncodeBlock((unsigned char *)accept, digest, (int)size);
}

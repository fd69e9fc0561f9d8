#include "tls/tls_seal.h"

#include <assert.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"

enum {
    NONCE = 12,
    TAG = 16,
    TYPE_DATA = 23, /* what the header of every protected record says */
    KEY_MAX = 32,
};

/* A cipher suite, as far as it concerns records. */
struct tls_seal_suite {
    const EVP_CIPHER *cipher;
    const EVP_MD *hash;
    size_t key_size;
};

struct tls_sealer {
    struct tls_seal_suite suite;
    struct tls_seal_secret secret;
    EVP_CIPHER_CTX *cipher;
    uint8_t nonce[NONCE]; /* the keys' own: each record's has its number added to it */
    uint64_t number;      /* of the next record */
    uint8_t type;
    uint8_t *start;
    uint8_t *at;
    size_t left; /* to be added */
};

/* Its nonces have 12 bytes unless something else is said. */
static void set_key(struct tls_sealer *sealer, const uint8_t *key)
{
    if (EVP_EncryptInit_ex(sealer->cipher, sealer->suite.cipher, NULL, key, NULL) != 1)
        abort();
}

#if defined __linux__ && defined SSL_OP_ENABLE_KTLS && !defined OPENSSL_NO_KTLS

/* As in Linux's include/uapi/linux/tls.h, which is not everywhere where the C library is. */
struct tls_kernel_keys {
    uint16_t version;
    uint16_t cipher;
};

enum { KERNEL_AES_128_GCM = 51, KERNEL_AES_256_GCM = 52 };

struct tls_kernel_aes_128 {
    struct tls_kernel_keys keys;
    uint8_t nonce_end[8];
    uint8_t key[16];
    uint8_t nonce_start[4];
    uint8_t number[8];
};

struct tls_kernel_aes_256 {
    struct tls_kernel_keys keys;
    uint8_t nonce_end[8];
    uint8_t key[32];
    uint8_t nonce_start[4];
    uint8_t number[8];
};

void tls_seal_offer(SSL *ssl, void (*tell)(const SSL *ssl, const char *line))
{
    SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(ssl), tell);
    SSL_set_options(ssl, SSL_OP_ENABLE_KTLS);
}

static struct tls_sealer *new_sealer(const struct tls_seal_suite *suite,
                                     const struct tls_seal_secret *secret, const uint8_t *key,
                                     const uint8_t nonce_start[4], const uint8_t nonce_end[8],
                                     const uint8_t number[8])
{
    if (secret->size != (size_t)EVP_MD_get_size(suite->hash))
        return NULL;
    struct tls_sealer *sealer = memory_new(sizeof *sealer);

    sealer->suite = *suite;
    sealer->secret = *secret;
    memcpy(sealer->nonce, nonce_start, 4);
    memcpy(sealer->nonce + 4, nonce_end, 8);
    sealer->number = byte_load_u64(number);
    sealer->cipher = EVP_CIPHER_CTX_new();
    if (!sealer->cipher)
        abort();
    set_key(sealer, key);
    return sealer;
}

struct tls_sealer *tls_sealer_new(const void *keys, const struct tls_seal_secret *secret)
{
    const struct tls_kernel_keys *kind = keys;

    if (kind->version != TLS1_3_VERSION)
        return NULL;
    if (kind->cipher == KERNEL_AES_128_GCM) {
        const struct tls_kernel_aes_128 *given = keys;
        const struct tls_seal_suite suite = {EVP_aes_128_gcm(), EVP_sha256(), sizeof given->key};
        return new_sealer(&suite, secret, given->key, given->nonce_start, given->nonce_end,
                          given->number);
    }
    if (kind->cipher == KERNEL_AES_256_GCM) {
        const struct tls_kernel_aes_256 *given = keys;
        const struct tls_seal_suite suite = {EVP_aes_256_gcm(), EVP_sha384(), sizeof given->key};
        return new_sealer(&suite, secret, given->key, given->nonce_start, given->nonce_end,
                          given->number);
    }
    return NULL;
}

#else

void tls_seal_offer(SSL *ssl, void (*tell)(const SSL *ssl, const char *line))
{
    (void)ssl;
    (void)tell;
}

struct tls_sealer *tls_sealer_new(const void *keys, const struct tls_seal_secret *secret)
{
    (void)keys;
    (void)secret;
    return NULL;
}

#endif

bool tls_seal_read_secret(const char *line, bool server, struct tls_seal_secret *secret)
{
    const char *label = server ? "SERVER_TRAFFIC_SECRET_0 " : "CLIENT_TRAFFIC_SECRET_0 ";
    const char *digits = strrchr(line, ' ');

    if (strncmp(line, label, strlen(label)) != 0)
        return false;
    digits++;
    secret->size = 0;
    for (; digits[0] != '\0' && secret->size < sizeof secret->bytes; digits += 2) {
        int high = bytes_hex_digit(digits[0]);
        int low = bytes_hex_digit(digits[1]);
        if (high < 0 || low < 0) {
            secret->size = 0;
            return false;
        }
        secret->bytes[secret->size++] = (uint8_t)(high << 4 | low);
    }
    return secret->size > 0;
}

void tls_sealer_free(struct tls_sealer *sealer)
{
    if (!sealer)
        return;
    EVP_CIPHER_CTX_free(sealer->cipher); /* overwrites the key */
    byte_wipe(sealer, sizeof *sealer);
    free(sealer);
}

/* Nothing that a peer does makes encryption fail, and what could not be encrypted must not leave.
 * out NULL: authenticates only. */
static void encrypt_bytes(struct tls_sealer *sealer, uint8_t *out, const void *bytes, size_t size)
{
    int put;

    if (EVP_EncryptUpdate(sealer->cipher, out, &put, bytes, (int)size) != 1 || put != (int)size)
        abort();
}

void tls_seal_begin(struct tls_sealer *sealer, uint8_t type, size_t size, uint8_t *out)
{
    uint8_t nonce[NONCE];

    assert(size <= TLS_SEAL_PLAIN_MAX);
    memcpy(nonce, sealer->nonce, NONCE);
    byte_store_u64(nonce + 4, byte_load_u64(nonce + 4) ^ sealer->number++);
    if (EVP_EncryptInit_ex(sealer->cipher, NULL, NULL, NULL, nonce) != 1)
        abort();
    out[0] = TYPE_DATA;
    byte_store_u16(out + 1, TLS1_2_VERSION);
    byte_store_u16(out + 3, (uint16_t)(size + 1 + TAG));
    encrypt_bytes(sealer, NULL, out, SSL3_RT_HEADER_LENGTH);
    sealer->start = out;
    sealer->at = out + SSL3_RT_HEADER_LENGTH;
    sealer->left = size;
    sealer->type = type;
}

void tls_seal_add(struct tls_sealer *sealer, const void *bytes, size_t size)
{
    assert(size <= sealer->left);
    encrypt_bytes(sealer, sealer->at, bytes, size);
    sealer->at += size;
    sealer->left -= size;
}

size_t tls_seal_end(struct tls_sealer *sealer)
{
    uint8_t unused[16];
    int put;

    assert(sealer->left == 0);
    encrypt_bytes(sealer, sealer->at, &sealer->type, 1);
    sealer->at++;
    if (EVP_EncryptFinal_ex(sealer->cipher, unused, &put) != 1 ||
        EVP_CIPHER_CTX_ctrl(sealer->cipher, EVP_CTRL_AEAD_GET_TAG, TAG, sealer->at) != 1)
        abort();
    return (size_t)(sealer->at + TAG - sealer->start);
}

/* HKDF-Expand-Label() without a context (RFC 8446, 7.1), of no more than the hash yields. */
static void expand_label(const struct tls_sealer *sealer, const char *label, uint8_t *out,
                         size_t size)
{
    uint8_t yield[EVP_MAX_MD_SIZE];
    uint8_t info[64];
    unsigned yield_size = 0;
    struct byte_writer w;

    byte_writer_init(&w, info, sizeof info);
    byte_writer_u16(&w, (uint16_t)size);
    byte_writer_u8(&w, (uint8_t)(6 + strlen(label)));
    byte_writer_bytes(&w, "tls13 ", 6);
    byte_writer_bytes(&w, label, strlen(label));
    byte_writer_u8(&w, 0);
    byte_writer_u8(&w, 1); /* the first block of HKDF-Expand() (RFC 5869, 2.3) */
    if (!HMAC(sealer->suite.hash, sealer->secret.bytes, (int)sealer->secret.size, info,
              byte_writer_size(&w), yield, &yield_size))
        abort();
    assert(size <= yield_size);
    memcpy(out, yield, size);
    byte_wipe(yield, sizeof yield);
}

void tls_seal_update_keys(struct tls_sealer *sealer)
{
    uint8_t key[KEY_MAX];

    expand_label(sealer, "traffic upd", sealer->secret.bytes, sealer->secret.size);
    expand_label(sealer, "key", key, sealer->suite.key_size);
    expand_label(sealer, "iv", sealer->nonce, NONCE);
    set_key(sealer, key);
    byte_wipe(key, sizeof key);
    sealer->number = 0;
}

bool tls_seal_is_key_update(uint8_t type, const void *bytes, size_t size)
{
    return type == SSL3_RT_HANDSHAKE && size > 0 && *(const uint8_t *)bytes == SSL3_MT_KEY_UPDATE;
}

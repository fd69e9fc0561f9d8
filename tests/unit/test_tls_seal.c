/* Records as RFC 8448 has them, and as OpenSSL takes them for its own (see also test_transport.c).
 */
#include "../lib/cmocka.h"

#include <openssl/evp.h>
#include <string.h>

#include "tls/tls_seal.h"

/* RFC 8448, 3: "simple 1-RTT handshake", what the client sends. */
static const uint8_t secret_of_rfc_8448[] = {
    0x9e, 0x40, 0x64, 0x6c, 0xe7, 0x9a, 0x7f, 0x9d, 0xc0, 0x5a, 0xf8, 0x88, 0x9b, 0xce, 0x65, 0x52,
    0x87, 0x5a, 0xfa, 0x0b, 0x06, 0xdf, 0x00, 0x87, 0xf7, 0x92, 0xeb, 0xb7, 0xc1, 0x75, 0x04, 0xa5};

#if defined __linux__ && !defined OPENSSL_NO_KTLS

static const uint8_t record_of_rfc_8448[] = {
    0x17, 0x03, 0x03, 0x00, 0x43, 0xa2, 0x3f, 0x70, 0x54, 0xb6, 0x2c, 0x94, 0xd0, 0xaf, 0xfa,
    0xfe, 0x82, 0x28, 0xba, 0x55, 0xcb, 0xef, 0xac, 0xea, 0x42, 0xf9, 0x14, 0xaa, 0x66, 0xbc,
    0xab, 0x3f, 0x2b, 0x98, 0x19, 0xa8, 0xa5, 0xb4, 0x6b, 0x39, 0x5b, 0xd5, 0x4a, 0x9a, 0x20,
    0x44, 0x1e, 0x2b, 0x62, 0x97, 0x4e, 0x1f, 0x5a, 0x62, 0x92, 0xa2, 0x97, 0x70, 0x14, 0xbd,
    0x1e, 0x3d, 0xea, 0xe6, 0x3a, 0xee, 0xbb, 0x21, 0x69, 0x49, 0x15, 0xe4};
static const uint8_t alert_of_rfc_8448[] = {0x17, 0x03, 0x03, 0x00, 0x13, 0xc9, 0x87, 0x27,
                                            0x60, 0x65, 0x56, 0x66, 0xb7, 0x4d, 0x7f, 0xf1,
                                            0x15, 0x3e, 0xfd, 0x6d, 0xb6, 0xd0, 0xb0, 0xe3};

/* What OpenSSL gives to its BIO: Linux's struct tls12_crypto_info_aes_gcm_128. */
struct keys {
    uint16_t version;
    uint16_t cipher;
    uint8_t nonce_end[8];
    uint8_t key[16];
    uint8_t nonce_start[4];
    uint8_t number[8];
};

static const struct keys keys_of_rfc_8448 = {TLS1_3_VERSION,
                                             51,
                                             {0xee, 0x08, 0x57, 0x90, 0x33, 0xe5, 0x23, 0xd9},
                                             {0x17, 0x42, 0x2d, 0xda, 0x59, 0x6e, 0xd5, 0xd9, 0xac,
                                              0xd8, 0x90, 0xe3, 0xc6, 0x3f, 0x50, 0x51},
                                             {0x5b, 0x78, 0x92, 0x3d},
                                             {0}};

static struct tls_sealer *new_sealer(const struct keys *keys)
{
    struct tls_seal_secret secret = {.size = sizeof secret_of_rfc_8448};

    memcpy(secret.bytes, secret_of_rfc_8448, sizeof secret_of_rfc_8448);
    return tls_sealer_new(keys, &secret);
}

static size_t seal(struct tls_sealer *sealer, uint8_t type, const uint8_t *bytes, size_t size,
                   size_t step, uint8_t *out)
{
    tls_seal_begin(sealer, type, size, out);
    for (size_t at = 0; at < size; at += step)
        tls_seal_add(sealer, bytes + at, size - at < step ? size - at : step);
    return tls_seal_end(sealer);
}

/* In pieces of any size; the second record, an alert, has the next number. */
static void the_records_of_rfc_8448(void **state)
{
    static const uint8_t close_notify[] = {1, 0};
    uint8_t data[50];
    uint8_t out[sizeof data + TLS_SEAL_ADDED];

    (void)state;
    for (uint8_t i = 0; i < sizeof data; i++)
        data[i] = i;
    for (size_t step = 1; step <= sizeof data; step++) {
        struct tls_sealer *sealer = new_sealer(&keys_of_rfc_8448);
        assert_non_null(sealer);
        assert_int_equal(seal(sealer, SSL3_RT_APPLICATION_DATA, data, sizeof data, step, out),
                         sizeof record_of_rfc_8448);
        assert_memory_equal(out, record_of_rfc_8448, sizeof record_of_rfc_8448);
        assert_int_equal(seal(sealer, SSL3_RT_ALERT, close_notify, sizeof close_notify, step, out),
                         sizeof alert_of_rfc_8448);
        assert_memory_equal(out, alert_of_rfc_8448, sizeof alert_of_rfc_8448);
        tls_sealer_free(sealer);
    }
}

static void what_is_left_to_openssl(void **state)
{
    struct keys keys = keys_of_rfc_8448;
    struct tls_seal_secret secret = {.size = 0};

    (void)state;
    keys.version = TLS1_2_VERSION;
    assert_null(new_sealer(&keys));
    keys = keys_of_rfc_8448;
    keys.cipher = 54; /* ChaCha20-Poly1305 */
    assert_null(new_sealer(&keys));
    /* Without the secret a key update could not be followed. */
    assert_null(tls_sealer_new(&keys_of_rfc_8448, &secret));
    secret.size = 48; /* of another hash */
    assert_null(tls_sealer_new(&keys_of_rfc_8448, &secret));
}

#endif

static void lines_of_a_key_log(void **state)
{
    static const char line[] = "CLIENT_TRAFFIC_SECRET_0 "
                               "cb34ecb1e78163ba1c38c6dacb196a6dffa21a8d9912ec18a2ef6283024dece7 "
                               "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
    struct tls_seal_secret secret;

    (void)state;
    assert_false(tls_seal_read_secret(line, true, &secret));
    assert_true(tls_seal_read_secret(line, false, &secret));
    assert_int_equal(secret.size, sizeof secret_of_rfc_8448);
    assert_memory_equal(secret.bytes, secret_of_rfc_8448, secret.size);
    assert_false(tls_seal_read_secret("EXPORTER_SECRET 00 11", false, &secret));
    assert_false(tls_seal_read_secret("CLIENT_TRAFFIC_SECRET_0 00 1", false, &secret));
    assert_false(tls_seal_read_secret("CLIENT_TRAFFIC_SECRET_0 00 1g", false, &secret));
    assert_false(tls_seal_read_secret("CLIENT_TRAFFIC_SECRET_0 ", false, &secret));
}

static void key_updates_are_recognised(void **state)
{
    static const uint8_t update[] = {24, 0, 0, 1, 0};

    (void)state;
    assert_true(tls_seal_is_key_update(SSL3_RT_HANDSHAKE, update, sizeof update));
    assert_false(tls_seal_is_key_update(SSL3_RT_APPLICATION_DATA, update, sizeof update));
    assert_false(tls_seal_is_key_update(SSL3_RT_HANDSHAKE, "\4", 1)); /* a session ticket */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#if defined __linux__ && !defined OPENSSL_NO_KTLS
        cmocka_unit_test(the_records_of_rfc_8448),
        cmocka_unit_test(what_is_left_to_openssl),
#endif
        cmocka_unit_test(lines_of_a_key_log),
        cmocka_unit_test(key_updates_are_recognised),
    };
    return cmocka_run_group_tests_name("tls_seal", tests, NULL, NULL);
}

/*
 * What a SOCKS proxy says, read whole and in parts, must come to the same end; no message is longer
 * than its bound, and what is said of a refusal fits.
 * Input: one byte for login and kind of target, one as the seed of the parts, then the proxy's
 * bytes.
 */
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "http/socks5.h"

struct outcome {
    struct socks5 socks;
    enum socks5_result result;
    size_t taken;
    unsigned messages;
};

static void talk(struct outcome *o, uint8_t choice, uint32_t seed, const uint8_t *bytes,
                 size_t size)
{
    static const enum socks5_address kinds[] = {SOCKS5_IPV4, SOCKS5_NAME, SOCKS5_IPV6, SOCKS5_NAME};
    static const uint8_t sizes[] = {4, 1, 16, 255};
    static const char login[256];

    memset(o, 0, sizeof *o);
    o->socks.target.kind = kinds[choice & 3];
    o->socks.target.size = sizes[choice & 3];
    if (choice & 4) {
        o->socks.user = o->socks.password = login;
        o->socks.user_size = 255;
        o->socks.password_size = choice & 8 ? 255 : 0;
    }
    socks5_begin(&o->socks);
    o->result = SOCKS5_SAY;
    while (o->taken < size && (o->result == SOCKS5_MORE || o->result == SOCKS5_SAY)) {
        size_t part = size - o->taken;
        size_t consumed = SIZE_MAX;
        if (seed != 0) {
            seed = seed * 1664525 + 1013904223;
            size_t most = 1 + (seed >> 16) % 40;
            part = part < most ? part : most;
        }
        CHECK(o->socks.message_size > 0 && o->socks.message_size <= SOCKS5_MESSAGE_MAX);
        o->result = socks5_receive(&o->socks, bytes + o->taken, part, &consumed);
        CHECK(consumed > 0 && consumed <= part);
        CHECK(consumed == part || o->result != SOCKS5_MORE);
        o->taken += consumed;
        o->messages += o->result == SOCKS5_SAY;
    }
    CHECK(o->messages <= 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole;
    struct outcome parts;
    char text[400];

    if (size < 2)
        return 0;
    talk(&whole, data[0], 0, data + 2, size - 2);
    talk(&parts, data[0], data[1] + 1u, data + 2, size - 2);
    CHECK(whole.result == parts.result && whole.taken == parts.taken);
    CHECK(whole.socks.step == parts.socks.step && whole.socks.reply == parts.socks.reply);
    if (whole.result == SOCKS5_REFUSED || whole.result == SOCKS5_MALFORMED) {
        socks5_explain(&whole.socks, whole.result, "--server", text, sizeof text);
        CHECK(strlen(text) > 0 && strlen(text) < sizeof text - 1);
    }
    return 0;
}

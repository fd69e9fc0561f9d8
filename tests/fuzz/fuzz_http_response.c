/*
 * A response, read whole and in parts, must come to the same end, and its headers must be readable.
 * Input: one byte for the kind, one as the seed of the parts, then the peer's bytes.
 */
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "http/response.h"

struct outcome {
    struct http_response response;
    enum http_response_result result;
    size_t taken;
    char body[100];
};

static void read_all(struct outcome *o, enum http_response_kind kind, uint32_t seed,
                     const uint8_t *bytes, size_t size)
{
    http_response_init(&o->response, kind, o->body, sizeof o->body - 1);
    o->result = HTTP_RESPONSE_MORE;
    o->taken = 0;
    while (o->taken < size && o->result == HTTP_RESPONSE_MORE) {
        size_t part = size - o->taken;
        size_t consumed = SIZE_MAX;
        if (seed != 0) {
            seed = seed * 1664525 + 1013904223;
            size_t most = 1 + (seed >> 16) % 40;
            part = part < most ? part : most;
        }
        o->result = http_response_receive(&o->response, bytes + o->taken, part, &consumed);
        CHECK(consumed <= part);
        CHECK(consumed == part || o->result != HTTP_RESPONSE_MORE);
        o->taken += consumed;
    }
    if (o->result == HTTP_RESPONSE_MORE)
        o->result = http_response_end(&o->response);
    CHECK(strlen(o->body) <= o->response.body_size && o->response.body_size < sizeof o->body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole;
    static struct outcome parts;
    char value[20];

    if (size < 2)
        return 0;
    enum http_response_kind kind = data[0] & 1 ? HTTP_RESPONSE_CONNECT : HTTP_RESPONSE_ORDINARY;
    read_all(&whole, kind, 0, data + 2, size - 2);
    read_all(&parts, kind, data[1] + 1u, data + 2, size - 2);
    CHECK(whole.result == parts.result && whole.taken == parts.taken);
    CHECK(whole.response.status == parts.response.status);
    CHECK(whole.response.body_size == parts.response.body_size &&
          memcmp(whole.body, parts.body, whole.response.body_size) == 0);
    if (whole.result == HTTP_RESPONSE_DONE)
        CHECK(whole.response.status >= 100 && whole.response.status < 600);
    if (whole.response.head_done) {
        http_response_header(&whole.response, "location", value, sizeof value);
        CHECK(strlen(value) < sizeof value);
        http_response_has(&whole.response, "connection", "upgrade");
    }
    return 0;
}

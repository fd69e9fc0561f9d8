/*
 * A request's head, read whole and in parts into a buffer that grows, must come to the same end;
 * what a sound one says must be readable, and nothing in it may be understood in two ways.
 * Input: one byte as the seed of the parts, then the peer's bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "http/request.h"

enum { HEAD_MAX = 4096 };

struct outcome {
    struct http_request request;
    char *head;
    enum http_request_result result;
    size_t taken;
};

static void grow(struct outcome *o, size_t size)
{
    char *head = malloc(size);

    CHECK(head);
    if (o->head)
        free(http_request_move(&o->request, head, size));
    else
        http_request_init(&o->request, head, size);
    o->head = head;
}

static void read_all(struct outcome *o, size_t room, uint32_t seed, const uint8_t *bytes,
                     size_t size)
{
    *o = (struct outcome){.result = HTTP_REQUEST_MORE};
    grow(o, room);
    while (o->taken < size) {
        size_t part = size - o->taken;
        size_t consumed = SIZE_MAX;
        if (seed != 0) {
            seed = seed * 1664525 + 1013904223;
            size_t most = 1 + (seed >> 16) % 40;
            part = part < most ? part : most;
        }
        o->result = http_request_receive(&o->request, bytes + o->taken, part, &consumed);
        CHECK(consumed <= part);
        CHECK(consumed == part || o->result != HTTP_REQUEST_MORE);
        o->taken += consumed;
        if (o->result == HTTP_REQUEST_FULL && o->request.head_max < HEAD_MAX) {
            size_t more = o->request.head_max * 2;
            grow(o, more < HEAD_MAX ? more : HEAD_MAX);
        } else if (o->result != HTTP_REQUEST_MORE) {
            return;
        }
    }
}

static void check_sound(const struct http_request *request)
{
    char value[32];

    CHECK(http_request_path(request)[0] == '/' && !strchr(http_request_path(request), '?'));
    CHECK(http_request_method(request)[0] != '\0');
    CHECK(http_request_minor(request) == 0 || http_request_header_count(request, "host") == 1);
    CHECK(http_request_header_count(request, "content-length") +
              (http_request_header_count(request, "transfer-encoding") > 0) <=
          1);
    bool there = http_request_header(request, "authorization", value, sizeof value);
    CHECK(strlen(value) < sizeof value);
    CHECK(!there || http_request_header_count(request, "authorization") == 1);
    http_request_has(request, "upgrade", "websocket");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole;
    struct outcome parts;

    if (size < 1)
        return 0;
    read_all(&whole, HEAD_MAX, 0, data + 1, size - 1);
    read_all(&parts, 1, data[0] + 1u, data + 1, size - 1);
    CHECK(whole.result == parts.result && whole.taken == parts.taken);
    if (whole.result == HTTP_REQUEST_DONE) {
        check_sound(&whole.request);
        CHECK(memcmp(whole.head, parts.head, whole.taken) == 0);
    }
    if (whole.result == HTTP_REQUEST_MALFORMED)
        CHECK(http_request_problem(&whole.request) == http_request_problem(&parts.request));
    free(whole.head);
    free(parts.head);
    return 0;
}

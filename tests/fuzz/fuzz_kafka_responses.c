/*
 * A broker's bytes. The input begins with a count and that many pairs of API and version: the
 * requests that were sent, with correlation ids 42, 43, ... (all bytes after them are the
 * broker's). Whole, byte by byte and in pieces must come to the same end and the same output.
 */
#include "base/bytes.h"
#include "fuzz_kafka.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Enough of a request of any API: client id, tags and transactional id null, acks = all, ... */
static void send_request(struct kafka_filter *f, uint8_t key, uint8_t version, uint32_t id)
{
    uint8_t request[4 + 10 + 16] = {0, 0, 0, 10 + 16, 0, key, 0, version};

    byte_store_u32(request + 8, id);
    memset(request + 12, 0xff, 2);
    if (key == 0 && version >= 9)
        memset(request + 16, 0xff, 2);
    else if (key == 0)
        memset(request + 14, 0xff, 4);
    kafka_filter_requests(f, request, sizeof request);
}

static int run(const uint8_t *bytes, size_t size, unsigned piece, struct fuzz_book *book)
{
    struct kafka_filter *f = kafka_filter_new(&fuzz_callbacks, book, &fuzz_limits);
    int result = 0;

    CHECK(f);
    unsigned count = size > 0 ? bytes[0] % 8 : 0;
    size_t at = 1;
    for (uint32_t i = 0; i < count && at + 2 <= size; i++, at += 2)
        send_request(f, bytes[at], bytes[at + 1], 42 + i);
    while (at < size && result == 0) {
        size_t some = piece == 0 || piece > size - at ? size - at : piece;
        uint8_t *copy = malloc(some);
        CHECK(copy);
        memcpy(copy, bytes + at, some);
        result = fuzz_feed(f, book, copy, some);
        free(copy);
        at += some;
    }
    fuzz_check(f);
    kafka_filter_free(f);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct fuzz_book whole = {0}, single = {0}, pieces = {0};

    int result = run(bytes, size, 0, &whole);
    int single_result = run(bytes, size, 1, &single);
    int pieces_result = run(bytes, size, 7, &pieces);
    CHECK(result == single_result && result == pieces_result);
    CHECK(whole.size == single.size && whole.hash == single.hash);
    CHECK(whole.size == pieces.size && whole.hash == pieces.hash);
    return 0;
}

/*
 * Both directions: the input is pieces, each with a byte before it. Its top bit says which
 * direction the piece goes, the other seven how long it is.
 */
#include "fuzz_kafka.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct fuzz_book book = {0};
    struct kafka_filter *f = kafka_filter_new(&fuzz_callbacks, &book, &fuzz_limits);
    int result = 0;

    CHECK(f);
    for (size_t at = 0; at < size && result == 0;) {
        uint8_t control = bytes[at++];
        size_t some = control & 0x7f;
        if (some > size - at)
            some = size - at;
        uint8_t *copy = malloc(some > 0 ? some : 1);
        CHECK(copy);
        if (some > 0)
            memcpy(copy, bytes + at, some);
        if (control & 0x80)
            result = fuzz_feed(f, &book, copy, some);
        else
            result = kafka_filter_requests(f, copy, some);
        free(copy);
        at += some;
    }
    if (result != 0) /* a failure is for ever */
        CHECK(kafka_filter_requests(f, bytes, 0) == result &&
              fuzz_feed(f, &book, bytes, size) == result);
    fuzz_check(f);
    kafka_filter_free(f);
    return 0;
}

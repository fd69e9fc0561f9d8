/* A client's bytes: whole and byte by byte must come to the same end; cut off after the request at
 * hand, they must end there. */
#include "fuzz_kafka.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void stop_in_the_middle(const uint8_t *bytes, size_t size)
{
    struct fuzz_book book = {0};
    struct kafka_filter *stopped = kafka_filter_new(&fuzz_callbacks, &book, &fuzz_limits);
    struct kafka_filter *fed = kafka_filter_new(&fuzz_callbacks, &book, &fuzz_limits);
    size_t half = size / 2;
    size_t taken;

    CHECK(stopped && fed);
    kafka_filter_requests(stopped, bytes, half);
    int result = kafka_filter_last_request(stopped, bytes + half, size - half, &taken);
    CHECK(taken <= size - half);
    CHECK(kafka_filter_requests(fed, bytes, half + taken) == result);
    if (result == 0) {
        CHECK(taken == size - half || kafka_filter_between_requests(stopped));
        CHECK(kafka_filter_between_requests(stopped) == kafka_filter_between_requests(fed));
        CHECK(kafka_filter_in_flight(stopped) == kafka_filter_in_flight(fed));
    }
    kafka_filter_free(stopped);
    kafka_filter_free(fed);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct fuzz_book whole_book = {0}, split_book = {0};
    struct kafka_filter *whole = kafka_filter_new(&fuzz_callbacks, &whole_book, &fuzz_limits);
    struct kafka_filter *split = kafka_filter_new(&fuzz_callbacks, &split_book, &fuzz_limits);
    int split_result = 0;

    CHECK(whole && split);
    int result = kafka_filter_requests(whole, bytes, size);
    for (size_t i = 0; i < size && split_result == 0; i++)
        split_result = kafka_filter_requests(split, bytes + i, 1);
    CHECK(result == split_result);
    CHECK(strcmp(kafka_filter_reason(whole), kafka_filter_reason(split)) == 0);
    CHECK(kafka_filter_in_flight(whole) == kafka_filter_in_flight(split));
    CHECK(whole_book.requests == split_book.requests);
    fuzz_check(whole);
    fuzz_check(split);
    kafka_filter_free(whole);
    kafka_filter_free(split);
    stop_in_the_middle(bytes, size);
    return 0;
}

#include "../lib/cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "base/chunk.h"

enum { MODEL_MAX = 1 << 20 };

struct model {
    uint8_t *bytes; /* everything ever appended */
    size_t start;
    size_t read;
    size_t end;
};

static uint64_t seed;

static size_t below(size_t bound)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return bound ? (size_t)(seed >> 33) % bound : 0;
}

static void append(struct byte_queue *queue, struct model *model)
{
    size_t size = below(3) ? below(300) : below(100000);

    if (size > MODEL_MAX - model->end)
        size = MODEL_MAX - model->end;
    for (size_t i = 0; i < size; i++)
        model->bytes[model->end + i] = (uint8_t)below(256);
    byte_queue_append(queue, model->bytes + model->end, size);
    model->end += size;
}

static void reserve_and_commit(struct byte_queue *queue, struct model *model)
{
    struct iovec spaces[4];
    size_t wanted = 1 + below(200000);
    size_t count = byte_queue_reserve(queue, wanted, spaces, 1 + below(4));
    size_t offered = 0;

    assert_in_range(count, 1, 4);
    for (size_t i = 0; i < count; i++)
        offered += spaces[i].iov_len;
    assert_true(offered > 0 && offered < wanted + CHUNK_LARGE_SIZE);
    size_t size = below(4) ? below(offered + 1) : below(50);
    if (size > offered)
        size = offered;
    if (size > MODEL_MAX - model->end)
        size = MODEL_MAX - model->end;
    for (size_t i = 0, left = size; left > 0; i++) {
        size_t part = spaces[i].iov_len < left ? spaces[i].iov_len : left;
        memset(spaces[i].iov_base, (int)(model->end & 0xff), part);
        memset(model->bytes + model->end, (int)(model->end & 0xff), part);
        model->end += part;
        left -= part;
    }
    byte_queue_commit(queue, size);
}

static void read_some(struct byte_queue *queue, struct model *model)
{
    static uint8_t buffer[100000];
    size_t wanted = below(sizeof buffer);
    size_t expected = model->end - model->read < wanted ? model->end - model->read : wanted;

    assert_int_equal(byte_queue_read(queue, buffer, wanted), expected);
    assert_memory_equal(buffer, model->bytes + model->read, expected);
    model->read += expected;
}

static void peek_and_skip(struct byte_queue *queue, struct model *model)
{
    struct iovec spans[3];
    size_t count = byte_queue_peek(queue, spans, 3);
    size_t seen = 0;

    assert_int_equal(count == 0, model->read == model->end);
    for (size_t i = 0; i < count; i++) {
        assert_memory_equal(spans[i].iov_base, model->bytes + model->read + seen, spans[i].iov_len);
        seen += spans[i].iov_len;
    }
    seen = below(seen + 1);
    byte_queue_skip(queue, seen);
    model->read += seen;
}

static void step(struct byte_queue *queue, struct model *model)
{
    switch (below(6)) {
    case 0:
        append(queue, model);
        break;
    case 1:
        reserve_and_commit(queue, model);
        break;
    case 2:
        read_some(queue, model);
        break;
    case 3:
        peek_and_skip(queue, model);
        break;
    case 4:
        model->start += below(model->read - model->start + 1);
        if (below(3) == 0)
            model->start = model->read;
        byte_queue_drop(queue, model->start);
        break;
    default:
        if (below(3) == 0) {
            model->read = model->start + below(model->end - model->start + 1);
            byte_queue_rewind(queue, model->read);
        }
        break;
    }
}

static void behaves_like_an_array(void **state)
{
    (void)state;
    struct chunk_pool pool;
    struct model model = {.bytes = malloc(MODEL_MAX)};

    chunk_pool_init(&pool);
    for (seed = 1; seed < 100000000; seed = seed / 2 * 3 + 7) {
        uint64_t first = seed;
        struct byte_queue queue;
        model.start = model.read = model.end = 0;
        byte_queue_init(&queue, &pool);
        for (int i = 0; i < 300; i++) {
            step(&queue, &model);
            assert_true(queue.start == model.start && queue.read == model.read &&
                        queue.end == model.end);
            if (model.start == model.end)
                assert_int_equal(pool.allocated, 0);
        }
        byte_queue_clear(&queue);
        assert_int_equal(pool.allocated, 0);
        assert_true(queue.start == model.end && queue.read == model.end);
        seed = first;
    }
    chunk_pool_clear(&pool);
    free(model.bytes);
}

static void a_few_bytes_do_not_hold_a_large_chunk(void **state)
{
    (void)state;
    struct chunk_pool pool;
    struct byte_queue queue;
    struct iovec spaces[2];

    chunk_pool_init(&pool);
    byte_queue_init(&queue, &pool);
    byte_queue_reserve(&queue, 100000, spaces, 2);
    assert_int_equal(pool.allocated, 2 * CHUNK_LARGE_SIZE);
    memcpy(spaces[0].iov_base, "kafka", 5);
    byte_queue_commit(&queue, 5);
    assert_int_equal(pool.allocated, CHUNK_SMALL_SIZE);
    uint8_t bytes[5];
    assert_int_equal(byte_queue_read(&queue, bytes, 5), 5);
    assert_memory_equal(bytes, "kafka", 5);
    byte_queue_reserve(&queue, 100000, spaces, 2);
    assert_int_equal(pool.allocated, CHUNK_SMALL_SIZE + CHUNK_LARGE_SIZE);
    byte_queue_commit(&queue, 0);
    assert_int_equal(pool.allocated, CHUNK_SMALL_SIZE);
    byte_queue_drop(&queue, 5);
    assert_int_equal(pool.allocated, 0);
    chunk_pool_clear(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_like_an_array),
        cmocka_unit_test(a_few_bytes_do_not_hold_a_large_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

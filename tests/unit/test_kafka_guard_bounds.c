/* What the filter bounds for a client that --access limits: Metadata requests, what is remembered
 * of them, names, and the work of a turn. Topics that begin with "mine" are allowed. */
#include "test_kafka_support.h"

enum { TURN = 100 };

static unsigned learnt;

static bool denies_something(void *context)
{
    (void)context;
    return false;
}

static uint64_t stays_the_same(void *context)
{
    (void)context;
    return 1;
}

static bool allows_api(void *context, int16_t api_key)
{
    (void)context;
    return api_key != 19; /* CreateTopics */
}

static bool limits_topics(void *context, int16_t api_key, enum kafka_resource resource)
{
    (void)context;
    (void)api_key;
    return resource == KAFKA_TOPIC;
}

static bool allows_mine(void *context, int16_t api_key, enum kafka_resource resource,
                        const char *name, size_t size)
{
    (void)context;
    (void)api_key;
    return resource != KAFKA_TOPIC || (size >= 4 && memcmp(name, "mine", 4) == 0);
}

static const char *knows_no_id(void *context, const uint8_t id[KAFKA_TOPIC_ID_SIZE], size_t *size)
{
    (void)context;
    (void)id;
    (void)size;
    return NULL;
}

static void counts_learnt(void *context, const uint8_t id[KAFKA_TOPIC_ID_SIZE], const char *name,
                          size_t size)
{
    (void)context;
    (void)id;
    (void)name;
    (void)size;
    learnt++;
}

static void tells_nobody(void *context, const struct kafka_denied *denied)
{
    (void)context;
    (void)denied;
}

static const struct kafka_guard only_mine = {.open = denies_something,
                                             .generation = stays_the_same,
                                             .api = allows_api,
                                             .limits = limits_topics,
                                             .resource = allows_mine,
                                             .topic = knows_no_id,
                                             .learnt = counts_learnt,
                                             .denied = tells_nobody};

struct guarded {
    struct kafka_filter *f;
    struct book book;
    struct bytes in, up, down;
};

static void open_guarded(struct guarded *g)
{
    const struct kafka_filter_limits limits = {.turn = TURN};

    *g = (struct guarded){.f = NULL};
    g->f = new_filter(&g->book, &limits);
    assert_true(kafka_filter_use_guard(g->f, &only_mine, NULL));
    learnt = 0;
}

static void close_guarded(struct guarded *g)
{
    kafka_filter_free(g->f);
    bytes_free(&g->in);
    bytes_free(&g->up);
    bytes_free(&g->down);
}

/* What is in g->in, to the broker. */
static int ask(struct guarded *g)
{
    int result = 0;

    g->up.size = 0;
    for (size_t at = 0;;) {
        struct kafka_span span;
        size_t used;
        result = kafka_filter_guarded_requests(g->f, g->in.at + at, g->in.size - at, false, &used,
                                               &span);
        bytes_add(&g->up, span.bytes, span.size);
        at += used;
        if (result != 0 || (at == g->in.size && span.size == 0))
            break;
    }
    g->in.size = 0;
    return result;
}

static int answer(struct guarded *g)
{
    g->down.size = 0;
    int result = feed(g->f, g->in.at, g->in.size, &g->down);
    g->in.size = 0;
    return result;
}

static size_t begin_metadata(struct bytes *b, int16_t version, int32_t id, uint32_t count)
{
    size_t start = frame_begin(b);

    add_header(b, KAFKA_KEY_METADATA, version, id);
    if (version >= 9) {
        bytes_u8(b, 0);
        bytes_uvarint(b, count + 1);
    } else {
        bytes_u32(b, count);
    }
    return start;
}

static void add_name(struct bytes *b, int16_t version, const char *name, size_t size)
{
    if (version >= 9)
        bytes_uvarint(b, (uint32_t)size + 1);
    else
        bytes_u16(b, (uint16_t)size);
    bytes_add(b, name, size);
    if (version >= 9)
        bytes_u8(b, 0);
}

static void end_metadata(struct bytes *b, int16_t version, size_t start)
{
    if (version >= 4)
        bytes_u8(b, 1); /* AllowAutoTopicCreation */
    if (version >= 8)
        bytes_u16(b, 0);
    if (version >= 9)
        bytes_u8(b, 0);
    frame_end(b, start);
}

static void add_metadata(struct bytes *b, int32_t id, uint32_t count, const char *name, size_t size)
{
    size_t start = begin_metadata(b, 1, id, count);

    for (uint32_t i = 0; i < count; i++)
        add_name(b, 1, name, size);
    end_metadata(b, 1, start);
}

/* Version 1, of topics without partitions. */
static void add_metadata_answer(struct bytes *b, int32_t id, uint32_t count, const char *name)
{
    size_t start = frame_begin(b);

    bytes_u32(b, (uint32_t)id);
    bytes_u32(b, 0);          /* brokers */
    bytes_u32(b, UINT32_MAX); /* ControllerId */
    bytes_u32(b, count);
    for (uint32_t i = 0; i < count; i++) {
        bytes_u16(b, 0);
        bytes_u16(b, (uint16_t)strlen(name));
        bytes_add(b, name, strlen(name));
        bytes_u8(b, 0);
        bytes_u32(b, 0);
    }
    frame_end(b, start);
}

static void expect_failure(struct guarded *g, int result, int error, const char *words)
{
    assert_int_equal(result, error);
    if (!strstr(kafka_filter_reason(g->f), words))
        fail_msg("no \"%s\" in: %s", words, kafka_filter_reason(g->f));
}

/* What the answers will say of denied topics waits in memory: it counts, and is bounded. */
static void what_is_remembered_counts(void **state)
{
    enum { NAME = 1000, NAMES = 300, REQUESTS = 10 };
    struct guarded g;
    char name[NAME];
    int32_t id = 0;

    (void)state;
    memset(name, 'x', sizeof name);
    open_guarded(&g);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < REQUESTS; i++) {
            add_metadata(&g.in, id++, NAMES, name, NAME);
            assert_int_equal(ask(&g), 0);
            assert_int_equal(count_frames(&g.up), 1);
            assert_true(g.up.size < 100);
        }
        assert_true(kafka_filter_memory(g.f) >= (size_t)REQUESTS * NAMES * NAME);
        for (int i = REQUESTS; i > 0; i--)
            add_metadata_answer(&g.in, id - i, 0, "");
        assert_int_equal(answer(&g), 0);
        assert_int_equal(count_frames(&g.down), REQUESTS);
        assert_in_range(g.down.size, REQUESTS * NAMES * NAME, REQUESTS * NAMES * (NAME + 20));
        assert_int_equal(answer(&g), 0);
        assert_true(kafka_filter_memory(g.f) < 64 * 1024);
    }
    int result = 0;
    for (int i = 0; result == 0 && i < 100; i++) {
        add_metadata(&g.in, id++, NAMES, name, NAME);
        result = ask(&g);
        assert_true(kafka_filter_memory(g.f) < 6 << 20);
    }
    expect_failure(&g, result, KAFKA_FILTER_ELIMIT, "too many answers wait to be read");
    close_guarded(&g);
}

/* Answers to denied requests are memory of the same kind. */
static void denied_answers_count(void **state)
{
    struct guarded g;
    char group[1000];
    int result = 0;

    (void)state;
    memset(group, 'g', sizeof group);
    open_guarded(&g);
    add_request(&g.in, KAFKA_KEY_FIND_COORDINATOR, 0, 1);
    assert_int_equal(ask(&g), 0);
    size_t before = kafka_filter_memory(g.f);
    for (int i = 0; result == 0 && i < 100000; i++) {
        size_t start = frame_begin(&g.in);
        add_header(&g.in, 19, 0, 2 + i); /* CreateTopics */
        bytes_u32(&g.in, 1);
        bytes_u16(&g.in, sizeof group);
        bytes_add(&g.in, group, sizeof group);
        bytes_u32(&g.in, 1);
        bytes_u16(&g.in, 1);
        bytes_u32(&g.in, 0);
        bytes_u32(&g.in, 0);
        bytes_u32(&g.in, 1000);
        frame_end(&g.in, start);
        result = ask(&g);
        if (i == 999)
            assert_in_range(kafka_filter_memory(g.f) - before, 1000 * sizeof group, 1200 * 1000);
    }
    expect_failure(&g, result, KAFKA_FILTER_ELIMIT, "too many answers wait to be read");
    assert_true(kafka_filter_memory(g.f) < 6 << 20);
    close_guarded(&g);
}

/* All names of a request are judged in one turn, so there is a bound on both. */
static void metadata_requests_are_bounded(void **state)
{
    struct guarded g;

    (void)state;
    open_guarded(&g);
    add_metadata(&g.in, 1, 65536, "m", 1);
    assert_int_equal(ask(&g), 0);
    add_metadata(&g.in, 2, 65537, "m", 1);
    expect_failure(&g, ask(&g), KAFKA_FILTER_ELIMIT, "names more than 65536 topics");
    close_guarded(&g);

    /* Its head is enough. */
    open_guarded(&g);
    bytes_u32(&g.in, (4 << 20) - 3);
    add_header(&g.in, KAFKA_KEY_METADATA, 1, 1);
    bytes_u32(&g.in, 5000);
    expect_failure(&g, ask(&g), KAFKA_FILTER_ELIMIT, "is larger than 4 MiB");
    close_guarded(&g);
    open_guarded(&g);
    bytes_u32(&g.in, (4 << 20) - 4);
    add_header(&g.in, KAFKA_KEY_METADATA, 1, 1);
    bytes_u32(&g.in, 5000);
    assert_int_equal(ask(&g), 0);
    close_guarded(&g);
}

/* No name is taken for another one that is shorter. */
static void long_names_close(void **state)
{
    static const size_t sizes[] = {1024, 1025, 32767, 65536 + 5, 100000};
    char *name = malloc(100000);
    struct guarded g;

    (void)state;
    assert_non_null(name);
    memset(name, 'x', 100000);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int16_t version = 1; version <= 9; version = (int16_t)(version + 8))
            for (int allowed = 0; allowed < 2; allowed++) {
                if (version < 9 && sizes[i] > 32767)
                    continue;
                memcpy(name, allowed ? "mine" : "xxxx", 4);
                open_guarded(&g);
                size_t start = begin_metadata(&g.in, version, 1, 2);
                add_name(&g.in, version, "other", 5);
                add_name(&g.in, version, name, sizes[i]);
                end_metadata(&g.in, version, start);
                int result = ask(&g);
                if (sizes[i] <= 1024)
                    assert_int_equal(result, 0);
                else
                    expect_failure(&g, result, KAFKA_FILTER_EFRAME, "more than 1024 bytes");
                close_guarded(&g);
            }
    free(name);
}

static size_t add_flexible_answer(struct bytes *b, const char *name, size_t size)
{
    size_t start = frame_begin(b);

    bytes_u32(b, 1);
    bytes_u8(b, 0);
    bytes_u32(b, 0);
    bytes_uvarint(b, 1);      /* brokers */
    bytes_uvarint(b, 0);      /* ClusterId */
    bytes_u32(b, UINT32_MAX); /* ControllerId */
    bytes_uvarint(b, 2);
    bytes_u16(b, 0);
    bytes_uvarint(b, (uint32_t)size + 1);
    bytes_add(b, name, size);
    for (uint8_t i = 1; i <= KAFKA_TOPIC_ID_SIZE; i++)
        bytes_u8(b, i);
    bytes_u8(b, 0);
    bytes_uvarint(b, 1); /* partitions */
    bytes_u32(b, 0);
    bytes_u8(b, 0);
    bytes_u8(b, 0);
    frame_end(b, start);
    return b->size;
}

/* What a broker calls topics is kept by id, and judged: it is bounded as well. */
static void long_names_of_brokers_close(void **state)
{
    static const size_t sizes[] = {1024, 1025, 65536 + 5};
    char name[65536 + 5];
    struct guarded g;

    (void)state;
    memset(name, 'x', sizeof name);
    memcpy(name, "mine", 4);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        open_guarded(&g);
        size_t start = begin_metadata(&g.in, 12, 1, UINT32_MAX);
        bytes_u8(&g.in, 1);
        bytes_u8(&g.in, 0);
        bytes_u8(&g.in, 0);
        frame_end(&g.in, start);
        assert_int_equal(ask(&g), 0);
        size_t size = add_flexible_answer(&g.in, name, sizes[i]);
        int result = answer(&g);
        if (sizes[i] <= 1024)
            assert_int_equal(g.down.size, size);
        else
            expect_failure(&g, result, KAFKA_FILTER_EFRAME, "more than 1024 bytes");
        assert_int_equal(learnt, sizes[i] <= 1024);
        close_guarded(&g);
    }
}

/* Topics that are judged are work, as addresses are. */
static void judging_tires(void **state)
{
    struct guarded g;

    (void)state;
    for (int32_t topics = TURN / 2; topics <= 2 * TURN; topics *= 2) {
        open_guarded(&g);
        for (int32_t id = 1; id <= 2; id++) {
            size_t start = begin_metadata(&g.in, 1, id, UINT32_MAX);
            frame_end(&g.in, start);
        }
        assert_int_equal(ask(&g), 0);
        for (int32_t id = 1; id <= 2; id++)
            add_metadata_answer(&g.in, id, (uint32_t)topics, "mine");
        assert_int_equal(answer(&g), topics < TURN ? 0 : KAFKA_FILTER_TIRED);
        assert_int_equal(count_frames(&g.down), topics < TURN ? 2 : 1);
        close_guarded(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_remembered_counts),     cmocka_unit_test(denied_answers_count),
        cmocka_unit_test(metadata_requests_are_bounded), cmocka_unit_test(long_names_close),
        cmocka_unit_test(long_names_of_brokers_close),   cmocka_unit_test(judging_tires),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

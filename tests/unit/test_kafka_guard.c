/*
 * What --access keeps from a broker: requests through the filter under the rules themselves. That
 * the answers decode by Kafka's schemas, tests/e2e/test_denials.py looks at.
 */
#include "test_kafka_support.h"

#include "../../tunnel-server/authorization/stream_guard.h"

enum { DELETE_TOPICS = 20 };

static const struct hash_key key;

struct fixture {
    struct book book;
    struct kafka_filter *f;
    struct access_in_force in_force;
    struct topic_names topics;
    struct stream_guard guard;
    char text[2][1000];
    unsigned denied;
    struct bytes in;   /* what one side sends next */
    struct bytes up;   /* what the broker has got of the last requests */
    struct bytes down; /* what the client has got of the last responses */
};

static void count_denied(void *context, const struct kafka_denied *denied)
{
    struct fixture *f = context;

    assert_non_null(denied->name);
    f->denied++;
}

/* Other rules come into force, as by a reload. */
static void put_in_force(struct fixture *f, const char *lines)
{
    static const char *const clusters[] = {"main"};
    const struct access_names names = {.clusters = clusters, .cluster_count = 1};
    char *text = f->text[f->in_force.generation % 2];
    char error[300];
    struct access_rules *rules;

    assert_true(strlen(lines) < sizeof f->text[0]);
    strcpy(text, lines);
    rules = access_rules_parse(text, strlen(text), &names, error, sizeof error);
    if (!rules)
        fail_msg("%s", error);
    access_rules_release(f->in_force.rules);
    f->in_force.rules = rules;
    f->in_force.generation++;
}

static struct fixture *open_guarded(const char *lines)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->f = new_filter(&f->book, NULL);
    put_in_force(f, lines);
    topic_names_init(&f->topics, &key, 100);
    f->guard = (struct stream_guard){.in_force = &f->in_force,
                                     .identity = "mallory",
                                     .cluster = "main",
                                     .topics = &f->topics,
                                     .denied = count_denied,
                                     .context = f};
    assert_true(kafka_filter_use_guard(f->f, &stream_guard_calls, &f->guard));
    return f;
}

static void close_guarded(struct fixture *f)
{
    kafka_filter_free(f->f);
    stream_guard_clear(&f->guard);
    topic_names_clear(&f->topics);
    access_rules_release(f->in_force.rules);
    bytes_free(&f->in);
    bytes_free(&f->up);
    bytes_free(&f->down);
    free(f);
}

/* The client sends what is in f->in. 0, or why the connection closes. */
static int ask(struct fixture *f)
{
    size_t at = 0;
    int result;

    f->up.size = 0;
    for (;;) {
        struct kafka_span span;
        size_t used;
        result = kafka_filter_guarded_requests(f->f, f->in.at + at, f->in.size - at, false, &used,
                                               &span);
        if (result < 0)
            break;
        bytes_add(&f->up, span.bytes, span.size);
        at += used;
        if (at == f->in.size && span.size == 0)
            break;
    }
    f->in.size = 0;
    return result;
}

/* The broker sends what is in f->in. */
static int answer(struct fixture *f)
{
    static const uint8_t nothing[1];

    f->down.size = 0;
    int result = feed(f->f, f->in.size > 0 ? f->in.at : nothing, f->in.size, &f->down);
    f->in.size = 0;
    return result;
}

static void expect_passed(struct fixture *f)
{
    size_t size = f->in.size;

    assert_int_equal(ask(f), 0);
    assert_int_equal(f->up.size, size);
    assert_int_equal(f->denied, 0);
}

static void expect_closed(struct fixture *f, const char *words)
{
    assert_int_equal(ask(f), KAFKA_FILTER_EDENIED);
    assert_int_equal(f->up.size, 0);
    assert_int_equal(f->denied, 1);
    assert_non_null(strstr(kafka_filter_reason(f->f), words));
}

/* ---- requests */

static void put_text(struct bytes *b, const char *text)
{
    bytes_u16(b, (uint16_t)strlen(text));
    bytes_add(b, text, strlen(text));
}

/* client_id: its length; without bytes if it is negative. */
static size_t begin_request(struct bytes *b, int16_t api, int16_t version, int client_id)
{
    size_t start = frame_begin(b);

    bytes_u16(b, (uint16_t)api);
    bytes_u16(b, (uint16_t)version);
    bytes_u32(b, 7);
    bytes_u16(b, (uint16_t)client_id);
    for (int i = 0; i < client_id; i++)
        bytes_u8(b, 'c');
    return start;
}

static void put_delete_topics(struct bytes *b, int client_id)
{
    size_t start = begin_request(b, DELETE_TOPICS, 1, client_id);

    bytes_u32(b, 1);
    put_text(b, "payroll");
    bytes_u32(b, 30000);
    frame_end(b, start);
}

static void put_handshake(struct bytes *b, int16_t version, const char *mechanism)
{
    size_t start = begin_request(b, KAFKA_KEY_SASL_HANDSHAKE, version, 4);

    put_text(b, mechanism);
    frame_end(b, start);
}

static void put_handshake_answer(struct bytes *b, uint16_t error)
{
    size_t start = frame_begin(b);

    bytes_u32(b, 7);
    bytes_u16(b, error);
    bytes_u32(b, 0);
    frame_end(b, start);
}

static void put_token(struct bytes *b, const char *token)
{
    bytes_u32(b, (uint32_t)strlen(token));
    bytes_add(b, token, strlen(token));
}

/* ---- what could pass for a login */

static const char restricted[] = "m.allow=read-only\nm.topic=facts.*\n";

/* A broker without logins goes on with requests after its error, whatever they look like. */
static void raw_tokens_are_no_way_around_the_rules(void **state)
{
    static const int client_ids[] = {-32768, -2, -1, 0, 4};
    (void)state;

    for (size_t i = 0; i < sizeof client_ids / sizeof *client_ids; i++) {
        struct fixture *f = open_guarded(restricted);
        put_handshake(&f->in, 0, "PLAIN");
        put_delete_topics(&f->in, client_ids[i]);
        expect_closed(f, "SaslHandshake v1");
        close_guarded(f);
    }
}

static void a_gssapi_token_without_a_handshake_is_refused(void **state)
{
    struct fixture *f = open_guarded(restricted);
    (void)state;

    put_token(&f->in, "\x60 token");
    expect_closed(f, "SaslHandshake v1");
    close_guarded(f);
}

/* What the client was in the middle of when the rules came into force. */
static void tokens_end_when_rules_come(void **state)
{
    static const char *const mechanisms[] = {"PLAIN", "SCRAM-SHA-256", "GSSAPI", "AWS_X"};
    (void)state;

    for (size_t i = 0; i < sizeof mechanisms / sizeof *mechanisms; i++) {
        struct fixture *f = open_guarded("m.allow=all\n");
        put_handshake(&f->in, 0, mechanisms[i]);
        expect_passed(f);
        put_handshake_answer(&f->in, 0);
        assert_int_equal(answer(f), 0);
        put_in_force(f, restricted);
        put_token(&f->in, "a token");
        expect_closed(f, "SaslHandshake v1");
        close_guarded(f);
    }
}

static void logins_by_requests_pass(void **state)
{
    struct fixture *f = open_guarded(restricted);
    (void)state;

    for (int again = 0; again < 2; again++) {
        put_handshake(&f->in, 1, "PLAIN");
        expect_passed(f);
        put_handshake_answer(&f->in, 0);
        assert_int_equal(answer(f), 0);
        size_t start = begin_request(&f->in, KAFKA_KEY_SASL_AUTHENTICATE, 0, 4);
        put_token(&f->in, "user and password");
        frame_end(&f->in, start);
        expect_passed(f);
        start = frame_begin(&f->in);
        bytes_u32(&f->in, 7);
        bytes_hex(&f->in, "0000 ffff 00000000");
        frame_end(&f->in, start);
        assert_int_equal(answer(f), 0);
    }
    put_delete_topics(&f->in, 4);
    assert_int_equal(ask(f), 0);
    assert_int_equal(f->up.size, 0);
    assert_int_equal(f->denied, 1);
    close_guarded(f);
}

/* librdkafka does not log in at a broker that offers no version 0, and then uses version 1. */
static void the_handshake_that_is_refused_is_still_offered(void **state)
{
    struct fixture *f = open_guarded(restricted);
    struct bytes sent = {0};
    (void)state;

    size_t start = begin_request(&f->in, KAFKA_KEY_API_VERSIONS, 0, 4);
    frame_end(&f->in, start);
    expect_passed(f);
    start = frame_begin(&f->in);
    bytes_u32(&f->in, 7);
    bytes_hex(&f->in, "0000 00000001 0011 0000 0001");
    frame_end(&f->in, start);
    bytes_add(&sent, f->in.at, f->in.size);
    assert_int_equal(answer(f), 0);
    assert_int_equal(f->down.size, sent.size);
    assert_memory_equal(f->down.at, sent.at, sent.size);
    bytes_free(&sent);
    close_guarded(f);
}

/* ---- heads that brokers read in a way of their own */

/* Every negative length is null for a broker: the body begins right behind it. */
static void a_client_id_of_any_negative_length_hides_nothing(void **state)
{
    static const int client_ids[] = {-32768, -2, -1, 0, 4};
    (void)state;

    for (size_t i = 0; i < sizeof client_ids / sizeof *client_ids; i++) {
        struct fixture *f = open_guarded("m.allow=admin\nm.topic=facts.*\n");
        put_delete_topics(&f->in, client_ids[i]);
        assert_int_equal(ask(f), 0);
        assert_int_equal(f->up.size, 0);
        assert_int_equal(f->denied, 1);
        close_guarded(f);
    }
}

static void frames_that_are_no_requests_close(void **state)
{
    static const char *const frames[] = {
        "ffffffff",                              /* a negative length */
        "80000000",                              /* the same */
        "00000000",                              /* no key */
        "00000007 0014 0001 000000",             /* no correlation id */
        "00000008 0014 0001 00000007",           /* no client id, and no body */
        "0000000a 0014 0001 00000007 0010",      /* a client id that extends beyond the frame */
        "0000000a 0014 7fff 00000007 ffff",      /* a version that there is not */
        "0000000a 0014 ffff 00000007 ffff",      /* the same */
        "0000000a 7fff 0000 00000007 ffff",      /* an API that there is not */
        "0000000a ffff 0000 00000007 ffff",      /* the same */
        "0000000a 0007 0000 00000007 ffff",      /* ControlledShutdown v0, without a client id */
        "0000000c 0011 ffff 00000007 ffff 0000", /* SaslHandshake v-1 */
    };
    (void)state;

    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        struct fixture *f = open_guarded("m.allow=all\nm.topic=facts.*\n");
        bytes_hex(&f->in, frames[i]);
        int result = ask(f);
        if (result >= 0 || f->up.size > 0)
            fail_msg("%s: %d, %zu bytes pass", frames[i], result, f->up.size);
        /* Nothing comes behind it. */
        put_delete_topics(&f->in, 4);
        assert_int_equal(ask(f), result);
        assert_int_equal(f->up.size, 0);
        close_guarded(f);
    }
}

/* ---- who says that it is a broker */

static void put_fetch(struct bytes *b, uint32_t replica, uint32_t session, uint32_t epoch,
                      const char *topic)
{
    size_t start = begin_request(b, KAFKA_KEY_FETCH, 11, 4);

    bytes_u32(b, replica);
    bytes_hex(b, "000001f4 00000001 00100000 00");
    bytes_u32(b, session);
    bytes_u32(b, epoch);
    bytes_u32(b, topic ? 1 : 0);
    if (topic) {
        put_text(b, topic);
        bytes_hex(b, "00000001 00000000 ffffffff 0000000000000000 ffffffffffffffff 00100000");
    }
    bytes_u32(b, 0);
    put_text(b, "");
    frame_end(b, start);
}

static void put_list_offsets(struct bytes *b, uint32_t replica)
{
    size_t start = begin_request(b, 2, 1, 4);

    bytes_u32(b, replica);
    bytes_u32(b, 1);
    put_text(b, "facts.a");
    bytes_hex(b, "00000001 00000000 ffffffffffffffff");
    frame_end(b, start);
}

static void put_offset_for_leader_epoch(struct bytes *b, uint32_t replica)
{
    size_t start = begin_request(b, 23, 3, 4);

    bytes_u32(b, replica);
    bytes_u32(b, 1);
    put_text(b, "facts.a");
    bytes_hex(b, "00000001 00000000 ffffffff 00000000");
    frame_end(b, start);
}

static void expect_denied(struct fixture *f)
{
    f->denied = 0;
    assert_int_equal(ask(f), 0);
    assert_int_equal(f->up.size, 0);
    assert_int_equal(f->denied, 1);
    assert_int_equal(answer(f), 0);
    assert_int_equal(count_frames(&f->down), 1);
    f->denied = 0;
}

static void followers_are_denied(void **state)
{
    static const char *const rules[] = {restricted, "m.allow=consume\n", "m.allow=Fetch\n",
                                        "m.allow=all\nm.group=a\n"};
    static const int replicas[] = {0, 2, INT32_MAX, -3, INT32_MIN};
    (void)state;

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct fixture *f = open_guarded(rules[i]);
        for (size_t j = 0; j < sizeof replicas / sizeof *replicas; j++) {
            put_fetch(&f->in, (uint32_t)replicas[j], 0, (uint32_t)-1, "facts.a");
            expect_denied(f);
            put_list_offsets(&f->in, (uint32_t)replicas[j]);
            expect_denied(f);
            put_offset_for_leader_epoch(&f->in, (uint32_t)replicas[j]);
            expect_denied(f);
        }
        close_guarded(f);
    }
}

static void consumers_are_no_followers(void **state)
{
    struct fixture *f = open_guarded("m.allow=consume\nm.topic=facts.*\n");
    (void)state;

    put_fetch(&f->in, (uint32_t)-1, 0, (uint32_t)-1, "facts.a");
    expect_passed(f);
    put_list_offsets(&f->in, (uint32_t)-1);
    expect_passed(f);
    put_offset_for_leader_epoch(&f->in, (uint32_t)-1);
    expect_passed(f);
    put_offset_for_leader_epoch(&f->in, (uint32_t)-2);
    expect_passed(f);
    close_guarded(f);
}

/* Sections of tags in hex: of the head, of a partition, of the topic and of the request. */
struct tag_sections {
    const char *head;
    const char *partition;
    const char *topic;
    const char *request;
};

static void put_fetch_17(struct bytes *b, const struct tag_sections *tags)
{
    size_t start = begin_request(b, KAFKA_KEY_FETCH, 17, 4);

    bytes_hex(b, tags->head);
    bytes_hex(b, "000001f4 00000001 00100000 00 00000000 ffffffff");
    bytes_hex(b, "02 01020304050607080000000000000000 02");
    bytes_hex(b, "00000000 ffffffff 0000000000000000 ffffffff ffffffffffffffff 00100000");
    bytes_hex(b, tags->partition);
    bytes_hex(b, tags->topic);
    bytes_hex(b, "01 01");
    bytes_hex(b, tags->request);
    frame_end(b, start);
}

static void learn_topic(struct fixture *f, const char *name)
{
    static const uint8_t id[KAFKA_TOPIC_ID_SIZE] = {1, 2, 3, 4, 5, 6, 7, 8};

    topic_names_learn(&f->topics, id, name, strlen(name));
}

/* A broker reads as much of a tag that it knows as its type takes, whatever size is said: what is
 * skipped by that size may be the next topic, or the tag that says who asks. */
static void nothing_hides_in_tags(void **state)
{
    static const struct tag_sections none = {"00", "00", "00", "00"};
    static const struct tag_sections some[] = {
        {"00", "00", "00", "01 01 0d 00000002 0000000000000001 00"}, /* ReplicaState */
        {"00", "00", "00", "01 01 00"},                              /* the same, cut short */
        {"00", "00", "00", "01 00 10 00 01 0d 00000002 0000000000000001 00"}, /* in ClusterId */
        {"00", "01 00 10 00000000000000000000000000000000", "00", "00"}, /* ReplicaDirectoryId */
        {"00", "00", "01 05 00", "00"},
        {"01 00 00", "00", "00", "00"},
    };
    static const char *const rules[] = {"m.allow=consume\nm.topic=facts.*\n", "m.allow=consume\n"};
    (void)state;

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct fixture *f = open_guarded(rules[i]);
        learn_topic(f, "facts.a");
        put_fetch_17(&f->in, &none);
        expect_passed(f);
        close_guarded(f);
        for (size_t j = 0; j < sizeof some / sizeof *some; j++) {
            f = open_guarded(rules[i]);
            learn_topic(f, "facts.a");
            put_fetch_17(&f->in, &some[j]);
            expect_closed(f, "tagged fields");
            close_guarded(f);
        }
    }
}

/* ---- what is about everything */

/* cursor: the topic at which the list goes on; NULL: it begins. */
static void put_describe_topic_partitions(struct bytes *b, const char *topic, const char *cursor)
{
    size_t start = begin_request(b, 75, 0, 4);

    bytes_hex(b, "00");
    bytes_uvarint(b, topic ? 2 : 1);
    if (topic) {
        bytes_uvarint(b, (uint32_t)strlen(topic) + 1);
        bytes_add(b, topic, strlen(topic));
        bytes_hex(b, "00");
    }
    bytes_hex(b, "000007d0");
    bytes_u8(b, cursor ? 1 : 0xff);
    if (cursor) {
        bytes_uvarint(b, (uint32_t)strlen(cursor) + 1);
        bytes_add(b, cursor, strlen(cursor));
        bytes_hex(b, "00000000 00");
    }
    bytes_hex(b, "00");
    frame_end(b, start);
}

static void a_cursor_is_no_topic_that_is_asked_for(void **state)
{
    struct fixture *f = open_guarded("m.allow=consume, read-only\nm.topic=facts.*\n");
    (void)state;

    put_describe_topic_partitions(&f->in, NULL, NULL);
    expect_denied(f);
    put_describe_topic_partitions(&f->in, NULL, "facts.");
    expect_denied(f);
    put_describe_topic_partitions(&f->in, "payroll", "facts.b");
    expect_denied(f);
    put_describe_topic_partitions(&f->in, "facts.b", "facts.b");
    expect_passed(f);
    close_guarded(f);
}

/* Version 1 lists groups as well. */
static void lists_of_configured_resources_are_of_groups_too(void **state)
{
    static const char *const rules[] = {"m.allow=admin\n", "m.allow=admin\nm.topic=a\n",
                                        "m.allow=admin\nm.group=a\n",
                                        "m.allow=admin\nm.transactional-id=a\n"};
    static const bool denied[] = {false, true, true, false};
    (void)state;

    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct fixture *f = open_guarded(rules[i]);
        size_t start = begin_request(&f->in, 74, 1, 4);
        bytes_hex(&f->in, "00 02 20 00");
        frame_end(&f->in, start);
        if (denied[i])
            expect_denied(f);
        else
            expect_passed(f);
        close_guarded(f);
    }
}

/* ---- sessions, and rules that change */

static void put_fetched(struct bytes *b, uint32_t session)
{
    size_t start = frame_begin(b);

    bytes_u32(b, 7);
    bytes_hex(b, "00000000 0000");
    bytes_u32(b, session);
    bytes_u32(b, 0);
    frame_end(b, start);
}

static void begin_fetch_session(struct fixture *f)
{
    put_fetch(&f->in, (uint32_t)-1, 0, 0, "b");
    expect_passed(f);
    put_fetched(&f->in, 777);
    assert_int_equal(answer(f), 0);
}

static void fetch_sessions_end_when_rules_change(void **state)
{
    (void)state;

    for (int pipelined = 0; pipelined < 2; pipelined++) {
        struct fixture *f = open_guarded("m.allow=consume\nm.topic=a, b\n");
        begin_fetch_session(f);
        put_fetch(&f->in, (uint32_t)-1, 777, 1, NULL);
        expect_passed(f);
        put_in_force(f, "m.allow=consume\nm.topic=a\n");
        if (pipelined) {
            size_t start = begin_request(&f->in, KAFKA_KEY_API_VERSIONS, 0, 4);
            frame_end(&f->in, start);
            expect_passed(f);
        }
        put_fetched(&f->in, 777);
        assert_int_equal(answer(f), 0);
        put_fetch(&f->in, (uint32_t)-1, 777, 2, NULL);
        assert_int_equal(ask(f), 0);
        assert_int_equal(f->up.size, 0);
        assert_int_equal(f->denied, 1);
        close_guarded(f);
    }
}

/* What was allowed when a request began is judged again when the rest of it comes. */
static void rules_change_within_a_request(void **state)
{
    (void)state;

    for (int metadata = 0; metadata < 2; metadata++) {
        struct fixture *f = open_guarded("m.allow=consume\nm.topic=a, b\n");
        if (metadata) {
            size_t start = begin_request(&f->in, KAFKA_KEY_METADATA, 4, 4);
            bytes_u32(&f->in, 1);
            put_text(&f->in, "b");
            bytes_u8(&f->in, 0);
            frame_end(&f->in, start);
        } else {
            size_t start = begin_request(&f->in, 2, 1, 4);
            bytes_hex(&f->in, "ffffffff 00000002");
            put_text(&f->in, "b");
            bytes_hex(&f->in, "00000001 00000000 ffffffffffffffff");
            put_text(&f->in, "a");
            bytes_hex(&f->in, "00000001 00000000 ffffffffffffffff");
            frame_end(&f->in, start);
        }
        uint8_t rest[17]; /* from within the last name on */
        const size_t cut = metadata ? 1 : sizeof rest;
        f->in.size -= cut;
        memcpy(rest, f->in.at + f->in.size, cut);
        assert_int_equal(ask(f), 0);
        assert_int_equal(f->up.size, 0);
        put_in_force(f, "m.allow=consume\nm.topic=a\n");
        bytes_add(&f->in, rest, cut);
        assert_int_equal(ask(f), 0);
        if (f->up.size > 0)
            assert_null(memmem(f->up.at, f->up.size, "\0\1b", 3));
        assert_int_equal(f->denied, 1);
        close_guarded(f);
    }
}

static void put_compact(struct bytes *b, const char *text)
{
    bytes_uvarint(b, (uint32_t)strlen(text) + 1);
    bytes_add(b, text, strlen(text));
}

/* ShareFetch v1, of a topic with the id that learn_topic() gives, or of none. */
static void put_share_fetch(struct bytes *b, const char *member, uint32_t epoch, bool topic)
{
    size_t start = begin_request(b, KAFKA_KEY_SHARE_FETCH, 1, 4);

    bytes_hex(b, "00");
    put_compact(b, "g");
    put_compact(b, member);
    bytes_u32(b, epoch);
    bytes_hex(b, "000001f4 00000001 00100000 000001f4 000001f4");
    bytes_hex(b, topic ? "02 01020304050607080000000000000000 02 00000000 01 00 00" : "01");
    bytes_hex(b, "01 00");
    frame_end(b, start);
}

static void put_share_acknowledge(struct bytes *b, const char *member, uint32_t epoch)
{
    size_t start = begin_request(b, KAFKA_KEY_SHARE_ACKNOWLEDGE, 1, 4);

    bytes_hex(b, "00");
    put_compact(b, "g");
    put_compact(b, member);
    bytes_u32(b, epoch);
    bytes_hex(b, "01 00");
    frame_end(b, start);
}

static void put_share_fetched(struct bytes *b, uint16_t error)
{
    size_t start = frame_begin(b);

    bytes_u32(b, 7);
    bytes_hex(b, "00 00000000");
    bytes_u16(b, error);
    bytes_hex(b, "00 00000000 01 01 00");
    frame_end(b, start);
}

/* Denied with SHARE_SESSION_NOT_FOUND: the client begins another one. */
static void expect_no_share_session(struct fixture *f)
{
    expect_denied(f);
    assert_int_equal(byte_load_u16(f->down.at + 4 + 4 + 1 + 4), 122);
}

static const char sharing[] = "m.allow=consume\nm.topic=a, b\nm.group=g\n";

static void begin_share_session(struct fixture *f, uint16_t error)
{
    learn_topic(f, "b");
    put_share_fetch(&f->in, "me", 0, true);
    expect_passed(f);
    put_share_fetched(&f->in, error);
    assert_int_equal(answer(f), 0);
}

static void share_sessions_are_those_that_a_client_has_begun(void **state)
{
    struct fixture *f = open_guarded(sharing);
    (void)state;

    put_share_fetch(&f->in, "another", 5, false);
    expect_no_share_session(f);
    begin_share_session(f, 42); /* INVALID_REQUEST: it may be another's that there is */
    put_share_fetch(&f->in, "me", 1, false);
    expect_no_share_session(f);
    begin_share_session(f, 0);
    put_share_fetch(&f->in, "another", 1, false);
    expect_no_share_session(f);
    put_share_acknowledge(&f->in, "another", 1);
    expect_no_share_session(f);
    put_share_fetch(&f->in, "me", 1, false);
    expect_passed(f);
    put_share_acknowledge(&f->in, "me", 2);
    expect_passed(f);
    put_share_fetch(&f->in, "me", (uint32_t)-1, false);
    expect_passed(f);
    close_guarded(f);
}

static void share_sessions_end_when_rules_change(void **state)
{
    static const char fewer[] = "m.allow=consume\nm.topic=a\nm.group=g\n";
    struct fixture *f = open_guarded(sharing);
    (void)state;

    begin_share_session(f, 0);
    put_in_force(f, fewer);
    put_share_fetch(&f->in, "me", 1, false);
    expect_no_share_session(f);
    put_share_fetch(&f->in, "me", 0, true);
    expect_denied(f);
    close_guarded(f);

    f = open_guarded(sharing);
    learn_topic(f, "b");
    put_share_fetch(&f->in, "me", 0, true);
    expect_passed(f);
    put_in_force(f, fewer);
    put_share_fetched(&f->in, 0);
    assert_int_equal(answer(f), 0);
    put_share_fetch(&f->in, "me", 1, false);
    expect_no_share_session(f);
    close_guarded(f);
}

/* ---- topics that are created, or named by ACLs */

/* StreamsGroupHeartbeat v0 with a topology: what it reads, and what is created for it. */
static void put_topology(struct bytes *b, const char *source, const char *changelog,
                         const char *repartition)
{
    size_t start = begin_request(b, 88, 0, 4);

    bytes_hex(b, "00");
    put_compact(b, "g");
    put_compact(b, "m");
    bytes_hex(b, "00000000 00000000 00 00 0000ea60 01 00000001 02");
    put_compact(b, "0");
    bytes_hex(b, "02");
    put_compact(b, source);
    bytes_hex(b, "01");
    bytes_hex(b, changelog ? "02" : "01");
    if (changelog) {
        put_compact(b, changelog);
        bytes_hex(b, "00000000 0001 01 00");
    }
    bytes_hex(b, "01");
    bytes_hex(b, repartition ? "02" : "01");
    if (repartition) {
        put_compact(b, repartition);
        bytes_hex(b, "00000004 0001 01 00");
    }
    /* One of CopartitionGroups, with numbers only. */
    bytes_hex(b, "02 02 0001 02 0001 02 0001 00 00 00 00 00 00");
    put_compact(b, "p");
    bytes_hex(b, "ff 00 00 00 00 00");
    frame_end(b, start);
}

static void topics_of_streams_are_created_by_who_may_create_them(void **state)
{
    struct fixture *f = open_guarded("m.allow=consume\n");
    (void)state;

    put_topology(&f->in, "facts.a", "facts.changelog", NULL);
    expect_denied(f);
    assert_int_equal(byte_load_u16(f->down.at + 4 + 4 + 1 + 4), 29);
    put_topology(&f->in, "facts.a", NULL, "facts.repartition");
    expect_denied(f);
    put_topology(&f->in, "facts.a", NULL, NULL);
    expect_passed(f);
    close_guarded(f);

    f = open_guarded("m.allow=consume, CreateTopics\nm.topic=facts.*\n");
    put_topology(&f->in, "facts.a", "payroll-changelog", NULL);
    expect_denied(f);
    put_topology(&f->in, "payroll", "facts.changelog", NULL);
    expect_denied(f);
    assert_int_equal(byte_load_u16(f->down.at + 4 + 4 + 1 + 4), 29);
    put_topology(&f->in, "facts.a", "facts.changelog", "facts.repartition");
    expect_passed(f);
    close_guarded(f);
}

/* CreateAcls v1, and DeleteAcls and DescribeAcls v1 with a filter. name NULL: any. */
static void put_acl(struct bytes *b, int16_t api, uint8_t type, const char *name, uint8_t pattern)
{
    size_t start = begin_request(b, api, 1, 4);

    if (api != 29)
        bytes_u32(b, 1);
    bytes_u8(b, type);
    if (name)
        put_text(b, name);
    else
        bytes_u16(b, 0xffff);
    bytes_u8(b, pattern);
    put_text(b, "User:mallory");
    put_text(b, "*");
    bytes_hex(b, "02 03");
    frame_end(b, start);
}

static void acls_name_what_the_rules_allow(void **state)
{
    enum { ANY = 1, TOPIC = 2, GROUP = 3, CLUSTER = 4, TRANSACTIONAL_ID = 5 };
    enum { MATCH = 2, LITERAL = 3, PREFIXED = 4 };
    (void)state;

    for (int16_t api = 29; api <= 31; api++) {
        struct fixture *f = open_guarded("m.allow=admin\nm.topic=test-*, ?\n");
        put_acl(&f->in, api, TOPIC, "payroll", LITERAL);
        expect_denied(f);
        put_acl(&f->in, api, TOPIC, "test-", PREFIXED);
        expect_denied(f);
        put_acl(&f->in, api, TOPIC, "test-a", MATCH);
        expect_denied(f);
        put_acl(&f->in, api, TOPIC, "*", LITERAL);
        expect_denied(f);
        put_acl(&f->in, api, ANY, "test-a", LITERAL);
        expect_denied(f);
        if (api != 30) {
            put_acl(&f->in, api, TOPIC, NULL, LITERAL);
            expect_denied(f);
        }
        put_acl(&f->in, api, TOPIC, "test-a", LITERAL);
        expect_passed(f);
        put_acl(&f->in, api, GROUP, "any", LITERAL);
        expect_passed(f);
        put_acl(&f->in, api, CLUSTER, "kafka-cluster", LITERAL);
        expect_passed(f);
        close_guarded(f);

        f = open_guarded("m.allow=admin\nm.group=g\nm.transactional-id=t\n");
        put_acl(&f->in, api, GROUP, "payroll", LITERAL);
        expect_denied(f);
        put_acl(&f->in, api, TRANSACTIONAL_ID, "payroll", LITERAL);
        expect_denied(f);
        put_acl(&f->in, api, GROUP, "g", LITERAL);
        expect_passed(f);
        put_acl(&f->in, api, TRANSACTIONAL_ID, "t", LITERAL);
        expect_passed(f);
        put_acl(&f->in, api, TOPIC, "payroll", PREFIXED);
        expect_passed(f);
        close_guarded(f);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_tokens_are_no_way_around_the_rules),
        cmocka_unit_test(a_gssapi_token_without_a_handshake_is_refused),
        cmocka_unit_test(tokens_end_when_rules_come),
        cmocka_unit_test(logins_by_requests_pass),
        cmocka_unit_test(the_handshake_that_is_refused_is_still_offered),
        cmocka_unit_test(a_client_id_of_any_negative_length_hides_nothing),
        cmocka_unit_test(frames_that_are_no_requests_close),
        cmocka_unit_test(followers_are_denied),
        cmocka_unit_test(consumers_are_no_followers),
        cmocka_unit_test(nothing_hides_in_tags),
        cmocka_unit_test(a_cursor_is_no_topic_that_is_asked_for),
        cmocka_unit_test(lists_of_configured_resources_are_of_groups_too),
        cmocka_unit_test(fetch_sessions_end_when_rules_change),
        cmocka_unit_test(rules_change_within_a_request),
        cmocka_unit_test(share_sessions_are_those_that_a_client_has_begun),
        cmocka_unit_test(share_sessions_end_when_rules_change),
        cmocka_unit_test(topics_of_streams_are_created_by_who_may_create_them),
        cmocka_unit_test(acls_name_what_the_rules_allow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

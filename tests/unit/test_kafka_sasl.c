/* SaslHandshake v0: raw tokens without Kafka framing, and the way back. */
#include "test_kafka_support.h"

static void add_token(struct bytes *b, const char *token)
{
    bytes_u32(b, (uint32_t)strlen(token));
    bytes_add(b, token, strlen(token));
}

static void add_handshake(struct bytes *b, int16_t version, const char *mechanism)
{
    size_t start = frame_begin(b);
    add_header(b, KAFKA_KEY_SASL_HANDSHAKE, version, 1);
    bytes_u16(b, (uint16_t)strlen(mechanism));
    bytes_add(b, mechanism, strlen(mechanism));
    frame_end(b, start);
}

static void add_handshake_response(struct bytes *b, uint16_t error)
{
    size_t start = frame_begin(b);
    bytes_u32(b, 1);
    bytes_u16(b, error);
    bytes_u32(b, 1);
    bytes_hex(b, "0005504c41494e");
    frame_end(b, start);
}

/* MetadataResponse v0: node 1 at b1.example:9092, no topics. */
static void add_metadata(struct bytes *b, int32_t id)
{
    size_t start = frame_begin(b);
    bytes_u32(b, (uint32_t)id);
    bytes_hex(b, "00000001 00000001 000a62312e6578616d706c65 00002384 00000000");
    frame_end(b, start);
}

/* One side's bytes in one piece, or each alone. */
struct dialogue {
    struct kafka_filter *f;
    struct book book;
    struct bytes output;
    uint32_t split;
};

static void client(struct dialogue *d, struct bytes *b)
{
    for (size_t at = 0; at < b->size; at++) {
        size_t some = d->split == SPLIT_WHOLE ? b->size : 1;
        assert_int_equal(kafka_filter_requests(d->f, b->at + at, some), 0);
        at += some - 1;
    }
    b->size = 0;
}

/* What the broker says passes unchanged. */
static void broker(struct dialogue *d, struct bytes *b)
{
    d->output.size = 0;
    assert_int_equal(feed_split(d->f, b->at, b->size, d->split, &d->output), 0);
    assert_int_equal(d->output.size, b->size);
    assert_memory_equal(d->output.at, b->at, b->size);
    b->size = 0;
}

/* Kafka framing works, and addresses are rewritten. */
static void kafka_again(struct dialogue *d, struct bytes *b, uint32_t before)
{
    add_request(b, KAFKA_KEY_METADATA, 0, 5);
    client(d, b);
    add_metadata(b, 5);
    d->output.size = 0;
    assert_int_equal(feed_split(d->f, b->at, b->size, d->split, &d->output), 0);
    assert_int_equal(d->output.size, b->size - 1);
    assert_int_equal(d->book.rewritten[KAFKA_KEY_METADATA], before + 1);
    assert_int_equal(kafka_filter_in_flight(d->f), 0);
    b->size = 0;
}

static void begin(struct dialogue *d, uint32_t split)
{
    d->split = split;
    d->output = (struct bytes){0};
    d->f = new_filter(&d->book, NULL);
}

static void end(struct dialogue *d, struct bytes *b)
{
    bytes_free(&d->output);
    bytes_free(b);
    kafka_filter_free(d->f);
}

static void rounds_of_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *mechanism;
        const char *tokens[6]; /* client's and broker's in turn; NULL: none */
    } cases[] = {
        {"PLAIN", {"zz\0", ""}},
        {"SCRAM-SHA-256", {"n,,n=user,r=x", "r=xy,s=z,i=4096", "c=biws,r=xy,p=q", "v=w"}},
        {"SCRAM-SHA-512", {"n", "r", "c", "v"}},
        {"OAUTHBEARER", {"n,,\1auth=Bearer x\1\1", ""}},
        {"OAUTHBEARER", {"n,,\1auth=Bearer x\1\1", "{\"status\":\"invalid_token\"}", "\1", ""}},
        {"GSSAPI", {"\x60\x01 first", "\x60 reply", "", "wrap", "\x05\x04 last token", NULL}},
        {"GSSAPI", {"\x60\x01 first", "\x60 reply", "\x05\x04 last token", NULL}},
        {"UNHEARD-OF", {"one", "two", "three", "four", "five", "six"}},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (uint32_t split = 0; split < 2; split++) {
            struct dialogue d;
            struct bytes b = {0};
            const char *api;
            int16_t version;
            begin(&d, split);
            add_handshake(&b, 0, cases[i].mechanism);
            client(&d, &b);
            add_handshake_response(&b, 0);
            broker(&d, &b);
            for (unsigned t = 0; t < 6 && cases[i].tokens[t]; t++) {
                add_token(&b, cases[i].tokens[t]);
                if (t % 2 == 0)
                    client(&d, &b);
                else
                    broker(&d, &b);
            }
            kafka_again(&d, &b, 0);
            kafka_again(&d, &b, 1);
            assert_int_equal(kafka_filter_event(d.f, &api, &version), KAFKA_FILTER_EVENT_RAW_SASL);
            end(&d, &b);
        }
    }
}

static void the_last_token_and_the_first_request_may_come_together(void **state)
{
    (void)state;
    struct dialogue d;
    struct bytes b = {0};

    begin(&d, SPLIT_WHOLE);
    add_handshake(&b, 0, "GSSAPI");
    client(&d, &b);
    add_handshake_response(&b, 0);
    broker(&d, &b);
    add_token(&b, "\x60 first");
    client(&d, &b);
    add_token(&b, "\x60 reply");
    broker(&d, &b);
    add_token(&b, "\x05\x04 last");
    kafka_again(&d, &b, 0);
    end(&d, &b);
}

static void a_refused_mechanism_stays_in_kafka_framing(void **state)
{
    (void)state;
    for (uint32_t split = 0; split < 2; split++) {
        struct dialogue d;
        struct bytes b = {0};
        begin(&d, split);
        add_handshake(&b, 0, "NOPE");
        client(&d, &b);
        add_handshake_response(&b, 33);
        broker(&d, &b);
        kafka_again(&d, &b, 0);
        end(&d, &b);
    }
}

/* The broker reads each of these client ids as null. */
static void requests_without_a_client_id_are_no_tokens(void **state)
{
    static const uint16_t client_ids[] = {0xffff, 0xfffe, 0x8000};
    (void)state;

    for (size_t i = 0; i < sizeof client_ids / sizeof *client_ids; i++) {
        struct dialogue d;
        struct bytes b = {0};
        begin(&d, SPLIT_WHOLE);
        add_handshake(&b, 0, "NOPE");
        size_t start = frame_begin(&b);
        bytes_hex(&b, "0003 0000 00000005");
        bytes_u16(&b, client_ids[i]);
        bytes_u32(&b, 0);
        frame_end(&b, start);
        client(&d, &b);
        add_handshake_response(&b, 33);
        broker(&d, &b);
        add_metadata(&b, 5);
        d.output.size = 0;
        assert_int_equal(feed(d.f, b.at, b.size, &d.output), 0);
        assert_int_equal(d.book.rewritten[KAFKA_KEY_METADATA], 1);
        b.size = 0;
        end(&d, &b);
    }
}

static void a_token_may_come_before_the_handshake_is_answered(void **state)
{
    (void)state;
    struct dialogue d;
    struct bytes b = {0};

    begin(&d, SPLIT_WHOLE);
    add_handshake(&b, 0, "PLAIN");
    add_token(&b, "zz\xff\xffuser");
    client(&d, &b);
    add_handshake_response(&b, 0);
    add_token(&b, "");
    broker(&d, &b);
    kafka_again(&d, &b, 0);
    end(&d, &b);
}

static void handshake_1_again_and_again_is_nothing_special(void **state)
{
    (void)state;
    struct dialogue d;
    struct bytes b = {0};

    begin(&d, SPLIT_BYTES);
    for (unsigned round = 0; round < 3; round++) {
        add_handshake(&b, 1, "PLAIN");
        client(&d, &b);
        add_handshake_response(&b, 0);
        broker(&d, &b);
        add_request(&b, 36, 2, INT32_MAX);
        client(&d, &b);
        bytes_hex(&b, "00000010 7fffffff 00 0000 00 01 0000000000000000");
        b.at[3] = (uint8_t)(b.size - 4);
        broker(&d, &b);
        kafka_again(&d, &b, round);
    }
    end(&d, &b);
}

static void gssapi_without_a_handshake(void **state)
{
    (void)state;
    struct dialogue d;
    struct bytes b = {0};

    begin(&d, SPLIT_BYTES);
    add_token(&b, "\x60\x82\x01\x02 old style");
    client(&d, &b);
    add_token(&b, "\x60 reply");
    broker(&d, &b);
    add_token(&b, "\x05\x04 last");
    client(&d, &b);
    kafka_again(&d, &b, 0);
    end(&d, &b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_of_tokens),
        cmocka_unit_test(the_last_token_and_the_first_request_may_come_together),
        cmocka_unit_test(a_refused_mechanism_stays_in_kafka_framing),
        cmocka_unit_test(requests_without_a_client_id_are_no_tokens),
        cmocka_unit_test(a_token_may_come_before_the_handshake_is_answered),
        cmocka_unit_test(handshake_1_again_and_again_is_nothing_special),
        cmocka_unit_test(gssapi_without_a_handshake),
    };
    return cmocka_run_group_tests_name("kafka_sasl", tests, NULL, NULL);
}

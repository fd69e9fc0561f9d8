/* Frames, messages, the handshake: round trips, and every cut or bent shape. */
#include "../lib/cmocka.h"

#include <string.h>

#include "mux/frame.h"
#include "mux/handshake.h"
#include "mux/message.h"

static struct mux_text text(const char *string)
{
    return (struct mux_text){string, strlen(string)};
}

static void assert_text(struct mux_text value, const char *expected)
{
    assert_int_equal(value.size, strlen(expected));
    assert_memory_equal(value.bytes, expected, value.size);
}

static void frame_headers_round_trip(void **state)
{
    (void)state;
    const struct mux_frame frame = {.type = MUX_DATA, .size = 0x1234, .stream = 0xa1b2c3d4};
    const uint8_t expected[] = {5, 0, 0x12, 0x34, 0xa1, 0xb2, 0xc3, 0xd4};
    uint8_t bytes[MUX_FRAME_HEADER];
    struct mux_frame back;

    mux_frame_encode_header(bytes, &frame);
    assert_memory_equal(bytes, expected, sizeof expected);
    mux_frame_decode_header(bytes, &back);
    assert_int_equal(back.type, frame.type);
    assert_int_equal(back.size, frame.size);
    assert_int_equal(back.stream, frame.stream);
}

struct rule {
    uint8_t type;
    unsigned low, high;
    bool link;
};

static void assert_sizes(const struct rule *rules, size_t count, unsigned version)
{
    for (size_t i = 0; i < count; i++) {
        for (unsigned size = 0; size <= UINT16_MAX; size++) {
            struct mux_frame frame = {.type = rules[i].type, .size = (uint16_t)size};
            bool good = size >= rules[i].low && size <= rules[i].high;
            assert_int_equal(mux_frame_check(&frame, version) == NULL, good);
            frame.stream = 7;
            assert_int_equal(mux_frame_check(&frame, version) == NULL, good && !rules[i].link);
        }
    }
}

static void every_type_has_its_sizes(void **state)
{
    (void)state;
    static const struct rule same[] = {
        {MUX_HELLO, 1, 16384, true},   {MUX_WELCOME, 1, 16384, true}, {MUX_REJECT, 1, 16384, true},
        {MUX_POSITION, 24, 24, false}, {MUX_DATA, 9, 16384, false},   {MUX_PING, 8, 8, true},
        {MUX_PONG, 8, 8, true},        {MUX_GOAWAY, 4, 16384, true},
    };
    static const struct rule first[] = {
        {MUX_WINDOW, 16, 16, false}, {MUX_SHRINK, 8, 8, false}, {MUX_LIMIT, 8, 8, false}};
    static const struct rule second[] = {{MUX_WINDOW, 28, 28, false}, {MUX_SHRINK, 12, 12, false},
                                         {MUX_LIMIT, 12, 12, false},  {MUX_GONE, 4, 4, true},
                                         {MUX_SUSPECT, 4, 4, true},   {MUX_MORE_LINKS, 4, 4, true}};
    static const uint8_t last[] = {0, MUX_LIMIT, MUX_MORE_LINKS};

    assert_sizes(first, sizeof first / sizeof first[0], 1);
    assert_sizes(second, sizeof second / sizeof second[0], 2);
    for (unsigned version = 1; version <= MUX_VERSION_MAX; version++) {
        assert_sizes(same, sizeof same / sizeof same[0], version);
        for (unsigned type = 0; type < 256; type++) {
            struct mux_frame frame = {.type = (uint8_t)type, .size = 24};
            if (type == 0 || (type > last[version] && type < MUX_MAY_IGNORE))
                assert_non_null(mux_frame_check(&frame, version));
            if (type >= MUX_MAY_IGNORE)
                assert_null(mux_frame_check(&frame, version));
        }
    }
}

/* Each shorter payload must be refused; a longer one is a later version's. */
static void assert_every_cut_fails(const uint8_t *bytes, size_t size)
{
    struct mux_message message;

    for (size_t cut = MUX_MESSAGE_HEADER; cut < size; cut++)
        assert_false(mux_message_decode(bytes[0], bytes + MUX_MESSAGE_HEADER,
                                        cut - MUX_MESSAGE_HEADER, &message));
}

static size_t encode(const struct mux_message *message, uint8_t bytes[MUX_MESSAGE_ENCODED_MAX + 1])
{
    struct byte_writer w;

    memset(bytes, 0, MUX_MESSAGE_ENCODED_MAX + 1);
    byte_writer_init(&w, bytes, MUX_MESSAGE_ENCODED_MAX);
    mux_message_encode(&w, message);
    assert_false(w.failed);
    assert_int_equal(byte_load_u16(bytes + 2), byte_writer_size(&w) - MUX_MESSAGE_HEADER);
    assert_every_cut_fails(bytes, byte_writer_size(&w));
    return byte_writer_size(&w);
}

static bool decode(const uint8_t *bytes, size_t size, struct mux_message *message)
{
    return mux_message_decode(bytes[0], bytes + MUX_MESSAGE_HEADER, size - MUX_MESSAGE_HEADER,
                              message);
}

static void open_round_trips(void **state)
{
    (void)state;
    uint8_t bytes[MUX_MESSAGE_ENCODED_MAX + 1];
    struct mux_message message = {.type = MUX_OPEN, .stream = 9}, back;

    message.u.open.target = (struct mux_target){MUX_TARGET_CONTROLLER, text("kafka"), INT32_MAX};
    message.u.open.peer = text("127.0.0.1:5000");
    size_t size = encode(&message, bytes);
    assert_true(decode(bytes, size, &back));
    assert_true(decode(bytes, size + 1, &back));
    assert_int_equal(back.stream, 9);
    assert_int_equal(back.u.open.target.kind, MUX_TARGET_CONTROLLER);
    assert_int_equal(back.u.open.target.node_id, INT32_MAX);
    assert_text(back.u.open.target.name, "kafka");
    assert_text(back.u.open.peer, "127.0.0.1:5000");
}

static bool open_decodes(int kind, int32_t node, const char *name, uint32_t stream)
{
    uint8_t bytes[MUX_MESSAGE_ENCODED_MAX];
    struct byte_writer w;
    struct mux_message message = {.type = MUX_OPEN, .stream = stream}, back;

    message.u.open.target = (struct mux_target){(enum mux_target_kind)kind, text(name), node};
    message.u.open.peer = text("");
    byte_writer_init(&w, bytes, sizeof bytes);
    mux_message_encode(&w, &message);
    return decode(bytes, byte_writer_size(&w), &back);
}

static void impossible_targets_are_malformed(void **state)
{
    (void)state;
    assert_true(open_decodes(MUX_TARGET_CLUSTER, -1, "k", 1));
    assert_true(open_decodes(MUX_TARGET_TCP, -1, "k", UINT32_MAX));
    assert_true(open_decodes(MUX_TARGET_BROKER, 0, "k", 1));
    assert_true(open_decodes(MUX_TARGET_CONTROLLER, 0, "k", 1));
    assert_false(open_decodes(0, -1, "k", 1));
    assert_true(open_decodes(MUX_TARGET_BOOTSTRAP, 0, "k", 1));
    assert_false(open_decodes(MUX_TARGET_BOOTSTRAP, -1, "k", 1));
    assert_false(open_decodes(6, -1, "k", 1));
    assert_false(open_decodes(6, 0, "k", 1));
    assert_false(open_decodes(MUX_TARGET_BROKER, -1, "k", 1));
    assert_false(open_decodes(MUX_TARGET_CONTROLLER, -1, "k", 1));
    assert_false(open_decodes(MUX_TARGET_TCP, 3, "k", 1));
    assert_false(open_decodes(MUX_TARGET_CLUSTER, -1, "", 1));
    assert_false(open_decodes(MUX_TARGET_CLUSTER, -1, "k", 0));
}

static void the_other_messages_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[MUX_MESSAGE_ENCODED_MAX + 1];
    char words[300];
    struct mux_message message = {.type = MUX_FINISH, .stream = 3}, back;

    message.u.finish.final = UINT64_C(0x123456789abcdef0);
    assert_true(decode(bytes, encode(&message, bytes), &back));
    assert_true(back.u.finish.final == message.u.finish.final);
    memset(words, 'w', sizeof words);
    for (uint8_t type = MUX_REFUSED; type <= MUX_RESET; type += MUX_RESET - MUX_REFUSED) {
        message = (struct mux_message){.type = type, .stream = 4};
        message.u.reset.final = 77;
        message.u.reset.code = MUX_CODE_LIMIT;
        message.u.reset.reason = (struct mux_text){words, sizeof words};
        assert_true(decode(bytes, encode(&message, bytes), &back));
        assert_true(back.u.reset.final == 77 && back.u.reset.code == MUX_CODE_LIMIT);
        assert_int_equal(back.u.reset.reason.size, MUX_REASON_MAX);
    }
    message = (struct mux_message){.type = MUX_OPENED, .stream = 5};
    assert_true(decode(bytes, encode(&message, bytes), &back));
    message.type = MUX_DONE;
    assert_true(decode(bytes, encode(&message, bytes), &back));
    assert_false(mux_message_decode(99, bytes + 4, 4, &back));
}

static void exposes_fill_a_message_and_come_back(void **state)
{
    (void)state;
    uint8_t buffer[MUX_MESSAGE_PAYLOAD_MAX + 100];
    struct mux_expose_writer w;
    struct mux_expose_reader r;
    struct mux_exposed_node node;
    int32_t count = 0;

    mux_expose_begin(&w, buffer, sizeof buffer, text("kafka"));
    while (mux_exposed_add(&w, 1 + count % 2, count * 3, (uint16_t)(9092 + count), text("host")))
        count++;
    size_t size = mux_expose_end(&w);
    assert_in_range(size, MUX_MESSAGE_PAYLOAD_MAX - 12, MUX_MESSAGE_PAYLOAD_MAX);
    assert_true(mux_expose_read(&r, buffer, size));
    assert_text(r.cluster, "kafka");
    for (int32_t i = 0; i < count; i++) {
        assert_true(mux_exposed_next(&r, &node));
        assert_int_equal(node.endpoint_type, 1 + i % 2);
        assert_int_equal(node.node_id, i * 3);
        assert_int_equal(node.port, 9092 + i);
        assert_text(node.host, "host");
    }
    assert_false(mux_exposed_next(&r, &node));
    assert_false(r.bytes.failed);
    assert_true(mux_expose_read(&r, buffer, size - 1));
    while (mux_exposed_next(&r, &node))
        ;
    assert_true(r.bytes.failed);
    mux_expose_begin(&w, buffer, 20, text("kafka"));
    assert_true(mux_expose_add(&w, 1, 7) && mux_expose_add(&w, 1, 8));
    assert_false(mux_expose_add(&w, 1, 9));
    assert_true(mux_expose_read(&r, buffer, mux_expose_end(&w)) && r.left == 2);
    mux_expose_begin(&w, buffer, 20, text(""));
    assert_false(mux_expose_read(&r, buffer, mux_expose_end(&w)));
}

static void names_have_room_for_what_comes_behind_them(void **state)
{
    (void)state;
    uint8_t buffer[MUX_MESSAGE_PAYLOAD_MAX];
    char words[300];
    struct mux_expose_writer w;
    struct mux_expose_reader r;
    struct mux_exposed_node node;
    struct mux_text reason;
    uint8_t flags = 0;
    int32_t count = 0;

    memset(words, 'w', sizeof words);
    mux_names_begin(&w, buffer, text("kafka"));
    while (mux_exposed_add(&w, count % 3, count, 9092, (struct mux_text){words, 255}))
        count++;
    assert_true(count > 50);
    size_t size = mux_names_end(&w, MUX_NAMES_LAST, (struct mux_text){words, sizeof words});
    assert_in_range(size, MUX_MESSAGE_PAYLOAD_MAX - MUX_NAMES_TAIL - 263, MUX_MESSAGE_PAYLOAD_MAX);
    assert_false(w.bytes.failed);
    for (size_t cut = 0; cut < size; cut++) {
        if (!mux_expose_read(&r, buffer, cut))
            continue;
        while (mux_exposed_next(&r, &node))
            ;
        assert_false(mux_names_tail(&r, &flags, &reason));
    }
    assert_true(mux_expose_read(&r, buffer, size));
    assert_false(mux_names_tail(&r, &flags, &reason)); /* not before the last node */
    for (int32_t i = 0; i < count; i++) {
        assert_true(mux_exposed_next(&r, &node));
        assert_true(node.endpoint_type == i % 3 && node.node_id == i && node.host.size == 255);
    }
    assert_true(mux_names_tail(&r, &flags, &reason));
    assert_int_equal(flags, MUX_NAMES_LAST);
    assert_int_equal(reason.size, MUX_REASON_MAX);
}

static void a_wish_to_keep_names_round_trips(void **state)
{
    (void)state;
    uint8_t bytes[MUX_KEEP_MAX];
    struct mux_text cluster;
    size_t size = mux_keep_encode(bytes, text("staging"));

    assert_true(mux_keep_decode(bytes, size, &cluster));
    assert_text(cluster, "staging");
    for (size_t cut = 0; cut < size; cut++)
        assert_false(mux_keep_decode(bytes, cut, &cluster));
    assert_false(mux_keep_decode(bytes, mux_keep_encode(bytes, text("")), &cluster));
}

static struct mux_hello some_hello(void)
{
    struct mux_hello hello = {.version_min = 1,
                              .version_max = 3,
                              .resume = true,
                              .attempt = 12,
                              .initial_window = 65536,
                              .software = text("tunnel-client 1"),
                              .message_max = 32768};

    memset(hello.key.id, 0x11, sizeof hello.key.id);
    memset(hello.key.secret, 0x22, sizeof hello.key.secret);
    return hello;
}

static void hello_round_trips(void **state)
{
    (void)state;
    uint8_t bytes[400];
    struct byte_writer w;
    struct mux_hello hello = some_hello(), back;
    const char *reason = NULL;
    size_t consumed = 0;

    byte_writer_init(&w, bytes, sizeof bytes);
    mux_hello_encode(&w, &hello);
    size_t size = byte_writer_size(&w);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(mux_hello_receive(bytes, cut, &back, &consumed, &reason),
                         MUX_HELLO_NEED_MORE);
    assert_int_equal(mux_hello_receive(bytes, size + 9, &back, &consumed, &reason), 0);
    assert_int_equal(consumed, size);
    assert_true(back.resume && back.attempt == 12 && back.initial_window == 65536);
    assert_true(back.version_min == 1 && back.version_max == 3);
    assert_memory_equal(&back.key, &hello.key, sizeof back.key);
    assert_text(back.software, "tunnel-client 1");
    assert_int_equal(back.message_max, 32768);
    /* An older client does not write its last field. */
    const size_t whole = size - MUX_FRAME_HEADER;
    for (size_t cut = 0; cut < whole - 4; cut++)
        assert_false(mux_hello_decode(bytes + MUX_FRAME_HEADER, cut, &back));
    assert_true(mux_hello_decode(bytes + MUX_FRAME_HEADER, whole - 4, &back));
    assert_int_equal(back.message_max, 0);
}

static int receive_bent(size_t at, uint8_t value)
{
    uint8_t bytes[400];
    struct byte_writer w;
    struct mux_hello hello = some_hello();
    const char *reason = NULL;
    size_t consumed;

    byte_writer_init(&w, bytes, sizeof bytes);
    mux_hello_encode(&w, &hello);
    bytes[at] = value;
    int result = mux_hello_receive(bytes, byte_writer_size(&w), &hello, &consumed, &reason);
    assert_int_equal(result == MUX_HELLO_MALFORMED, reason != NULL);
    return result;
}

static void bent_hellos_are_malformed(void **state)
{
    (void)state;
    assert_int_equal(receive_bent(0, MUX_WELCOME), MUX_HELLO_MALFORMED);
    assert_int_equal(receive_bent(0, 'G'), MUX_HELLO_MALFORMED);
    assert_int_equal(receive_bent(0, 0x81), MUX_HELLO_MALFORMED);
    assert_int_equal(receive_bent(2, 0xff), MUX_HELLO_MALFORMED);
    assert_int_equal(receive_bent(7, 1), MUX_HELLO_MALFORMED);
    assert_int_equal(receive_bent(8, 'X'), MUX_HELLO_MALFORMED);
    assert_int_equal(receive_bent(3, 20), MUX_HELLO_MALFORMED);
    assert_int_equal(receive_bent(3, 255), MUX_HELLO_NEED_MORE);
}

static void welcome_and_reject_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[1000], list[64];
    struct byte_writer w, offers;
    struct mux_welcome welcome = {.version = 1, .initial_window = 9, .resume_window_ms = 120000};
    struct mux_welcome back;
    enum mux_target_kind kind;
    struct mux_text name;

    byte_writer_init(&offers, list, sizeof list);
    mux_offer_write(&offers, MUX_TARGET_CLUSTER, text("kafka"));
    mux_offer_write(&offers, MUX_TARGET_TCP, text("registry"));
    welcome.offer_count = 2;
    welcome.offers = (struct mux_text){(const char *)list, byte_writer_size(&offers)};
    welcome.software = text("tunnel-server 1");
    welcome.identity = text("ALICE");
    welcome.message_max = 16384;
    byte_writer_init(&w, bytes, sizeof bytes);
    mux_welcome_encode(&w, &welcome);
    size_t size = byte_writer_size(&w) - MUX_FRAME_HEADER;
    /* Identity and the size of messages may be missing; the identity may not be cut. */
    const size_t old = size - 4, oldest = old - sizeof "ALICE";
    for (size_t cut = 0; cut < old; cut++)
        assert_int_equal(mux_welcome_decode(bytes + MUX_FRAME_HEADER, cut, &back), cut == oldest);
    assert_true(mux_welcome_decode(bytes + MUX_FRAME_HEADER, oldest, &back));
    assert_true(back.identity.size == 0 && back.message_max == 0);
    assert_true(mux_welcome_decode(bytes + MUX_FRAME_HEADER, old, &back));
    assert_text(back.identity, "ALICE");
    assert_int_equal(back.message_max, 0);
    assert_true(mux_welcome_decode(bytes + MUX_FRAME_HEADER, size, &back));
    assert_int_equal(back.message_max, 16384);
    assert_text(back.identity, "ALICE");
    assert_true(!back.resumed && back.resume_window_ms == 120000 && back.offer_count == 2);
    assert_true(mux_offer_next(&back.offers, &kind, &name));
    assert_text(name, "kafka");
    assert_true(mux_offer_next(&back.offers, &kind, &name) && kind == MUX_TARGET_TCP);
    assert_text(name, "registry");
    assert_false(mux_offer_next(&back.offers, &kind, &name));

    struct mux_reject reject = {MUX_CODE_VERSION, 5000, text("too old")};
    byte_writer_init(&w, bytes, sizeof bytes);
    mux_reject_encode(&w, &reject);
    size = byte_writer_size(&w) - MUX_FRAME_HEADER;
    for (size_t cut = 0; cut < size; cut++)
        assert_false(mux_reject_decode(bytes + MUX_FRAME_HEADER, cut, &reject));
    assert_true(mux_reject_decode(bytes + MUX_FRAME_HEADER, size, &reject));
    assert_true(reject.code == MUX_CODE_VERSION && reject.retry_after_ms == 5000);
    assert_text(reject.reason, "too old");
}

static void the_highest_common_version_is_chosen(void **state)
{
    (void)state;
    assert_int_equal(mux_version_choose(1, 1), 1);
    assert_int_equal(mux_version_choose(0, 9), 2);
    assert_int_equal(mux_version_choose(2, 9), 2);
    assert_int_equal(mux_version_choose(3, 9), 0);
    assert_int_equal(mux_version_choose(0, 0), 0);
    assert_int_equal(mux_version_choose(5, 1), 0);
}

static void logins_come_back(void **state)
{
    (void)state;
    uint8_t buffer[MUX_LOGIN_MAX];
    char longer[400];
    uint32_t stream;
    struct mux_text who;

    size_t size = mux_login_encode(buffer, 77, text("svc-orders, PLAIN"));
    assert_int_equal(size, 4 + 1 + 17);
    assert_true(mux_login_decode(buffer, size, &stream, &who));
    assert_int_equal(stream, 77);
    assert_true(who.size == 17 && memcmp(who.bytes, "svc-orders, PLAIN", 17) == 0);
    for (size_t cut = 0; cut < size; cut++)
        assert_false(mux_login_decode(buffer, cut, &stream, &who));
    memset(longer, 'x', sizeof longer);
    assert_int_equal(mux_login_encode(buffer, 77, (struct mux_text){longer, sizeof longer}),
                     MUX_LOGIN_MAX);
}

static void troubles_come_back(void **state)
{
    (void)state;
    uint8_t buffer[MUX_TROUBLE_MAX];
    char longer[400];
    struct mux_text cluster;
    struct mux_text what;

    size_t size = mux_trouble_encode(buffer, text("kafka"), text("b1:9092 is down"));
    assert_int_equal(size, 1 + 5 + 1 + 15);
    assert_true(mux_trouble_decode(buffer, size, &cluster, &what));
    assert_true(cluster.size == 5 && memcmp(cluster.bytes, "kafka", 5) == 0);
    assert_true(what.size == 15 && memcmp(what.bytes, "b1:9092 is down", 15) == 0);
    for (size_t cut = 0; cut < size; cut++)
        assert_false(mux_trouble_decode(buffer, cut, &cluster, &what));

    memset(longer, 'x', sizeof longer);
    size = mux_trouble_encode(buffer, (struct mux_text){longer, sizeof longer},
                              (struct mux_text){longer, sizeof longer});
    assert_int_equal(size, MUX_TROUBLE_MAX);
    assert_true(mux_trouble_decode(buffer, size, &cluster, &what));
    assert_int_equal(cluster.size, MUX_NAME_MAX);
    assert_int_equal(what.size, MUX_REASON_MAX);
    assert_false(mux_trouble_decode((const uint8_t *)"\0\1x", 3, &cluster, &what));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_headers_round_trip),
        cmocka_unit_test(every_type_has_its_sizes),
        cmocka_unit_test(open_round_trips),
        cmocka_unit_test(impossible_targets_are_malformed),
        cmocka_unit_test(the_other_messages_round_trip),
        cmocka_unit_test(exposes_fill_a_message_and_come_back),
        cmocka_unit_test(names_have_room_for_what_comes_behind_them),
        cmocka_unit_test(a_wish_to_keep_names_round_trips),
        cmocka_unit_test(troubles_come_back),
        cmocka_unit_test(logins_come_back),
        cmocka_unit_test(hello_round_trips),
        cmocka_unit_test(bent_hellos_are_malformed),
        cmocka_unit_test(welcome_and_reject_round_trip),
        cmocka_unit_test(the_highest_common_version_is_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

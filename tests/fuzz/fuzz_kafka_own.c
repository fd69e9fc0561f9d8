/*
 * A connection on which somebody else than the client logs in: the server's own requests between
 * the client's, their answers, and a login of the client's that is not let through. Whatever comes,
 * an own answer is a whole frame to what was asked, and never the client's; nothing passes behind a
 * login that is refused, and its answer is one frame.
 * Input: a byte that says whether there is a guard and whether logins are refused; then pieces,
 * each with a byte before it. Its top bit says which direction the piece goes, the other seven how
 * long it is; 0x7f: an own request with the id of the next byte.
 */
#include "base/bytes.h"
#include "fuzz_kafka.h"
#include "kafka/login.h"

enum { GUARDED = 1, REFUSES = 2, OWN_MAX = 64 };

struct own {
    struct kafka_filter *filter;
    struct fuzz_book book;
    bool guarded;
    bool refused; /* a login of the client's: it sends nothing more */
    int asked[256];
    size_t open; /* own requests without an answer */
};

static bool is_open(void *context)
{
    (void)context;
    return false;
}

static uint64_t generation(void *context)
{
    (void)context;
    return 0;
}

static bool may_use(void *context, int16_t key)
{
    (void)context;
    return key % 3 != 0;
}

static bool is_limited(void *context, int16_t key, enum kafka_resource resource)
{
    (void)context;
    return (key + (int)resource) % 2 != 0;
}

static bool may_name(void *context, int16_t key, enum kafka_resource resource, const char *name,
                     size_t size)
{
    return !is_limited(context, key, resource) || (size > 0 && (name[0] & 1) != 0);
}

static const char *topic_name(void *context, const uint8_t id[KAFKA_TOPIC_ID_SIZE], size_t *size)
{
    (void)context;
    *size = 1;
    return id[15] == 0 ? "t" : NULL;
}

static void learn_name(void *context, const uint8_t id[KAFKA_TOPIC_ID_SIZE], const char *name,
                       size_t size)
{
    (void)context;
    CHECK(id && name && size > 0);
}

static void note_denied(void *context, const struct kafka_denied *denied)
{
    (void)context;
    CHECK(strlen(denied->name) <= 128);
}

static const struct kafka_guard guard = {is_open,  generation, may_use,    is_limited,
                                         may_name, topic_name, learn_name, note_denied};

static void check_refusal(const struct own *own)
{
    static const char words[] = "none: the tunnel logs in";
    uint8_t buffer[KAFKA_LOGIN_REFUSAL_MAX];
    size_t size = kafka_filter_refusal(own->filter, words, buffer);

    CHECK(size <= sizeof buffer);
    if (size > 0)
        CHECK(size > sizeof words && byte_load_u32(buffer) == size - 4);
}

/* The client's bytes, as a relay gives them. */
static int send_up(struct own *own, const uint8_t *bytes, size_t size)
{
    int result = 0;

    if (!own->guarded) {
        result = kafka_filter_requests(own->filter, bytes, size);
        if (result == KAFKA_FILTER_REFUSED)
            CHECK(kafka_filter_passed(own->filter) <= size);
    }
    for (size_t at = 0; own->guarded;) {
        struct kafka_span span;
        size_t used;
        result =
            kafka_filter_guarded_requests(own->filter, bytes + at, size - at, false, &used, &span);
        CHECK(used <= size - at);
        at += used;
        if (result != 0 || (at == size && span.size == 0))
            break;
    }
    if (result != KAFKA_FILTER_REFUSED)
        return result;
    own->refused = true;
    check_refusal(own);
    return 0;
}

static void take_own_answer(struct own *own, const struct kafka_span *span)
{
    CHECK(span->size >= 8 && span->size <= KAFKA_FILTER_OWN_MAX + 4);
    CHECK(byte_load_u32(span->bytes) == span->size - 4);
    uint32_t id = byte_load_u32(span->bytes + 4);
    CHECK(id < 256 && own->asked[id] > 0 && own->open > 0);
    own->asked[id]--;
    own->open--;
}

static int send_down(struct own *own, const uint8_t *bytes, size_t size)
{
    for (;;) {
        size_t used;
        struct kafka_span span;
        int result = kafka_filter_responses(own->filter, bytes, size, &used, &span);
        CHECK(used <= size);
        if (result < 0)
            return result;
        bytes += used;
        size -= used;
        if (result == KAFKA_FILTER_OWN) {
            take_own_answer(own, &span);
        } else if (result == KAFKA_FILTER_BLOCKED) {
            own->book.blocked++;
            kafka_filter_retry(own->filter);
        } else if (result == KAFKA_FILTER_TIRED) {
            kafka_filter_turn(own->filter);
        } else {
            own->book.blocked = 0;
            for (size_t i = 0; i < span.size; i++)
                own->book.hash += span.bytes[i];
            if (size == 0 && span.size == 0)
                return 0;
        }
    }
}

static int ask(struct own *own, uint8_t id)
{
    if (own->open == OWN_MAX || own->refused || !kafka_filter_between_requests(own->filter))
        return 0;
    int result = kafka_filter_ask(own->filter, id);
    if (result == 0) {
        own->asked[id]++;
        own->open++;
    }
    return result;
}

/* Of exactly its size, so that a sanitizer sees every byte read beyond it. */
static uint8_t *copy_piece(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);

    CHECK(copy);
    if (size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct own own = {0};
    int result = 0;

    if (size == 0)
        return 0;
    own.filter = kafka_filter_new(&fuzz_callbacks, &own.book, &fuzz_limits);
    CHECK(own.filter);
    own.guarded = bytes[0] & GUARDED;
    if (own.guarded)
        CHECK(kafka_filter_use_guard(own.filter, &guard, NULL));
    if (bytes[0] & REFUSES)
        kafka_filter_refuse_login(own.filter);
    for (size_t at = 1; at < size && result == 0;) {
        uint8_t control = bytes[at++];
        if (control == 0x7f) {
            result = at < size ? ask(&own, bytes[at++]) : 0;
            continue;
        }
        size_t some = control & 0x7f;
        some = some < size - at ? some : size - at;
        uint8_t *piece = copy_piece(bytes + at, some);
        at += some;
        if (control & 0x80)
            result = send_down(&own, piece, some);
        else if (!own.refused)
            result = send_up(&own, piece, some);
        if (result == 0 && own.guarded && kafka_filter_has_answer(own.filter))
            result = send_down(&own, piece, 0);
        free(piece);
    }
    if (result != 0)
        CHECK(kafka_filter_reason(own.filter)[0] != '\0');
    CHECK(kafka_filter_memory(own.filter) < (64u << 20));
    kafka_filter_free(own.filter);
    return 0;
}

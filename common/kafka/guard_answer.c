/*
 * The answer to a request that is denied: laid out by the rows of its API's answer, with what it
 * repeats of the request.
 *
 * That is collected as a tree of tokens: fields, and elements of arrays with what is in them. A
 * request without a topic has none, and a large one (Produce) has as many as it has partitions, not
 * records.
 */
#include "kafka/addresses.h"
#include "kafka/errors.h"
#include "kafka/guard_requests.h"
#include "kafka/wire.h"

#include <string.h>

enum token_type { TOKEN_FIELD, TOKEN_NULL, TOKEN_ELEMENT };

struct token {
    uint8_t role;
    uint8_t type;
    uint16_t unused;
    uint32_t size; /* of what follows: the field, or the element's tokens */
};

struct tokens {
    const uint8_t *at;
    const uint8_t *end;
};

/* ---- collecting */

static void put_token(struct kafka_guard_requests *g, enum kafka_role role, enum token_type type,
                      const uint8_t *bytes, size_t size)
{
    const struct token token = {
        .role = (uint8_t)role, .type = (uint8_t)type, .size = (uint32_t)size};

    g->overflow |=
        !kafka_buffer_append(&g->collected, &token, sizeof token, KAFKA_GUARD_COLLECTED) ||
        (size > 0 && !kafka_buffer_append(&g->collected, bytes, size, KAFKA_GUARD_COLLECTED));
}

static void collect_field(void *context, enum kafka_role role, const uint8_t *bytes, size_t size)
{
    put_token(context, role, bytes ? TOKEN_FIELD : TOKEN_NULL, bytes, size);
}

static void collect_element(void *context, enum kafka_role role, bool begins)
{
    struct kafka_guard_requests *g = context;

    if (begins) {
        g->open[g->depth++] = g->collected.size;
        put_token(g, role, TOKEN_ELEMENT, NULL, 0);
        return;
    }
    struct token token;
    uint8_t *at = g->collected.bytes + g->open[--g->depth];
    if (g->overflow)
        return;
    memcpy(&token, at, sizeof token);
    token.size = (uint32_t)(g->collected.bytes + g->collected.size - at - sizeof token);
    memcpy(at, &token, sizeof token);
}

static const struct kafka_shape_sink collecting = {collect_field, collect_element, NULL};

void kafka_guard_collect_start(struct kafka_guard_requests *g, uint64_t body_size)
{
    kafka_buffer_trim(&g->collected);
    g->depth = 0;
    g->overflow = false;
    kafka_shape_walk_start(&g->walk, g->shapes->request, g->request.version,
                           g->request.version >= g->shapes->first_flexible, body_size);
}

int kafka_guard_collect(struct kafka_guard_requests *g, const uint8_t *bytes, size_t size)
{
    if (kafka_shape_walk_run(&g->walk, bytes, size, &collecting, g) == KAFKA_WALK_FAILED) {
        g->reason = g->walk.taker.reason;
        return KAFKA_FILTER_EFRAME;
    }
    if (g->overflow) {
        g->reason = "is denied, and names too much to be answered";
        return KAFKA_FILTER_ELIMIT;
    }
    return 0;
}

/* ---- looking into what was collected */

static bool next_token(struct tokens *tokens, struct token *token, const uint8_t **bytes)
{
    if (tokens->at == tokens->end)
        return false;
    memcpy(token, tokens->at, sizeof *token);
    *bytes = tokens->at + sizeof *token;
    tokens->at = *bytes + token->size;
    return true;
}

/* The first of that role, not within elements. */
static bool find_token(struct tokens tokens, unsigned role, struct token *token,
                       const uint8_t **bytes)
{
    while (next_token(&tokens, token, bytes))
        if (token->role == role)
            return true;
    return false;
}

static uint32_t count_elements(struct tokens tokens, unsigned role)
{
    struct token token;
    const uint8_t *bytes;
    uint32_t count = 0;

    while (next_token(&tokens, &token, &bytes))
        count += token.role == role;
    return count;
}

/* ---- error codes */

struct answer {
    const struct kafka_guard_requests *g;
    struct kafka_buffer *out;
    int16_t version;
    bool flexible;
    bool failed;
    int8_t type; /* of the keys */
};

static bool names_something(unsigned role)
{
    return role == KAFKA_ROLE_TOPICS || role == KAFKA_ROLE_GROUPS ||
           role == KAFKA_ROLE_TRANSACTIONS || role == KAFKA_ROLE_KEYS ||
           role == KAFKA_ROLE_RESOURCES;
}

/* Which elements a denial of that kind is told in. */
static bool is_told_in(const struct kafka_guard_requests *g, unsigned role)
{
    if (g->by_api)
        return role == KAFKA_ROLE_KEYS || role == KAFKA_ROLE_RESOURCES ||
               (role == KAFKA_ROLE_TOPICS && g->kind == KAFKA_DENIAL_TOPIC);
    switch (g->kind) {
    case KAFKA_DENIAL_TOPIC:
        return role == KAFKA_ROLE_TOPICS || role == KAFKA_ROLE_RESOURCES;
    case KAFKA_DENIAL_GROUP:
        return role == KAFKA_ROLE_GROUPS || role == KAFKA_ROLE_KEYS || role == KAFKA_ROLE_RESOURCES;
    case KAFKA_DENIAL_TRANSACTIONAL_ID:
        return role == KAFKA_ROLE_TRANSACTIONS || role == KAFKA_ROLE_KEYS;
    default:
        return false;
    }
}

static bool is_about_session(const struct kafka_guard_requests *g)
{
    return g->kind == KAFKA_DENIAL_SESSION || g->kind == KAFKA_DENIAL_SHARE_SESSION;
}

static bool has_error(const struct kafka_shape *row, const struct kafka_shape *end, int16_t version)
{
    for (; row < end; row++)
        if (row->role == KAFKA_ROLE_ERROR && kafka_shape_is_in(row, version))
            return true;
    return false;
}

/* Whether the answer has elements of that role which have an error code. */
static bool tells(const struct kafka_guard_requests *g, unsigned role)
{
    const struct kafka_shape *row = g->shapes->answer;

    for (unsigned depth = 0; row->type != KAFKA_SHAPE_END || depth > 0; row++) {
        if (row->type == KAFKA_SHAPE_END)
            depth--;
        else if (kafka_shape_has_rows(row)) {
            depth++;
            if (row->role == role && has_error(row, kafka_shape_after(row), g->request.version))
                return true;
        }
    }
    return false;
}

/* What stands beside the elements: nothing is wrong with the request as such, if they tell. */
static int16_t code_of_request(const struct answer *a, struct tokens tokens)
{
    const struct kafka_guard_requests *g = a->g;
    struct tokens rest = tokens;
    struct token token;
    const uint8_t *bytes;

    if (is_about_session(g))
        return kafka_guard_code(g->kind);
    while (next_token(&rest, &token, &bytes))
        if (token.type == TOKEN_ELEMENT && is_told_in(g, token.role) && tells(g, token.role))
            return 0;
    if (g->by_api && find_token(tokens, KAFKA_ROLE_KEY, &token, &bytes))
        return kafka_guard_judge(g, KAFKA_ROLE_KEY, bytes, token.size, a->type);
    /* A producer without transactions is refused as brokers do: it may not write at all. */
    if (g->by_api && g->kind == KAFKA_DENIAL_TRANSACTIONAL_ID &&
        (!find_token(tokens, KAFKA_ROLE_TRANSACTIONAL_ID, &token, &bytes) ||
         token.type == TOKEN_NULL) &&
        count_elements(tokens, KAFKA_ROLE_TRANSACTIONS) == 0)
        return KAFKA_CLUSTER_AUTHORIZATION_FAILED;
    return kafka_guard_code(g->kind);
}

/* The code within an element: of what it names itself, or what is said of all that is around it. */
static int16_t code_of_element(const struct answer *a, unsigned role, struct tokens tokens,
                               int16_t around)
{
    const struct kafka_guard_requests *g = a->g;
    struct token token;
    const uint8_t *bytes;
    int8_t type = a->type;
    int16_t code = 0;

    if (!names_something(role) || !is_told_in(g, role))
        return around;
    if (find_token(tokens, KAFKA_ROLE_RESOURCE_TYPE, &token, &bytes))
        type = (int8_t)bytes[0];
    while (code == 0 && next_token(&tokens, &token, &bytes))
        if (token.type != TOKEN_ELEMENT)
            code = kafka_guard_judge(g, (enum kafka_role)token.role,
                                     token.type == TOKEN_NULL ? NULL : bytes, token.size, type);
    if (code != 0)
        return code;
    return g->shapes->beside != 0 ? g->shapes->beside : kafka_guard_code(g->kind);
}

/* ---- writing */

static void put_answer_bytes(struct answer *a, const void *bytes, size_t size)
{
    a->failed |= size > 0 && !kafka_buffer_append(a->out, bytes, size, 4 * KAFKA_GUARD_COLLECTED);
}

static void put_answer_number(struct answer *a, int64_t number, size_t size)
{
    uint8_t bytes[16] = {0};

    for (size_t i = 0; i < size && i < sizeof bytes; i++)
        bytes[size - 1 - i] = i < 8 ? (uint8_t)((uint64_t)number >> (8 * i)) : 0;
    put_answer_bytes(a, bytes, size);
}

/* size -1: null. */
static void put_length(struct answer *a, int64_t size, size_t width)
{
    uint8_t bytes[KAFKA_UVARINT_MAX];

    if (a->flexible)
        put_answer_bytes(a, bytes, kafka_wire_put_uvarint(bytes, (uint32_t)(size + 1)));
    else
        put_answer_number(a, size, width);
}

static void put_end_of_tags(struct answer *a)
{
    if (a->flexible)
        put_answer_number(a, 0, 1);
}

static void put_fixed(struct answer *a, const struct kafka_shape *row, struct tokens tokens,
                      int16_t code)
{
    struct token token;
    const uint8_t *bytes;

    if (row->role == KAFKA_ROLE_ERROR)
        put_answer_number(a, code, row->size);
    else if (row->role != KAFKA_ROLE_NONE && find_token(tokens, row->role, &token, &bytes) &&
             token.size == row->size)
        put_answer_bytes(a, bytes, token.size);
    else
        put_answer_number(a, row->initial, row->size);
}

static void put_string(struct answer *a, const struct kafka_shape *row, struct tokens tokens)
{
    bool null = kafka_shape_may_be_null(row, a->version);
    struct token token;
    const uint8_t *bytes;

    if (row->role != KAFKA_ROLE_NONE && find_token(tokens, row->role, &token, &bytes) &&
        (token.type == TOKEN_FIELD || null)) {
        put_length(a, token.type == TOKEN_NULL ? -1 : (int64_t)token.size, 2);
        put_answer_bytes(a, bytes, token.size);
        return;
    }
    put_length(a, null && row->initial < 0 ? -1 : 0, 2);
}

static void put_rows(struct answer *a, const struct kafka_shape *row, struct tokens tokens,
                     int16_t code);

static void put_elements(struct answer *a, const struct kafka_shape *row, struct tokens tokens,
                         int16_t code)
{
    uint32_t count = row->role == KAFKA_ROLE_NONE || is_about_session(a->g)
                         ? 0
                         : count_elements(tokens, row->role);
    struct token token;
    const uint8_t *bytes;

    if (count == 0) {
        put_length(a, row->initial < 0 && kafka_shape_may_be_null(row, a->version) ? -1 : 0, 4);
        return;
    }
    put_length(a, count, 4);
    while (next_token(&tokens, &token, &bytes)) {
        if (token.role != row->role)
            continue;
        const struct tokens inside = {bytes, bytes + token.size};
        put_rows(a, row + 1, inside, code_of_element(a, row->role, inside, code));
    }
}

static void put_struct(struct answer *a, const struct kafka_shape *row, struct tokens tokens,
                       int16_t code)
{
    if (kafka_shape_may_be_null(row, a->version)) {
        put_answer_number(a, row->initial < 0 ? -1 : 1, 1);
        if (row->initial < 0)
            return;
    }
    put_rows(a, row + 1, tokens, code);
}

/* Up to END. Elements are structs: answers repeat no bare names. */
static void put_rows(struct answer *a, const struct kafka_shape *row, struct tokens tokens,
                     int16_t code)
{
    for (; row->type != KAFKA_SHAPE_END; row = kafka_shape_after(row)) {
        if (!kafka_shape_is_in(row, a->version))
            continue;
        switch (row->type) {
        case KAFKA_SHAPE_FIXED:
            put_fixed(a, row, tokens, code);
            break;
        case KAFKA_SHAPE_STRING:
            put_string(a, row, tokens);
            break;
        case KAFKA_SHAPE_BYTES:
            put_length(a, 0, 4);
            break;
        case KAFKA_SHAPE_ARRAY:
            put_elements(a, row, tokens, code);
            break;
        case KAFKA_SHAPE_LIST:
            put_length(a, row->initial < 0 && kafka_shape_may_be_null(row, a->version) ? -1 : 0, 4);
            break;
        default:
            put_struct(a, row, tokens, code);
        }
    }
    put_end_of_tags(a);
}

int kafka_guard_answer(struct kafka_guard_requests *g, struct kafka_buffer *out)
{
    struct answer a = {.g = g,
                       .out = out,
                       .version = g->request.version,
                       .flexible = g->request.version >= g->shapes->first_flexible};
    struct tokens tokens = {NULL, NULL};
    struct token token;
    const uint8_t *bytes;

    if (g->collected.size > 0)
        tokens = (struct tokens){g->collected.bytes, g->collected.bytes + g->collected.size};
    if (find_token(tokens, KAFKA_ROLE_KEY_TYPE, &token, &bytes))
        a.type = (int8_t)bytes[0];
    out->size = 0;
    put_answer_number(&a, 0, 4);
    put_answer_number(&a, g->request.correlation_id, 4);
    put_end_of_tags(&a);
    put_rows(&a, g->shapes->answer, tokens, code_of_request(&a, tokens));
    if (a.failed) {
        g->reason = "is denied, and could not be answered: out of memory";
        return KAFKA_FILTER_EMEMORY;
    }
    byte_store_u32(out->bytes, (uint32_t)(out->size - 4));
    return 0;
}

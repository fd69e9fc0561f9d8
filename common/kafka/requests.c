#include "kafka/requests.h"

#include <assert.h>
#include <stdlib.h>

/* Ids of unanswered optional requests that are remembered per run: a broker is never that late. */
enum { RUN_MAX = 65536 };

void kafka_requests_init(struct kafka_requests *q, uint32_t max)
{
    *q = (struct kafka_requests){.max = max};
}

void kafka_requests_free(struct kafka_requests *q)
{
    free(q->ring);
    *q = (struct kafka_requests){0};
}

static struct kafka_request *at(const struct kafka_requests *q, uint32_t index)
{
    return &q->ring[(q->head + index) & (q->capacity - 1)];
}

static void drop_front(struct kafka_requests *q, uint32_t count)
{
    q->head = (q->head + count) & (q->capacity - 1);
    q->count -= count;
}

static int grow(struct kafka_requests *q)
{
    uint32_t capacity = q->capacity > 0 ? q->capacity * 2 : 16;
    struct kafka_request *ring = malloc(capacity * sizeof *ring);

    if (!ring)
        return KAFKA_REQUESTS_EMEMORY;
    for (uint32_t i = 0; i < q->count; i++)
        ring[i] = *at(q, i);
    free(q->ring);
    q->ring = ring;
    q->capacity = capacity;
    q->head = 0;
    return 0;
}

/* Lengthens the run at the back, if the request goes on where that ends. */
static bool join_run(struct kafka_requests *q, const struct kafka_request *request)
{
    if (request->type != KAFKA_REQUEST_OPTIONAL || q->count == 0)
        return false;
    struct kafka_request *back = at(q, q->count - 1);
    if (back->type != KAFKA_REQUEST_OPTIONAL || back->version != request->version ||
        back->api_key != request->api_key ||
        (uint32_t)back->correlation_id + back->run != (uint32_t)request->correlation_id)
        return false;
    if (back->run == RUN_MAX)
        back->correlation_id = (int32_t)((uint32_t)back->correlation_id + 1);
    else
        back->run++;
    return true;
}

int kafka_requests_push(struct kafka_requests *q, const struct kafka_request *request)
{
    if (join_run(q, request))
        return 0;
    if (q->count == q->max) {
        if (at(q, 0)->type != KAFKA_REQUEST_OPTIONAL)
            return KAFKA_REQUESTS_EFULL;
        drop_front(q, 1);
    }
    if (q->count == q->capacity) {
        int error = grow(q);
        if (error)
            return error;
    }
    *at(q, q->count) = *request;
    at(q, q->count)->run = 1;
    q->count++;
    return 0;
}

/* Past optional requests: their answers, if any, would have come before the token's. */
static uint32_t first_owed(const struct kafka_requests *q)
{
    uint32_t i = 0;

    while (i < q->count && at(q, i)->type == KAFKA_REQUEST_OPTIONAL)
        i++;
    return i;
}

bool kafka_requests_front_is_token(const struct kafka_requests *q)
{
    uint32_t i = first_owed(q);
    return i < q->count && at(q, i)->type == KAFKA_REQUEST_TOKEN;
}

void kafka_requests_pop_token(struct kafka_requests *q)
{
    assert(kafka_requests_front_is_token(q));
    drop_front(q, first_owed(q) + 1);
}

void kafka_requests_drop_tokens(struct kafka_requests *q)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < q->count; i++) {
        if (at(q, i)->type != KAFKA_REQUEST_TOKEN)
            *at(q, kept++) = *at(q, i);
    }
    q->count = kept;
}

/* Takes entry index out, and the optional ones at the front, which nobody will answer any more. */
static void take_out(struct kafka_requests *q, uint32_t index)
{
    for (uint32_t i = index; i > 0; i--)
        *at(q, i) = *at(q, i - 1);
    drop_front(q, 1);
    while (q->count > 0 && index-- > 0 && at(q, 0)->type == KAFKA_REQUEST_OPTIONAL)
        drop_front(q, 1);
}

/* The first entry of the kind asked for that stands for this id, or count. */
static uint32_t find(const struct kafka_requests *q, int32_t correlation_id, bool optional)
{
    uint32_t i;

    for (i = 0; i < q->count; i++) {
        const struct kafka_request *entry = at(q, i);
        uint32_t offset = (uint32_t)correlation_id - (uint32_t)entry->correlation_id;
        if (entry->type != KAFKA_REQUEST_TOKEN && offset < entry->run &&
            (entry->type == KAFKA_REQUEST_OPTIONAL) == optional)
            break;
    }
    return i;
}

static bool overtakes(const struct kafka_requests *q, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (at(q, i)->type != KAFKA_REQUEST_OPTIONAL)
            return true;
    }
    return false;
}

enum kafka_requests_match kafka_requests_match(struct kafka_requests *q, int32_t correlation_id,
                                               struct kafka_request *request)
{
    /* A client may use one id for everything: the response is then that of the request that must
     * have one, or a Metadata response could be taken for the answer to a Produce request. */
    uint32_t i = find(q, correlation_id, false);
    if (i == q->count)
        i = find(q, correlation_id, true);
    if (i == q->count)
        return KAFKA_REQUESTS_UNKNOWN;

    struct kafka_request *entry = at(q, i);
    uint32_t offset = (uint32_t)correlation_id - (uint32_t)entry->correlation_id;
    bool late = overtakes(q, i);
    *request = *entry;
    request->correlation_id = correlation_id;
    request->run = 1;
    if (offset + 1 < entry->run) {
        entry->correlation_id = (int32_t)((uint32_t)correlation_id + 1);
        entry->run -= offset + 1;
    } else {
        take_out(q, i);
    }
    return late ? KAFKA_REQUESTS_OUT_OF_ORDER : KAFKA_REQUESTS_IN_ORDER;
}

size_t kafka_requests_owed(const struct kafka_requests *q)
{
    size_t owed = 0;

    for (uint32_t i = 0; i < q->count; i++)
        owed += at(q, i)->type != KAFKA_REQUEST_OPTIONAL;
    return owed;
}

#include "kafka/requests.h"

#include <assert.h>
#include <stdlib.h>

enum {
    /* Ids of unanswered optional requests that are remembered per run: a broker is never that late.
     */
    RUN_MAX = 65536,
    /* So many are looked through; more get an index. */
    LOOKED_THROUGH = 32,
    /* Room for more is given back when nothing is in flight any more. */
    KEPT = 1024,
};

#define NOWHERE UINT32_MAX

struct kafka_requests_entry {
    struct kafka_request request;
    uint64_t order; /* grows */
    uint32_t next;  /* in its line, or among the vacant ones */
    uint32_t previous;
};

/* Entries with the same id are a chain, oldest first; the first of each chain is in a bucket. */
struct kafka_requests_link {
    uint32_t same_next;
    uint32_t same_last;   /* of a first one */
    uint32_t bucket_next; /* of a first one */
};

void kafka_requests_init(struct kafka_requests *q, uint32_t max, const struct hash_key *key)
{
    *q = (struct kafka_requests){.max = max,
                                 .vacant = NOWHERE,
                                 .owed = {NOWHERE, NOWHERE},
                                 .optional = {NOWHERE, NOWHERE},
                                 .key = key};
}

void kafka_requests_free(struct kafka_requests *q)
{
    for (uint32_t at = q->owed.first; at != NOWHERE; at = q->entries[at].next)
        free(q->entries[at].request.note);
    free(q->buckets);
    free(q->links);
    free(q->entries);
    kafka_requests_init(q, q->max, q->key);
}

/* ---- the index */

/* Those that must be answered, by the broker. */
static bool has_id(const struct kafka_request *request)
{
    return request->type == KAFKA_REQUEST_ANSWERED || request->type == KAFKA_REQUEST_OWN;
}

static uint32_t *bucket_of(const struct kafka_requests *q, int32_t id)
{
    return &q->buckets[hash_u32(q->key, (uint32_t)id) & (q->bucket_count - 1)];
}

static uint32_t index_find(struct kafka_requests *q, int32_t id)
{
    uint32_t at = *bucket_of(q, id);

    for (; at != NOWHERE; at = q->links[at].bucket_next) {
        q->looks++;
        if (q->entries[at].request.correlation_id == id)
            break;
    }
    return at;
}

static void index_add(struct kafka_requests *q, uint32_t at)
{
    int32_t id = q->entries[at].request.correlation_id;
    uint32_t first = index_find(q, id);

    q->links[at].same_next = NOWHERE;
    if (first != NOWHERE) {
        q->links[q->links[first].same_last].same_next = at;
        q->links[first].same_last = at;
        return;
    }
    uint32_t *bucket = bucket_of(q, id);
    q->links[at].same_last = at;
    q->links[at].bucket_next = *bucket;
    *bucket = at;
}

/* Of the oldest with its id: the next one of the chain takes its place. */
static void index_remove(struct kafka_requests *q, uint32_t at)
{
    uint32_t *place = bucket_of(q, q->entries[at].request.correlation_id);

    for (; *place != at; place = &q->links[*place].bucket_next)
        q->looks++;
    struct kafka_requests_link *link = &q->links[at];
    if (link->same_next == NOWHERE) {
        *place = link->bucket_next;
        return;
    }
    q->links[link->same_next].same_last = link->same_last;
    q->links[link->same_next].bucket_next = link->bucket_next;
    *place = link->same_next;
}

static bool make_room_for_index(struct kafka_requests *q)
{
    uint32_t *buckets = realloc(q->buckets, q->capacity * sizeof *buckets);
    struct kafka_requests_link *links = realloc(q->links, q->capacity * sizeof *links);

    q->buckets = buckets ? buckets : q->buckets;
    q->links = links ? links : q->links;
    if (buckets && links)
        return true;
    free(q->buckets);
    free(q->links);
    q->buckets = NULL;
    q->links = NULL;
    q->bucket_count = 0;
    return false;
}

/* Its size follows what is in flight, so that an answer pays for it, not for what once was. Without
 * memory there is none: then all are looked through. */
static void make_index(struct kafka_requests *q)
{
    if (!q->links && !make_room_for_index(q))
        return;
    for (q->bucket_count = LOOKED_THROUGH;
         q->bucket_count < 2 * q->owed_count && q->bucket_count < q->capacity;)
        q->bucket_count *= 2;
    for (uint32_t i = 0; i < q->bucket_count; i++)
        q->buckets[i] = NOWHERE;
    for (uint32_t at = q->owed.first; at != NOWHERE; at = q->entries[at].next) {
        q->looks++;
        if (has_id(&q->entries[at].request))
            index_add(q, at);
    }
}

/* ---- entries */

static size_t note_size(const struct kafka_request *request)
{
    return request->note ? sizeof *request->note + request->note->size : 0;
}

static struct kafka_requests_line *line_of(struct kafka_requests *q, uint32_t at)
{
    return q->entries[at].request.type == KAFKA_REQUEST_OPTIONAL ? &q->optional : &q->owed;
}

static int grow_requests(struct kafka_requests *q)
{
    uint32_t capacity = q->capacity > 0 ? q->capacity * 2 : 16;
    struct kafka_requests_entry *entries = realloc(q->entries, capacity * sizeof *entries);

    if (!entries)
        return KAFKA_REQUESTS_EMEMORY;
    q->entries = entries;
    q->capacity = capacity;
    if (q->links && !make_room_for_index(q))
        return KAFKA_REQUESTS_EMEMORY;
    return 0;
}

/* The place of a new entry; the caller has seen to it that there is one. */
static uint32_t take_place(struct kafka_requests *q)
{
    uint32_t at = q->vacant;

    if (at == NOWHERE)
        return q->used++;
    q->vacant = q->entries[at].next;
    return at;
}

static void append(struct kafka_requests *q, const struct kafka_request *request)
{
    uint32_t at = take_place(q);
    struct kafka_requests_entry *entry = &q->entries[at];

    *entry = (struct kafka_requests_entry){.request = *request, .order = q->order++};
    entry->request.run = 1;
    struct kafka_requests_line *line = line_of(q, at);
    entry->next = NOWHERE;
    entry->previous = line->last;
    *(line->last == NOWHERE ? &line->first : &q->entries[line->last].next) = at;
    line->last = at;
    q->count++;
    q->owed_count += request->type != KAFKA_REQUEST_OPTIONAL;
    q->token_count += request->type == KAFKA_REQUEST_TOKEN;
    q->note_bytes += note_size(request);
    if (q->bucket_count == 0)
        return;
    if (q->owed_count > q->bucket_count && q->bucket_count < q->capacity)
        make_index(q);
    else if (has_id(request))
        index_add(q, at);
}

static void give_back(struct kafka_requests *q)
{
    free(q->buckets);
    free(q->links);
    free(q->entries);
    q->buckets = NULL;
    q->links = NULL;
    q->entries = NULL;
    q->capacity = q->used = q->bucket_count = 0;
    q->vacant = NOWHERE;
}

/* One with an id must be the oldest with it. After the last one there may be no entries at all. */
static void remove_entry(struct kafka_requests *q, uint32_t at)
{
    struct kafka_requests_entry *entry = &q->entries[at];
    struct kafka_requests_line *line = line_of(q, at);

    if (q->bucket_count > 0 && has_id(&entry->request))
        index_remove(q, at);
    *(entry->previous == NOWHERE ? &line->first : &q->entries[entry->previous].next) = entry->next;
    *(entry->next == NOWHERE ? &line->last : &q->entries[entry->next].previous) = entry->previous;
    q->count--;
    q->owed_count -= entry->request.type != KAFKA_REQUEST_OPTIONAL;
    q->token_count -= entry->request.type == KAFKA_REQUEST_TOKEN;
    q->note_bytes -= note_size(&entry->request);
    entry->next = q->vacant;
    q->vacant = at;
    if (q->owed_count == 0)
        q->bucket_count = 0;
    if (q->count == 0 && q->capacity > KEPT)
        give_back(q);
}

/* Lengthens the run at the back, if the request goes on where that ends. */
static bool join_run(struct kafka_requests *q, const struct kafka_request *request)
{
    if (request->type != KAFKA_REQUEST_OPTIONAL || q->optional.last == NOWHERE)
        return false;
    const struct kafka_requests_entry *entry = &q->entries[q->optional.last];
    if (q->owed.last != NOWHERE && q->entries[q->owed.last].order > entry->order)
        return false;
    struct kafka_request *back = &q->entries[q->optional.last].request;
    if (back->version != request->version || back->api_key != request->api_key ||
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
        if (q->optional.first == NOWHERE)
            return KAFKA_REQUESTS_EFULL;
        remove_entry(q, q->optional.first);
    }
    if (q->vacant == NOWHERE && q->used == q->capacity) {
        int error = grow_requests(q);
        if (error)
            return error;
    }
    append(q, request);
    return 0;
}

/* Optional ones from before that time: their answers, if any, would have come by now. */
static void drop_optional(struct kafka_requests *q, uint64_t before)
{
    while (q->optional.first != NOWHERE && q->entries[q->optional.first].order < before) {
        q->looks++;
        remove_entry(q, q->optional.first);
    }
}

/* ---- tokens */

bool kafka_requests_front_is_token(const struct kafka_requests *q)
{
    return q->owed.first != NOWHERE &&
           q->entries[q->owed.first].request.type == KAFKA_REQUEST_TOKEN;
}

void kafka_requests_pop_token(struct kafka_requests *q)
{
    assert(kafka_requests_front_is_token(q));
    drop_optional(q, q->entries[q->owed.first].order);
    remove_entry(q, q->owed.first);
}

bool kafka_requests_front_is_denied(const struct kafka_requests *q)
{
    return q->owed.first != NOWHERE &&
           q->entries[q->owed.first].request.type == KAFKA_REQUEST_DENIED;
}

void kafka_requests_pop_denied(struct kafka_requests *q, struct kafka_request *request)
{
    assert(kafka_requests_front_is_denied(q));
    *request = q->entries[q->owed.first].request;
    drop_optional(q, q->entries[q->owed.first].order);
    remove_entry(q, q->owed.first);
}

/* From the back: whatever is passed is newer than a token that goes, and is not passed again. */
void kafka_requests_drop_tokens(struct kafka_requests *q)
{
    for (uint32_t at = q->owed.last; q->token_count > 0;) {
        uint32_t previous = q->entries[at].previous;
        q->looks++;
        if (q->entries[at].request.type == KAFKA_REQUEST_TOKEN)
            remove_entry(q, at);
        at = previous;
    }
}

/* ---- answers */

/* The oldest with the id of those that must be answered. */
static uint32_t find_owed(struct kafka_requests *q, int32_t id)
{
    if (q->bucket_count == 0 && q->owed_count > LOOKED_THROUGH) {
        const struct kafka_request *oldest = &q->entries[q->owed.first].request;
        q->looks++;
        if (has_id(oldest) && oldest->correlation_id == id)
            return q->owed.first;
        make_index(q);
    }
    if (q->bucket_count > 0)
        return index_find(q, id);
    uint32_t at = q->owed.first;
    for (; at != NOWHERE; at = q->entries[at].next) {
        q->looks++;
        if (has_id(&q->entries[at].request) && q->entries[at].request.correlation_id == id)
            break;
    }
    return at;
}

static uint32_t offset_in_run(const struct kafka_request *request, int32_t id)
{
    return (uint32_t)id - (uint32_t)request->correlation_id;
}

/* The oldest that stands for the id. Those before it go, so that none is looked at twice; an id
 * that none stands for ends the connection. */
static uint32_t find_optional(struct kafka_requests *q, int32_t id)
{
    uint32_t at = q->optional.first;

    for (; at != NOWHERE; at = q->entries[at].next) {
        q->looks++;
        if (offset_in_run(&q->entries[at].request, id) < q->entries[at].request.run)
            break;
    }
    if (at != NOWHERE)
        drop_optional(q, q->entries[at].order);
    return at;
}

static enum kafka_requests_match answer_owed(struct kafka_requests *q, uint32_t at,
                                             struct kafka_request *request)
{
    bool late = at != q->owed.first;
    uint64_t order = q->entries[at].order;

    *request = q->entries[at].request;
    remove_entry(q, at);
    /* Optional ones behind one that is still owed may be answered yet. */
    if (late && q->entries[q->owed.first].order < order)
        order = q->entries[q->owed.first].order;
    drop_optional(q, order);
    return late ? KAFKA_REQUESTS_OUT_OF_ORDER : KAFKA_REQUESTS_IN_ORDER;
}

static enum kafka_requests_match answer_optional(struct kafka_requests *q, uint32_t at, int32_t id,
                                                 struct kafka_request *request)
{
    struct kafka_request *run = &q->entries[at].request;
    bool late = q->owed.first != NOWHERE && q->entries[q->owed.first].order < q->entries[at].order;
    uint32_t offset = offset_in_run(run, id);

    *request = *run;
    request->correlation_id = id;
    request->run = 1;
    if (offset + 1 < run->run) {
        run->correlation_id = (int32_t)((uint32_t)id + 1);
        run->run -= offset + 1;
    } else {
        remove_entry(q, at);
    }
    return late ? KAFKA_REQUESTS_OUT_OF_ORDER : KAFKA_REQUESTS_IN_ORDER;
}

enum kafka_requests_match kafka_requests_match(struct kafka_requests *q, int32_t correlation_id,
                                               struct kafka_request *request)
{
    /* A client may use one id for everything: the response is then that of the request that must
     * have one, or a Metadata response could be taken for the answer to a Produce request. */
    uint32_t at = find_owed(q, correlation_id);
    if (at != NOWHERE)
        return answer_owed(q, at, request);
    at = find_optional(q, correlation_id);
    if (at != NOWHERE)
        return answer_optional(q, at, correlation_id, request);
    return KAFKA_REQUESTS_UNKNOWN;
}

size_t kafka_requests_memory(const struct kafka_requests *q)
{
    size_t each = sizeof *q->entries;

    if (q->links)
        each += sizeof *q->links + sizeof *q->buckets;
    return q->capacity * each + q->note_bytes;
}

size_t kafka_requests_note_bytes(const struct kafka_requests *q)
{
    return q->note_bytes;
}

size_t kafka_requests_owed(const struct kafka_requests *q)
{
    return q->owed_count;
}

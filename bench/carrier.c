#include "carrier.h"

#include <stdlib.h>
#include <string.h>

/* An entry of a heap; number breaks ties, so that what is due at the same time stays in order. */
struct due {
    uint64_t at_ns, number;
    struct carrier_slot *slot;
};

struct way {
    struct carrier_settings settings;
    struct carrier_counts counts;
    uint64_t random;
    uint64_t free_ns; /* when the bottleneck has sent all that waits */
    uint64_t last_ns; /* when the last packet is due */
    struct due *heap; /* the earliest first */
    size_t nheap;
};

struct carrier {
    struct way ways[FLOW_ENDS];
    struct flows flows;
    bool cut, reorder;
    uint64_t number;
    struct carrier_slot *
        *idle; /* last in, first out: what was just written is still in the cache */
    size_t nidle;
    struct carrier_slot *slots;
};

/* splitmix64 */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* 0 <= x < 1 */
static double random_unit(uint64_t *state)
{
    return (double)(random_next(state) >> 11) * 0x1p-53;
}

static uint64_t ms_to_ns(double ms)
{
    return (uint64_t)(ms * 1e6);
}

void carrier_seed(struct carrier *carrier, uint64_t seed)
{
    for (int from = 0; from < FLOW_ENDS; from++)
        carrier->ways[from].random = random_next(&seed);
}

struct carrier *carrier_new(void)
{
    struct carrier *carrier = calloc(1, sizeof(*carrier));
    if (carrier == NULL)
        return NULL;
    /* Pages that are never used cost nothing. */
    carrier->slots = calloc(CARRIER_SLOTS, sizeof(*carrier->slots));
    carrier->idle = calloc(CARRIER_SLOTS, sizeof(struct carrier_slot *));
    bool whole = carrier->slots != NULL && carrier->idle != NULL;
    for (int i = 0; i < FLOW_ENDS; i++) {
        struct way *way = &carrier->ways[i];
        way->heap = calloc(CARRIER_SLOTS, sizeof(*way->heap));
        whole = whole && way->heap != NULL;
    }
    if (!whole) {
        carrier_free(carrier);
        return NULL;
    }
    carrier_seed(carrier, 1);
    for (size_t i = CARRIER_SLOTS; i > 0; i--)
        carrier->idle[carrier->nidle++] = &carrier->slots[i - 1];
    return carrier;
}

void carrier_free(struct carrier *carrier)
{
    for (int i = 0; i < FLOW_ENDS; i++)
        free(carrier->ways[i].heap);
    free(carrier->idle);
    free(carrier->slots);
    free(carrier);
}

struct carrier_settings *carrier_settings(struct carrier *carrier, enum flow_end from)
{
    return &carrier->ways[from].settings;
}

void carrier_reorder(struct carrier *carrier, bool on)
{
    carrier->reorder = on;
}

struct carrier_slot *carrier_take_slot(struct carrier *carrier)
{
    return carrier->nidle > 0 ? carrier->idle[--carrier->nidle] : NULL;
}

void carrier_give_slot(struct carrier *carrier, struct carrier_slot *slot)
{
    carrier->idle[carrier->nidle++] = slot;
}

static bool is_before(const struct due *left, const struct due *right)
{
    return left->at_ns < right->at_ns ||
           (left->at_ns == right->at_ns && left->number < right->number);
}

static void heap_push(struct way *way, struct due due)
{
    size_t at = way->nheap++;
    for (size_t parent; at > 0 && is_before(&due, &way->heap[parent = (at - 1) / 2]); at = parent)
        way->heap[at] = way->heap[parent];
    way->heap[at] = due;
}

static struct carrier_slot *heap_pop(struct way *way)
{
    struct carrier_slot *slot = way->heap[0].slot;
    struct due last = way->heap[--way->nheap];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < way->nheap; at = child) {
        if (child + 1 < way->nheap && is_before(&way->heap[child + 1], &way->heap[child]))
            child++;
        if (!is_before(&way->heap[child], &last))
            break;
        way->heap[at] = way->heap[child];
    }
    way->heap[at] = last;
    return slot;
}

/* A reset for that end, due at once: whoever cuts the connection may be close by. */
static void send_reset(struct carrier *carrier, const struct flow *flow, enum flow_end to,
                       uint64_t now_ns)
{
    struct carrier_slot *slot = carrier_take_slot(carrier);
    if (slot == NULL)
        return;
    if (!flow_make_reset(flow, to, slot->bytes)) {
        carrier_give_slot(carrier, slot);
        return;
    }
    slot->length = FLOW_RST_BYTES;
    slot->near_port = 0; /* it is not part of what it ends */
    heap_push(&carrier->ways[to == FLOW_NEAR ? FLOW_FAR : FLOW_NEAR],
              (struct due){now_ns, carrier->number++, slot});
}

static bool is_cut(const struct carrier *carrier, const struct flow *flow)
{
    return carrier->cut || (flow != NULL && flow->treatment != FLOW_CARRIED);
}

/* Through the bottleneck: false when its queue is full, otherwise *at_ns is when it has sent it. */
static bool pass_bottleneck(struct way *way, size_t length, uint64_t now_ns, uint64_t *at_ns)
{
    *at_ns = now_ns;
    if (way->settings.rate_mbit <= 0)
        return true;
    uint64_t start_ns = way->free_ns > now_ns ? way->free_ns : now_ns;
    if (start_ns - now_ns > ms_to_ns(way->settings.queue_ms))
        return false;
    way->free_ns = start_ns + (uint64_t)((double)length * 8e3 / way->settings.rate_mbit);
    *at_ns = way->free_ns;
    return true;
}

void carrier_put(struct carrier *carrier, enum flow_end from, struct carrier_slot *slot,
                 uint64_t now_ns)
{
    struct way *way = &carrier->ways[from];
    struct flow *flow = flows_see(&carrier->flows, from, slot->bytes, slot->length, now_ns);
    uint64_t at_ns;

    slot->near_port = flow == NULL ? 0 : flow->near_port;
    if (is_cut(carrier, flow)) {
        way->counts.cut++;
        if (!carrier->cut && flow->treatment == FLOW_RESET)
            send_reset(carrier, flow, from, now_ns);
    } else if (random_unit(&way->random) * 100 < way->settings.loss_percent) {
        way->counts.lost++;
    } else if (!pass_bottleneck(way, slot->length, now_ns, &at_ns)) {
        way->counts.overflowed++;
    } else {
        at_ns += ms_to_ns(way->settings.delay_ms);
        if (way->settings.jitter_ms > 0)
            at_ns += ms_to_ns(random_unit(&way->random) * way->settings.jitter_ms);
        if (!carrier->reorder && at_ns < way->last_ns)
            at_ns = way->last_ns;
        way->last_ns = at_ns;
        if (flow != NULL) {
            at_ns += flow->extra_ns;
            if (!carrier->reorder && at_ns < flow->last_ns[from])
                at_ns = flow->last_ns[from];
            flow->last_ns[from] = at_ns;
        }
        heap_push(way, (struct due){at_ns, carrier->number++, slot});
        return;
    }
    carrier_give_slot(carrier, slot);
}

struct carrier_slot *carrier_get(struct carrier *carrier, enum flow_end from, uint64_t now_ns)
{
    struct way *way = &carrier->ways[from];
    while (way->nheap > 0 && way->heap[0].at_ns <= now_ns) {
        struct carrier_slot *slot = heap_pop(way);
        const struct flow *flow =
            slot->near_port == 0 ? NULL : flows_find(&carrier->flows, slot->near_port);
        if (!is_cut(carrier, flow)) {
            way->counts.passed++;
            way->counts.bytes += slot->length;
            return slot;
        }
        way->counts.cut++;
        carrier_give_slot(carrier, slot);
    }
    return NULL;
}

uint64_t carrier_next_ns(const struct carrier *carrier)
{
    uint64_t next_ns = UINT64_MAX;
    for (int i = 0; i < FLOW_ENDS; i++) {
        const struct way *way = &carrier->ways[i];
        if (way->nheap > 0 && way->heap[0].at_ns < next_ns)
            next_ns = way->heap[0].at_ns;
    }
    return next_ns;
}

void carrier_cut(struct carrier *carrier, bool on)
{
    carrier->cut = on;
}

void carrier_treat(struct carrier *carrier, struct flow *flow, enum flow_treatment treatment,
                   uint64_t now_ns)
{
    flow->treatment = treatment;
    if (treatment != FLOW_RESET)
        return;
    flow->open = false;
    for (int to = 0; to < FLOW_ENDS; to++)
        send_reset(carrier, flow, to, now_ns);
}

void carrier_heal(struct carrier *carrier)
{
    carrier->cut = false;
    for (size_t i = 0; i < carrier->flows.nports; i++) {
        struct flow *flow = &carrier->flows.by_port[carrier->flows.ports[i]];
        flow->treatment = FLOW_CARRIED;
        flow->extra_ns = 0;
    }
}

const struct carrier_counts *carrier_counts(const struct carrier *carrier, enum flow_end from)
{
    return &carrier->ways[from].counts;
}

struct flows *carrier_flows(struct carrier *carrier)
{
    return &carrier->flows;
}

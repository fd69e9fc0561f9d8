#include "base/share.h"

/* One of so many parts of the total is kept for holders that have less than they are entitled to.
 */
enum { KEPT_PART = 8 };

static uint64_t smaller_amount(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t amount_at(const _Atomic uint64_t *amount)
{
    return atomic_load_explicit(amount, memory_order_relaxed);
}

/* Returns what was there before. Nothing but the amount itself is handed from thread to thread. */
static uint64_t add_amount(const struct supply *supply, _Atomic uint64_t *amount, uint64_t more)
{
    if (supply->shared)
        return atomic_fetch_add_explicit(amount, more, memory_order_relaxed);
    uint64_t before = amount_at(amount);
    atomic_store_explicit(amount, before + more, memory_order_relaxed);
    return before;
}

/* With the holder that asks. */
static uint64_t holders(const struct supply *supply, const struct holding *holding)
{
    return amount_at(&supply->holders) + (share_used(holding) == 0);
}

static uint64_t part_of(uint64_t total, uint64_t count)
{
    return total > count ? total / count : 1;
}

uint64_t share_part(const struct supply *supply, const struct holding *holding)
{
    return part_of(supply->total, holders(supply, holding));
}

uint64_t share_room(const struct supply *supply, const struct holding *holding, uint64_t total)
{
    uint64_t count = holders(supply, holding);
    uint64_t all_used = share_used_of(supply);
    uint64_t used = share_used(holding);
    uint64_t left = total > all_used ? total - all_used : 0;

    uint64_t kept = total / KEPT_PART;
    uint64_t spare = left > kept ? left - kept : 0;
    if (count == 1)
        return supply->shared ? spare : left;
    uint64_t part = part_of(total, count);
    uint64_t entitled = part > used ? smaller_amount(part - used, left) : 0;

    return entitled > spare ? entitled : spare;
}

bool share_is_scarce(const struct supply *supply, const struct holding *holding)
{
    return share_used_of(supply) > supply->total - supply->total / (2 * KEPT_PART) &&
           share_used(holding) < share_part(supply, holding);
}

enum share_answer share_ask(const struct supply *supply, const struct holding *holding,
                            uint64_t amount)
{
    if (amount <= share_room(supply, holding, supply->total))
        return SHARE_GRANTED;
    if (holders(supply, holding) == 1)
        return SHARE_REFUSED;
    uint64_t part = share_part(supply, holding);
    return amount <= part && share_used(holding) <= part - amount ? SHARE_ENTITLED : SHARE_REFUSED;
}

static void add_to_holding(struct supply *supply, struct holding *holding, uint64_t amount)
{
    if (add_amount(supply, &holding->used, amount) == 0 && amount > 0)
        add_amount(supply, &supply->holders, 1);
}

void share_add(struct supply *supply, struct holding *holding, uint64_t amount)
{
    add_amount(supply, &supply->used, amount);
    add_to_holding(supply, holding, amount);
}

bool share_take(struct supply *supply, struct holding *holding, uint64_t amount)
{
    uint64_t before = add_amount(supply, &supply->used, amount);

    if (supply->shared && before + amount > supply->total) {
        add_amount(supply, &supply->used, -amount);
        return false;
    }
    add_to_holding(supply, holding, amount);
    return true;
}

void share_give(struct supply *supply, struct holding *holding, uint64_t amount)
{
    add_amount(supply, &supply->used, -amount);
    if (add_amount(supply, &holding->used, -amount) == amount && amount > 0)
        add_amount(supply, &supply->holders, -UINT64_C(1));
}

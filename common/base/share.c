#include "base/share.h"

/* One of so many parts of the total is kept for holders that have less than they are entitled to.
 */
enum { KEPT_PART = 8 };

static uint64_t smaller_amount(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* With the holder that asks. */
static uint64_t holders(const struct supply *supply, const struct holding *holding)
{
    return supply->holders + (holding->used == 0);
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
    uint64_t left = total > supply->used ? total - supply->used : 0;

    if (count == 1)
        return left;
    uint64_t part = part_of(total, count);
    uint64_t kept = total / KEPT_PART;
    uint64_t entitled = part > holding->used ? smaller_amount(part - holding->used, left) : 0;
    uint64_t spare = left > kept ? left - kept : 0;

    return entitled > spare ? entitled : spare;
}

enum share_answer share_ask(const struct supply *supply, const struct holding *holding,
                            uint64_t amount)
{
    if (amount <= share_room(supply, holding, supply->total))
        return SHARE_GRANTED;
    uint64_t part = share_part(supply, holding);
    return amount <= part && holding->used <= part - amount ? SHARE_ENTITLED : SHARE_REFUSED;
}

void share_take(struct supply *supply, struct holding *holding, uint64_t amount)
{
    supply->holders += holding->used == 0 && amount > 0;
    supply->used += amount;
    holding->used += amount;
}

void share_give(struct supply *supply, struct holding *holding, uint64_t amount)
{
    supply->used -= amount;
    holding->used -= amount;
    supply->holders -= holding->used == 0 && amount > 0;
}

#include "base/memory_budget.h"

/* How often somebody is made to give way for one wish. */
enum { ATTEMPTS = 16 };

static struct supply *supply_of(struct memory_share *share, enum memory_way way)
{
    return way == MEMORY_RECEIVE ? &share->budget->receive : &share->budget->send;
}

static struct holding *holding_of(struct memory_share *share, enum memory_way way)
{
    return way == MEMORY_RECEIVE ? &share->receive : &share->send;
}

/* Charged to both the part and the whole, where there is one; the whole decides. */
static bool charge_share(struct memory_share *share, enum memory_way way, uint64_t bytes)
{
    struct memory_share *bound = memory_share_bound(share);

    if (!share_take(supply_of(bound, way), holding_of(bound, way), bytes))
        return false;
    if (bound != share)
        share_add(supply_of(share, way), holding_of(share, way), bytes);
    return true;
}

/* Whoever has too much may be another thread's, and takes its time: it is asked while there is
 * something left to go on with. */
static void ask_in_time(struct memory_share *share, enum memory_way way)
{
    const struct memory_budget *budget = share->budget;
    struct memory_share *bound = memory_share_bound(share);

    if (bound != share && budget->give_way &&
        share_is_scarce(supply_of(bound, way), holding_of(bound, way)))
        budget->give_way(budget->context, share, way);
}

bool memory_share_take(struct memory_share *share, enum memory_way way, uint64_t bytes)
{
    const struct memory_budget *budget = share->budget;
    struct memory_share *bound = memory_share_bound(share);
    const struct supply *supply = supply_of(bound, way);
    const struct holding *holding = holding_of(bound, way);
    enum share_answer answer = share_ask(supply, holding, bytes);

    for (int i = 0; i < ATTEMPTS && answer == SHARE_ENTITLED; i++) {
        if (!budget->give_way || !budget->give_way(budget->context, share, way))
            return false;
        answer = share_ask(supply, holding, bytes);
    }
    if (answer != SHARE_GRANTED || !charge_share(share, way, bytes))
        return false;
    ask_in_time(share, way);
    return true;
}

void memory_share_add(struct memory_share *share, enum memory_way way, uint64_t bytes)
{
    struct memory_share *bound = memory_share_bound(share);

    share_add(supply_of(bound, way), holding_of(bound, way), bytes);
    if (bound != share)
        share_add(supply_of(share, way), holding_of(share, way), bytes);
}

void memory_share_give(struct memory_share *share, enum memory_way way, uint64_t bytes)
{
    struct memory_share *bound = memory_share_bound(share);

    share_give(supply_of(bound, way), holding_of(bound, way), bytes);
    if (bound != share)
        share_give(supply_of(share, way), holding_of(share, way), bytes);
}

uint64_t memory_share_send_room(struct memory_share *share)
{
    const struct memory_budget *budget = share->budget;
    const struct memory_share *bound = memory_share_bound(share);
    const struct supply *supply = &bound->budget->send;
    ask_in_time(share, MEMORY_SEND);
    uint64_t room = share_room(supply, &bound->send, supply->total);

    /* Asked for each read: the rest is for who has next to nothing left. */
    if (room >= MUX_STREAM_FLOOR || !budget->give_way ||
        share_ask(supply, &bound->send, MUX_STREAM_FLOOR) != SHARE_ENTITLED)
        return room;
    budget->give_way(budget->context, share, MEMORY_SEND);
    return share_room(supply, &bound->send, supply->total);
}

uint64_t memory_share_growth_room(const struct memory_share *share)
{
    const struct memory_share *bound = share->whole ? share->whole : share;
    const struct supply *supply = &bound->budget->receive;

    /* The rest is for what streams yet to open receive. */
    return share_room(supply, &bound->receive, supply->total / 2);
}

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

bool memory_share_take(struct memory_share *share, enum memory_way way, uint64_t bytes)
{
    const struct memory_budget *budget = share->budget;
    struct supply *supply = supply_of(share, way);
    struct holding *holding = holding_of(share, way);
    enum share_answer answer = share_ask(supply, holding, bytes);

    for (int i = 0; i < ATTEMPTS && answer == SHARE_ENTITLED; i++) {
        if (!budget->give_way || !budget->give_way(budget->context, share, way))
            return false;
        answer = share_ask(supply, holding, bytes);
    }
    if (answer != SHARE_GRANTED)
        return false;
    share_take(supply, holding, bytes);
    return true;
}

void memory_share_give(struct memory_share *share, enum memory_way way, uint64_t bytes)
{
    share_give(supply_of(share, way), holding_of(share, way), bytes);
}

uint64_t memory_share_send_room(struct memory_share *share)
{
    const struct memory_budget *budget = share->budget;
    const struct supply *supply = &budget->send;
    uint64_t room = share_room(supply, &share->send, supply->total);

    /* Asked for each read: the rest is for who has next to nothing left. */
    if (room >= MUX_STREAM_FLOOR || !budget->give_way ||
        share_ask(supply, &share->send, MUX_STREAM_FLOOR) != SHARE_ENTITLED)
        return room;
    budget->give_way(budget->context, share, MEMORY_SEND);
    return share_room(supply, &share->send, supply->total);
}

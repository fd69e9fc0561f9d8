#include "mux/budget.h"

/* How often somebody is made to give way for one wish. */
enum { ATTEMPTS = 16 };

static struct supply *supply_of(struct mux_share *share, enum mux_way way)
{
    return way == MUX_RECEIVE ? &share->budget->receive : &share->budget->send;
}

static struct holding *holding_of(struct mux_share *share, enum mux_way way)
{
    return way == MUX_RECEIVE ? &share->receive : &share->send;
}

bool mux_share_take(struct mux_share *share, enum mux_way way, uint64_t bytes)
{
    const struct mux_budget *budget = share->budget;
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

void mux_share_give(struct mux_share *share, enum mux_way way, uint64_t bytes)
{
    share_give(supply_of(share, way), holding_of(share, way), bytes);
}

uint64_t mux_share_send_room(struct mux_share *share)
{
    const struct mux_budget *budget = share->budget;
    const struct supply *supply = &budget->send;
    uint64_t room = share_room(supply, &share->send, supply->total);

    /* Asked for each read: the rest is for who has next to nothing left. */
    if (room >= MUX_STREAM_FLOOR || !budget->give_way ||
        share_ask(supply, &share->send, MUX_STREAM_FLOOR) != SHARE_ENTITLED)
        return room;
    budget->give_way(budget->context, share, MUX_SEND);
    return share_room(supply, &share->send, supply->total);
}

#include "brokers/health.h"

#include <stdio.h>
#include <string.h>

const char *broker_state_name(enum broker_state state)
{
    static const char *const names[BROKER_STATES] = {
        [BROKER_UNTRIED] = "untried",   [BROKER_UP] = "up",
        [BROKER_HANGING] = "hanging",   [BROKER_UNREACHABLE] = "unreachable",
        [BROKER_FOREIGN] = "not_kafka",
    };

    return names[state];
}

void health_init(struct health *health, size_t count)
{
    memset(health, 0, sizeof *health);
    health->count = count;
}

static enum broker_state set_broker_state(struct broker_health *broker, enum broker_state state,
                                          uint64_t now_us)
{
    enum broker_state before = broker->state;

    if (state != before)
        broker->since_us = now_us;
    broker->state = state;
    return before;
}

enum broker_state health_answered(struct health *health, size_t broker, uint64_t now_us)
{
    struct broker_health *one = &health->brokers[broker];

    one->doubted = false;
    one->answered_us = now_us;
    one->failures = 0;
    one->why[0] = '\0';
    return set_broker_state(one, BROKER_UP, now_us);
}

enum broker_state health_failed(struct health *health, size_t broker, enum broker_state state,
                                const char *why, uint64_t now_us)
{
    struct broker_health *one = &health->brokers[broker];

    one->failures++;
    snprintf(one->why, sizeof one->why, "%s", why);
    return set_broker_state(one, state, now_us);
}

void health_doubt(struct health *health, size_t broker)
{
    health->brokers[broker].doubted = true;
}

void health_prefer(struct health *health, size_t broker)
{
    health->preferred = broker;
}

static bool is_broker_trusted(const struct broker_health *broker)
{
    return !broker->doubted && (broker->state == BROKER_UP || broker->state == BROKER_UNTRIED);
}

void health_order(const struct health *health, uint8_t order[ADDRESS_BROKERS_MAX])
{
    size_t count = 0;

    for (int trusted = 1; trusted >= 0; trusted--) {
        for (size_t i = 0; i < health->count; i++) {
            size_t broker = (health->preferred + i) % health->count;
            if (is_broker_trusted(&health->brokers[broker]) == trusted)
                order[count++] = (uint8_t)broker;
        }
    }
}

bool health_any_up(const struct health *health)
{
    for (size_t i = 0; i < health->count; i++)
        if (health->brokers[i].state == BROKER_UP)
            return true;
    return false;
}

bool health_is_complete(const struct health *health)
{
    for (size_t i = 0; i < health->count; i++)
        if (health->brokers[i].state == BROKER_UNTRIED)
            return false;
    return true;
}

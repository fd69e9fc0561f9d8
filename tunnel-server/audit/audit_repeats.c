#include "audit/audit_repeats.h"

#include <stdio.h>
#include <string.h>

static bool is_same_kind(const struct audit_repeat *repeat, const char *event, const char *who,
                         const char *what)
{
    return repeat->event == event && strncmp(repeat->what, what, AUDIT_WHAT_MAX - 1) == 0 &&
           strncmp(repeat->who, who, AUDIT_WHO_MAX - 1) == 0;
}

static struct audit_repeat *find_repeat(struct audit_repeats *repeats, uint64_t now_us,
                                        const char *event, const char *who, const char *what)
{
    struct audit_repeat *repeat;

    for (size_t i = 0; i < repeats->count; i++)
        if (is_same_kind(&repeats->kinds[i], event, who, what))
            return &repeats->kinds[i];
    if (repeats->count == AUDIT_REPEATS_MAX) {
        repeat = &repeats->others;
        if (repeat->count == 0)
            repeat->since_us = now_us;
        repeat->told = AUDIT_REPEATS_TOLD;
        return repeat;
    }
    repeat = &repeats->kinds[repeats->count++];
    *repeat = (struct audit_repeat){.event = event, .since_us = now_us};
    snprintf(repeat->who, sizeof repeat->who, "%s", who);
    snprintf(repeat->what, sizeof repeat->what, "%s", what);
    return repeat;
}

bool audit_repeats_admit(struct audit_repeats *repeats, uint64_t now_us, const char *event,
                         const char *who, const char *what)
{
    struct audit_repeat *repeat = find_repeat(repeats, now_us, event, who, what);

    if (repeat->told < AUDIT_REPEATS_TOLD) {
        repeat->told++;
        return true;
    }
    repeat->count++;
    return false;
}

void audit_repeats_settle(struct audit_repeats *repeats, uint64_t now_us, bool all,
                          void (*tell)(void *context, const struct audit_repeat *repeat),
                          void *context)
{
    struct audit_repeat *others = &repeats->others;

    for (size_t i = repeats->count; i-- > 0;) {
        struct audit_repeat *repeat = &repeats->kinds[i];
        if (!all && now_us - repeat->since_us < AUDIT_REPEATS_US)
            continue;
        if (repeat->count > 0)
            tell(context, repeat);
        *repeat = repeats->kinds[--repeats->count];
    }
    if (others->count > 0 && (all || now_us - others->since_us >= AUDIT_REPEATS_US)) {
        tell(context, others);
        *others = (struct audit_repeat){.event = NULL};
    }
}

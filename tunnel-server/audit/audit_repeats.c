#include "audit/audit_repeats.h"

#include <stdio.h>
#include <string.h>

static bool is_repeat_of(const struct audit_repeat *repeat, const char *who)
{
    return strncmp(repeat->who, who, AUDIT_WHO_MAX - 1) == 0;
}

static struct audit_repeat *find_others(struct audit_repeats *repeats, uint64_t now_us,
                                        const char *event)
{
    const size_t last = AUDIT_REPEATS_OTHERS - 1;
    size_t i = 0;

    while (i < last && repeats->others[i].event && repeats->others[i].event != event)
        i++;
    struct audit_repeat *others = &repeats->others[i];
    if (others->count == 0)
        *others = (struct audit_repeat){
            .event = i < last ? event : NULL, .since_us = now_us, .told = AUDIT_REPEATS_TOLD};
    return others;
}

static struct audit_repeat *find_repeat(struct audit_repeats *repeats, uint64_t now_us,
                                        const char *event, const char *who, const char *what)
{
    struct audit_repeat *rest = NULL; /* of who, beyond its kinds */
    size_t of_who = 0, of_event = 0;

    for (size_t i = 0; i < repeats->count; i++) {
        struct audit_repeat *repeat = &repeats->kinds[i];
        of_event += repeat->event == event;
        if (!is_repeat_of(repeat, who))
            continue;
        of_who++;
        if (repeat->event == event && strncmp(repeat->what, what, AUDIT_WHAT_MAX - 1) == 0)
            return repeat;
        if (repeat->event == event && repeat->what[0] == '\0')
            rest = repeat;
    }
    if (of_who >= AUDIT_REPEATS_EACH && rest)
        return rest;
    if (repeats->count == AUDIT_REPEATS_MAX || of_event >= AUDIT_REPEATS_EVENT)
        return find_others(repeats, now_us, event);
    struct audit_repeat *repeat = &repeats->kinds[repeats->count++];
    *repeat = (struct audit_repeat){.event = event, .since_us = now_us};
    snprintf(repeat->who, sizeof repeat->who, "%s", who);
    if (of_who < AUDIT_REPEATS_EACH)
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
    for (size_t i = repeats->count; i-- > 0;) {
        struct audit_repeat *repeat = &repeats->kinds[i];
        if (!all && now_us - repeat->since_us < AUDIT_REPEATS_US)
            continue;
        if (repeat->count > 0)
            tell(context, repeat);
        *repeat = repeats->kinds[--repeats->count];
    }
    for (size_t i = 0; i < AUDIT_REPEATS_OTHERS; i++) {
        struct audit_repeat *others = &repeats->others[i];
        if (others->count == 0 || (!all && now_us - others->since_us < AUDIT_REPEATS_US))
            continue;
        tell(context, others);
        *others = (struct audit_repeat){.event = NULL};
    }
}

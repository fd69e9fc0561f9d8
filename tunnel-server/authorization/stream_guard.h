/*
 * What --access lets a Kafka connection do: answers what its filter asks (kafka/guard.h) by the
 * rules that are in force now.
 */
#pragma once

#include "authorization/access_rules.h"
#include "authorization/topic_names.h"

/* The rules at a worker; without --access, rules is NULL and stays so. */
struct access_in_force {
    struct access_rules *rules; /* with a reference */
    uint64_t generation;        /* of the rules: grows */
};

struct stream_guard {
    const struct access_in_force *in_force;
    const char *identity;
    const char *cluster;
    struct topic_names *topics;
    struct access_view view; /* of view_generation; 0: none yet */
    uint64_t view_generation;
    void (*denied)(void *context, const struct kafka_denied *denied);
    void *context;
};

/* For kafka_filter_use_guard(), with a struct stream_guard for context, filled in but for its view.
 */
extern const struct kafka_guard stream_guard_calls;
void stream_guard_clear(struct stream_guard *guard);

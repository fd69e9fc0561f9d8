#include "authorization/stream_guard.h"

static const struct access_view *view_now(struct stream_guard *guard)
{
    if (guard->view_generation != guard->in_force->generation) {
        access_view_clear(&guard->view);
        access_view_init(&guard->view, guard->in_force->rules, guard->identity, guard->cluster);
        guard->view_generation = guard->in_force->generation;
    }
    return &guard->view;
}

static bool allows_everything(void *context)
{
    return view_now(context)->everything;
}

static uint64_t generation_now(void *context)
{
    const struct stream_guard *guard = context;

    return guard->in_force->generation;
}

static bool allows_api_now(void *context, int16_t api_key)
{
    return access_view_api(view_now(context), api_key);
}

static bool limits_now(void *context, int16_t api_key, enum kafka_resource resource)
{
    return access_view_limits(view_now(context), api_key, resource);
}

static bool allows_resource_now(void *context, int16_t api_key, enum kafka_resource resource,
                                const char *name, size_t size)
{
    return access_view_resource(view_now(context), api_key, resource, name, size);
}

static const char *name_of_topic(void *context, const uint8_t id[KAFKA_TOPIC_ID_SIZE], size_t *size)
{
    const struct stream_guard *guard = context;

    return topic_names_find(guard->topics, id, size);
}

static void learn_topic(void *context, const uint8_t id[KAFKA_TOPIC_ID_SIZE], const char *name,
                        size_t size)
{
    const struct stream_guard *guard = context;

    topic_names_learn(guard->topics, id, name, size);
}

static void tell_denied(void *context, const struct kafka_denied *denied)
{
    const struct stream_guard *guard = context;

    guard->denied(guard->context, denied);
}

const struct kafka_guard stream_guard_calls = {
    .open = allows_everything,
    .generation = generation_now,
    .api = allows_api_now,
    .limits = limits_now,
    .resource = allows_resource_now,
    .topic = name_of_topic,
    .learnt = learn_topic,
    .denied = tell_denied,
};

void stream_guard_clear(struct stream_guard *guard)
{
    access_view_clear(&guard->view);
}

#include "tunnel/frame_limit.h"

/* Any connection may break once with a frame on its way. */
enum { CUTS = 2 };

void frame_limit_init(struct frame_limit *limit, size_t max)
{
    *limit = (struct frame_limit){.max = FRAME_LIMIT_MOST};
    frame_limit_lower(limit, max);
}

bool frame_limit_lower(struct frame_limit *limit, size_t max)
{
    if (max == 0)
        return false;
    if (max < FRAME_LIMIT_LEAST)
        max = FRAME_LIMIT_LEAST;
    if (max >= limit->max)
        return false;
    limit->max = max;
    return true;
}

/* Sizes that differ by little tell nothing: full frames are not all of one size. */
static bool is_about(size_t size, size_t other)
{
    return size + size / 64 >= other;
}

/* The largest power of two below size. */
static size_t step_below(size_t size)
{
    size_t step = FRAME_LIMIT_MOST;

    while (step >= size)
        step /= 2;
    return step;
}

bool frame_limit_learn(struct frame_limit *limit, const struct frame_record *record)
{
    if (is_about(record->largest_answered, limit->max)) {
        limit->cuts = 0;
        limit->provisional = false;
    }
    if (record->largest_sent <= FRAME_LIMIT_LEARNT_LEAST ||
        is_about(record->largest_answered, record->largest_sent))
        return false;
    limit->cuts++;
    if (limit->cuts < CUTS && !limit->provisional && !record->refused)
        return false;
    size_t lower = step_below(record->largest_sent);
    if (lower < FRAME_LIMIT_LEARNT_LEAST)
        lower = FRAME_LIMIT_LEARNT_LEAST;
    limit->cuts = 0;
    limit->provisional = true;
    return frame_limit_lower(limit, lower);
}

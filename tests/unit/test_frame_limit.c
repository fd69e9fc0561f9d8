/* What is learnt from how links end: whether something on the way cuts large WebSocket frames. */
#include "../lib/cmocka.h"

#include "tunnel/frame_limit.h"

enum { KIB = 1024 };

/* A link that ended with a frame of that size on its way. */
static bool cut_at(struct frame_limit *limit, size_t sent, size_t answered)
{
    return frame_limit_learn(limit, &(struct frame_record){sent, answered, false});
}

static void two_links_cut_alike_make_frames_smaller(void **state)
{
    (void)state;
    struct frame_limit limit;

    frame_limit_init(&limit, 64 * KIB);
    assert_false(cut_at(&limit, 65405, 300));
    assert_int_equal(limit.max, 64 * KIB);
    assert_true(cut_at(&limit, 65300, 0));
    assert_int_equal(limit.max, 32 * KIB);
}

static void steps_below_the_first_take_one_link_each(void **state)
{
    (void)state;
    struct frame_limit limit;
    size_t expected = 32 * KIB;

    frame_limit_init(&limit, 64 * KIB);
    cut_at(&limit, 64 * KIB, 0);
    for (size_t sent = 64 * KIB; expected >= 4 * KIB; sent /= 2, expected /= 2) {
        assert_true(cut_at(&limit, sent, 0));
        assert_int_equal(limit.max, expected);
    }
    /* Nothing smaller is tried: it must be something else. */
    for (int i = 0; i < 10; i++)
        assert_false(cut_at(&limit, 4 * KIB, 0));
    assert_int_equal(limit.max, 4 * KIB);
}

static void a_frame_that_got_through_clears_the_suspicion(void **state)
{
    (void)state;
    struct frame_limit limit;

    frame_limit_init(&limit, 64 * KIB);
    for (int i = 0; i < 10; i++) {
        assert_false(cut_at(&limit, 65400, 0));
        assert_false(cut_at(&limit, 65405, 65350));
    }
    assert_int_equal(limit.max, 64 * KIB);
}

static void what_was_learnt_and_works_is_doubted_as_slowly(void **state)
{
    (void)state;
    struct frame_limit limit;

    frame_limit_init(&limit, 64 * KIB);
    cut_at(&limit, 64 * KIB, 0);
    assert_true(cut_at(&limit, 64 * KIB, 0));
    assert_false(cut_at(&limit, 32 * KIB, 32 * KIB));
    assert_false(cut_at(&limit, 32 * KIB, 100));
    assert_true(cut_at(&limit, 32 * KIB, 100));
    assert_int_equal(limit.max, 16 * KIB);
}

/* Something takes 40 KiB and cuts at 60. */
static void a_limit_between_two_steps_is_found(void **state)
{
    (void)state;
    struct frame_limit limit;

    frame_limit_init(&limit, 64 * KIB);
    cut_at(&limit, 60 * KIB, 40 * KIB);
    assert_true(cut_at(&limit, 60 * KIB, 40 * KIB));
    assert_int_equal(limit.max, 32 * KIB);
}

static void links_without_large_frames_tell_nothing(void **state)
{
    (void)state;
    struct frame_limit limit;

    frame_limit_init(&limit, 64 * KIB);
    for (int i = 0; i < 10; i++)
        assert_false(cut_at(&limit, 4096, 0));
    assert_false(cut_at(&limit, 0, 0));
    assert_int_equal(limit.max, 64 * KIB);
}

static void a_refusal_for_its_size_is_enough(void **state)
{
    (void)state;
    struct frame_limit limit;

    frame_limit_init(&limit, 64 * KIB);
    assert_true(frame_limit_learn(&limit, &(struct frame_record){20000, 300, true}));
    assert_int_equal(limit.max, 16 * KIB);
}

static void a_peers_wish_is_held_to_what_is_sensible(void **state)
{
    (void)state;
    struct frame_limit limit;

    frame_limit_init(&limit, 64 * KIB);
    assert_false(frame_limit_lower(&limit, 0));
    assert_false(frame_limit_lower(&limit, 64 * KIB));
    assert_false(frame_limit_lower(&limit, (size_t)1 << 31));
    assert_true(frame_limit_lower(&limit, 32 * KIB));
    assert_true(frame_limit_lower(&limit, 1));
    assert_int_equal(limit.max, FRAME_LIMIT_LEAST);
    assert_false(frame_limit_lower(&limit, 32 * KIB));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_links_cut_alike_make_frames_smaller),
        cmocka_unit_test(steps_below_the_first_take_one_link_each),
        cmocka_unit_test(a_frame_that_got_through_clears_the_suspicion),
        cmocka_unit_test(what_was_learnt_and_works_is_doubted_as_slowly),
        cmocka_unit_test(a_limit_between_two_steps_is_found),
        cmocka_unit_test(links_without_large_frames_tell_nothing),
        cmocka_unit_test(a_refusal_for_its_size_is_enough),
        cmocka_unit_test(a_peers_wish_is_held_to_what_is_sensible),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

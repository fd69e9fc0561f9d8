#include "../lib/cmocka.h"

#include "base/share.h"

static void one_alone_may_have_all(void **state)
{
    (void)state;
    struct supply supply = {.total = 800};
    struct holding one = {0};

    assert_int_equal(share_ask(&supply, &one, 800), SHARE_GRANTED);
    assert_int_equal(share_ask(&supply, &one, 801), SHARE_REFUSED);
    share_take(&supply, &one, 800);
    assert_int_equal(share_ask(&supply, &one, 1), SHARE_REFUSED);
    share_give(&supply, &one, 800);
    assert_true(supply.used == 0 && supply.holders == 0);
}

/* What another thread's holder has is not to be had at once. */
static void of_what_threads_share_an_eighth_is_kept_for_newcomers(void **state)
{
    (void)state;
    struct supply supply = {.total = 800, .shared = true};
    struct holding one = {0};
    struct holding comer = {0};

    assert_int_equal(share_ask(&supply, &one, 701), SHARE_REFUSED);
    assert_int_equal(share_ask(&supply, &one, 700), SHARE_GRANTED);
    assert_true(share_take(&supply, &one, 700));
    assert_int_equal(share_ask(&supply, &one, 1), SHARE_REFUSED);
    assert_int_equal(share_ask(&supply, &comer, 100), SHARE_GRANTED);
    assert_true(share_take(&supply, &comer, 50));
    assert_false(share_is_scarce(&supply, &comer));
    assert_true(share_take(&supply, &comer, 1));
    assert_true(share_is_scarce(&supply, &comer));
    assert_false(share_is_scarce(&supply, &one));
    assert_int_equal(share_ask(&supply, &comer, 49), SHARE_GRANTED);
    assert_int_equal(share_ask(&supply, &comer, 50), SHARE_ENTITLED);
}

/* Beyond its part one gets what is left, but for an eighth. */
static void an_eighth_is_kept_for_those_with_less(void **state)
{
    (void)state;
    struct supply supply = {.total = 800};
    struct holding rich = {0};
    struct holding poor = {0};

    share_take(&supply, &poor, 50);
    assert_true(share_part(&supply, &rich) == 400);
    assert_int_equal(share_ask(&supply, &rich, 650), SHARE_GRANTED);
    assert_int_equal(share_ask(&supply, &rich, 651), SHARE_REFUSED);
    share_take(&supply, &rich, 650);
    assert_int_equal(share_ask(&supply, &rich, 1), SHARE_REFUSED);
    assert_int_equal(share_ask(&supply, &poor, 100), SHARE_GRANTED);
    assert_int_equal(share_ask(&supply, &poor, 101), SHARE_ENTITLED);
    assert_int_equal(share_ask(&supply, &poor, 350), SHARE_ENTITLED);
    assert_int_equal(share_ask(&supply, &poor, 351), SHARE_REFUSED);
}

static void a_newcomer_is_entitled_whatever_others_hold(void **state)
{
    (void)state;
    struct supply supply = {.total = 10};
    struct holding rich = {0};
    struct holding comers[20] = {{0}};

    share_take(&supply, &rich, 10);
    for (int i = 0; i < 20; i++)
        assert_int_equal(share_ask(&supply, &comers[i], 1), SHARE_ENTITLED);
    assert_int_equal(share_ask(&supply, &comers[0], 5), SHARE_ENTITLED);
    assert_int_equal(share_ask(&supply, &comers[0], 6), SHARE_REFUSED);
    /* The last one that is left is a part, even when there are more holders than units. */
    share_give(&supply, &rich, 10);
    for (int i = 0; i < 10; i++)
        share_take(&supply, &comers[i], 1);
    assert_true(share_part(&supply, &comers[10]) == 1);
    assert_int_equal(share_ask(&supply, &comers[10], 1), SHARE_ENTITLED);
    assert_int_equal(share_ask(&supply, &comers[0], 1), SHARE_REFUSED);
}

static void numbers_may_be_as_large_as_they_like(void **state)
{
    (void)state;
    struct supply supply = {.total = UINT64_MAX};
    struct holding one = {0};
    struct holding other = {0};

    share_take(&supply, &one, UINT64_MAX);
    assert_int_equal(share_ask(&supply, &other, UINT64_MAX / 2), SHARE_ENTITLED);
    assert_int_equal(share_ask(&supply, &other, UINT64_MAX), SHARE_REFUSED);
    assert_int_equal(share_ask(&supply, &one, UINT64_MAX), SHARE_REFUSED);
    assert_true(share_room(&supply, &one, 0) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_alone_may_have_all),
        cmocka_unit_test(of_what_threads_share_an_eighth_is_kept_for_newcomers),
        cmocka_unit_test(an_eighth_is_kept_for_those_with_less),
        cmocka_unit_test(a_newcomer_is_entitled_whatever_others_hold),
        cmocka_unit_test(numbers_may_be_as_large_as_they_like),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

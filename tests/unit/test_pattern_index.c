/* An index must say what its lists say one after another, and try few of them. */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <string.h>

#include "base/pattern.h"
#include "base/pattern_index.h"

struct question {
    uint32_t counting; /* owners, bits */
    unsigned asked;
};

static bool counts(const void *context, uint32_t owner)
{
    struct question *question = *(struct question *const *)context;

    question->asked++;
    return (question->counting >> owner % 32 & 1) != 0;
}

static bool fits(const struct pattern_index *index, struct question *question, const char *text,
                 size_t size)
{
    question->asked = 0;
    return pattern_index_fits(index, text, size, counts, &question);
}

static void some_lists(void **state)
{
    struct pattern_index index = {0};
    struct question all = {UINT32_MAX, 0}, second = {2, 0};

    (void)state;
    assert_false(fits(&index, &all, "a", 1));
    pattern_index_add(&index, " facts.*, raw ,,", 0);
    pattern_index_add(&index, "facts.x", 1);
    pattern_index_add(&index, NULL, 2);
    pattern_index_add(&index, "", 3);
    pattern_index_sort(&index);
    assert_int_equal(index.count, 3);
    assert_true(fits(&index, &all, "facts.", 6));
    assert_true(fits(&index, &all, "facts.x", 7));
    assert_true(fits(&index, &all, "raw", 3));
    assert_false(fits(&index, &all, "ra", 2));
    assert_false(fits(&index, &all, "raws", 4));
    assert_false(fits(&index, &all, "", 0));
    assert_true(fits(&index, &second, "facts.x", 7));
    assert_false(fits(&index, &second, "facts.xy", 8));
    assert_false(fits(&index, &second, "raw", 3));
    pattern_index_clear(&index);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static size_t random_text(uint32_t *seed, const char *alphabet, size_t most, char *text)
{
    size_t size = next_random(seed) % (most + 1);

    for (size_t i = 0; i < size; i++)
        text[i] = alphabet[next_random(seed) % strlen(alphabet)];
    text[size] = '\0';
    return size;
}

static void as_the_lists_one_after_another(void **state)
{
    enum { LISTS = 12, ROUNDS = 3000 };
    uint32_t seed = 7;
    size_t fitting = 0;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        char lists[LISTS][12], text[8];
        struct pattern_index index = {0};
        for (uint32_t i = 0; i < LISTS; i++) {
            random_text(&seed, "aab\xff*?, \"", 10, lists[i]);
            pattern_index_add(&index, lists[i], i);
        }
        pattern_index_sort(&index);
        for (int asked = 0; asked < 20; asked++) {
            struct question question = {next_random(&seed) & next_random(&seed), 0};
            size_t size = random_text(&seed, "aab\xff*", 6, text);
            bool expected = false;
            for (uint32_t i = 0; i < LISTS; i++)
                expected |=
                    (question.counting >> i & 1) != 0 && pattern_list_fits(lists[i], text, size);
            if (fits(&index, &question, text, size) != expected)
                fail_msg("round %d: \"%s\"", round, text);
            fitting += expected;
        }
        pattern_index_clear(&index);
    }
    assert_in_range(fitting, ROUNDS, 19 * ROUNDS);
}

/* However many there are that begin otherwise. */
static void few_are_tried(void **state)
{
    enum { LISTS = 1000 };
    static char lists[LISTS][40];
    struct pattern_index index = {0};
    struct question all = {UINT32_MAX, 0};
    char name[40];

    (void)state;
    for (uint32_t i = 0; i < LISTS; i++) {
        snprintf(lists[i], sizeof lists[i], "team-%u.*, exact-%u", i, i);
        pattern_index_add(&index, lists[i], i);
    }
    pattern_index_sort(&index);
    assert_false(fits(&index, &all, "a", 1));
    assert_int_equal(all.asked, 0);
    assert_false(fits(&index, &all, "team-", 5));
    assert_int_equal(all.asked, 0);
    for (uint32_t i = 0; i < LISTS; i++) {
        assert_true(fits(&index, &all, name, (size_t)snprintf(name, sizeof name, "team-%u.x", i)));
        assert_int_equal(all.asked, 1);
        assert_false(
            fits(&index, &all, name, (size_t)snprintf(name, sizeof name, "exact-%u.x", i)));
        assert_in_range(all.asked, 0, 4);
    }
    pattern_index_clear(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(some_lists),
        cmocka_unit_test(as_the_lists_one_after_another),
        cmocka_unit_test(few_are_tried),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Names of topics by their ids: learnt, found, and bounded. */
#include "../lib/cmocka.h"

#include <stdio.h>
#include <string.h>

#include "../../tunnel-server/authorization/topic_names.h"

static const struct hash_key key = {{1, 2}};

static void make_id(unsigned number, uint8_t id[KAFKA_TOPIC_ID_SIZE])
{
    memset(id, 0, KAFKA_TOPIC_ID_SIZE);
    memcpy(id + 3, &number, sizeof number);
}

static void learn(struct topic_names *names, unsigned number)
{
    uint8_t id[KAFKA_TOPIC_ID_SIZE];
    char name[20];

    make_id(number, id);
    snprintf(name, sizeof name, "topic-%u", number);
    topic_names_learn(names, id, name, strlen(name));
}

static bool is_known(const struct topic_names *names, unsigned number)
{
    uint8_t id[KAFKA_TOPIC_ID_SIZE];
    char name[20];
    size_t size;

    make_id(number, id);
    snprintf(name, sizeof name, "topic-%u", number);
    const char *found = topic_names_find(names, id, &size);
    if (found) {
        assert_int_equal(size, strlen(name));
        assert_memory_equal(found, name, size);
    }
    return found != NULL;
}

static void what_was_learnt_is_found(void **state)
{
    struct topic_names names;

    (void)state;
    topic_names_init(&names, &key, TOPIC_NAMES_MAX);
    assert_false(is_known(&names, 1));
    for (unsigned i = 0; i < 5000; i++) {
        learn(&names, i);
        learn(&names, i);
    }
    assert_int_equal(names.count, 5000);
    for (unsigned i = 0; i < 5000; i++)
        assert_true(is_known(&names, i));
    assert_false(is_known(&names, 5000));
    topic_names_clear(&names);
}

static void one_too_many_begins_anew(void **state)
{
    struct topic_names names;

    (void)state;
    topic_names_init(&names, &key, 100);
    for (unsigned i = 0; i < 100; i++)
        learn(&names, i);
    assert_true(is_known(&names, 0));
    learn(&names, 100);
    assert_int_equal(names.count, 1);
    assert_true(is_known(&names, 100));
    assert_false(is_known(&names, 0));
    topic_names_clear(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_learnt_is_found),
        cmocka_unit_test(one_too_many_begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

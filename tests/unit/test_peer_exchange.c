/* Two instances that ask each other for a session, byte by byte, and strangers. */
#include "../lib/cmocka.h"

#include <string.h>

#include "../../tunnel-server/peers/peer_exchange.h"

static const uint8_t nonces[2][PEER_NONCE_SIZE] = {"asker-nonce-016", "answerer-nonce!"};

static struct peer_question question_of(char letter, size_t identity, size_t peer)
{
    struct peer_question question = {.id = "session-id-of-16"};

    memset(question.identity, letter, identity);
    memset(question.peer, letter, peer);
    return question;
}

/* Gives the message of one end to the other, so many bytes at a time. */
static enum peer_exchange_step deliver_with(const char *secret, const struct peer_exchange *from,
                                            struct peer_exchange *to, size_t pieces)
{
    enum peer_exchange_step step = PEER_EXCHANGE_MORE;
    uint8_t message[PEER_MESSAGE_MAX];
    size_t size = from->out_size;

    memcpy(message, from->out, size);
    for (size_t at = 0; at < size;) {
        size_t some;
        assert_int_equal(step, PEER_EXCHANGE_MORE);
        uint8_t *room = peer_exchange_room(to, &some);
        assert_true(some > 0);
        some = some < pieces ? some : pieces;
        some = some < size - at ? some : size - at;
        memcpy(room, message + at, some);
        at += some;
        step = peer_exchange_received(to, secret, some);
    }
    return step;
}

static enum peer_exchange_step deliver(const struct peer_exchange *from, struct peer_exchange *to,
                                       size_t pieces)
{
    return deliver_with("secret", from, to, pieces);
}

static enum peer_exchange_step run(const struct peer_question *question, const char *asker_secret,
                                   const char *answerer_secret, bool has, size_t pieces,
                                   struct peer_question *seen)
{
    struct peer_exchange asker;
    struct peer_exchange answerer;

    peer_exchange_asker(&asker, nonces[0], question);
    peer_exchange_answerer(&answerer, nonces[1]);
    assert_int_equal(deliver_with(answerer_secret, &asker, &answerer, pieces), PEER_EXCHANGE_SAY);
    assert_int_equal(deliver_with(asker_secret, &answerer, &asker, pieces), PEER_EXCHANGE_SAY);
    enum peer_exchange_step step = deliver_with(answerer_secret, &asker, &answerer, pieces);
    if (step != PEER_EXCHANGE_ASKED)
        return step;
    *seen = answerer.question;
    peer_exchange_answer(&answerer, answerer_secret, has);
    return deliver_with(asker_secret, &answerer, &asker, pieces);
}

static void asks_and_answers_in_any_pieces(void **state)
{
    (void)state;
    const struct peer_question questions[] = {
        question_of('a', 5, 15), question_of('b', 0, 0),
        question_of('c', HTTP_IDENTITY_MAX - 1, SOCKET_TEXT_MAX - 1)};

    for (size_t i = 0; i < 3; i++) {
        for (size_t pieces = 1; pieces < PEER_MESSAGE_MAX; pieces += 7) {
            struct peer_question seen;
            assert_int_equal(run(&questions[i], "secret", "secret", true, pieces, &seen),
                             PEER_EXCHANGE_YES);
            assert_memory_equal(seen.id, questions[i].id, sizeof seen.id);
            assert_string_equal(seen.identity, questions[i].identity);
            assert_string_equal(seen.peer, questions[i].peer);
            assert_int_equal(run(&questions[i], "secret", "secret", false, pieces, &seen),
                             PEER_EXCHANGE_NO);
        }
    }
}

static void another_secret_is_noticed_by_the_one_that_is_asked(void **state)
{
    (void)state;
    const struct peer_question question = question_of('a', 5, 15);
    struct peer_question seen;

    assert_int_equal(run(&question, "secret", "other", true, 1000, &seen), PEER_EXCHANGE_UNTRUSTED);
}

static void every_bit_of_a_message_is_under_the_proof(void **state)
{
    (void)state;
    const struct peer_question question = question_of('a', 5, 15);
    struct peer_exchange asker;
    struct peer_exchange answerer;
    size_t size = 0;

    for (size_t bit = 0; bit == 0 || bit < 8 * size; bit++) {
        peer_exchange_asker(&asker, nonces[0], &question);
        peer_exchange_answerer(&answerer, nonces[1]);
        deliver(&asker, &answerer, 1000);
        deliver(&answerer, &asker, 1000);
        size = asker.out_size;
        asker.out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        /* Another size: more bytes are waited for, or those that are there do not fit. */
        if (bit >= 16)
            assert_int_equal(deliver(&asker, &answerer, 1000), PEER_EXCHANGE_UNTRUSTED);
    }
    for (size_t bit = 0; bit < 8 * (1 + PEER_MAC_SIZE); bit++) {
        peer_exchange_asker(&asker, nonces[0], &question);
        peer_exchange_answerer(&answerer, nonces[1]);
        deliver(&asker, &answerer, 1000);
        deliver(&answerer, &asker, 1000);
        assert_int_equal(deliver(&asker, &answerer, 1000), PEER_EXCHANGE_ASKED);
        peer_exchange_answer(&answerer, "secret", true);
        answerer.out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(deliver(&answerer, &asker, 1000), PEER_EXCHANGE_UNTRUSTED);
    }
}

static void a_proof_is_good_for_one_exchange(void **state)
{
    (void)state;
    const struct peer_question question = question_of('a', 5, 15);
    static const uint8_t fresh[PEER_NONCE_SIZE] = "another-nonce!!";
    struct peer_exchange asker;
    struct peer_exchange answerer;

    peer_exchange_asker(&asker, nonces[0], &question);
    peer_exchange_answerer(&answerer, nonces[1]);
    const struct peer_exchange greeting = asker;
    deliver(&asker, &answerer, 1000);
    deliver(&answerer, &asker, 1000);
    peer_exchange_answerer(&answerer, fresh);
    deliver(&greeting, &answerer, 1000);
    assert_int_equal(deliver(&asker, &answerer, 1000), PEER_EXCHANGE_UNTRUSTED);
}

static void strangers_are_malformed(void **state)
{
    (void)state;
    struct peer_exchange answerer;
    struct peer_exchange stranger = {.out_size = 20};

    peer_exchange_answerer(&answerer, nonces[1]);
    memcpy(stranger.out, "GET / HTTP/1.1\r\nHost", 20);
    assert_int_equal(deliver(&stranger, &answerer, 1000), PEER_EXCHANGE_MALFORMED);

    peer_exchange_answerer(&answerer, nonces[1]);
    memcpy(stranger.out, "KTP1", 4);
    assert_int_equal(deliver(&stranger, &answerer, 1000), PEER_EXCHANGE_SAY);
    memset(stranger.out, 0xff, 2);
    stranger.out_size = 2;
    assert_int_equal(deliver(&stranger, &answerer, 1000), PEER_EXCHANGE_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_and_answers_in_any_pieces),
        cmocka_unit_test(another_secret_is_noticed_by_the_one_that_is_asked),
        cmocka_unit_test(every_bit_of_a_message_is_under_the_proof),
        cmocka_unit_test(a_proof_is_good_for_one_exchange),
        cmocka_unit_test(strangers_are_malformed),
    };
    return cmocka_run_group_tests_name("peer_exchange", tests, NULL, NULL);
}

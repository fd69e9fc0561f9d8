#include "broker_login/login_standing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"

enum {
    HELD_US = 1000 * 1000, /* after a refusal; then twice as long each time */
    HELD_TIMES_MAX = 5,
    /* So long a login that was taken counts as good: crowds that connect again need not queue. Each
     * that is taken goes on with that; and a password that is changed within it is tried by those
     * alone that are under way when the first of them is refused. */
    PROVEN_US = 1000 * 1000,
    /* So long after one has begun the next one does, whatever has become of that. */
    ALONE_US = 1000 * 1000,
};

struct login_standing {
    atomic_size_t references;
    pthread_mutex_t lock; /* of all that follows */
    size_t under_way;
    uint64_t begun_us;         /* the last one of them */
    uint64_t proven_until_us;  /* 0: not since the last refusal */
    unsigned refusals;         /* one after another */
    uint64_t refused_until_us; /* 0: no broker has refused it */
    char refusal[LOGIN_HOLD_MAX];
    unsigned generation;         /* of the secret */
    struct login_secret *secret; /* that has come; NULL: the book's does not change */
    struct sasl_scram_keys keys; /* of this generation */
};

struct login_standing *login_standing_new(void)
{
    struct login_standing *standing = memory_new(sizeof *standing);

    atomic_init(&standing->references, 1);
    if (pthread_mutex_init(&standing->lock, NULL) != 0)
        abort();
    return standing;
}

struct login_standing *login_standing_reference(struct login_standing *standing)
{
    if (standing)
        atomic_fetch_add(&standing->references, 1);
    return standing;
}

void login_standing_release(struct login_standing *standing)
{
    if (!standing || atomic_fetch_sub(&standing->references, 1) > 1)
        return;
    pthread_mutex_destroy(&standing->lock);
    byte_wipe(&standing->keys, sizeof standing->keys);
    login_secret_release(standing->secret);
    free(standing);
}

/* The lock is held. */
static enum login_leave give_leave(struct login_standing *standing, uint64_t now_us)
{
    if (standing->refused_until_us > now_us)
        return LOGIN_HELD;
    if (standing->under_way > 0 && standing->proven_until_us <= now_us &&
        now_us - standing->begun_us < ALONE_US)
        return LOGIN_WAIT;
    standing->under_way++;
    standing->begun_us = now_us;
    return LOGIN_GIVEN;
}

enum login_leave login_standing_ask(struct login_standing *standing, uint64_t now_us)
{
    pthread_mutex_lock(&standing->lock);
    enum login_leave leave = give_leave(standing, now_us);
    pthread_mutex_unlock(&standing->lock);
    return leave;
}

/* The lock is held. Whether a pause begins. */
static bool note_denied(struct login_standing *standing, const char *why, uint64_t now_us)
{
    standing->proven_until_us = 0;
    /* Several may have been under way: they count as one. */
    if (standing->refused_until_us > now_us)
        return false;
    unsigned times =
        standing->refusals < HELD_TIMES_MAX ? standing->refusals++ : (unsigned)HELD_TIMES_MAX;
    standing->refused_until_us = now_us + ((uint64_t)HELD_US << times);
    snprintf(standing->refusal, sizeof standing->refusal, "%s", why);
    return true;
}

bool login_standing_settle(struct login_standing *standing, unsigned generation,
                           enum login_outcome outcome, const char *why, uint64_t now_us)
{
    bool pauses = false;

    pthread_mutex_lock(&standing->lock);
    standing->under_way--;
    if (generation != standing->generation)
        outcome = LOGIN_UNSETTLED;
    if (outcome == LOGIN_TAKEN) {
        standing->refusals = 0;
        standing->refused_until_us = 0;
        standing->proven_until_us = now_us + PROVEN_US;
    } else if (outcome == LOGIN_DENIED) {
        pauses = note_denied(standing, why, now_us);
    }
    pthread_mutex_unlock(&standing->lock);
    return pauses;
}

uint64_t login_standing_hold(struct login_standing *standing, uint64_t now_us,
                             char why[LOGIN_HOLD_MAX])
{
    pthread_mutex_lock(&standing->lock);
    uint64_t until_us = standing->refused_until_us > now_us ? standing->refused_until_us : 0;
    snprintf(why, LOGIN_HOLD_MAX, "%s", until_us ? standing->refusal : "");
    pthread_mutex_unlock(&standing->lock);
    return until_us;
}

unsigned login_standing_join(struct login_standing *standing, struct sasl_scram_keys *keys)
{
    pthread_mutex_lock(&standing->lock);
    unsigned generation = standing->generation;
    *keys = standing->keys;
    pthread_mutex_unlock(&standing->lock);
    return generation;
}

void login_standing_keep_keys(struct login_standing *standing, unsigned generation,
                              const struct sasl_scram_keys *keys)
{
    pthread_mutex_lock(&standing->lock);
    if (generation == standing->generation)
        standing->keys = *keys;
    pthread_mutex_unlock(&standing->lock);
}

/* The lock is held. */
static void begin_generation(struct login_standing *standing)
{
    standing->generation++;
    standing->proven_until_us = 0;
    standing->refused_until_us = 0;
    byte_wipe(&standing->keys, sizeof standing->keys);
}

void login_standing_use_secret(struct login_standing *standing, struct login_secret *secret)
{
    pthread_mutex_lock(&standing->lock);
    struct login_secret *before = standing->secret;
    if (before && strcmp(login_secret_text(before), login_secret_text(secret)) != 0)
        begin_generation(standing);
    standing->secret = login_secret_reference(secret);
    pthread_mutex_unlock(&standing->lock);
    login_secret_release(before);
}

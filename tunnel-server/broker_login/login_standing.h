/*
 * How a rule's login stands with the brokers of a cluster: whether they have refused it, or taken
 * it of late, and who tries now. All workers share it, and it goes on in the next book while the
 * rule has the same user and secret (login_book.h).
 *
 * It keeps people's accounts at the brokers from being locked by wrong passwords, however many
 * clients connect:
 * - After a refusal nobody tries for 1 s; after the next one for 2 s, and so on up to 32 s.
 * - A login that no broker has taken for a second is tried once, and who comes meanwhile waits
 *   for the outcome; or for a second, so that a broker that does not answer keeps nobody from the
 *   others for longer.
 * - A secret that takes the place of another one may be tried at once. If it is refused as well,
 * the pause is the next one nevertheless: a command that prints another wrong one each time does
 * not get around them. It also keeps what SCRAM derives from the password, so that only the first
 * login takes the milliseconds.
 *
 * All functions may be called by all threads; its lock is held for a few instructions.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker_login/login_secret.h"
#include "sasl/types.h"

struct login_standing;

enum login_leave {
    LOGIN_GIVEN, /* to log in now; login_standing_settle() must follow */
    LOGIN_HELD,  /* nobody should try now: see login_standing_hold() */
    LOGIN_WAIT,  /* somebody else tries: ask again soon */
};

enum login_outcome {
    LOGIN_TAKEN,
    LOGIN_DENIED,    /* by a broker, and any other would do the same */
    LOGIN_UNSETTLED, /* anything else: it says nothing about the secret */
};

/* Bytes of a reason with its NUL; longer ones are cut. */
#define LOGIN_HOLD_MAX 160

/* With one reference. */
struct login_standing *login_standing_new(void);
/* NULL stays NULL. */
struct login_standing *login_standing_reference(struct login_standing *standing);
/* NULL is fine. Whoever lets go last, overwrites the keys. */
void login_standing_release(struct login_standing *standing);

enum login_leave login_standing_ask(struct login_standing *standing, uint64_t now_us);
/* Ends what was given. generation: the one of the secret, which counts no more if there is another
 * one. why: LOGIN_DENIED: what the broker has said. Whether a pause has begun by it. */
bool login_standing_settle(struct login_standing *standing, unsigned generation,
                           enum login_outcome outcome, const char *why, uint64_t now_us);
/* Until when nobody should try, and why; 0: anybody may ask. */
uint64_t login_standing_hold(struct login_standing *standing, uint64_t now_us,
                             char why[LOGIN_HOLD_MAX]);

/* The generation of the secret that counts, to be asked for after the secret itself; and the keys
 * that were kept of it. */
unsigned login_standing_join(struct login_standing *standing, struct sasl_scram_keys *keys);
/* Keeps keys that a broker has taken. */
void login_standing_keep_keys(struct login_standing *standing, unsigned generation,
                              const struct sasl_scram_keys *keys);
/* Of a rule whose secret comes and goes: from now on, this one. Takes a reference of its own. */
void login_standing_use_secret(struct login_standing *standing, struct login_secret *secret);

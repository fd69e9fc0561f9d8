/*
 * Who a client says it is when it logs in itself: the user's name in its first message of PLAIN
 * (RFC 4616) or SCRAM (RFC 5802). Nothing that comes behind the name is looked at, or kept.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { KAFKA_LOGIN_USER_MAX = 128 }; /* bytes kept */

enum kafka_login_look {
    KAFKA_LOGIN_LOOK_NOT,         /* nothing is looked for, or it was found */
    KAFKA_LOGIN_LOOK_PLAIN_FIRST, /* behind the next NUL is the name */
    KAFKA_LOGIN_LOOK_PLAIN_NAME,
    KAFKA_LOGIN_LOOK_SCRAM_FIRST, /* behind the second comma */
    KAFKA_LOGIN_LOOK_SCRAM_SECOND,
    KAFKA_LOGIN_LOOK_SCRAM_N, /* "n=" */
    KAFKA_LOGIN_LOOK_SCRAM_EQUALS,
    KAFKA_LOGIN_LOOK_SCRAM_NAME,
};

/* All zero at first. */
struct kafka_login_user {
    enum kafka_login_look look;
    size_t skip; /* bytes before the message */
    size_t size;
    char name[KAFKA_LOGIN_USER_MAX + 1]; /* printable ASCII; "": not known */
};

/* The first message of that mechanism comes next, behind so many bytes. */
void kafka_login_user_begin(struct kafka_login_user *user, const char *mechanism, size_t skip);
/* The next bytes, in any split. */
void kafka_login_user_feed(struct kafka_login_user *user, const uint8_t *bytes, size_t size);
/* The message has ended. */
void kafka_login_user_end(struct kafka_login_user *user);

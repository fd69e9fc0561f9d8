#include "kafka/login_user.h"

#include <string.h>

#include "kafka/wire.h"

void kafka_login_user_begin(struct kafka_login_user *user, const char *mechanism, size_t skip)
{
    user->look = strcmp(mechanism, "PLAIN") == 0        ? KAFKA_LOGIN_LOOK_PLAIN_FIRST
                 : strncmp(mechanism, "SCRAM-", 6) == 0 ? KAFKA_LOGIN_LOOK_SCRAM_FIRST
                                                        : KAFKA_LOGIN_LOOK_NOT;
    user->skip = skip;
    if (user->look == KAFKA_LOGIN_LOOK_NOT)
        return;
    user->size = 0;
    user->name[0] = '\0';
}

static void add_to_name(struct kafka_login_user *user, uint8_t byte)
{
    if (user->size == KAFKA_LOGIN_USER_MAX)
        return;
    user->name[user->size++] = kafka_wire_plain(byte);
    user->name[user->size] = '\0';
}

/* What is expected next, byte or not; anything else ends the look. */
static enum kafka_login_look look_on(uint8_t byte, uint8_t expected, enum kafka_login_look next)
{
    return byte == expected ? next : KAFKA_LOGIN_LOOK_NOT;
}

static enum kafka_login_look look_at_name(struct kafka_login_user *user, uint8_t byte, uint8_t end)
{
    if (byte == end)
        return KAFKA_LOGIN_LOOK_NOT;
    add_to_name(user, byte);
    return user->look;
}

static enum kafka_login_look look_at_byte(struct kafka_login_user *user, uint8_t byte)
{
    switch (user->look) {
    case KAFKA_LOGIN_LOOK_PLAIN_FIRST:
        return byte == 0 ? KAFKA_LOGIN_LOOK_PLAIN_NAME : user->look;
    case KAFKA_LOGIN_LOOK_PLAIN_NAME:
        return look_at_name(user, byte, 0);
    case KAFKA_LOGIN_LOOK_SCRAM_FIRST:
        return byte == ',' ? KAFKA_LOGIN_LOOK_SCRAM_SECOND : user->look;
    case KAFKA_LOGIN_LOOK_SCRAM_SECOND:
        return byte == ',' ? KAFKA_LOGIN_LOOK_SCRAM_N : user->look;
    case KAFKA_LOGIN_LOOK_SCRAM_N:
        return look_on(byte, 'n', KAFKA_LOGIN_LOOK_SCRAM_EQUALS);
    case KAFKA_LOGIN_LOOK_SCRAM_EQUALS:
        return look_on(byte, '=', KAFKA_LOGIN_LOOK_SCRAM_NAME);
    default:
        return look_at_name(user, byte, ',');
    }
}

void kafka_login_user_feed(struct kafka_login_user *user, const uint8_t *bytes, size_t size)
{
    size_t at = user->skip < size ? user->skip : size;

    user->skip -= at;
    for (; at < size && user->look != KAFKA_LOGIN_LOOK_NOT; at++)
        user->look = look_at_byte(user, bytes[at]);
}

void kafka_login_user_end(struct kafka_login_user *user)
{
    user->look = KAFKA_LOGIN_LOOK_NOT;
    user->skip = 0;
}

/*
 * The client's side of SOCKS 5 (RFC 1928) with a user name and a password (RFC 1929), from the
 * greeting to the proxy's reply to CONNECT. Sans-I/O: the caller sends each message and feeds what
 * comes; nothing waits, and nothing is larger than a byte can count.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest message: version, and user name and password with their lengths (RFC 1929, 2). */
#define SOCKS5_MESSAGE_MAX (1 + 2 * (1 + 255))
/* The longest reply: four bytes, a name with its length, a port (RFC 1928, 6). */
#define SOCKS5_REPLY_MAX (4 + 1 + 255 + 2)

/* How a target is named (ATYP; RFC 1928, 5). */
enum socks5_address {
    SOCKS5_IPV4 = 1,
    SOCKS5_NAME = 3,
    SOCKS5_IPV6 = 4,
};

struct socks5_target {
    enum socks5_address kind;
    uint8_t bytes[255]; /* in network order; of a name without a NUL */
    uint8_t size;       /* 4, 16, or the name's, which is not 0 */
    uint16_t port;
};

/* What the proxy is asked next, or has been asked last. */
enum socks5_step {
    SOCKS5_GREETING, /* which kinds of login are offered */
    SOCKS5_LOGIN,
    SOCKS5_CONNECT,
};

enum socks5_refusal {
    SOCKS5_REFUSAL_METHODS, /* it takes none of the logins that were offered */
    SOCKS5_REFUSAL_LOGIN,   /* not this user name and password */
    SOCKS5_REFUSAL_REPLY,   /* it has not connected: reply says why */
};

struct socks5 {
    enum socks5_step step;
    struct socks5_target target;
    /* Not copied; NULL: no login. Each part has at most 255 bytes, the user at least one. */
    const char *user;
    uint8_t user_size;
    const char *password;
    uint8_t password_size;
    uint8_t message[SOCKS5_MESSAGE_MAX]; /* to be sent; may hold the login: socks5_wipe() */
    size_t message_size;
    uint8_t answer[SOCKS5_REPLY_MAX];
    size_t answer_size;
    enum socks5_refusal refusal;
    uint8_t reply; /* REP (RFC 1928, 6) */
};

enum socks5_result {
    SOCKS5_MALFORMED = -1, /* that is not SOCKS 5 */
    SOCKS5_DONE = 0,       /* the connection leads to the target now */
    SOCKS5_MORE,           /* the answer is not whole yet */
    SOCKS5_SAY,            /* the next message is to be sent */
    SOCKS5_REFUSED,
};

/* Of what the caller has set: target, user and password. The first message is there to be sent. */
void socks5_begin(struct socks5 *socks);
/* Takes what has come after a message was sent. consumed: never more than the answer to it. */
enum socks5_result socks5_receive(struct socks5 *socks, const uint8_t *bytes, size_t size,
                                  size_t *consumed);
/* Wipes the message. */
void socks5_wipe(struct socks5 *socks);

/* After SOCKS5_REFUSED: another address of the same server may do better. */
bool socks5_may_try_another(const struct socks5 *socks);
/* After SOCKS5_REFUSED: the login was wrong, or is missing. */
bool socks5_is_login_refused(const struct socks5 *socks);
/* After SOCKS5_REFUSED or SOCKS5_MALFORMED: a sentence. named_by: the option that names the server.
 */
void socks5_explain(const struct socks5 *socks, enum socks5_result result, const char *named_by,
                    char *text, size_t size);
/* "the SOCKS5 greeting", for what was sent last. */
const char *socks5_step_name(const struct socks5 *socks);

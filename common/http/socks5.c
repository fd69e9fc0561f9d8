#include "http/socks5.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

enum {
    VERSION = 5,
    LOGIN_VERSION = 1,
    METHOD_NONE = 0,
    METHOD_LOGIN = 2,
    COMMAND_CONNECT = 1,
};

/* REP (RFC 1928, 6). */
enum {
    REPLY_SUCCEEDED,
    REPLY_FAILED,
    REPLY_FORBIDDEN,
    REPLY_NO_NETWORK,
    REPLY_NO_HOST,
    REPLY_CONNECTION_REFUSED,
    REPLY_TTL_EXPIRED,
    REPLY_NO_SUCH_COMMAND,
    REPLY_NO_SUCH_ADDRESS_TYPE,
};

/* ---- what is said */

static void set_socks5_message(struct socks5 *socks, enum socks5_step step,
                               const struct byte_writer *writer)
{
    socks->step = step;
    socks->answer_size = 0;
    socks->message_size = byte_writer_size(writer);
}

void socks5_begin(struct socks5 *socks)
{
    struct byte_writer writer;

    byte_writer_init(&writer, socks->message, sizeof socks->message);
    byte_writer_u8(&writer, VERSION);
    byte_writer_u8(&writer, socks->user ? 2 : 1);
    byte_writer_u8(&writer, METHOD_NONE);
    if (socks->user)
        byte_writer_u8(&writer, METHOD_LOGIN);
    set_socks5_message(socks, SOCKS5_GREETING, &writer);
}

static enum socks5_result say_socks5_login(struct socks5 *socks)
{
    struct byte_writer writer;

    byte_writer_init(&writer, socks->message, sizeof socks->message);
    byte_writer_u8(&writer, LOGIN_VERSION);
    byte_writer_u8(&writer, socks->user_size);
    byte_writer_bytes(&writer, socks->user, socks->user_size);
    byte_writer_u8(&writer, socks->password_size);
    byte_writer_bytes(&writer, socks->password, socks->password_size);
    set_socks5_message(socks, SOCKS5_LOGIN, &writer);
    return SOCKS5_SAY;
}

static enum socks5_result say_socks5_connect(struct socks5 *socks)
{
    const struct socks5_target *target = &socks->target;
    struct byte_writer writer;

    socks5_wipe(socks);
    byte_writer_init(&writer, socks->message, sizeof socks->message);
    byte_writer_u8(&writer, VERSION);
    byte_writer_u8(&writer, COMMAND_CONNECT);
    byte_writer_u8(&writer, 0);
    byte_writer_u8(&writer, (uint8_t)target->kind);
    if (target->kind == SOCKS5_NAME)
        byte_writer_u8(&writer, target->size);
    byte_writer_bytes(&writer, target->bytes, target->size);
    byte_writer_u16(&writer, target->port);
    set_socks5_message(socks, SOCKS5_CONNECT, &writer);
    return SOCKS5_SAY;
}

void socks5_wipe(struct socks5 *socks)
{
    byte_wipe(socks->message, sizeof socks->message);
    socks->message_size = 0;
}

/* ---- what is answered */

static enum socks5_result refuse_socks5(struct socks5 *socks, enum socks5_refusal refusal)
{
    socks->refusal = refusal;
    return SOCKS5_REFUSED;
}

static enum socks5_result take_socks5_method(struct socks5 *socks)
{
    switch (socks->answer[1]) {
    case METHOD_NONE:
        return say_socks5_connect(socks);
    case METHOD_LOGIN:
        /* One that asks for what was not offered wants it all the same. */
        return socks->user ? say_socks5_login(socks) : refuse_socks5(socks, SOCKS5_REFUSAL_METHODS);
    default:
        return refuse_socks5(socks, SOCKS5_REFUSAL_METHODS);
    }
}

/* How long the reply is, as far as its beginning tells; 0: no reply begins like this. */
static size_t socks5_reply_size(const struct socks5 *socks)
{
    if (socks->answer_size < 5)
        return 5;
    switch (socks->answer[3]) {
    case SOCKS5_IPV4:
        return 4 + 4 + 2;
    case SOCKS5_IPV6:
        return 4 + 16 + 2;
    case SOCKS5_NAME:
        return 4 + 1 + (size_t)socks->answer[4] + 2;
    default:
        return 0;
    }
}

/* Looks at the answer as far as it has come; the caller has more when it is SOCKS5_MORE. */
static enum socks5_result look_at_socks5_answer(struct socks5 *socks)
{
    /* Some proxies have 5 in the answer to a login as well. */
    if (socks->step != SOCKS5_LOGIN && socks->answer[0] != VERSION)
        return SOCKS5_MALFORMED;
    if (socks->answer_size < 2)
        return SOCKS5_MORE;
    switch (socks->step) {
    case SOCKS5_GREETING:
        return take_socks5_method(socks);
    case SOCKS5_LOGIN:
        return socks->answer[1] == 0 ? say_socks5_connect(socks)
                                     : refuse_socks5(socks, SOCKS5_REFUSAL_LOGIN);
    default:
        break;
    }
    /* A refusal need not be whole: some leave the address out. */
    socks->reply = socks->answer[1];
    if (socks->reply != REPLY_SUCCEEDED)
        return refuse_socks5(socks, SOCKS5_REFUSAL_REPLY);
    size_t size = socks5_reply_size(socks);
    if (size == 0)
        return SOCKS5_MALFORMED;
    return socks->answer_size == size ? SOCKS5_DONE : SOCKS5_MORE;
}

enum socks5_result socks5_receive(struct socks5 *socks, const uint8_t *bytes, size_t size,
                                  size_t *consumed)
{
    enum socks5_result result = SOCKS5_MORE;

    for (*consumed = 0; *consumed < size && result == SOCKS5_MORE; ++*consumed) {
        socks->answer[socks->answer_size++] = bytes[*consumed];
        result = look_at_socks5_answer(socks);
    }
    return result;
}

/* ---- what went wrong */

bool socks5_may_try_another(const struct socks5 *socks)
{
    return socks->refusal == SOCKS5_REFUSAL_REPLY && socks->reply != REPLY_FORBIDDEN &&
           socks->reply != REPLY_NO_SUCH_COMMAND;
}

bool socks5_is_login_refused(const struct socks5 *socks)
{
    return socks->refusal != SOCKS5_REFUSAL_REPLY;
}

static void explain_socks5_address(const struct socks5 *socks, char *text, size_t size)
{
    if (socks->target.kind == SOCKS5_NAME)
        snprintf(text, size,
                 "the proxy takes no host names (SOCKS5 reply 8); use socks5:// in place of "
                 "socks5h://, which looks names up on this machine");
    else
        snprintf(text, size,
                 "the proxy does not connect to IPv%d addresses (SOCKS5 reply 8); with socks5h:// "
                 "it chooses the address itself",
                 socks->target.kind == SOCKS5_IPV6 ? 6 : 4);
}

static void explain_socks5_reply(const struct socks5 *socks, const char *named_by, char *text,
                                 size_t size)
{
    static const char *const why[] = {
        [REPLY_FAILED] = "general failure",   [REPLY_NO_NETWORK] = "network unreachable",
        [REPLY_NO_HOST] = "host unreachable", [REPLY_CONNECTION_REFUSED] = "connection refused",
        [REPLY_TTL_EXPIRED] = "TTL expired",
    };
    unsigned reply = socks->reply;

    if (reply == REPLY_FORBIDDEN)
        snprintf(text, size,
                 "the proxy does not allow a connection there (SOCKS5 reply 2: not allowed by "
                 "ruleset); ask its administrator to allow that host and port");
    else if (reply == REPLY_NO_SUCH_COMMAND)
        snprintf(text, size,
                 "the proxy does not make connections (SOCKS5 reply 7: command not supported); use "
                 "another proxy");
    else if (reply == REPLY_NO_SUCH_ADDRESS_TYPE)
        explain_socks5_address(socks, text, size);
    else
        snprintf(text, size,
                 "the proxy cannot reach the server (SOCKS5 reply %u%s%s); is the name right (%s), "
                 "and can the proxy reach it?",
                 reply, reply < sizeof why / sizeof *why ? ": " : "",
                 reply < sizeof why / sizeof *why ? why[reply] : "", named_by);
}

static void explain_no_socks5(const struct socks5 *socks, char *text, size_t size)
{
    switch (socks->answer[0]) {
    case 'H':
        snprintf(text, size,
                 "the proxy answers in HTTP; if it is an HTTP proxy, use --proxy http://HOST:PORT");
        break;
    case 0:
    case 4:
        snprintf(text, size,
                 "the proxy speaks SOCKS4, which has neither names nor logins; use a SOCKS5 proxy");
        break;
    default:
        snprintf(text, size, "the proxy's answer is not SOCKS5; is it a SOCKS5 proxy?");
    }
}

void socks5_explain(const struct socks5 *socks, enum socks5_result result, const char *named_by,
                    char *text, size_t size)
{
    if (result == SOCKS5_MALFORMED)
        explain_no_socks5(socks, text, size);
    else if (socks->refusal == SOCKS5_REFUSAL_REPLY)
        explain_socks5_reply(socks, named_by, text, size);
    else if (socks->refusal == SOCKS5_REFUSAL_LOGIN)
        snprintf(text, size,
                 "the proxy does not accept this user name and password; check them in --proxy "
                 "socks5h://USER:PASSWORD@HOST:PORT");
    else if (socks->user)
        snprintf(text, size,
                 "the proxy requires a login other than a user name and a password; use a local "
                 "helper that logs in there");
    else
        snprintf(text, size,
                 "the proxy requires a login; give it as --proxy "
                 "socks5h://USER:PASSWORD@HOST:PORT, in TUNNEL_PROXY or in the configuration file");
}

const char *socks5_step_name(const struct socks5 *socks)
{
    static const char *const names[] = {
        [SOCKS5_GREETING] = "the SOCKS5 greeting",
        [SOCKS5_LOGIN] = "the SOCKS5 login",
        [SOCKS5_CONNECT] = "the SOCKS5 request",
    };

    return names[socks->step];
}

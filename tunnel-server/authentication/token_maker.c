#include "authentication/token_maker.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "authentication/token_table.h"
#include "base/bytes.h"
#include "base/date.h"
#include "base/memory.h"
#include "config/secret.h"

enum {
    RANDOM_SIZE = 32,
    /* 128 bits in base64: a digest of less could be turned back by trying. */
    LENGTH_MIN = 22,
    DAY_S = 24 * 3600,
    DAYS_MAX = 100 * 366,
};

/* By which people, and programs that look for secrets where none should be, know one. */
static const char PREFIX[] = "ktun_";

/* ---- --until */

/* "90d", "12h". */
static bool parse_span(const char *text, int64_t *seconds)
{
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    long number = strtol(text, &end, 10);
    int unit = strcmp(end, "d") == 0 ? DAY_S : strcmp(end, "h") == 0 ? 3600 : 0;
    if (errno != 0 || unit == 0 || number <= 0 || number > DAYS_MAX)
        return false;
    *seconds = (int64_t)number * unit;
    return true;
}

/* The word of the token's line; false: the text is neither date nor span. */
static bool format_until(const char *text, int64_t now, char out[DATE_TEXT_SIZE])
{
    int64_t moment;

    if (parse_span(text, &moment)) {
        date_format(now + moment, out);
        return true;
    }
    if (!date_parse_end(text, strlen(text), &moment))
        return false;
    snprintf(out, DATE_TEXT_SIZE, "%s", text);
    return true;
}

/* A span never is. */
static bool is_over(const char *until)
{
    int64_t moment;

    return date_parse_end(until, strlen(until), &moment) && moment <= (int64_t)time(NULL);
}

const char *token_maker_check(const struct options *options, const char **option)
{
    char until[DATE_TEXT_SIZE];
    const char *name = options->token_name;

    *option = "name";
    if (name) {
        size_t size = strlen(name);
        const char *why = token_check_name(name, size);
        if (why)
            return why;
        if (secret_trim(name, &size) != name || size != strlen(name))
            return "begins or ends with a blank";
    }
    *option = "rule";
    if (options->token_rules) {
        const char *why = token_check_rules(options->token_rules, strlen(options->token_rules));
        if (why)
            return why;
        if (!name)
            return "needs --name: rights are a user's";
    }
    *option = "until";
    if (options->token_until && !format_until(options->token_until, 0, until))
        return "is neither a date (2027-01-31, or 2027-01-31T18:00:00Z) nor a span of time (90d, "
               "12h)";
    if (options->token_until && is_over(options->token_until))
        return "is in the past: the server would refuse the token as expired";
    *option = "out";
    if (options->token_out && options->token_from)
        return "has no effect with --from: the token is in a file already";
    return NULL;
}

/* ---- the token */

static char *make_token(void)
{
    unsigned char bytes[RANDOM_SIZE];
    char *token = memory_raw(sizeof PREFIX + (RANDOM_SIZE + 2) / 3 * 4);

    if (RAND_bytes(bytes, sizeof bytes) != 1)
        abort();
    char *at = stpcpy(token, PREFIX);
    EVP_EncodeBlock((unsigned char *)at, bytes, sizeof bytes);
    byte_wipe(bytes, sizeof bytes);
    /* The alphabet of URLs, without padding: no shell and no file has a second meaning for it. */
    at[strcspn(at, "=")] = '\0';
    for (; *at; at++)
        *at = (char)(*at == '+' ? '-' : *at == '/' ? '_' : *at);
    return token;
}

static char *read_own_token(const char *path)
{
    char error[SECRET_ERROR_MAX];
    char *token = secret_read_token(path, error);

    if (!token) {
        fprintf(stderr, "tunnel-server: --from: %s\n", error);
        return NULL;
    }
    if (strlen(token) >= LENGTH_MIN)
        return token;
    fprintf(stderr,
            "tunnel-server: --from: %s holds a token of less than %d characters, which could be "
            "guessed from its digest: make a new one (tunnel-server token)\n",
            path, LENGTH_MIN);
    secret_free(token);
    return NULL;
}

/* Into a new file that nobody else may read. */
static bool write_token(const char *path, const char *token)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    size_t size = strlen(token);

    if (fd >= 0 && write(fd, token, size) == (ssize_t)size && write(fd, "\n", 1) == 1 &&
        fsync(fd) == 0 && close(fd) == 0)
        return true;
    fprintf(stderr, "tunnel-server: --out: cannot write %s: %s\n", path, strerror(errno));
    if (fd >= 0)
        unlink(path);
    return false;
}

/* ---- the line */

static void print_token_line(const struct options *options, const char *token)
{
    char digest[TOKEN_DIGEST_SIZE];
    char until[DATE_TEXT_SIZE];

    token_digest_format(token, strlen(token), digest);
    printf("%s", digest);
    if (options->token_until && format_until(options->token_until, (int64_t)time(NULL), until))
        printf(" until=%s", until);
    if (options->token_rules)
        printf(" rule=%s", options->token_rules);
    if (options->token_name)
        printf(" name=%s", options->token_name);
    putchar('\n');
}

int token_maker_run(const struct options *options)
{
    char *token = options->token_from ? read_own_token(options->token_from) : make_token();

    if (!token)
        return 1;
    bool good = !options->token_out || write_token(options->token_out, token);
    if (good && !options->token_out && !options->token_from)
        printf("%s\n", token);
    if (good)
        print_token_line(options, token);
    secret_free(token);
    if (good && fflush(stdout) != 0) {
        fprintf(stderr, "tunnel-server: cannot write to standard output: %s\n", strerror(errno));
        return 1;
    }
    return good ? 0 : 1;
}

#include "base/redact.h"

#include <stdbool.h>
#include <string.h>

static const char HIDDEN[] = "(...)";

struct output {
    char *at;
    char *end; /* where the NUL goes when it is full */
};

static void put_redacted(struct output *output, const char *text, size_t size)
{
    size_t room = (size_t)(output->end - output->at);

    if (size > room)
        size = room;
    memcpy(output->at, text, size);
    output->at += size;
}

static bool is_blank_byte(char c)
{
    return (unsigned char)c <= ' ' || c == 0x7f;
}

static bool may_be_in_secret(char c)
{
    return c && (((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || strchr("0123456789-._~+/=:%", c));
}

static size_t token_run(const char *text, size_t size)
{
    size_t run = 0;

    while (run < size && may_be_in_secret(text[run]))
        run++;
    return run;
}

size_t redact_cut(const char *text, size_t size)
{
    while (size > 0 && may_be_in_secret(text[size - 1]))
        size--;
    return size;
}

static bool begins_with(const char *text, size_t size, const char *words, size_t words_size)
{
    return words_size > 0 && size >= words_size && memcmp(text, words, words_size) == 0;
}

/* Whether a run could be a token: a long part of it, or what begins like a JSON Web Token. Names of
 * hosts, request ids and paths have short parts. */
static bool is_suspect(const char *run, size_t size)
{
    size_t part = 0;

    for (size_t i = 0; i < size; i++) {
        part = run[i] == '.' || run[i] == ':' ? 0 : part + 1;
        if (part > REDACT_PART_MAX || begins_with(run + i, size - i, "eyJ", 3))
            return true;
    }
    return false;
}

/* What stands at text: how much of it, and whether it is hidden. */
static size_t next_piece(const char *text, size_t size, const char *secret, size_t secret_size,
                         bool *hidden)
{
    *hidden = begins_with(text, size, secret, secret_size);
    if (*hidden)
        return secret_size;
    size_t run = token_run(text, size);
    *hidden = is_suspect(text, run);
    if (*hidden || run == 0)
        return run > 0 ? run : 1;
    for (size_t i = 1; i < run; i++)
        if (begins_with(text + i, size - i, secret, secret_size))
            return i;
    return run;
}

void redact(const char *text, size_t size, const char *secret, char *out, size_t room)
{
    struct output output = {out, out + room - 1};
    size_t secret_size = secret ? strlen(secret) : 0;
    bool blank = false;

    /* What does not fit is not looked at: each piece may cost as much as the rest is long. */
    for (size_t i = 0; i < size && output.at < output.end;) {
        bool hidden;
        if (is_blank_byte(text[i])) {
            blank = output.at > out;
            i++;
            continue;
        }
        if (blank)
            put_redacted(&output, " ", 1);
        blank = false;
        size_t piece = next_piece(text + i, size - i, secret, secret_size, &hidden);
        put_redacted(&output, hidden ? HIDDEN : text + i, hidden ? sizeof HIDDEN - 1 : piece);
        i += piece;
    }
    *output.at = '\0';
}

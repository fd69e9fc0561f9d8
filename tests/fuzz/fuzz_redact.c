/*
 * Others' words with a secret in them: the secret is not in what is left, nor anything that looks
 * like one, and doing it again changes nothing.
 * Input: one byte for the room, one for the size of the secret, the secret, then the words.
 */
#include <stdbool.h>

#include "base/redact.h"
#include "check.h"

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static void check_parts(const char *text)
{
    size_t part = 0;

    CHECK(!strstr(text, "eyJ"));
    for (; *text; text++) {
        CHECK((unsigned char)*text >= ' ' && *text != 0x7f);
        part = is_letter(*text) ? part + 1 : 0;
        CHECK(part <= REDACT_PART_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char out[512];
    static char again[512];

    if (size < 2)
        return 0;
    size_t room = 1 + 2u * data[0];
    size_t secret_size = data[1] % 32;
    if (size - 2 < secret_size)
        return 0;
    char *secret = fuzz_text(data + 2, secret_size);
    /* Tokens are made of such, and are no two letters. */
    for (size_t i = 0; i < secret_size; i++)
        if (!is_letter(secret[i]))
            secret[i] = 'a';
    const char *words = (const char *)data + 2 + secret_size;
    size_t words_size = size - 2 - secret_size;

    redact(words, words_size, secret, out, room);
    CHECK(strlen(out) < room);
    check_parts(out);
    if (secret_size >= 3)
        CHECK(!strstr(out, secret));
    size_t shown = strlen(out);
    CHECK(shown == 0 || out[0] != ' ');
    redact(out, shown, secret_size >= 3 ? secret : NULL, again, sizeof again);
    if (shown > 0 && out[shown - 1] != ' ')
        CHECK(strcmp(out, again) == 0);
    CHECK(redact_cut(words, words_size) <= words_size);
    free(secret);
    return 0;
}

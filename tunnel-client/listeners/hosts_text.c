#include "listeners/hosts_text.h"

#include <string.h>
#include <strings.h>

#include "config/address.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

/* Steps over blanks. false: the line, or what it says, is over. */
static bool find_word(struct hosts_walk *walk)
{
    while (walk->at < walk->end && is_blank(*walk->at))
        walk->at++;
    return walk->at < walk->end && *walk->at != '\n' && *walk->at != '#';
}

/* The word that begins here. */
static const char *take_word(struct hosts_walk *walk, size_t *size)
{
    const char *word = walk->at;

    while (walk->at < walk->end && !is_blank(*walk->at) && *walk->at != '\n' && *walk->at != '#')
        walk->at++;
    *size = (size_t)(walk->at - word);
    return word;
}

static void skip_line(struct hosts_walk *walk)
{
    const char *end = memchr(walk->at, '\n', (size_t)(walk->end - walk->at));

    walk->at = end ? end + 1 : walk->end;
    walk->address = NULL;
}

bool hosts_text_next(struct hosts_walk *walk, struct hosts_pair *pair)
{
    while (walk->at < walk->end) {
        if (!find_word(walk)) {
            skip_line(walk);
            continue;
        }
        if (!walk->address) {
            walk->address = take_word(walk, &walk->address_size);
            continue;
        }
        *pair = (struct hosts_pair){.address = walk->address, .address_size = walk->address_size};
        pair->name = take_word(walk, &pair->name_size);
        return true;
    }
    return false;
}

bool hosts_text_is(const struct hosts_pair *pair, const char *name)
{
    size_t size = address_host_size(name);
    size_t own = pair->name_size;

    if (own > 1 && pair->name[own - 1] == '.')
        own--;
    return own == size && strncasecmp(pair->name, name, size) == 0;
}

/* The line has no name left. */
static void comment_out(char *text, const char *address, const char *end)
{
    struct hosts_walk rest = {.at = address, .end = end};
    struct hosts_pair pair;
    const char *line_end = memchr(address, '\n', (size_t)(end - address));

    if (line_end)
        rest.end = line_end;
    if (!hosts_text_next(&rest, &pair))
        text[address - text] = '#';
}

bool hosts_text_blank(char *text, size_t size, const char *name)
{
    struct hosts_walk walk = {.at = text, .end = text + size};
    struct hosts_pair pair;
    bool found = false;

    while (hosts_text_next(&walk, &pair)) {
        if (!hosts_text_is(&pair, name))
            continue;
        memset(text + (pair.name - text), ' ', pair.name_size);
        comment_out(text, pair.address, walk.end);
        found = true;
    }
    return found;
}

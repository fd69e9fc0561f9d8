#include "config/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t scale;
};

/* The first is what a plain number means; NULL ends a list. */
static const struct unit duration_units[] = {{"", 1000},  {"h", 3600000}, {"m", 60000},
                                             {"s", 1000}, {"ms", 1},      {NULL, 0}};
static const struct unit size_units[] = {
    {"", 1}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {NULL, 0}};

/* Reads digits, and returns what follows them; NULL if there are none or too many. */
static const char *parse_digits(const char *text, uint64_t *value)
{
    const char *at = text;

    *value = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned)(*at - '0');

        if (*value > ((uint64_t)INT64_MAX - digit) / 10)
            return NULL;
        *value = *value * 10 + digit;
    }
    return at > text ? at : NULL;
}

static bool parse_scaled(const char *text, const struct unit *units, uint64_t *value)
{
    uint64_t number;
    const char *suffix = parse_digits(text, &number);

    for (; suffix && units->name; units++) {
        if (strcmp(suffix, units->name) != 0)
            continue;
        if (number > INT64_MAX / units->scale)
            return false;
        *value = number * units->scale;
        return true;
    }
    return false;
}

bool value_parse_integer(const char *text, int64_t *value)
{
    bool negative = *text == '-';
    uint64_t number;
    const char *rest = parse_digits(text + negative, &number);

    if (!rest || *rest != '\0')
        return false;
    *value = negative ? -(int64_t)number : (int64_t)number;
    return true;
}

bool value_parse_duration(const char *text, uint64_t *milliseconds)
{
    return parse_scaled(text, duration_units, milliseconds);
}

bool value_parse_size(const char *text, uint64_t *bytes)
{
    return parse_scaled(text, size_units, bytes);
}

bool value_parse_bool(const char *text, bool *value)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i]) == 0) {
            *value = i % 2;
            return true;
        }
    }
    return false;
}

static void format_scaled(uint64_t value, const struct unit *units, const char *smallest, char *out,
                          size_t size)
{
    for (units++; units->name; units++) {
        if (value > 0 && value % units->scale == 0) {
            snprintf(out, size, "%" PRIu64 "%s", value / units->scale, units->name);
            return;
        }
    }
    snprintf(out, size, "%" PRIu64 "%s", value, smallest);
}

void value_format_duration(uint64_t milliseconds, char *out, size_t size)
{
    format_scaled(milliseconds, duration_units, milliseconds ? "ms" : "s", out, size);
}

void value_format_size(uint64_t bytes, char *out, size_t size)
{
    format_scaled(bytes, size_units, "", out, size);
}

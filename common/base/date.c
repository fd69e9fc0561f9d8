#include "base/date.h"

#include <stdio.h>
#include <string.h>

enum { DAY_S = 24 * 3600, YEAR_MIN = 1970, YEAR_MAX = 9999, ERA_DAYS = 146097 };

static bool is_leap_year(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && is_leap_year(year));
}

/* Days from 1970-01-01. A year begins in March here, so that the day of a leap year is its last. */
static int64_t days_until(int year, int month, int day)
{
    int shifted = month > 2 ? year : year - 1;
    int64_t era = shifted / 400;
    int64_t year_of_era = shifted - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

/* The number of so many digits at text, which then is behind it; -1: there is none. */
static int take_digits(const char **text, const char *end, int count)
{
    int number = 0;

    if (end - *text < count)
        return -1;
    for (; count > 0; count--, ++*text) {
        if (**text < '0' || **text > '9')
            return -1;
        number = 10 * number + (**text - '0');
    }
    return number;
}

static bool take_character(const char **text, const char *end, char wanted)
{
    if (*text == end || **text != wanted)
        return false;
    ++*text;
    return true;
}

static bool take_day(const char **at, const char *end, int64_t *days)
{
    int year = take_digits(at, end, 4);
    int month = take_character(at, end, '-') ? take_digits(at, end, 2) : -1;
    int day = take_character(at, end, '-') ? take_digits(at, end, 2) : -1;

    if (year < YEAR_MIN || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month))
        return false;
    *days = days_until(year, month, day);
    return true;
}

bool date_parse_end(const char *text, size_t size, int64_t *end)
{
    const char *at = text;
    const char *limit = text + size;
    int64_t days;

    if (!take_day(&at, limit, &days))
        return false;
    if (at == limit) {
        *end = (days + 1) * DAY_S;
        return true;
    }
    int hour = take_character(&at, limit, 'T') ? take_digits(&at, limit, 2) : -1;
    int minute = take_character(&at, limit, ':') ? take_digits(&at, limit, 2) : -1;
    int second = take_character(&at, limit, ':') ? take_digits(&at, limit, 2) : -1;
    if (!take_character(&at, limit, 'Z') || at != limit || hour < 0 || hour > 23 || minute < 0 ||
        minute > 59 || second < 0 || second > 59)
        return false;
    *end = days * DAY_S + hour * 3600 + minute * 60 + second;
    return true;
}

void date_format(int64_t moment, char text[DATE_TEXT_SIZE])
{
    const int64_t last = (days_until(YEAR_MAX, 12, 31) + 1) * DAY_S - 1;
    int64_t kept = moment < 0 ? 0 : moment > last ? last : moment;
    int64_t days = kept / DAY_S;
    unsigned seconds = (unsigned)(kept % DAY_S);
    int year = YEAR_MIN + (int)(days / 366);
    int month = 1;

    while (year < YEAR_MAX && days_until(year + 1, 1, 1) <= days)
        year++;
    while (month < 12 && days_until(year, month + 1, 1) <= days)
        month++;
    unsigned day = (unsigned)(days - days_until(year, month, 1)) + 1;
    snprintf(text, DATE_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)year % 10000,
             (unsigned)month % 100, day % 100, seconds / 3600, seconds / 60 % 60, seconds % 60);
}

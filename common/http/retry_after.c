#include "http/retry_after.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Nobody means more; a larger number is as good as this one. */
enum { SECONDS_DIGITS = 9 };

struct date {
    int year;
    int month; /* from 0 */
    int day;
    int hour;
    int minute;
    int second;
};

/* Days from 1970-01-01 in the Gregorian calendar; years are counted from March, so that the leap
 * day is the last one. */
static int64_t days_since_epoch(const struct date *date)
{
    int64_t year = date->month < 2 ? date->year - 1 : date->year;
    int64_t months = (date->month + 10) % 12;

    return 365 * year + year / 4 - year / 100 + year / 400 + (153 * months + 2) / 5 + date->day -
           1 - 719468;
}

static bool read_month(const char *text, struct date *date)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const char *at = strlen(text) == 3 ? strstr(names, text) : NULL;

    date->month = at ? (int)(at - names) / 3 : -1;
    return at && (at - names) % 3 == 0;
}

static bool is_sensible(const struct date *date)
{
    return date->year >= 1970 && date->year < 10000 && date->day >= 1 && date->day <= 31 &&
           date->hour >= 0 && date->hour < 24 && date->minute >= 0 && date->minute < 60 &&
           date->second >= 0 && date->second <= 60;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994" */
static bool parse_date(const char *text, int64_t now_s, struct date *date)
{
    char month[4];
    char zone[4] = "";

    if (sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d %3[A-Z]", &date->day, month,
               &date->year, &date->hour, &date->minute, &date->second, zone) == 7)
        return strcmp(zone, "GMT") == 0 && read_month(month, date);
    if (sscanf(text, "%*9[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d %3[A-Z]", &date->day, month,
               &date->year, &date->hour, &date->minute, &date->second, zone) == 7) {
        /* Two digits are the year that is nearest to now. */
        int this_year = (int)(1970 + now_s / 31556952);
        date->year += this_year / 100 * 100;
        if (date->year > this_year + 50)
            date->year -= 100;
        return strcmp(zone, "GMT") == 0 && read_month(month, date);
    }
    return sscanf(text, "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d", month, &date->day,
                  &date->hour, &date->minute, &date->second, &date->year) == 6 &&
           read_month(month, date);
}

static int64_t read_seconds(const char *digits, size_t count)
{
    int64_t seconds = 0;

    for (size_t i = 0; i < count && i < SECONDS_DIGITS; i++)
        seconds = 10 * seconds + (digits[i] - '0');
    return seconds;
}

int64_t http_retry_after(const char *value, int64_t now_s)
{
    struct date date;
    size_t digits;

    value += strspn(value, " \t");
    digits = strspn(value, "0123456789");
    if (digits > 0)
        return value[digits + strspn(value + digits, " \t")] == '\0' ? read_seconds(value, digits)
                                                                     : -1;
    if (!parse_date(value, now_s, &date) || !is_sensible(&date))
        return -1;
    int64_t then_s =
        days_since_epoch(&date) * 86400 + date.hour * 3600 + date.minute * 60 + date.second;
    return then_s > now_s ? then_s - now_s : 0;
}

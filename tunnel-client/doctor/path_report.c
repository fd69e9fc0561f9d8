#include "doctor/path_report.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    /* As in mux/growth.c. */
    LONG_US = 3000,
    /* Fewer segments that were lost say nothing of how many will be. */
    LOSSES_LEAST = 3,
    /* What settles at so much less than was carried has not lost by chance: the line was full. */
    FULL = 8,
    /* And so it was if round trips have become longer by more than so much and a third. */
    QUEUE_US = 5000,
};

void path_report_rate(uint64_t bytes_a_second, char text[PATH_RATE_TEXT])
{
    static const char *const units[] = {"kbit/s", "Mbit/s", "Gbit/s"};
    double rate = (double)bytes_a_second * 8 / 1000;
    size_t unit = 0;

    while (rate >= 1000 && unit < 2) {
        rate /= 1000;
        unit++;
    }
    snprintf(text, PATH_RATE_TEXT, "%.*f %s", rate < 100 ? 1 : 0, rate, units[unit]);
}

static double loss(const struct path_report *report)
{
    return report->segments > 0 ? (double)report->retransmitted / report->segments : 0;
}

/* For a room that needs no libm: Newton's way, from above. */
static double square_root(double of)
{
    double root = 1;

    for (int i = 0; i < 40; i++)
        root = (root + of / root) / 2;
    return root;
}

static bool slows_down_for_losses(const struct path_report *report)
{
    return strcmp(report->congestion_control, "cubic") == 0 ||
           strcmp(report->congestion_control, "reno") == 0;
}

uint64_t path_report_settles_at(const struct path_report *report)
{
    if (report->retransmitted < LOSSES_LEAST || report->hop_rtt_us == 0 ||
        !slows_down_for_losses(report))
        return 0;
    return (uint64_t)(report->segment_size * 1e6 / (double)report->hop_rtt_us * 1.22 /
                      square_root(loss(report)));
}

static uint64_t rate_carried(const struct path_report *report)
{
    return report->took_us > 0 ? report->bytes * 1000000 / report->took_us : 0;
}

void path_report_carried(const struct path_report *report, char *text, size_t size)
{
    char rate[PATH_RATE_TEXT];

    text[0] = '\0';
    if (rate_carried(report) == 0)
        return;
    path_report_rate(rate_carried(report), rate);
    int end = snprintf(text, size, "one link carried %.1f MB to the server in %.2f s: %s; ",
                       (double)report->bytes / 1e6, (double)report->took_us / 1e6, rate);
    if (report->segments > 0)
        snprintf(text + end, size - (size_t)end, "%u of %u TCP segments were sent again (%.2f %%)",
                 (unsigned)report->retransmitted, (unsigned)report->segments, 100 * loss(report));
    else
        snprintf(text + end, size - (size_t)end, "the system does not tell what was lost");
}

static bool line_was_full(const struct path_report *report)
{
    uint64_t settles_at = path_report_settles_at(report);

    return (settles_at > 0 && rate_carried(report) > FULL * settles_at) ||
           report->hop_rtt_peak_us > report->hop_rtt_us + report->hop_rtt_us / 3 + QUEUE_US;
}

static bool loses(const struct path_report *report)
{
    return report->retransmitted >= LOSSES_LEAST;
}

/* Of a path that is long, or loses. */
static void advise_for_distance(const struct path_report *report, char *text, size_t size)
{
    uint64_t settles_at = path_report_settles_at(report);
    char rate[PATH_RATE_TEXT];

    path_report_rate(settles_at, rate);
    if (line_was_full(report))
        snprintf(text, size,
                 "the line was full meanwhile: several links share it; a second one helps when one "
                 "of them is lost or stalls");
    else if (settles_at > 0)
        snprintf(text, size,
                 "where so many segments get lost, one link settles at about %s (%s), and several "
                 "links at as many times that, as far as the line carries it",
                 rate, report->congestion_control);
    else if (loses(report) && report->congestion_control[0])
        snprintf(
            text, size,
            "segments get lost, but %s does not slow down for that as others do; a second link "
            "helps when one of them is lost or stalls",
            report->congestion_control);
    else
        snprintf(text, size,
                 "%sthe path is long: a second link helps when one of them is lost or stalls, and "
                 "more help when one does not fill the line",
                 report->segments > 0 && !loses(report) ? "hardly a segment was lost, but " : "");
}

void path_report_advice(const struct path_report *report, char *text, size_t size)
{
    text[0] = '\0';
    if (report->rtt_least_us == 0 || rate_carried(report) == 0)
        return;
    if (report->rtt_least_us < LONG_US && (!loses(report) || line_was_full(report))) {
        snprintf(text, size, "one link is enough: %s",
                 line_was_full(report)  ? "it fills the line"
                 : report->segments > 0 ? "the path is short and does not lose packets"
                                        : "the path is short");
        return;
    }
    advise_for_distance(report, text, size);
    size_t end = strlen(text);
    if (report->links > 1)
        snprintf(text + end, size - end, "; tunnel-client opens up to %u (--links)", report->links);
    else
        snprintf(text + end, size - end, "; --links 1 allows only one");
}

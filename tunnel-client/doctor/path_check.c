#include "doctor/path_check.h"

#include <stdlib.h>

#include "base/memory.h"
#include "io/clock.h"
#include "io/timer.h"
#include "uplink.h"

enum {
    PINGS = 5,
    PADDING = 8 << 20,
    LOOK_MS = 2,
    SECOND_US = 1000 * 1000,
    PINGS_US = 3 * SECOND_US,
    SENDING_US = SECOND_US,
    ARRIVING_US = 5 * SECOND_US,
    /* Beside the dial's own time: for WELCOME. */
    JOINING_US = 3 * SECOND_US,
};

enum stage { STAGE_NONE, STAGE_PINGS, STAGE_SENDING, STAGE_ARRIVING, STAGE_JOINING };

struct path_check {
    struct uplink *uplink;
    const struct options *options;
    path_check_done *done;
    void *context;
    struct timer *look;
    enum stage stage;
    uint64_t began_us; /* the stage */
    uint32_t number;   /* of the link */
    uint64_t awaited;  /* the ping */
    uint64_t rtts[PINGS];
    uint64_t sending_us; /* when that began */
    struct path_sample before;
    char congestion_control[CONGESTION_NAME_SIZE];
    struct path_report report;
};

static void enter(struct path_check *check, enum stage stage)
{
    check->stage = stage;
    check->began_us = clock_now_us();
}

static bool is_late(const struct path_check *check, uint64_t after_us)
{
    return clock_now_us() - check->began_us >= after_us;
}

static void finish_path_check(struct path_check *check, enum path_join join, const char *reason)
{
    enter(check, STAGE_NONE);
    timer_stop(check->look);
    check->done(check->context, &check->report, join, reason);
}

/* ---- a second link */

static void start_joining(struct path_check *check)
{
    struct mux_session *session = uplink_session(check->uplink);

    if (!session || (mux_session_links_up(session) < 2 && !mux_session_may_join(session))) {
        finish_path_check(check, PATH_JOIN_UNTRIED, "");
        return;
    }
    enter(check, STAGE_JOINING);
    uplink_want_links(check->uplink, 2);
}

static void look_at_join(struct path_check *check)
{
    struct uplink_view view;

    uplink_view(check->uplink, &view);
    if (view.links > 1)
        finish_path_check(check, PATH_JOIN_UP, "");
    else if (view.join_failure[0])
        finish_path_check(check, PATH_JOIN_FAILED, view.join_failure);
    else if (is_late(check, check->options->dial_timeout_ms * 1000 + JOINING_US))
        finish_path_check(check, PATH_JOIN_FAILED, "there was no answer in time");
}

/* ---- round trips */

static void ask_for_round_trip(struct path_check *check, struct mux_link *mux)
{
    check->awaited = mux_link_pings(mux).asked + 1;
    mux_link_ping(mux, clock_now_us());
}

static int compare_times(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return (*left > *right) - (*left < *right);
}

static void start_sending(struct path_check *check, struct link *link)
{
    struct path_report *report = &check->report;

    qsort(check->rtts, report->pings, sizeof check->rtts[0], compare_times);
    if (report->pings > 0) {
        report->rtt_least_us = check->rtts[0];
        report->rtt_median_us = check->rtts[report->pings / 2];
    }
    enter(check, STAGE_SENDING);
    check->before = link_path(link);
    check->sending_us = clock_now_us();
    mux_link_pad(link_mux(link), PADDING);
}

static void look_at_pings(struct path_check *check, struct link *link)
{
    struct mux_link *mux = link_mux(link);
    struct mux_pings pings = mux_link_pings(mux);

    if (pings.answered >= check->awaited && check->awaited > 0) {
        check->rtts[check->report.pings++] = mux_link_facts(mux).rtt_us;
        check->awaited = 0;
    }
    if (check->report.pings == PINGS || is_late(check, PINGS_US))
        start_sending(check, link);
    else if (check->awaited == 0 && pings.answered == pings.asked)
        ask_for_round_trip(check, mux);
}

/* ---- what the link carries */

/* What waits in front of a line that is full makes round trips longer. */
static void look_for_queue(struct path_check *check, const struct path_sample *now)
{
    struct path_report *report = &check->report;

    if (now->round_trip_us > report->hop_rtt_peak_us)
        report->hop_rtt_peak_us = now->round_trip_us;
}

static void look_at_sending(struct path_check *check, struct link *link)
{
    const struct path_sample now = link_path(link);
    struct mux_link *mux = link_mux(link);
    uint64_t left = mux_link_facts(mux).padding;

    look_for_queue(check, &now);
    if (left > 0 && !is_late(check, SENDING_US))
        return;
    mux_link_pad(mux, 0);
    check->report.bytes = PADDING - left;
    enter(check, STAGE_ARRIVING);
    ask_for_round_trip(check, mux);
}

/* The first byte and the answer to the last have been on their way for a round trip. */
static void note_carried(struct path_check *check, struct link *link)
{
    struct path_report *report = &check->report;
    struct path_sample now = link_path(link);
    look_for_queue(check, &now);
    uint64_t passed_us = mux_link_facts(link_mux(link)).rtt_at_us - check->sending_us;

    report->took_us = passed_us > report->rtt_least_us ? passed_us - report->rtt_least_us : 1;
    report->segments = now.segments - check->before.segments;
    report->retransmitted = now.retransmitted_segments - check->before.retransmitted_segments;
    report->segment_size = now.segment_size;
    report->hop_rtt_us =
        now.shortest_round_trip_us > 0 ? now.shortest_round_trip_us : now.round_trip_us;
    link_congestion_control(link, check->congestion_control);
}

static void look_at_arriving(struct path_check *check, struct link *link)
{
    bool answered = mux_link_pings(link_mux(link)).answered >= check->awaited;

    if (answered)
        note_carried(check, link);
    if (answered || is_late(check, ARRIVING_US))
        start_joining(check);
}

/* ---- life */

static void on_look(void *argument)
{
    struct path_check *check = argument;
    struct link *link;

    if (check->stage == STAGE_JOINING) {
        look_at_join(check);
        return;
    }
    link = uplink_link(check->uplink, check->number);
    if (!link || !link_mux(link))
        start_joining(check);
    else if (check->stage == STAGE_PINGS)
        look_at_pings(check, link);
    else if (check->stage == STAGE_SENDING)
        look_at_sending(check, link);
    else
        look_at_arriving(check, link);
}

struct path_check *path_check_new(struct worker *worker, struct uplink *uplink,
                                  const struct options *options, path_check_done *done,
                                  void *context)
{
    struct path_check *check = memory_new(sizeof *check);

    check->uplink = uplink;
    check->options = options;
    check->done = done;
    check->context = context;
    check->look = timer_new(worker, on_look, check);
    check->report.congestion_control = check->congestion_control;
    check->report.links = (unsigned)options->links;
    return check;
}

void path_check_start(struct path_check *check)
{
    const struct mux_link *lead = mux_session_lead(uplink_session(check->uplink));

    check->number = lead ? mux_link_attempt(lead) : 0;
    enter(check, STAGE_PINGS);
    timer_repeat_ms(check->look, LOOK_MS);
}

enum path_trial path_check_trial(const struct path_check *check)
{
    switch (check ? check->stage : STAGE_NONE) {
    case STAGE_SENDING:
    case STAGE_ARRIVING:
        return PATH_TRIAL_SENDING;
    case STAGE_JOINING:
        return PATH_TRIAL_JOINING;
    default:
        return PATH_TRIAL_NONE;
    }
}

void path_check_free(struct path_check *check)
{
    if (!check)
        return;
    timer_free(check->look);
    free(check);
}

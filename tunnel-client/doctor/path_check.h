/*
 * Measures the path to the server, over the link that is up: round trips, then what the link
 * carries, with bytes that mean nothing (mux_link_pad()): for a second and 8 MiB at most. Then
 * tries whether the session can have a second link.
 *
 * None of this can fail: what cannot be found out is left out.
 */
#pragma once

#include "doctor/path_report.h"
#include "options.h"

struct uplink;
struct worker;
struct path_check;

enum path_join {
    PATH_JOIN_UNTRIED, /* --links 1, or the server does not know of several links */
    PATH_JOIN_UP,
    PATH_JOIN_FAILED,
};

/* report and reason, of PATH_JOIN_FAILED, are valid during the call, which may free the check. */
typedef void path_check_done(void *context, const struct path_report *report, enum path_join join,
                             const char *reason);

struct path_check *path_check_new(struct worker *worker, struct uplink *uplink,
                                  const struct options *options, path_check_done *done,
                                  void *context);
/* While a session is up. */
void path_check_start(struct path_check *check);
/* What is tried now: if the link is lost meanwhile, that may be why. */
enum path_trial { PATH_TRIAL_NONE, PATH_TRIAL_SENDING, PATH_TRIAL_JOINING };
enum path_trial path_check_trial(const struct path_check *check);
void path_check_free(struct path_check *check);

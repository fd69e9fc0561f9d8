#include "wait.h"

#include <stdio.h>
#include <string.h>

#include "base/printable.h"
#include "config/value.h"
#include "http/call.h"
#include "io/timer.h"

enum {
    ASK_AGAIN_MS = 200,
    ANSWER_MAX_MS = 2000,
    ANSWER_MAX_BYTES = 16 * 1024,
    SAID_MAX = 200,
};

struct waiter {
    struct worker *worker;
    struct http_way way;
    struct http_call_request request;
    struct http_call *call; /* the question under way */
    struct timer *again;
    bool asked; /* a question was answered, or could not be asked */
    bool once;  /* --max 0: one question is all */
    bool ready;
    char said[SAID_MAX]; /* what the last answer was */
};

/* The first line of the body, fit for a message. */
static void read_line(const struct http_response *response, char *out, size_t size)
{
    snprintf(out, size, "%s", response->body);
    out[strcspn(out, "\r\n")] = '\0';
    printable_columns(out);
}

static const char *explain_no_answer(const struct http_call_result *result)
{
    if (result->hop == HTTP_HOP_DNS || result->hop == HTTP_HOP_TCP)
        return "nothing listens there; is the client running, with this --status?";
    if (result->timed_out)
        return "the program that listens there does not answer";
    return "there is no status page at that address; does the client's --status name another port?";
}

static void note_answer(struct waiter *waiter, const struct http_call_result *result)
{
    const struct http_response *response = result->response;
    char line[SAID_MAX - 32];

    waiter->asked = true;
    /* No page of a client is that large. */
    if (result->hop != HTTP_HOP_NONE || response->body_cut) {
        snprintf(waiter->said, sizeof waiter->said, "%s", explain_no_answer(result));
        return;
    }
    waiter->ready = response->status == 200;
    read_line(response, line, sizeof line);
    snprintf(waiter->said, sizeof waiter->said, "the answer is %d%s%s", response->status,
             line[0] ? ": " : "", line);
}

static void on_page_answer(void *context, const struct http_call_result *result)
{
    struct waiter *waiter = context;

    waiter->call = NULL;
    note_answer(waiter, result);
    if (waiter->ready || waiter->once)
        worker_end(waiter->worker);
    else
        timer_start_ms(waiter->again, ASK_AGAIN_MS);
}

/* A connection for each question: the client may have been restarted in between. */
static void on_again(void *argument)
{
    struct waiter *waiter = argument;

    waiter->call =
        http_call_start(&waiter->way, &waiter->request, ANSWER_MAX_MS, on_page_answer, waiter);
}

static void say_failure(const struct waiter *waiter, const struct options *options)
{
    char limit[48];

    value_format_duration(options->max_ms, limit, sizeof limit);
    fprintf(stderr, "tunnel-client: not ready within %s (--max): http://%s/readyz: %s\n", limit,
            options->shared.status, waiter->asked ? waiter->said : "there was no answer in time");
}

int wait_until_ready(struct worker *worker, const struct options *options)
{
    static const char *const headers[] = {"Connection: close", NULL};
    struct waiter waiter = {
        .worker = worker,
        .way = {.worker = worker},
        .request = {.host = options->wait_address.host,
                    .port = options->wait_address.port,
                    .named_by = "--status",
                    .method = "GET",
                    .path = "/readyz",
                    .headers = headers,
                    .answer_max = ANSWER_MAX_BYTES},
        .once = options->max_ms == 0,
    };

    waiter.again = timer_new(worker, on_again, &waiter);
    timer_fire(waiter.again);
    if (waiter.once)
        worker_run(worker);
    else
        worker_run_us(worker, options->max_ms * 1000);
    if (!waiter.ready)
        say_failure(&waiter, options);
    http_call_cancel(waiter.call);
    timer_free(waiter.again);
    return waiter.ready ? 0 : 1;
}

#include "broker_login/login_sources.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/memory.h"
#include "broker_login/login_source.h"
#include "http/way.h"
#include "io/clock.h"
#include "io/timer.h"

enum {
    /* Questions at a time: a book may have a thousand. */
    UNDER_WAY_MAX = 8,
    /* Of a token that does not say how long it lasts. */
    RENEWED_S = 300,
    RENEWED_MIN_MS = 5 * 1000,
    PAUSE_MS = 1000,
    PAUSE_MAX_MS = 60 * 1000,
    /* Of an answer's reason; what is cut off is an address. */
    SAID_MAX = 1300,
};

/* What is known of one rule's secret. */
struct login_asking {
    struct list node; /* in waiting, while it waits for its turn */
    struct login_sources *sources;
    struct login_source *source;
    size_t place; /* of the rule in the book */
    struct timer *due;
    bool is_waiting;
    bool is_asked;       /* a question is under way */
    unsigned failures;   /* of questions, in a row */
    unsigned refusals;   /* of brokers, in a row */
    uint64_t asked_us;   /* when the last question began; 0: none has */
    uint64_t due_us;     /* when the next one is due; 0: nobody knows */
    char said[SAID_MAX]; /* the failure that was said last; "": there is none */
};

/* To token endpoints with the same authorities. */
struct login_way {
    const char *ca_file; /* NULL: the system's alone */
    struct http_way *way;
};

struct login_sources {
    struct worker *worker;
    struct login_sources_settings settings;
    struct login_book *book;
    struct login_asking *all;
    size_t count;
    struct login_way *ways;
    size_t way_count;
    struct list waiting; /* struct login_asking */
    size_t under_way;
};

static uint16_t any_16_bits(void)
{
    uint16_t random;

    if (RAND_bytes((unsigned char *)&random, sizeof random) != 1)
        abort();
    return random;
}

/* Two thirds of its life and a bit less: a login with it lasts as long as the token, and is renewed
 * after three quarters of that (relogin.h), by then with the next one. */
uint64_t login_sources_renewal_ms(int64_t lasts_s, uint16_t random)
{
    uint64_t lasts_ms = (uint64_t)lasts_s * 1000;
    uint64_t renewal_ms = lasts_ms / 100 * 60 + lasts_ms / 100 * random / 9363; /* up to 67 % */

    return renewal_ms > RENEWED_MIN_MS ? renewal_ms : RENEWED_MIN_MS;
}

uint64_t login_sources_pause_ms(unsigned failures, uint16_t random)
{
    uint64_t pause_ms = PAUSE_MS;

    for (unsigned i = 1; i < failures && pause_ms < PAUSE_MAX_MS; i++)
        pause_ms *= 2;
    if (pause_ms > PAUSE_MAX_MS)
        pause_ms = PAUSE_MAX_MS;
    /* Spread, so that instances and rules do not ask together for ever. */
    return pause_ms + pause_ms / 4 * random / UINT16_MAX;
}

static const struct login_rule *rule_of_asking(const struct login_asking *asking)
{
    return login_book_rule(asking->sources->book, asking->place);
}

/* ---- questions */

static void ask_next(struct login_sources *sources);

static void ask_in(struct login_asking *asking, uint64_t ms)
{
    asking->due_us = clock_now_us() + ms * 1000;
    timer_start_ms(asking->due, ms);
}

static void take_secret(struct login_asking *asking, const struct login_source_answer *answer)
{
    struct login_sources *sources = asking->sources;
    struct login_secret *before = login_book_secret(sources->book, asking->place);
    bool is_same = before && strcmp(login_secret_text(before), answer->secret) == 0;

    if (!is_same) {
        struct login_secret *secret = login_secret_new(memory_text(answer->secret));
        login_book_put_secret(sources->book, asking->place, secret);
        login_secret_release(secret);
    }
    log_event(sources->worker->log, before && !asking->said[0] ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
              "login_secret_read", "A secret for logins at brokers was asked for, and has come",
              (const struct log_field[]){log_str("rule", rule_of_asking(asking)->head.name),
                                         log_bool("changed", !is_same),
                                         log_i64("lasts_s", answer->lasts_s)},
              3);
    login_secret_release(before);
    asking->failures = 0;
    asking->said[0] = '\0';
    asking->due_us = 0;
    if (answer->lasts_s > 0)
        ask_in(asking, login_sources_renewal_ms(answer->lasts_s, any_16_bits()));
    else if (rule_of_asking(asking)->token_endpoint_url)
        ask_in(asking, login_sources_renewal_ms(RENEWED_S, any_16_bits()));
}

static void note_no_secret(struct login_asking *asking, const struct login_source_answer *answer)
{
    struct login_sources *sources = asking->sources;
    struct login_secret *secret = login_book_secret(sources->book, asking->place);
    uint64_t pause_ms =
        login_sources_pause_ms(answer->refused ? UINT16_MAX : ++asking->failures, any_16_bits());

    if (pause_ms < (uint64_t)answer->retry_after_s * 1000)
        pause_ms = (uint64_t)answer->retry_after_s * 1000;
    ask_in(asking, pause_ms);
    if (strcmp(asking->said, answer->reason) != 0)
        log_warning(sources->worker->log, "login_secret_unavailable",
                    secret ? "A secret for logins at brokers could not be had again; the old one "
                             "stays in use"
                           : "A secret for logins at brokers could not be had; connections that "
                             "need it are refused",
                    log_str("rule", rule_of_asking(asking)->head.name),
                    log_str("reason", answer->reason), log_u64("again_in_s", pause_ms / 1000));
    snprintf(asking->said, sizeof asking->said, "%s", answer->reason);
    login_secret_release(secret);
}

static void on_login_source_answered(void *context, const struct login_source_answer *answer)
{
    struct login_asking *asking = context;
    struct login_sources *sources = asking->sources;

    asking->is_asked = false;
    sources->under_way--;
    if (answer->secret)
        take_secret(asking, answer);
    else
        note_no_secret(asking, answer);
    ask_next(sources);
}

static void ask_next(struct login_sources *sources)
{
    while (sources->under_way < UNDER_WAY_MAX && !list_empty(&sources->waiting)) {
        struct login_asking *asking =
            list_entry(list_pop(&sources->waiting), struct login_asking, node);
        asking->is_waiting = false;
        asking->is_asked = true;
        asking->asked_us = clock_now_us();
        sources->under_way++;
        login_source_ask(asking->source, on_login_source_answered, asking);
    }
}

static void ask_when_possible(struct login_asking *asking)
{
    timer_stop(asking->due);
    asking->due_us = 0;
    if (asking->is_asked || asking->is_waiting)
        return;
    asking->is_waiting = true;
    list_append(&asking->sources->waiting, &asking->node);
    ask_next(asking->sources);
}

static void on_secret_due(void *argument)
{
    ask_when_possible(argument);
}

static struct login_asking *find_asking(const struct login_sources *sources, size_t place)
{
    for (size_t i = 0; i < sources->count; i++)
        if (sources->all[i].place == place)
            return &sources->all[i];
    return NULL;
}

void login_sources_refused(struct login_sources *sources, const struct login_book *book,
                           size_t place)
{
    struct login_asking *asking = book == sources->book ? find_asking(sources, place) : NULL;
    uint64_t now_us = clock_now_us();

    if (!asking || asking->is_asked || asking->is_waiting)
        return;
    /* What has been good for long is refused for the first time. */
    if (now_us - asking->asked_us > (uint64_t)2 * PAUSE_MAX_MS * 1000)
        asking->refusals = 0;
    uint64_t at_us =
        asking->asked_us + login_sources_pause_ms(++asking->refusals, any_16_bits()) * 1000;
    if (asking->due_us == 0 || asking->due_us > at_us)
        ask_in(asking, at_us > now_us ? (at_us - now_us) / 1000 : 0);
}

/* ---- life */

/* NULL: error holds a sentence. */
static struct http_way *find_way(struct login_sources *sources, const char *ca_file, char *error,
                                 size_t size)
{
    const struct http_way_settings settings = {.files = {.ca_option = "kafka-login",
                                                         .ca_file = ca_file,
                                                         .policy = sources->settings.policy}};

    for (size_t i = 0; i < sources->way_count; i++) {
        const struct login_way *way = &sources->ways[i];
        if (way->ca_file == ca_file ||
            (way->ca_file && ca_file && strcmp(way->ca_file, ca_file) == 0))
            return way->way;
    }
    struct http_way *way = http_way_new(sources->worker, &settings, error, size);
    if (way)
        sources->ways[sources->way_count++] = (struct login_way){ca_file, way};
    return way;
}

/* false: error holds a sentence. */
static bool add_asking(struct login_sources *sources, size_t place, char *error, size_t size)
{
    const struct login_rule *rule = login_book_rule(sources->book, place);
    struct login_asking *asking = &sources->all[sources->count];
    struct http_way *way = NULL;

    if (rule->token_endpoint_url) {
        way = find_way(sources, rule->token_endpoint_ca, error, size);
        if (!way)
            return false;
    }
    *asking = (struct login_asking){.sources = sources, .place = place};
    list_init(&asking->node);
    asking->due = timer_new(sources->worker, on_secret_due, asking);
    asking->source = login_source_new(sources->worker, way, rule, sources->settings.is_hidden);
    sources->count++;
    return true;
}

struct login_sources *login_sources_new(struct worker *worker,
                                        const struct login_sources_settings *settings,
                                        struct login_book *book, char *error, size_t size)
{
    struct login_sources *sources = memory_new(sizeof *sources);
    size_t rules = login_book_count(book);

    *sources = (struct login_sources){.worker = worker,
                                      .settings = *settings,
                                      .book = login_book_reference(book),
                                      .all = memory_new_array(rules, sizeof *sources->all),
                                      .ways = memory_new_array(rules, sizeof *sources->ways)};
    list_init(&sources->waiting);
    for (size_t i = 0; i < rules; i++) {
        enum login_origin origin = login_rule_origin(login_book_rule(book, i));
        if ((origin == LOGIN_ORIGIN_COMMAND || origin == LOGIN_ORIGIN_ENDPOINT) &&
            !add_asking(sources, i, error, size)) {
            login_sources_free(sources);
            return NULL;
        }
    }
    return sources;
}

void login_sources_free(struct login_sources *sources)
{
    if (!sources)
        return;
    for (size_t i = 0; i < sources->count; i++) {
        login_source_free(sources->all[i].source);
        timer_free(sources->all[i].due);
    }
    for (size_t i = 0; i < sources->way_count; i++)
        http_way_free(sources->ways[i].way);
    free(sources->ways);
    free(sources->all);
    login_book_release(sources->book);
    free(sources);
}

/* Of the book before; NULL: it has none that is the same. */
static const struct login_asking *find_same(const struct login_sources *before,
                                            const struct login_sources *sources, size_t place)
{
    for (size_t i = 0; before && i < before->count; i++)
        if (login_book_has_same_secret(before->book, before->all[i].place, sources->book, place))
            return &before->all[i];
    return NULL;
}

/* Whether it need not be asked now. */
static bool go_on_as(struct login_asking *asking, const struct login_asking *before)
{
    struct login_secret *secret = login_book_secret(before->sources->book, before->place);
    uint64_t now_us = clock_now_us();

    login_book_put_secret(asking->sources->book, asking->place, secret);
    login_secret_release(secret);
    asking->failures = before->failures;
    asking->refusals = before->refusals;
    asking->asked_us = before->asked_us;
    snprintf(asking->said, sizeof asking->said, "%s", before->said);
    if (before->is_asked || before->is_waiting)
        return false;
    if (before->due_us > 0)
        ask_in(asking, before->due_us > now_us ? (before->due_us - now_us) / 1000 : 0);
    return true;
}

void login_sources_begin(struct login_sources *sources, const struct login_sources *before,
                         bool again)
{
    for (size_t i = 0; i < sources->count; i++) {
        struct login_asking *asking = &sources->all[i];
        const struct login_asking *same = find_same(before, sources, asking->place);
        if (!same || !go_on_as(asking, same) || again)
            ask_when_possible(asking);
    }
}

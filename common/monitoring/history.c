#include "monitoring/history.h"

#include <assert.h>
#include <string.h>

/* In place of the first value: nobody has measured. */
#define EMPTY UINT64_MAX
/* A busy second may be a long one. */
enum { PERIOD_US = HISTORY_PERIOD_MS * 1000, LATE_US = 5 * PERIOD_US / 2 };

void history_init(struct history *history, const struct history_field *fields, size_t count)
{
    assert(count > 0 && count <= HISTORY_FIELDS_MAX);
    memset(history, 0, sizeof *history);
    history->fields = fields;
    history->field_count = count;
}

static uint64_t *push_sample(struct history *history)
{
    uint64_t *sample = history->samples[history->next];

    history->next = (history->next + 1) % HISTORY_SAMPLES;
    if (history->count < HISTORY_SAMPLES)
        history->count++;
    return sample;
}

static void push_empty(struct history *history, uint64_t elapsed_us)
{
    uint64_t missing = elapsed_us < LATE_US ? 0 : elapsed_us / PERIOD_US - 1;

    if (missing > HISTORY_SAMPLES)
        missing = HISTORY_SAMPLES;
    while (missing-- > 0)
        *push_sample(history) = EMPTY;
}

void history_add(struct history *history, uint64_t now_us, const uint64_t *values)
{
    if (history->added_us > 0)
        push_empty(history, now_us - history->added_us);
    uint64_t *sample = push_sample(history);
    for (size_t i = 0; i < history->field_count; i++) {
        if (!history->fields[i].counter)
            sample[i] = values[i];
        else
            sample[i] = values[i] < history->totals[i] ? 0 : values[i] - history->totals[i];
        history->totals[i] = values[i];
    }
    history->added_us = now_us;
}

static void write_sample(const struct history *history, const uint64_t *sample,
                         struct json_writer *json)
{
    if (sample[0] == EMPTY) {
        json_put_string(json, NULL, NULL);
        return;
    }
    json_put_array(json, NULL);
    for (size_t i = 0; i < history->field_count; i++)
        json_put_u64(json, NULL, sample[i]);
    json_put_end(json);
}

void history_write(const struct history *history, struct json_writer *json)
{
    size_t oldest = (history->next + HISTORY_SAMPLES - history->count) % HISTORY_SAMPLES;

    json_put_u64(json, "period_ms", HISTORY_PERIOD_MS);
    json_put_array(json, "fields");
    for (size_t i = 0; i < history->field_count; i++)
        json_put_string(json, NULL, history->fields[i].name);
    json_put_end(json);
    json_put_array(json, "samples");
    for (size_t i = 0; i < history->count; i++)
        write_sample(history, history->samples[(oldest + i) % HISTORY_SAMPLES], json);
    json_put_end(json);
}

void history_put_page(const struct history *history, struct pages_answer *answer)
{
    struct json_writer json;

    answer->type = "application/json";
    json_writer_init(&json, &answer->body);
    json_put_object(&json, NULL);
    history_write(history, &json);
    json_put_end(&json);
    text_bytes(&answer->body, "\n", 1);
}

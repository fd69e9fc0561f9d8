/*
 * The last ten minutes of a program's figures, a sample a second, for the graphs of its status
 * page: they are there when somebody opens the page. A ring of a fixed size, HISTORY_BYTES,
 * whatever happens; adding a sample allocates nothing.
 *
 * Sans-I/O: the owner has the timer and the clock.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "monitoring/pages.h"

#define HISTORY_SAMPLES 600
#define HISTORY_PERIOD_MS 1000
#define HISTORY_FIELDS_MAX 6
#define HISTORY_BYTES (HISTORY_SAMPLES * HISTORY_FIELDS_MAX * sizeof(uint64_t))

struct history_field {
    const char *name;
    bool counter; /* what it grew by since the sample before, or from 0, is kept, else what it is */
};

struct history {
    const struct history_field *fields;
    size_t field_count;
    uint64_t added_us; /* when the latest sample was added; 0: none was */
    uint64_t totals[HISTORY_FIELDS_MAX];
    size_t next;
    size_t count;
    uint64_t samples[HISTORY_SAMPLES][HISTORY_FIELDS_MAX];
};

/* fields must live as long; HISTORY_FIELDS_MAX at most. */
void history_init(struct history *history, const struct history_field *fields, size_t count);
/* One value a field. Seconds without a sample, because the machine slept, are left empty. */
void history_add(struct history *history, uint64_t now_us, const uint64_t *values);
/* Members of the object that is open: period_ms, fields, and samples, the
 * oldest first: an array of values each, or null for an empty one. */
void history_write(const struct history *history, struct json_writer *json);
/* The page /history.json: an object of these members. */
void history_put_page(const struct history *history, struct pages_answer *answer);

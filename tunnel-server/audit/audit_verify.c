#include "audit/audit_verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool audit_expected_parse(const char *text, struct audit_expected *expected)
{
    char *end;

    if (text[0] < '1' || text[0] > '9')
        return false;
    expected->sequence = strtoull(text, &end, 10);
    if (*end != ':' || strlen(end + 1) != AUDIT_HASH_SIZE - 1 ||
        strspn(end + 1, "0123456789abcdef") != AUDIT_HASH_SIZE - 1)
        return false;
    memcpy(expected->hash, end + 1, AUDIT_HASH_SIZE);
    return true;
}

/* ---- what is found */

static void tell_finding(struct audit_verifier *verifier, bool problem, const char *what)
{
    const struct audit_finding finding = {
        .file = verifier->file, .line = verifier->line_number, .problem = problem, .what = what};

    verifier->problems += problem;
    verifier->tell(verifier->context, &finding);
}

static void tell_gap(struct audit_verifier *verifier, uint64_t first, uint64_t last)
{
    char what[120];

    if (first == last)
        snprintf(what, sizeof what, "record %" PRIu64 " is missing before this line", first);
    else
        snprintf(what, sizeof what,
                 "records %" PRIu64 " to %" PRIu64 " are missing before this line", first, last);
    tell_finding(verifier, true, what);
}

static void tell_torn(struct audit_verifier *verifier)
{
    const struct audit_finding finding = {.file = verifier->torn.file,
                                          .line = verifier->torn.line_number,
                                          .problem = true,
                                          .what =
                                              "this line is no audit record, or only part of one"};

    verifier->torn.size = 0;
    verifier->problems++;
    verifier->tell(verifier->context, &finding);
}

/* ---- a record's place */

static bool begins_chain(const struct audit_line *line)
{
    return line->place.sequence == 1 && strspn(line->previous, "0") == AUDIT_HASH_SIZE - 1 &&
           audit_line_is(line, "audit_opened");
}

/* The first record of all. */
static void check_first(struct audit_verifier *verifier, const struct audit_line *line)
{
    char what[160];

    if (begins_chain(line))
        return;
    if (!audit_line_is(line, "audit_opened")) {
        tell_finding(verifier, true,
                     "lines are missing before this one: a file begins with audit_opened");
        return;
    }
    snprintf(what, sizeof what,
             "the records before %" PRIu64 " are in another file, which ends in the hash %.16s...",
             line->place.sequence, line->previous);
    tell_finding(verifier, false, what);
}

static bool goes_to_file(const struct audit_line *line)
{
    static const char sink[] = "\"sink\":\"file\"";
    size_t size = sizeof sink - 1;

    for (size_t at = 0; at + size <= line->fields_size; at++)
        if (memcmp(line->fields + at, sink, size) == 0)
            return true;
    return false;
}

/* Of another chain than the record before. */
static void check_other_chain(struct audit_verifier *verifier, const struct audit_line *line)
{
    if (!begins_chain(line))
        tell_finding(verifier, true, "this record is of another chain than those before it");
    else if (goes_to_file(line) && verifier->line_number > 1)
        tell_finding(verifier, true,
                     "a new chain begins within a file, where the old one should go on");
    else
        tell_finding(verifier, false,
                     "a new chain begins: nothing tells whether records before it are missing");
}

/* false: it stands where others have been already, and the chain is to go on without it. */
static bool check_same_chain(struct audit_verifier *verifier, const struct audit_line *line)
{
    const struct audit_chain *last = &verifier->last;
    char what[160];

    if (line->place.sequence > last->sequence + 1) {
        tell_gap(verifier, last->sequence + 1, line->place.sequence - 1);
        return true;
    }
    if (line->place.sequence <= last->sequence) {
        snprintf(what, sizeof what,
                 "record %" PRIu64 " stands behind record %" PRIu64 ": lines were moved or doubled",
                 line->place.sequence, last->sequence);
        tell_finding(verifier, true, what);
        return false;
    }
    if (strcmp(line->previous, last->hash) != 0)
        tell_finding(verifier, true,
                     "this record follows another one than the one that stands before it: that one "
                     "was changed, and its hash too");
    return true;
}

static void check_expected(struct audit_verifier *verifier, const struct audit_line *line)
{
    const struct audit_expected *expected = &verifier->expected;

    if (line->place.sequence != expected->sequence || strcmp(line->place.hash, expected->hash) != 0)
        return;
    verifier->expected_seen = true;
}

static void check_record(struct audit_verifier *verifier, const struct audit_line *line)
{
    bool first = verifier->last.id[0] == '\0';
    bool other = !first && strcmp(line->place.id, verifier->last.id) != 0;
    bool in_order = true;

    verifier->records++;
    verifier->chains += first || other;
    if (first)
        memcpy(verifier->first_time, line->time, sizeof line->time);
    memcpy(verifier->last_time, line->time, sizeof line->time);
    if (!line->is_whole)
        tell_finding(verifier, true, "this record was changed: its hash is not that of its bytes");
    else
        check_expected(verifier, line);
    if (first)
        check_first(verifier, line);
    else if (other)
        check_other_chain(verifier, line);
    else
        in_order = check_same_chain(verifier, line);
    if (in_order)
        verifier->last = line->place;
}

/* ---- lines */

/* What was cut short when the program was killed is told of by what it writes next. */
static void settle_torn(struct audit_verifier *verifier, const struct audit_line *line)
{
    uint64_t size;

    if (verifier->torn.size == 0)
        return;
    if (!audit_line_is(line, "audit_opened") || !audit_line_number(line, "torn_bytes", &size) ||
        size != verifier->torn.size) {
        tell_torn(verifier);
        return;
    }
    verifier->torn.size = 0;
    tell_finding(verifier, false,
                 "the line before this one was cut short when the program was interrupted");
}

static void take_record_line(struct audit_verifier *verifier)
{
    struct audit_line line;
    bool is_record = verifier->size < sizeof verifier->line &&
                     audit_line_read(&line, verifier->line, (size_t)verifier->size);

    verifier->line_number++;
    if (is_record) {
        settle_torn(verifier, &line);
        check_record(verifier, &line);
    } else {
        if (verifier->torn.size > 0)
            tell_torn(verifier);
        verifier->torn.file = verifier->file;
        verifier->torn.line_number = verifier->line_number;
        verifier->torn.size = verifier->size;
        if (verifier->size == 0)
            tell_torn(verifier);
    }
    verifier->size = 0;
}

void audit_verify_bytes(struct audit_verifier *verifier, const char *bytes, size_t size)
{
    while (size > 0) {
        const char *end = memchr(bytes, '\n', size);
        size_t some = end ? (size_t)(end - bytes) : size;
        if (verifier->size < sizeof verifier->line) {
            size_t room = sizeof verifier->line - (size_t)verifier->size;
            memcpy(verifier->line + verifier->size, bytes, some < room ? some : room);
        }
        verifier->size += some;
        if (end)
            take_record_line(verifier);
        some += end != NULL;
        bytes += some;
        size -= some;
    }
}

/* ---- files */

void audit_verify_begin(struct audit_verifier *verifier,
                        void (*tell)(void *context, const struct audit_finding *finding),
                        void *context)
{
    memset(verifier, 0, sizeof *verifier);
    verifier->tell = tell;
    verifier->context = context;
}

void audit_verify_file(struct audit_verifier *verifier, const char *name)
{
    verifier->file = name;
    verifier->line_number = 0;
}

void audit_verify_file_end(struct audit_verifier *verifier)
{
    if (verifier->size > 0)
        take_record_line(verifier);
}

void audit_verify_end(struct audit_verifier *verifier)
{
    char what[160];

    if (verifier->torn.size > 0)
        tell_torn(verifier);
    if (verifier->expected.sequence == 0 || verifier->expected_seen)
        return;
    snprintf(what, sizeof what,
             "record %" PRIu64 " with the expected hash is not there: records were changed, or are "
             "missing at the end",
             verifier->expected.sequence);
    tell_finding(verifier, true, what);
}

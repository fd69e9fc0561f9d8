#include "audit/audit_command.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/audit_verify.h"
#include "base/memory.h"
#include "base/printable.h"

enum { FINDINGS_SHOWN = 100, READ_ROOM = 64 * 1024, NAME_SHOWN_MAX = 512 };

struct audit_input {
    const char *name;
    char time[AUDIT_TIME_SIZE]; /* of the first record; "": it has none, or it cannot be told */
    size_t at;                  /* among the arguments */
};

const char *audit_command_check(const struct options *options)
{
    struct audit_expected expected;

    if (strcmp(options->call.arguments[0], "verify") != 0)
        return "audit needs to be told what to do: audit verify FILE...";
    if (options->call.count < 2)
        return "audit verify needs the files to verify, or - for what it is given: audit verify "
               "FILE...";
    if (options->expect && !audit_expected_parse(options->expect, &expected))
        return "--expect needs a record's number and hash, SEQUENCE:HASH, as audit verify prints "
               "and the log says (audit_head)";
    return NULL;
}

static void print_name(const char *name)
{
    char shown[NAME_SHOWN_MAX];

    printable(name, strlen(name), shown, sizeof shown);
    fputs(shown, stdout);
}

/* What there is to say, as far as anybody reads it. */
struct audit_report {
    uint64_t told;
};

static void print_finding(void *context, const struct audit_finding *finding)
{
    struct audit_report *report = context;

    if (++report->told > FINDINGS_SHOWN)
        return;
    print_name(finding->file);
    printf(":%" PRIu64 ": %s%s\n", finding->line, finding->problem ? "" : "note: ", finding->what);
}

static bool fail_input(const char *name)
{
    char shown[NAME_SHOWN_MAX];
    const char *why = strerror(errno);

    printable(name, strlen(name), shown, sizeof shown);
    fprintf(stderr, "tunnel-server: %s: %s\n", shown, why);
    return false;
}

static int open_input(const char *name)
{
    return strcmp(name, "-") == 0 ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
}

static bool verify_input(struct audit_verifier *verifier, const char *name, char *room)
{
    int fd = open_input(name);
    ssize_t got = fd < 0 ? -1 : 1;

    audit_verify_file(verifier, name);
    while (got > 0) {
        do {
            got = read(fd, room, READ_ROOM);
        } while (got < 0 && errno == EINTR);
        if (got > 0)
            audit_verify_bytes(verifier, room, (size_t)got);
    }
    bool good = got == 0 || fail_input(name);
    if (fd > STDIN_FILENO)
        close(fd);
    audit_verify_file_end(verifier);
    return good;
}

/* When the first record of a file was made; of what is no file nothing is taken. */
static void look_at_start(struct audit_input *input, char *room)
{
    struct audit_line line;
    struct stat status;
    int fd;

    if (stat(input->name, &status) != 0 || !S_ISREG(status.st_mode))
        return;
    fd = open(input->name, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, room, READ_ROOM);
    if (fd >= 0)
        close(fd);
    const char *end = got > 0 ? memchr(room, '\n', (size_t)got) : NULL;
    if (end && audit_line_read(&line, room, (size_t)(end - room)))
        memcpy(input->time, line.time, sizeof line.time);
}

/* The oldest first, whatever names a rotation gives; those of which nothing is known stay behind
 * the ones that were named before them. */
static int compare_inputs(const void *left, const void *right)
{
    const struct audit_input *a = left;
    const struct audit_input *b = right;
    int order = strcmp(a->time, b->time);

    return order != 0 ? order : a->at < b->at ? -1 : a->at > b->at;
}

static struct audit_input *sort_inputs(const struct config_call *call, size_t count, char *room)
{
    struct audit_input *inputs = memory_new_array(count, sizeof *inputs);
    bool known = true;

    for (size_t i = 0; i < count; i++) {
        inputs[i] = (struct audit_input){.name = call->arguments[i + 1], .at = i};
        look_at_start(&inputs[i], room);
        known = known && inputs[i].time[0];
    }
    if (known)
        qsort(inputs, count, sizeof *inputs, compare_inputs);
    return inputs;
}

static void print_summary(const struct audit_verifier *verifier, const struct audit_report *report,
                          size_t files)
{
    if (report->told > FINDINGS_SHOWN)
        printf("... and %" PRIu64 " more\n", report->told - FINDINGS_SHOWN);
    printf("%" PRIu64 " records in %zu file%s, %" PRIu64 " chain%s", verifier->records, files,
           files == 1 ? "" : "s", verifier->chains, verifier->chains == 1 ? "" : "s");
    if (verifier->records > 0)
        printf(", from %s to %s; the last one is %" PRIu64 ":%s", verifier->first_time,
               verifier->last_time, verifier->last.sequence, verifier->last.hash);
    if (verifier->problems > 0)
        printf("\n%" PRIu64 " problem%s\n", verifier->problems, verifier->problems == 1 ? "" : "s");
    else
        printf("\nno problem was found\n");
}

int audit_command_run(const struct options *options)
{
    size_t count = options->call.count - 1;
    struct audit_verifier *verifier = memory_new(sizeof *verifier);
    struct audit_report report = {0};
    char *room = memory_raw(READ_ROOM);
    struct audit_input *inputs = sort_inputs(&options->call, count, room);
    bool all = true;

    audit_verify_begin(verifier, print_finding, &report);
    if (options->expect)
        audit_expected_parse(options->expect, &verifier->expected);
    for (size_t i = 0; i < count; i++)
        all = verify_input(verifier, inputs[i].name, room) && all;
    audit_verify_end(verifier);
    print_summary(verifier, &report, count);
    int exit_code = !all ? 2 : verifier->problems > 0 || verifier->records == 0 ? 1 : 0;
    if (fflush(stdout) != 0)
        exit_code = 2;
    free(inputs);
    free(room);
    free(verifier);
    return exit_code;
}

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static int usage(void)
{
    fputs("usage: sim --seed N [--trace]\n"
          "       sim --seeds FROM COUNT\n"
          "Every fourth seed is a hostile peer against one session, the others are two sessions\n"
          "over a bad network. Exit status: 0 no violation, 1 violations, 2 bad usage.\n",
          stderr);
    return 2;
}

static bool parse(const char *text, uint64_t *value)
{
    char *end;

    *value = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0';
}

static void run_seed(struct world *world, uint64_t seed, bool trace_on, struct totals *totals)
{
    bool good = seed % 4 == 3 ? hostile_run(world, seed, trace_on, totals)
                              : world_run(world, seed, trace_on, totals);

    if (good)
        return;
    totals->violations++;
    printf("seed %" PRIu64 ": %s (replay: sim --seed %" PRIu64 " --trace)\n", seed,
           world->violation, seed);
}

int main(int argc, char **argv)
{
    uint64_t from = 0;
    uint64_t count = 1;
    bool trace_on = argc == 4 && strcmp(argv[3], "--trace") == 0;
    struct totals totals = {0};

    if ((argc == 3 || trace_on) && strcmp(argv[1], "--seed") == 0) {
        if (!parse(argv[2], &from))
            return usage();
    } else if (argc != 4 || strcmp(argv[1], "--seeds") != 0 || !parse(argv[2], &from) ||
               !parse(argv[3], &count)) {
        return usage();
    }
    struct world *world = calloc(1, sizeof *world);
    if (!world)
        abort();
    setvbuf(stdout, NULL, _IOLBF, 0);
    content_init();
    for (uint64_t i = 0; i < count && totals.violations < 10; i++)
        run_seed(world, from + i, trace_on, &totals);
    free(world);
    printf("%" PRIu64 " seeds, %" PRIu64 " streams, %" PRIu64 " frames, %" PRIu64 " MB, %" PRIu64
           " virtual seconds, link losses %" PRIu64 ", resumes %" PRIu64 ", joins %" PRIu64
           " and %" PRIu64 " refused, freezes %" PRIu64 ", sent again %" PRIu64
           " KB, most out of order %" PRIu64 " KB, sessions lost %" PRIu64
           ", streams without memory %" PRIu64 ", hostile links refused %" PRIu64
           ", violations %" PRIu64 "\n",
           totals.seeds, totals.streams, totals.frames, totals.bytes / 1000000,
           totals.virtual_us / 1000000, totals.losses, totals.resumes, totals.joins,
           totals.refused_joins, totals.freezes, totals.sent_again / 1000,
           totals.out_of_order / 1000, totals.sessions_lost, totals.cut, totals.errors,
           totals.violations);
    return totals.violations ? 1 : 0;
}

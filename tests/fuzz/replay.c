/*
 * Runs a fuzz target over files that are kept, without a fuzzer: every ordinary test run replays
 * each target's corpus, so that what was found once stays fixed.
 *
 *     fuzz-replay-NAME DIRECTORY...
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { INPUT_MAX = 1 << 20 };

/* Of exactly the file's size, so that a sanitizer sees every byte read beyond it. */
static int replay_file(const char *path)
{
    static uint8_t buffer[INPUT_MAX];
    FILE *file = fopen(path, "rb");

    if (!file) {
        fprintf(stderr, "cannot read %s\n", path);
        return 1;
    }
    size_t size = fread(buffer, 1, sizeof buffer, file);
    fclose(file);
    uint8_t *input = malloc(size > 0 ? size : 1);
    if (!input)
        return 1;
    memcpy(input, buffer, size);
    LLVMFuzzerTestOneInput(input, size);
    free(input);
    return 0;
}

static int replay_directory(const char *path, unsigned *count)
{
    char name[4096];
    struct dirent *entry;
    DIR *directory = opendir(path);
    int failed = 0;

    if (!directory) {
        fprintf(stderr, "cannot read the directory %s\n", path);
        return 1;
    }
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        failed |= replay_file(name);
        ++*count;
    }
    closedir(directory);
    return failed;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    int failed = 0;

    for (int i = 1; i < argc; i++)
        failed |= replay_directory(argv[i], &count);
    printf("%u inputs\n", count);
    return failed != 0 || count == 0;
}

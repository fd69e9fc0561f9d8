/*
 * Runs a fuzz target over inputs that are kept, without a fuzzer: every ordinary test run replays
 * each target's corpus, so that what was found once stays fixed.
 *
 *     fuzz-replay-NAME DIRECTORY|FILE.pack...
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { FILE_MAX = 4 << 20 };

/* In memory of exactly its size, so that a sanitizer sees every byte read beyond it. */
static int replay_input(const uint8_t *bytes, size_t size)
{
    uint8_t *input = malloc(size > 0 ? size : 1);

    if (!input)
        return 1;
    memcpy(input, bytes, size);
    LLVMFuzzerTestOneInput(input, size);
    free(input);
    return 0;
}

static int read_file(const char *path, uint8_t buffer[FILE_MAX], size_t *size)
{
    FILE *file = fopen(path, "rb");

    if (!file) {
        fprintf(stderr, "cannot read %s\n", path);
        return 1;
    }
    *size = fread(buffer, 1, FILE_MAX, file);
    fclose(file);
    if (*size < FILE_MAX)
        return 0;
    fprintf(stderr, "%s is larger than %d bytes\n", path, FILE_MAX - 1);
    return 1;
}

static int replay_file(const char *path)
{
    static uint8_t buffer[FILE_MAX];
    size_t size;

    return read_file(path, buffer, &size) || replay_input(buffer, size);
}

/* Sizes (u32, big-endian), each with so many bytes behind it (corpus.py). */
static int replay_pack(const char *path, unsigned *count)
{
    static uint8_t buffer[FILE_MAX];
    size_t size;
    int failed = 0;

    if (read_file(path, buffer, &size))
        return 1;
    for (size_t at = 0; at < size; ++*count) {
        size_t left = size - at - 4;
        size_t input = at + 4 <= size ? (size_t)buffer[at] << 24 | (size_t)buffer[at + 1] << 16 |
                                            (size_t)buffer[at + 2] << 8 | buffer[at + 3]
                                      : SIZE_MAX;
        if (input > left) {
            fprintf(stderr, "%s is cut short\n", path);
            return 1;
        }
        failed |= replay_input(buffer + at + 4, input);
        at += 4 + input;
    }
    return failed;
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

    for (int i = 1; i < argc; i++) {
        const char *ending = strrchr(argv[i], '.');
        failed |= ending && strcmp(ending, ".pack") == 0 ? replay_pack(argv[i], &count)
                                                         : replay_directory(argv[i], &count);
    }
    printf("%u inputs\n", count);
    return failed != 0 || count == 0;
}

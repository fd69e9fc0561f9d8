/*
 * A file of properties, of a size of its own in memory: what is reported lies in it, in the order
 * of its lines, and what the caller ends at ends there.
 * Input: one byte for the entry that the caller ends at, then the text.
 */

#include "check.h"
#include "config/properties.h"

struct reading {
    const char *text;
    size_t size;
    unsigned lines;
    unsigned line;
    unsigned entries;
    unsigned last;
};

static int note(void *context, const char *key, const char *value, unsigned line)
{
    struct reading *reading = context;
    const char *end = reading->text + reading->size;

    CHECK(key >= reading->text && key <= end && value >= reading->text && value <= end);
    CHECK(key + strlen(key) <= end && value + strlen(value) <= end);
    CHECK(line >= 1 && line <= reading->lines && line >= reading->line);
    reading->line = line;
    return ++reading->entries == reading->last ? 7 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned error_line = 0;
    const char *error = NULL;

    if (size == 0)
        return 0;
    char *text = fuzz_text(data + 1, size - 1);
    struct reading reading = {.text = text, .size = size - 1, .lines = 1, .last = data[0]};
    for (size_t i = 0; i < reading.size; i++)
        reading.lines += text[i] == '\n';
    int result = properties_parse(text, reading.size, note, &reading, &error_line, &error);
    CHECK(result == 0 || result == 7 || result == -1);
    CHECK((result == 7) == (reading.last > 0 && reading.entries == reading.last));
    if (result == -1)
        CHECK(error && error_line >= reading.line && error_line <= reading.lines);
    free(text);
    return 0;
}

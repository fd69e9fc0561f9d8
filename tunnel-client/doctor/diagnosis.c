#include "doctor/diagnosis.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "base/printable.h"
#include "colour.h"

static const struct {
    const char *name;
    int exit_code; /* documented: outside programs tell layers by it */
} layers[LAYER_COUNT] = {
    [LAYER_CONFIGURATION] = {"configuration", 10},
    [LAYER_DNS] = {"dns", 11},
    [LAYER_TCP] = {"tcp", 12},
    [LAYER_PROXY] = {"proxy", 13},
    [LAYER_TLS] = {"tls", 14},
    [LAYER_HTTP] = {"http", 15},
    [LAYER_AUTH] = {"auth", 16},
    [LAYER_UPGRADE] = {"upgrade", 17},
    [LAYER_TUNNEL] = {"tunnel", 18},
    [LAYER_SERVER] = {"server", 19},
    [LAYER_BROKER] = {"broker", 20},
    [LAYER_KAFKA] = {"kafka", 21},
    [LAYER_TARGET] = {"target", 22},
    [LAYER_LISTENER] = {"listener", 23},
};

static const char *const verdicts[] = {"ok", "note", "warning", "FAILED"};
static const enum colour verdict_colours[] = {COLOUR_GOOD, COLOUR_SOFT, COLOUR_WARNING, COLOUR_BAD};
static const char *const json_verdicts[] = {"ok", "note", "warning", "failed"};

enum { JSON_MAX = 1 << 20, SHOWN_MAX = 2 * DIAGNOSIS_DETAIL_MAX };

enum diagnosis_layer diagnosis_layer_of(const char *hop)
{
    for (int i = 0; i < LAYER_COUNT; i++)
        if (strcmp(layers[i].name, hop) == 0)
            return (enum diagnosis_layer)i;
    return LAYER_TUNNEL;
}

void diagnosis_begin(struct diagnosis *diagnosis, FILE *out, bool json, const char *server)
{
    *diagnosis = (struct diagnosis){
        .out = out,
        .json = json,
        .coloured = colour_is_wanted(fileno(out)),
        .server = server,
    };
    if (!json)
        fprintf(out, "From here to %s and the brokers behind it, layer by layer:\n\n", server);
}

void diagnosis_clear(struct diagnosis *diagnosis)
{
    for (size_t i = 0; i < diagnosis->count; i++)
        free(diagnosis->checks[i].detail);
    free(diagnosis->checks);
}

static void write_check_line(const struct diagnosis *diagnosis, const struct diagnosis_check *check)
{
    char took[24] = "";
    char detail[SHOWN_MAX];

    if (check->took_us >= 0)
        snprintf(took, sizeof took, "%.1f ms", (double)check->took_us / 1000);
    printable(check->detail, strlen(check->detail), detail, sizeof detail);
    enum colour colour = verdict_colours[check->verdict];
    fprintf(diagnosis->out, "%s%-7s%s  %-13s  %10s  %s\n",
            colour_begin(diagnosis->coloured, colour), verdicts[check->verdict],
            colour_end(diagnosis->coloured, colour), layers[check->layer].name, took, detail);
    fflush(diagnosis->out);
}

void diagnosis_add(struct diagnosis *diagnosis, enum diagnosis_layer layer, enum verdict verdict,
                   int64_t took_us, const char *format, ...)
{
    char detail[DIAGNOSIS_DETAIL_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    if (diagnosis->count == diagnosis->room) {
        diagnosis->room = diagnosis->room ? 2 * diagnosis->room : 32;
        diagnosis->checks =
            memory_grow(diagnosis->checks, diagnosis->room * sizeof *diagnosis->checks);
    }
    struct diagnosis_check *check = &diagnosis->checks[diagnosis->count];
    *check = (struct diagnosis_check){layer, verdict, took_us, memory_text(detail)};
    diagnosis->count++;
    if (!diagnosis->json)
        write_check_line(diagnosis, check);
}

static const struct diagnosis_check *first_with_verdict(const struct diagnosis *diagnosis,
                                                        enum verdict verdict)
{
    for (size_t i = 0; i < diagnosis->count; i++)
        if (diagnosis->checks[i].verdict == verdict)
            return &diagnosis->checks[i];
    return NULL;
}

/* One object in one line; its keys are for programs, and stay. */
static void write_json(const struct diagnosis *diagnosis, const struct diagnosis_check *failed,
                       const char *sentence)
{
    struct json_writer json;
    struct text text;

    text_init(&text, JSON_MAX);
    json_writer_init(&json, &text);
    json_put_object(&json, NULL);
    json_put_string(&json, "server", diagnosis->server);
    json_put_bool(&json, "works", !failed);
    json_put_string(&json, "layer", failed ? layers[failed->layer].name : NULL);
    json_put_u64(&json, "exit_code", failed ? (uint64_t)layers[failed->layer].exit_code : 0);
    json_put_string(&json, "sentence", sentence);
    json_put_array(&json, "checks");
    for (size_t i = 0; i < diagnosis->count; i++) {
        const struct diagnosis_check *check = &diagnosis->checks[i];
        json_put_object(&json, NULL);
        json_put_string(&json, "layer", layers[check->layer].name);
        json_put_string(&json, "verdict", json_verdicts[check->verdict]);
        if (check->took_us >= 0)
            json_put_u64(&json, "took_us", (uint64_t)check->took_us);
        json_put_string(&json, "detail", check->detail);
        json_put_end(&json);
    }
    json_put_end(&json);
    json_put_end(&json);
    if (!text.failed)
        fprintf(diagnosis->out, "%.*s\n", (int)text.size, text.bytes);
    text_clear(&text);
}

int diagnosis_end(struct diagnosis *diagnosis)
{
    const struct diagnosis_check *failed = first_with_verdict(diagnosis, VERDICT_FAILED);
    const struct diagnosis_check *warning = first_with_verdict(diagnosis, VERDICT_WARNING);
    char sentence[DIAGNOSIS_DETAIL_MAX + 100];
    char shown[SHOWN_MAX];

    if (failed)
        snprintf(sentence, sizeof sentence, "It does not work; the layer that fails is %s: %s",
                 layers[failed->layer].name, failed->detail);
    else if (warning)
        snprintf(sentence, sizeof sentence, "It works, but look at %s: %s",
                 layers[warning->layer].name, warning->detail);
    else
        snprintf(sentence, sizeof sentence, "Everything works.");
    if (diagnosis->json) {
        write_json(diagnosis, failed, sentence);
    } else {
        printable(sentence, strlen(sentence), shown, sizeof shown);
        enum colour colour = failed ? COLOUR_BAD : warning ? COLOUR_WARNING : COLOUR_GOOD;
        fprintf(diagnosis->out, "\n%s%s%s\n", colour_begin(diagnosis->coloured, colour), shown,
                colour_end(diagnosis->coloured, colour));
    }
    fflush(diagnosis->out);
    return failed ? layers[failed->layer].exit_code : 0;
}

/*
 * What the doctor found: one check after the other, each of a layer, with a verdict; and the one
 * sentence that says what to do. Written as text while it goes on, or as JSON at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The layers from the bottom up. The exit code of a failure is that of its layer. */
enum diagnosis_layer {
    LAYER_CONFIGURATION,
    LAYER_DNS,
    LAYER_TCP,
    LAYER_PROXY,
    LAYER_TLS,
    LAYER_HTTP,
    LAYER_AUTH,
    LAYER_UPGRADE,
    LAYER_TUNNEL,
    LAYER_SERVER,
    LAYER_BROKER,
    LAYER_KAFKA,
    LAYER_TARGET,
    LAYER_LISTENER,
    LAYER_COUNT,
};

enum verdict {
    VERDICT_OK,
    VERDICT_NOTE, /* good to know, and nothing to do about */
    VERDICT_WARNING,
    VERDICT_FAILED
};

#define DIAGNOSIS_DETAIL_MAX 1400

struct diagnosis_check {
    enum diagnosis_layer layer;
    enum verdict verdict;
    int64_t took_us; /* -1: nothing was waited for */
    char *detail;
};

struct diagnosis {
    FILE *out;
    bool json;
    bool coloured; /* the verdicts are */
    const char *server;
    struct diagnosis_check *checks;
    size_t count;
    size_t room;
};

/* server must live as long. */
void diagnosis_begin(struct diagnosis *diagnosis, FILE *out, bool json, const char *server);
void diagnosis_clear(struct diagnosis *diagnosis);
/* took_us: -1 for none. */
__attribute__((format(printf, 5, 6))) void diagnosis_add(struct diagnosis *diagnosis,
                                                         enum diagnosis_layer layer,
                                                         enum verdict verdict, int64_t took_us,
                                                         const char *format, ...);
/* Says what to do, and writes the JSON. Returns the exit code: 0, or that of the first failure. */
int diagnosis_end(struct diagnosis *diagnosis);

/* The layer of a hop's name (http_hop_name(), "tunnel"). */
enum diagnosis_layer diagnosis_layer_of(const char *hop);

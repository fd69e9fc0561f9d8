/*
 * What is known of a cluster's bootstrap brokers, and in which order they are tried: those that
 * answer before those that do not. Sans-I/O: the time and what happened come in as arguments.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/address.h"

enum broker_state {
    BROKER_UNTRIED,
    BROKER_UP,          /* it answered a Kafka request */
    BROKER_HANGING,     /* it takes connections and does not answer */
    BROKER_UNREACHABLE, /* no connection: name, TCP, TLS, or refused by a rule */
    BROKER_FOREIGN,     /* it answers with something else than Kafka, or hangs up */
    BROKER_STATES
};

#define HEALTH_WHY_MAX 300

struct broker_health {
    enum broker_state state;
    bool doubted; /* others answered meanwhile: not before it has answered again */
    uint64_t since_us;
    uint64_t answered_us;     /* last; 0: never */
    uint64_t failures;        /* since then */
    char why[HEALTH_WHY_MAX]; /* it is not up */
};

struct health {
    size_t count;
    size_t preferred; /* the one that a client was connected to last */
    struct broker_health brokers[ADDRESS_BROKERS_MAX];
};

/* "up", "hanging", ... as in the status and the metrics. */
const char *broker_state_name(enum broker_state state);

void health_init(struct health *health, size_t count);
/* Each returns the state before. */
enum broker_state health_answered(struct health *health, size_t broker, uint64_t now_us);
enum broker_state health_failed(struct health *health, size_t broker, enum broker_state state,
                                const char *why, uint64_t now_us);
/* Others, asked later, have answered before it. */
void health_doubt(struct health *health, size_t broker);
/* A client is connected to it: it is the first one for the next. */
void health_prefer(struct health *health, size_t broker);
/* Fills in all brokers in the order in which to try them. */
void health_order(const struct health *health, uint8_t order[ADDRESS_BROKERS_MAX]);
bool health_any_up(const struct health *health);
/* Each has been tried. */
bool health_is_complete(const struct health *health);

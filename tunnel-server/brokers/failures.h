/* Why several brokers failed, in one sentence. */
#pragma once

#include "config/address.h"

struct failures {
    size_t count;
    char text[1024]; /* "broker1:9092, broker2:9092: why; broker3:9092: why"; of many the first */
    char why[320];   /* the last of them; "" when it did not fit */
};

/* Brokers that fail alike in turn share one sentence. */
void failures_add(struct failures *failures, const struct address *broker, const char *why);

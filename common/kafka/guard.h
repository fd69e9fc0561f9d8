/*
 * What a client may do, as the filter (filter.h) asks its owner: which APIs, and with which topics,
 * groups and transactional ids.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kafka_resource {
    KAFKA_TOPIC,
    KAFKA_GROUP,
    KAFKA_TRANSACTIONAL_ID,
    KAFKA_RESOURCES,
};

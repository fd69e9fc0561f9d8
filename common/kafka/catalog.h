/* The names of all APIs that Apache Kafka defines, for figures and rules. Keys are 0 to size - 1.
 */
#pragma once

#include <stddef.h>

enum { KAFKA_CATALOG_PRODUCE = 0, KAFKA_CATALOG_FETCH = 1 };

size_t kafka_catalog_size(void);
const char *kafka_catalog_name(size_t key);

/* Which of these an API is needed for. Bits; 0: none of them, it is for brokers and controllers
 * among themselves. */
enum kafka_use {
    KAFKA_PRODUCE = 1 << 0,
    KAFKA_CONSUME = 1 << 1,
    KAFKA_READ_ONLY = 1 << 2, /* changes nothing, no group's state and no offset either */
    KAFKA_ADMIN = 1 << 3,
};
unsigned kafka_catalog_uses(size_t key);

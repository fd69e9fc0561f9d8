/* The names of all APIs that Apache Kafka defines, for figures. Keys are 0 to size - 1. */
#pragma once

#include <stddef.h>

enum { KAFKA_CATALOG_PRODUCE = 0, KAFKA_CATALOG_FETCH = 1 };

size_t kafka_catalog_size(void);
const char *kafka_catalog_name(size_t key);

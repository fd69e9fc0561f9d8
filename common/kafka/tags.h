/*
 * Which tag numbers a tag section uses, to find one for bytes that decoders shall skip.
 */
#pragma once

#include "base/bytes.h"

enum { KAFKA_TAGS_MAX = 16384 }; /* numbers of one and two bytes */

struct kafka_tags_used {
    uint32_t bits[KAFKA_TAGS_MAX / 32];
};

/* Reads a tag section to its end; r->failed if it does not parse. */
void kafka_tags_collect(struct byte_reader *r, struct kafka_tags_used *used);
/* The highest unused number from max down to max / 128 + 1, so that it takes as many bytes as max
 * (0x7f or 0x3fff), which is used from now on; 0 if there is none. */
uint32_t kafka_tags_unused(struct kafka_tags_used *used, uint32_t max);

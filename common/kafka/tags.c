#include "kafka/tags.h"

#include "kafka/wire.h"

static void use(struct kafka_tags_used *used, uint32_t number)
{
    if (number < KAFKA_TAGS_MAX)
        used->bits[number / 32] |= UINT32_C(1) << (number % 32);
}

static bool is_used(const struct kafka_tags_used *used, uint32_t number)
{
    return (used->bits[number / 32] >> (number % 32) & 1) != 0;
}

void kafka_tags_collect(struct byte_reader *r, struct kafka_tags_used *used)
{
    uint32_t number;
    size_t size;

    *used = (struct kafka_tags_used){0};
    for (uint32_t count = kafka_wire_uvarint(r); count > 0 && !r->failed; count--) {
        kafka_wire_tag(r, &number, &size);
        if (!r->failed)
            use(used, number);
    }
}

uint32_t kafka_tags_unused(struct kafka_tags_used *used, uint32_t max)
{
    for (uint32_t number = max; number > max / 128; number--) {
        if (!is_used(used, number)) {
            use(used, number);
            return number;
        }
    }
    return 0;
}

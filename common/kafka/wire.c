#include "kafka/wire.h"

uint32_t kafka_wire_uvarint(struct byte_reader *r)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < KAFKA_UVARINT_MAX; i++) {
        uint8_t byte = byte_reader_u8(r);
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (!(byte & 0x80)) {
            if (value > UINT32_MAX)
                break;
            return r->failed ? 0 : (uint32_t)value;
        }
    }
    r->failed = true;
    return 0;
}

size_t kafka_wire_put_uvarint(uint8_t *at, uint32_t value)
{
    size_t size = 0;

    while (value >= 0x80) {
        at[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    at[size++] = (uint8_t)value;
    return size;
}

size_t kafka_wire_uvarint_size(uint32_t value)
{
    uint8_t scratch[KAFKA_UVARINT_MAX];
    return kafka_wire_put_uvarint(scratch, value);
}

const uint8_t *kafka_wire_string(struct byte_reader *r, bool flexible, size_t *size)
{
    *size = 0;
    if (flexible) {
        uint32_t coded = kafka_wire_uvarint(r);
        if (coded > 0)
            *size = coded - 1;
    } else {
        int16_t coded = (int16_t)byte_reader_u16(r);
        if (coded < -1)
            r->failed = true;
        if (coded > 0)
            *size = (size_t)coded;
    }
    if (byte_reader_left(r) < *size)
        *size = 0, r->failed = true;
    return byte_reader_bytes(r, *size);
}

uint32_t kafka_wire_count(struct byte_reader *r, bool flexible)
{
    uint32_t count;

    if (flexible) {
        uint32_t coded = kafka_wire_uvarint(r);
        count = coded > 0 ? coded - 1 : 0;
    } else {
        int32_t coded = (int32_t)byte_reader_u32(r);
        if (coded < -1)
            r->failed = true;
        count = coded > 0 ? (uint32_t)coded : 0;
    }
    if (count > byte_reader_left(r))
        r->failed = true;
    return r->failed ? 0 : count;
}

const uint8_t *kafka_wire_tag(struct byte_reader *r, uint32_t *number, size_t *size)
{
    *number = kafka_wire_uvarint(r);
    *size = kafka_wire_uvarint(r);
    return byte_reader_bytes(r, *size);
}

void kafka_wire_skip_tags(struct byte_reader *r)
{
    uint32_t number;
    size_t size;

    for (uint32_t count = kafka_wire_uvarint(r); count > 0 && !r->failed; count--)
        kafka_wire_tag(r, &number, &size);
}

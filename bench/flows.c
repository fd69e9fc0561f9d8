#include "flows.h"

#include <string.h>

/* RFC 791, RFC 9293 */
enum { IP_MIN = 20, TCP_MIN = 20, IP_FRAGMENT_MASK = 0x1FFF, PROTOCOL_TCP = 6, TTL = 64 };
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };

static uint16_t load16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static uint32_t load32(const uint8_t *bytes)
{
    return (uint32_t)load16(bytes) << 16 | load16(bytes + 2);
}

static void store16(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

static void store32(uint8_t *bytes, uint32_t value)
{
    store16(bytes, (uint16_t)(value >> 16));
    store16(bytes + 2, (uint16_t)value);
}

/* Where the TCP header begins, or NULL: of a fragment only the first has one, and none is made on a
 * path with one MTU. */
static const uint8_t *tcp_header(const uint8_t *packet, size_t length)
{
    if (length < IP_MIN || packet[0] >> 4 != 4 || packet[9] != PROTOCOL_TCP)
        return NULL;
    size_t header = (size_t)(packet[0] & 15) * 4;
    if (header < IP_MIN || length < header + TCP_MIN || load16(packet + 6) & IP_FRAGMENT_MASK)
        return NULL;
    return packet + header;
}

static void begin(struct flows *flows, struct flow *flow, uint16_t near_port, uint32_t sequence)
{
    if (!flow->used)
        flows->ports[flows->nports++] = near_port;
    *flow = (struct flow){
        .near_port = near_port, .used = true, .open = true, .first_sequence = sequence};
}

static void note_end(struct flow *flow, enum flow_end from, uint8_t flags)
{
    if (flags & TCP_FIN)
        flow->ended[from] = true;
    if ((flags & TCP_RST) || (flow->ended[FLOW_NEAR] && flow->ended[FLOW_FAR]))
        flow->open = false;
}

struct flow *flows_see(struct flows *flows, enum flow_end from, const uint8_t *packet,
                       size_t length, uint64_t now_ns)
{
    const uint8_t *tcp = tcp_header(packet, length);
    if (tcp == NULL)
        return NULL;
    uint16_t source = load16(tcp), target = load16(tcp + 2);
    uint32_t sequence = load32(tcp + 4);
    uint8_t flags = tcp[13];
    uint16_t near_port = from == FLOW_NEAR ? source : target;
    struct flow *flow = &flows->by_port[near_port];

    bool opens = from == FLOW_NEAR && (flags & TCP_SYN);
    if (!flow->used || (opens && sequence != flow->first_sequence)) {
        begin(flows, flow, near_port, sequence);
        flows->opened += opens;
    }
    flow->far_port = from == FLOW_NEAR ? target : source;
    memcpy(from == FLOW_NEAR ? &flow->near_address : &flow->far_address, packet + 12, 4);
    memcpy(from == FLOW_NEAR ? &flow->far_address : &flow->near_address, packet + 16, 4);
    if (flags & TCP_ACK) {
        flow->expects[from] = load32(tcp + 8);
        flow->expects_known[from] = true;
    }
    flow->bytes[from] += length;
    flow->seen_ns = now_ns;
    note_end(flow, from, flags);
    return flow;
}

struct flow *flows_find(struct flows *flows, uint16_t near_port)
{
    struct flow *flow = &flows->by_port[near_port];
    return flow->used ? flow : NULL;
}

/* RFC 1071; sum carries what was added before. */
static uint16_t checksum(uint32_t sum, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i + 1 < length; i += 2)
        sum += load16(bytes + i);
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint16_t)~sum;
}

bool flow_make_reset(const struct flow *flow, enum flow_end to, uint8_t *packet)
{
    if (!flow->expects_known[to])
        return false;
    uint8_t *tcp = packet + IP_MIN;
    memset(packet, 0, FLOW_RST_BYTES);
    packet[0] = 0x45;
    store16(packet + 2, FLOW_RST_BYTES);
    packet[8] = TTL;
    packet[9] = PROTOCOL_TCP;
    memcpy(packet + 12, to == FLOW_NEAR ? &flow->far_address : &flow->near_address, 4);
    memcpy(packet + 16, to == FLOW_NEAR ? &flow->near_address : &flow->far_address, 4);
    store16(packet + 10, checksum(0, packet, IP_MIN));

    store16(tcp, to == FLOW_NEAR ? flow->far_port : flow->near_port);
    store16(tcp + 2, to == FLOW_NEAR ? flow->near_port : flow->far_port);
    store32(tcp + 4, flow->expects[to]);
    tcp[12] = (TCP_MIN / 4) << 4;
    tcp[13] = TCP_RST;
    /* The pseudo header: both addresses, the protocol, the length. */
    uint32_t pseudo = PROTOCOL_TCP + TCP_MIN;
    for (size_t at = 12; at < IP_MIN; at += 2)
        pseudo += load16(packet + at);
    store16(tcp + 16, checksum(pseudo, tcp, TCP_MIN));
    return true;
}

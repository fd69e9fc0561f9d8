#pragma once
/*
 * The TCP connections in a stream of IPv4 packets between a near and a far end, told apart by the
 * port that they have at the near end (the clients' end): one address there, so one connection a
 * port. Sans-I/O: packets come in, verdicts and packets go out.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum flow_end { FLOW_NEAR, FLOW_FAR, FLOW_ENDS };

enum { FLOW_RST_BYTES = 40 }; /* an IPv4 and a TCP header, both without options */

enum flow_treatment {
    FLOW_CARRIED,
    FLOW_SILENT, /* its packets vanish, as behind a NAT that has forgotten it */
    FLOW_RESET,  /* its packets vanish, and who sends one gets a reset, as from a firewall */
};

struct flow {
    uint16_t near_port, far_port;
    uint32_t near_address, far_address; /* network byte order */
    bool used;                          /* some packet of it was seen */
    bool open;                          /* no reset was seen, nor the end of both directions */
    bool ended[FLOW_ENDS];              /* a FIN from there */
    bool expects_known[FLOW_ENDS];
    uint32_t expects[FLOW_ENDS]; /* the sequence number that this end has last asked for */
    uint32_t first_sequence;     /* of the near end's SYN: a new one is a new connection */
    enum flow_treatment treatment;
    uint64_t extra_ns;           /* delay in each direction, beyond the path's */
    uint64_t last_ns[FLOW_ENDS]; /* when the last packet from that end is due: order is kept */
    uint64_t bytes[FLOW_ENDS];   /* of packets, by the end they came from */
    uint64_t seen_ns;
};

struct flows {
    struct flow by_port[65536];
    uint16_t ports[65536]; /* those in use, in the order they came */
    size_t nports;
    uint64_t opened; /* connections whose SYN was seen, whatever became of them */
};

/* All zero at first. The connection of a packet that came from that end, brought up to date; NULL
 * when it is no TCP. A new connection on a port that was used begins carried. */
struct flow *flows_see(struct flows *flows, enum flow_end from, const uint8_t *packet,
                       size_t length, uint64_t now_ns);

/* NULL when no connection has had this port at the near end. */
struct flow *flows_find(struct flows *flows, uint16_t near_port);

/* The reset that ends the connection at that end, as if it came from the other one: so many bytes
 * as FLOW_RST_BYTES. False when it is not known which sequence number the end would accept. */
bool flow_make_reset(const struct flow *flow, enum flow_end to, uint8_t *packet);

#include "io/path.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#if defined __linux__

/*
 * As in Linux's include/uapi/linux/tcp.h. The struct of that name in the C library ends long before
 * the rate, and the kernel's header can't be included beside the library's. The kernel writes as
 * much as it knows: what an older one does not is 0.
 */
struct path_kernel_info {
    uint8_t state, ca_state, retransmits, probes, backoff, options, window_scales;
    uint8_t delivery_rate_app_limited : 1, fastopen_client_fail : 2;
    uint32_t rto, ato, snd_mss, rcv_mss;
    uint32_t unacked, sacked, lost, retrans, fackets;
    uint32_t last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
    uint32_t pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
    uint32_t rcv_rtt, rcv_space;
    uint32_t total_retrans;
    uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
    uint32_t segs_out, segs_in;
    uint32_t notsent_bytes, min_rtt, data_segs_in, data_segs_out; /* since 4.6 */
    uint64_t delivery_rate;                                       /* since 4.9 */
    uint64_t busy_time, rwnd_limited, sndbuf_limited;
    uint32_t delivered, delivered_ce;
    uint64_t bytes_sent, bytes_retrans; /* since 4.19 */
};

_Static_assert(offsetof(struct path_kernel_info, delivery_rate) == 160 &&
                   offsetof(struct path_kernel_info, bytes_retrans) == 208,
               "the kernel's layout");

bool path_measure(int fd, struct path_sample *sample)
{
    /* What the kernel says of a connection of which it has heard nothing yet. */
    const uint32_t no_round_trip = UINT32_MAX;
    struct path_kernel_info info = {0};
    socklen_t size = sizeof info;

    *sample = (struct path_sample){0};
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        size < offsetof(struct path_kernel_info, pacing_rate))
        return false;
    *sample = (struct path_sample){
        .round_trip_us = info.rtt,
        .shortest_round_trip_us = info.min_rtt == no_round_trip ? 0 : info.min_rtt,
        .rate = info.delivery_rate,
        .rate_is_least = info.delivery_rate_app_limited,
        .unsent = info.notsent_bytes,
        .unacknowledged = info.unacked * info.snd_mss,
        .lost = info.lost,
        .retransmitted = info.bytes_retrans,
        .retransmitted_segments = info.total_retrans,
        .segments = info.data_segs_out,
        .segment_size = info.snd_mss,
    };
    return true;
}

#elif defined TCP_CONNECTION_INFO

/* macOS. It does not tell a rate: a window's worth leaves in each round trip, if there is so much.
 * What it has not sent is what it may not send yet. */
bool path_measure(int fd, struct path_sample *sample)
{
    struct tcp_connection_info info = {0};
    socklen_t size = sizeof info;

    *sample = (struct path_sample){0};
    if (getsockopt(fd, IPPROTO_TCP, TCP_CONNECTION_INFO, &info, &size) != 0 || size < sizeof info)
        return false;
    uint32_t window =
        info.tcpi_snd_cwnd < info.tcpi_snd_wnd ? info.tcpi_snd_cwnd : info.tcpi_snd_wnd;
    bool full = info.tcpi_snd_sbbytes >= window;
    *sample = (struct path_sample){
        .round_trip_us = info.tcpi_srtt * 1000,
        .rate = info.tcpi_srtt > 0 ? (uint64_t)window * 1000 / info.tcpi_srtt : 0,
        .rate_is_least = !full,
        .unsent = full ? info.tcpi_snd_sbbytes - window : 0,
        .unacknowledged = full ? window : info.tcpi_snd_sbbytes,
        .retransmitted = info.tcpi_txretransmitbytes,
        .retransmitted_segments = (uint32_t)info.tcpi_txretransmitpackets,
        .segments = (uint32_t)info.tcpi_txpackets,
        .segment_size = info.tcpi_maxseg,
    };
    return true;
}

#else

bool path_measure(int fd, struct path_sample *sample)
{
    (void)fd;
    *sample = (struct path_sample){0};
    return false;
}

#endif

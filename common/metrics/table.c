#include "metrics/table.h"

const struct metric metrics_table[METRICS] = {
    [METRIC_BUILD_INFO] = {.name = "build_info",
                           .help = "Always 1; the label says which version runs",
                           .kind = METRIC_GAUGE,
                           .place = METRIC_BOTH,
                           .labels = {{"version", METRICS_RELEASE}}},
    [METRIC_LINKS] = {.name = "links",
                      .help = "Links (WebSockets between client and server) that carry a session "
                              "now",
                      .kind = METRIC_GAUGE,
                      .place = METRIC_BOTH},
    [METRIC_LINKS_BY_ROLE] =
        {.name = "links_by_role",
         .help =
             "The same links by what they are to their session now: lead (carries what is small, "
             "and the session's own messages; one for each session with a link), other, suspect "
             "(does not answer, and carries nothing until it does)",
         .kind = METRIC_GAUGE,
         .place = METRIC_BOTH,
         .labels = {{"role", METRICS_LINK_ROLE}}},
    [METRIC_LINKS_WANTED] = {.name = "links_wanted",
                             .help =
                                 "Links that would help now, for all sessions together: one for "
                                 "each, and more on a path that is long or loses packets",
                             .kind = METRIC_GAUGE,
                             .place = METRIC_BOTH},
    [METRIC_LINK_JOINS] =
        {.name = "link_joins_total",
         .help = "Attempts to add a link to a session that had one, by result: joined, limit (the "
                 "server allows no more), unknown_session (an instance answered that does not have "
                 "the session), refused (any other answer that is a refusal, also by something in "
                 "between), failed (no answer; at the client only)",
         .kind = METRIC_COUNTER,
         .place = METRIC_BOTH,
         .labels = {{"result", METRICS_JOIN}}},
    [METRIC_LINK_SENT_BYTES] =
        {.name = "link_sent_bytes_total",
         .help = "Bytes that sessions sent over links, before WebSocket and TLS, by what the link "
                 "was then; roles as in links_by_role",
         .kind = METRIC_COUNTER,
         .unit = METRIC_BYTES,
         .place = METRIC_BOTH,
         .labels = {{"role", METRICS_LINK_ROLE}}},
    [METRIC_RESENT_BYTES] =
        {.name = "resent_bytes_total",
         .help = "Bytes of streams that went over a link a second time: what a lost "
                 "or suspect link had, and short messages on a path that loses "
                 "packets. What a resumed session sends again is not counted",
         .kind = METRIC_COUNTER,
         .unit = METRIC_BYTES,
         .place = METRIC_BOTH},
    [METRIC_OUT_OF_ORDER_BYTES] =
        {.name = "out_of_order_bytes",
         .help = "Bytes held because others before them are still on their way over another link",
         .kind = METRIC_GAUGE,
         .unit = METRIC_BYTES,
         .place = METRIC_BOTH},
    [METRIC_RETRANSMITTED_SEGMENTS] =
        {.name = "link_retransmitted_segments_total",
         .help = "TCP segments of links that this end's kernel sent again (Linux, macOS): the path "
                 "loses packets, or is full",
         .kind = METRIC_COUNTER,
         .place = METRIC_BOTH},
    [METRIC_LINKS_OPENED] = {.name = "links_opened_total",
                             .help = "Links that started to carry a session, new, resumed or "
                                     "beside others",
                             .kind = METRIC_COUNTER,
                             .place = METRIC_BOTH},
    [METRIC_LINK_ENDS] = {.name = "link_ends_total",
                          .help = "Links that ended, by how: closed in good order, lost (the "
                                  "connection broke), dead (silence), garbled (no WebSocket frame "
                                  "came), protocol (the peer broke the tunnel protocol), rejected "
                                  "(the server refused the session)",
                          .kind = METRIC_COUNTER,
                          .place = METRIC_BOTH,
                          .labels = {{"reason", METRICS_LINK_END}}},
    [METRIC_DIALS] = {.name = "dials_total",
                      .help = "Attempts to reach the server",
                      .kind = METRIC_COUNTER,
                      .place = METRIC_CLIENT},
    [METRIC_DIAL_FAILURES] = {.name = "dial_failures_total",
                              .help = "Attempts that failed, by the hop that failed; not those for "
                                      "one more link beside others",
                              .kind = METRIC_COUNTER,
                              .place = METRIC_CLIENT,
                              .labels = {{"hop", METRICS_HOP}}},
    [METRIC_DIAL_DURATION] = {.name = "dial_duration_seconds",
                              .help = "From the name's look-up to the WebSocket upgrade, of dials "
                                      "that succeeded",
                              .kind = METRIC_HISTOGRAM,
                              .unit = METRIC_SECONDS,
                              .place = METRIC_CLIENT},
    [METRIC_HANDSHAKE_DURATION] = {.name = "handshake_duration_seconds",
                                   .help = "From the upgrade to the server's welcome, when streams "
                                           "flow",
                                   .kind = METRIC_HISTOGRAM,
                                   .unit = METRIC_SECONDS,
                                   .place = METRIC_CLIENT},
    [METRIC_RTT] = {.name = "rtt_seconds",
                    .help = "Round trips between client and server, by the pings that this end "
                            "sent: when a link comes up, while it is idle, and when somebody looks "
                            "at the client's status",
                    .kind = METRIC_HISTOGRAM,
                    .unit = METRIC_SECONDS,
                    .place = METRIC_BOTH},
    [METRIC_HANDSHAKES] = {.name = "handshakes",
                           .help = "Current connections that are not yet upgraded, including those "
                                   "that are only taking their answer; at most --max-handshakes",
                           .kind = METRIC_GAUGE,
                           .place = METRIC_SERVER},
    [METRIC_HANDSHAKES_ENDED] =
        {.name = "handshakes_ended_total",
         .help = "Connections to --listen, by how they ended: upgraded, page (a health page was "
                 "asked for), refused, malformed (not an HTTP/1 request), too_large, timeout, "
                 "evicted (too many at a time), tls (the TLS handshake failed), hung_up "
                 "(disconnected before sending a request)",
         .kind = METRIC_COUNTER,
         .place = METRIC_SERVER,
         .labels = {{"end", METRICS_DOOR}}},
    [METRIC_SESSIONS] = {.name = "sessions",
                         .help = "Sessions now, with a link or waiting for one",
                         .kind = METRIC_GAUGE,
                         .place = METRIC_BOTH},
    [METRIC_SESSIONS_OPENED] = {.name = "sessions_opened_total",
                                .help = "Sessions that started",
                                .kind = METRIC_COUNTER,
                                .place = METRIC_BOTH},
    [METRIC_SESSION_RESUMES] = {.name = "session_resumes_total",
                                .help = "Times that a session was resumed over a new link",
                                .kind = METRIC_COUNTER,
                                .place = METRIC_BOTH},
    [METRIC_SESSIONS_LOST] = {.name = "sessions_lost_total",
                              .help = "Sessions that ended although their client did not close "
                                      "them: their connections were reset",
                              .kind = METRIC_COUNTER,
                              .place = METRIC_BOTH},
    [METRIC_STREAMS] = {.name = "streams",
                        .help = "Connections through the tunnel now, by cluster or target",
                        .kind = METRIC_GAUGE,
                        .place = METRIC_BOTH,
                        .labels = {{"target", METRICS_TARGET}}},
    [METRIC_STREAMS_OPENED] = {.name = "streams_opened_total",
                               .help = "Connections that started, including refused ones",
                               .kind = METRIC_COUNTER,
                               .place = METRIC_BOTH,
                               .labels = {{"target", METRICS_TARGET}}},
    [METRIC_STREAMS_ENDED] = {.name = "streams_ended_total",
                              .help = "Connections that ended: complete, or the code of their "
                                      "reset or refusal (docs/protocol.md)",
                              .kind = METRIC_COUNTER,
                              .place = METRIC_BOTH,
                              .sparse = true,
                              .labels = {{"target", METRICS_TARGET}, {"result", METRICS_RESULT}}},
    [METRIC_STREAM_BYTES] = {.name = "stream_bytes_total",
                             .help = "Bytes between this end and its local connections: up goes to "
                                     "brokers and targets, down to Kafka clients",
                             .kind = METRIC_COUNTER,
                             .unit = METRIC_BYTES,
                             .place = METRIC_BOTH,
                             .labels = {{"target", METRICS_TARGET},
                                        {"direction", METRICS_DIRECTION}}},
    [METRIC_WINDOW_STALLS] = {.name = "window_stalls_total",
                              .help = "Times that a stream had used up its credit and waited for "
                                      "the other end to consume",
                              .kind = METRIC_COUNTER,
                              .place = METRIC_BOTH},
    [METRIC_MEMORY_STALLS] = {.name = "memory_stalls_total",
                              .help = "Times that a stream waited because --memory was used up",
                              .kind = METRIC_COUNTER,
                              .place = METRIC_BOTH},
    [METRIC_RETAINED_BYTES] =
        {.name = "retained_bytes",
         .help = "Memory for bytes to be sent, or sent again; at least 2 KiB per open stream",
         .kind = METRIC_GAUGE,
         .unit = METRIC_BYTES,
         .place = METRIC_BOTH},
    [METRIC_GRANTED_BYTES] = {.name = "granted_bytes",
                              .help =
                                  "Memory for received bytes that are not yet consumed, and for "
                                  "credit beyond first windows; at least 2 KiB per open stream",
                              .kind = METRIC_GAUGE,
                              .unit = METRIC_BYTES,
                              .place = METRIC_BOTH},
    [METRIC_MEMORY_LIMIT] =
        {.name = "memory_limit_bytes",
         .help = "--memory: the limit of retained and granted bytes together; half for each",
         .kind = METRIC_GAUGE,
         .unit = METRIC_BYTES,
         .place = METRIC_BOTH},
    [METRIC_LIMITED] =
        {.name = "limited_total",
         .help = "What a limit has refused or ended: sessions (--max-sessions), "
                 "sessions_of_identity, connections (file descriptors), connections_of_identity, "
                 "connections_of_session (--max-streams), links, links_of_identity, new_links "
                 "(--max-links-per-minute), dials (--max-dials-per-minute), "
                 "memory (--memory), audit (--audit-required); gave_way: a session, link or "
                 "connection of an identity that "
                 "had more than its share ended for one that had less",
         .kind = METRIC_COUNTER,
         .place = METRIC_SERVER,
         .labels = {{"limit", METRICS_LIMIT}}},
    [METRIC_RATE_PAUSES] =
        {.name = "rate_pauses_total",
         .help = "Times that a connection waited because its identity had moved as many bytes as "
                 "--max-rate-up or --max-rate-down allows",
         .kind = METRIC_COUNTER,
         .place = METRIC_SERVER,
         .labels = {{"direction", METRICS_DIRECTION}}},
    [METRIC_LISTENERS] = {.name = "listeners",
                          .help = "Local listeners: bootstrap, raw targets, and one per node",
                          .kind = METRIC_GAUGE,
                          .place = METRIC_CLIENT},
    [METRIC_LISTENER_REFUSALS] =
        {.name = "listener_refusals_total",
         .help = "Local connections that were refused, by reason: plaintext (TLS is required), "
                 "handshake (TLS failed), client_refused (the client does not trust the "
                 "certificate), certificate (the client's, --listener-client-ca), timeout (of the "
                 "handshake), silent (no byte came), crowded (too many of these at a time), user "
                 "(--allow-users), limit (--max-streams, --memory), no_link (--connect-wait)",
         .kind = METRIC_COUNTER,
         .place = METRIC_CLIENT,
         .labels = {{"reason", METRICS_REFUSAL}}},
    [METRIC_WAITING_CONNECTIONS] = {.name = "waiting_connections",
                                    .help = "Local connections that wait for a link",
                                    .kind = METRIC_GAUGE,
                                    .place = METRIC_CLIENT},
    [METRIC_CLUSTER_REACHABLE] =
        {.name = "cluster_reachable",
         .help = "1 while a bootstrap broker answers (each is asked every 10 s), otherwise 0",
         .kind = METRIC_GAUGE,
         .place = METRIC_SERVER,
         .labels = {{"cluster", METRICS_CLUSTER}}},
    [METRIC_BOOTSTRAP_BROKER] =
        {.name = "bootstrap_broker",
         .help = "1 for the state that a bootstrap broker (cluster/address) is in: untried, up, "
                 "hanging (it accepts connections but does not answer), unreachable, not_kafka",
         .kind = METRIC_GAUGE,
         .place = METRIC_SERVER,
         .sparse = true,
         .labels = {{"broker", METRICS_BROKER}, {"state", METRICS_BROKER_STATE}}},
    [METRIC_CLUSTER_NODES] = {.name = "cluster_nodes",
                              .help = "Brokers and controllers that the cluster has announced",
                              .kind = METRIC_GAUGE,
                              .place = METRIC_SERVER,
                              .labels = {{"cluster", METRICS_CLUSTER}}},
    [METRIC_KAFKA_REQUESTS] = {.name = "kafka_requests_total",
                               .help = "Kafka requests by API and version; versions above 31 and "
                                       "APIs that Apache Kafka does not define are other",
                               .kind = METRIC_COUNTER,
                               .place = METRIC_SERVER,
                               .sparse = true,
                               .labels = {{"api", METRICS_API}, {"version", METRICS_VERSION}}},
    [METRIC_KAFKA_DENIED] = {.name = "kafka_denied_total",
                             .help = "Kafka requests that no rule of --access allows, by API",
                             .kind = METRIC_COUNTER,
                             .place = METRIC_SERVER,
                             .sparse = true,
                             .labels = {{"api", METRICS_API}}},
    [METRIC_KAFKA_LATENCY] =
        {.name = "kafka_latency_seconds",
         .help =
             "From a request to the first byte of its response, at the server: the brokers' time, "
             "which for Fetch includes the wait for records; Produce with acks=0 has no response",
         .kind = METRIC_HISTOGRAM,
         .unit = METRIC_SECONDS,
         .place = METRIC_SERVER,
         .labels = {{"api", METRICS_LATENCY}}},
    [METRIC_ADDRESSES_REWRITTEN] = {.name = "kafka_addresses_rewritten_total",
                                    .help = "Broker addresses in responses replaced by local ones",
                                    .kind = METRIC_COUNTER,
                                    .place = METRIC_SERVER,
                                    .sparse = true,
                                    .labels = {{"api", METRICS_API}}},
    [METRIC_ADDRESSES_ERASED] = {.name = "kafka_addresses_erased_total",
                                 .help = "Broker addresses in responses removed: NodeEndpoints of "
                                         "Fetch and the share APIs, and invalid ones",
                                 .kind = METRIC_COUNTER,
                                 .place = METRIC_SERVER,
                                 .sparse = true,
                                 .labels = {{"api", METRICS_API}}},
    [METRIC_NODES_UNUSABLE] =
        {.name = "kafka_nodes_unusable_total",
         .help =
             "Announcements of nodes that no client can be sent to: a negative id, no port, or a "
             "host that is none",
         .kind = METRIC_COUNTER,
         .place = METRIC_SERVER,
         .labels = {{"target", METRICS_TARGET}}},
    [METRIC_BROKER_LOGINS] =
        {.name = "broker_logins_total",
         .help = "Logins at brokers for clients (--kafka-login), by result: done, again (done on a "
                 "connection that clients use, before a session ended), again_failed (the same, "
                 "for whatever reason, and the connection ended), refused, untrusted (SCRAM: the "
                 "broker does not know the password; or its answer is none), broken_off, silent, "
                 "held (not tried, for it was refused a moment ago, or there is no secret yet)",
         .kind = METRIC_COUNTER,
         .place = METRIC_SERVER,
         .labels = {{"result", METRICS_LOGIN}}},
    [METRIC_PROBLEMS] =
        {.name = "problems_total",
         .help = "Warnings and errors by the event's name in the log, including those that the log "
                 "left out; names come from the program, never from a peer",
         .kind = METRIC_COUNTER,
         .place = METRIC_BOTH,
         .sparse = true,
         .labels = {{"event", METRICS_EVENT}}},
    [METRIC_LOG_LINES] = {.name = "log_lines_total",
                          .help = "Lines written to the log",
                          .kind = METRIC_COUNTER,
                          .place = METRIC_BOTH,
                          .labels = {{"level", METRICS_LEVEL}}},
    [METRIC_LOG_SUPPRESSED] = {.name = "log_lines_suppressed_total",
                               .help = "Lines left out because of --log-rate",
                               .kind = METRIC_COUNTER,
                               .place = METRIC_BOTH},
    [METRIC_LOG_LOST] =
        {.name = "log_lines_lost_total",
         .help = "Lines that could not be written: the program that reads the log is stalled",
         .kind = METRIC_COUNTER,
         .place = METRIC_BOTH},
    [METRIC_AUDIT_WORKING] = {.name = "audit_working",
                              .help = "1 while audit records can be written, or without "
                                      "--audit-log; otherwise 0",
                              .kind = METRIC_GAUGE,
                              .place = METRIC_SERVER},
    [METRIC_AUDIT_RECORDS] = {.name = "audit_records_total",
                              .help = "Audit records written to --audit-log",
                              .kind = METRIC_COUNTER,
                              .place = METRIC_SERVER},
    [METRIC_AUDIT_WAITING] = {.name = "audit_records_waiting",
                              .help = "Audit records that are not written yet",
                              .kind = METRIC_GAUGE,
                              .place = METRIC_SERVER},
    [METRIC_AUDIT_LOST] = {.name = "audit_records_lost_total",
                           .help = "Audit records lost because too many could not be written; the "
                                   "record says so where they are missing",
                           .kind = METRIC_COUNTER,
                           .place = METRIC_SERVER},
    [METRIC_AUDIT_FAILURES] = {.name = "audit_failures_total",
                               .help = "Times that writing audit records began to fail",
                               .kind = METRIC_COUNTER,
                               .place = METRIC_SERVER},
    [METRIC_PROCESS_START] = {.name = "process_start_time_seconds",
                              .help = "When the program started, since the epoch",
                              .kind = METRIC_GAUGE,
                              .unit = METRIC_SECONDS,
                              .place = METRIC_BOTH},
    [METRIC_PROCESS_CPU] = {.name = "process_cpu_seconds_total",
                            .help = "User and system time",
                            .kind = METRIC_COUNTER,
                            .unit = METRIC_SECONDS,
                            .place = METRIC_BOTH},
    [METRIC_PROCESS_MEMORY] = {.name = "process_resident_memory_bytes",
                               .help = "Resident memory (Linux)",
                               .kind = METRIC_GAUGE,
                               .unit = METRIC_BYTES,
                               .place = METRIC_BOTH,
                               .sparse = true},
    [METRIC_PROCESS_FDS] = {.name = "process_open_fds",
                            .help = "Open file descriptors",
                            .kind = METRIC_GAUGE,
                            .place = METRIC_BOTH,
                            .sparse = true},
    [METRIC_PROCESS_MAX_FDS] = {.name = "process_max_fds",
                                .help = "Maximum number of open file descriptors (ulimit -n)",
                                .kind = METRIC_GAUGE,
                                .place = METRIC_BOTH,
                                .sparse = true},
};

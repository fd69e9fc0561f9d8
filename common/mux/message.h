/*
 * Messages of the control stream: the life of streams, and the listeners that a Kafka cluster
 * needs. Decoders point into the bytes that they are given; text is not NUL terminated.
 */
#pragma once

#include <string.h>

#include "base/bytes.h"
#include "mux/protocol.h"

struct mux_text {
    const char *bytes;
    size_t size;
};

static inline struct mux_text mux_text_of(const char *string)
{
    return (struct mux_text){string, strlen(string)};
}

/* What a stream leads to. */
struct mux_target {
    enum mux_target_kind kind;
    struct mux_text name; /* cluster or target, 1 to MUX_NAME_MAX bytes */
    int32_t node_id;      /* of a node; MUX_TARGET_BOOTSTRAP: its place, from 0; else -1 */
};

/* "kafka", "kafka/2", "kafka/controller/2", "kafka/bootstrap/0": both ends name it so in their
 * logs. */
#define MUX_TARGET_TEXT_MAX (MUX_NAME_MAX + sizeof "/controller/2147483647")
void mux_target_text(const struct mux_target *target, char text[MUX_TARGET_TEXT_MAX]);
/* A broker or a controller: a target with a node id. */
static inline bool mux_target_is_node(enum mux_target_kind kind)
{
    return kind == MUX_TARGET_BROKER || kind == MUX_TARGET_CONTROLLER;
}

/* "peer_reset", "going_away"; "other" for a code that is not known here. For figures and records.
 */
const char *mux_code_name(unsigned code);

struct mux_message {
    uint8_t type;
    uint32_t stream; /* all but EXPOSE and EXPOSED */
    union {
        struct {
            struct mux_target target;
            struct mux_text peer; /* the address that the local connection came from, for the log */
        } open;
        struct {
            uint64_t final; /* the stream ends at this offset */
        } finish;
        struct {
            uint64_t
                final;     /* bytes before this offset are still to be delivered before the reset */
            uint16_t code; /* enum mux_code */
            struct mux_text reason;
        } reset; /* REFUSED as well, with final 0 */
    } u;
};

/* Decodes one whole message of the types OPEN to RESET; false: malformed. */
bool mux_message_decode(uint8_t type, const uint8_t *payload, size_t size,
                        struct mux_message *message);
/* Writes header and payload. Text over its bound is cut. */
void mux_message_encode(struct byte_writer *w, const struct mux_message *message);
/* Enough for any message that mux_message_encode() writes. */
#define MUX_MESSAGE_ENCODED_MAX 512u

/*
 * EXPOSE (server to client): the cluster announced nodes that the client has no listener for.
 * EXPOSED (client to server): where each of them is reached from now on; port 0: there is no
 * listener, the host field then holds the reason. ADDRESSES (server to client, of EXPOSED's form):
 * where the brokers themselves are, for people to read. WITHDRAWN (client to server, of EXPOSE's
 * form without flags): listeners that are no more. A message holds as many nodes as fit into
 * MUX_MESSAGE_PAYLOAD_MAX; an encoder that runs out says so by returning false, and the rest goes
 * into the next message.
 */
struct mux_expose_writer {
    struct byte_writer bytes;
    uint8_t *count_at;
    uint16_t count;
};
void mux_expose_begin(struct mux_expose_writer *w, void *buffer, size_t size,
                      struct mux_text cluster);
bool mux_expose_add(struct mux_expose_writer *w, uint8_t endpoint_type, int32_t node_id);
bool mux_exposed_add(struct mux_expose_writer *w, uint8_t endpoint_type, int32_t node_id,
                     uint16_t port, struct mux_text host);
/* Returns the payload's size. */
size_t mux_expose_end(struct mux_expose_writer *w);
/* The same for EXPOSE, with what its sender can do. */
size_t mux_expose_end_with(struct mux_expose_writer *w, uint8_t flags);

/*
 * NAMES (server to client, of EXPOSED's form with flags and a reason behind it): the brokers' own
 * names, for a client that keeps them. Of bootstrap brokers and nodes, it answers KEEP (client to
 * server), in one message or several; of the nodes of an EXPOSE, it comes before that.
 */
#define MUX_NAMES_TAIL (1u + 1u + MUX_REASON_MAX)
/* buffer: MUX_MESSAGE_PAYLOAD_MAX bytes. Then mux_exposed_add(), as for EXPOSED. */
void mux_names_begin(struct mux_expose_writer *w, void *buffer, struct mux_text cluster);
/* Returns the payload's size. reason: why the brokers could not be asked; empty: they were. */
size_t mux_names_end(struct mux_expose_writer *w, uint8_t flags, struct mux_text reason);
/* KEEP: returns the payload's size. */
#define MUX_KEEP_MAX (1u + MUX_NAME_MAX)
size_t mux_keep_encode(uint8_t payload[MUX_KEEP_MAX], struct mux_text cluster);
/* false: malformed. */
bool mux_keep_decode(const uint8_t *payload, size_t size, struct mux_text *cluster);

struct mux_expose_reader {
    struct byte_reader bytes;
    struct mux_text cluster;
    uint16_t left;
};
struct mux_exposed_node {
    uint8_t endpoint_type; /* 1 broker, 2 controller: two spaces of node ids; see NAMES */
    int32_t node_id;
    uint16_t port;        /* not with EXPOSE */
    struct mux_text host; /* not with EXPOSE */
};
/* false: malformed. Then call the next function until it returns false, and look at bytes.failed.
 */
bool mux_expose_read(struct mux_expose_reader *r, const uint8_t *payload, size_t size);
bool mux_expose_next(struct mux_expose_reader *r, struct mux_exposed_node *node);
/* After the last node of EXPOSE; 0 if its sender knows of none. */
uint8_t mux_expose_flags(struct mux_expose_reader *r);
bool mux_exposed_next(struct mux_expose_reader *r, struct mux_exposed_node *node);
/* After the last node of NAMES. false: malformed. */
bool mux_names_tail(struct mux_expose_reader *r, uint8_t *flags, struct mux_text *reason);

/*
 * TROUBLE (server to client): something is wrong with a cluster that others make up for, such as a
 * bootstrap broker that does not answer; in words, for people. Text over its bound is cut.
 */
#define MUX_TROUBLE_MAX (1u + MUX_NAME_MAX + 1u + MUX_REASON_MAX)
/* Returns the payload's size. */
size_t mux_trouble_encode(uint8_t payload[MUX_TROUBLE_MAX], struct mux_text cluster,
                          struct mux_text what);
/* false: malformed. */
bool mux_trouble_decode(const uint8_t *payload, size_t size, struct mux_text *cluster,
                        struct mux_text *what);

/* LOGIN (server to client): as whom the server has logged in at the broker behind a stream that it
 * is about to accept; in words, for people. Text over its bound is cut. */
#define MUX_LOGIN_MAX (4u + 1u + MUX_REASON_MAX)
/* Returns the payload's size. */
size_t mux_login_encode(uint8_t payload[MUX_LOGIN_MAX], uint32_t stream, struct mux_text who);
/* false: malformed. */
bool mux_login_decode(const uint8_t *payload, size_t size, uint32_t *stream, struct mux_text *who);

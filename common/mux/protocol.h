/*
 * The tunnel protocol on the wire: constants that both ends must agree on. docs/protocol.md
 * specifies every byte; this header is the same table for the compiler.
 *
 * The room mux/ turns one reliable byte link (the payload of a WebSocket's binary messages) into
 * sessions of many byte streams. It may use base/ and libc. It knows no sockets, no clock, no log
 * and no Kafka: bytes and the time come in as arguments, bytes go out through buffers.
 *
 * Frame:    type u8, flags u8 (zero), size u16, stream u32, then size bytes of payload.
 * Message:  type u8, flags u8 (zero), size u16, then size bytes; messages travel on stream 0.
 *
 * A type with the bit MUX_MAY_IGNORE set is skipped by a receiver that does not know it; any other
 * unknown type ends the link.
 */
#pragma once

#define MUX_VERSION_MIN 1
#define MUX_VERSION_MAX 2
#define MUX_VERSION_LINKS 2   /* the first one with several links in a session */
#define MUX_LINKS_MAX 16      /* links of a session at a time, however many are asked for */
#define MUX_MAGIC 0x4b54554eu /* "KTUN" */
#define MUX_MAY_IGNORE 0x80u

#define MUX_FRAME_HEADER 8u
#define MUX_FRAME_PAYLOAD_MAX 16384u
#define MUX_DATA_HEADER (MUX_FRAME_HEADER + 8u) /* with the offset that begins a DATA payload */
#define MUX_MESSAGE_HEADER 4u
#define MUX_MESSAGE_PAYLOAD_MAX 16384u

#define MUX_SESSION_ID_SIZE 16u
#define MUX_SESSION_SECRET_SIZE 32u
#define MUX_CONTROL_STREAM 0u
#define MUX_CONTROL_WINDOW 262144u
#define MUX_NAME_MAX 63u
#define MUX_REASON_MAX 240u

enum mux_frame_type {
    MUX_HELLO = 1,    /* client, first frame of a link: who I am, which session */
    MUX_WELCOME = 2,  /* server: the session is yours, this is on offer */
    MUX_REJECT = 3,   /* server: no; the link ends */
    MUX_POSITION = 4, /* on resume, for each stream: what I have; stream 0 comes last */
    MUX_DATA = 5,     /* offset u64, bytes */
    MUX_WINDOW = 6,   /* consumed u64, limit u64 */
    MUX_PING = 7,     /* token u64 */
    MUX_PONG = 8,     /* the same token */
    MUX_GOAWAY = 9,   /* the sender wants to stop: come back on another link */
    MUX_SHRINK = 10,  /* limit u64: receiver asks for unused credit back */
    MUX_LIMIT = 11,   /* limit u64: the answer to SHRINK, the limit from now on */
    /* From version 2 on: */
    MUX_GONE = 12,       /* attempt u32: I have given that link up */
    MUX_SUSPECT = 13,    /* attempt u32: I do not hear from you on that link */
    MUX_MORE_LINKS = 14, /* links u32: so many would help me to send */
    /* In any version: */
    MUX_PADDING = MUX_MAY_IGNORE | 15, /* bytes that mean nothing: to measure a path */
};

enum mux_message_type {
    MUX_OPEN = 1,
    MUX_OPENED = 2,
    MUX_REFUSED = 3,
    MUX_FINISH = 4,
    MUX_DONE = 5,
    MUX_RESET = 6,
    MUX_EXPOSE = 32,
    MUX_EXPOSED = 33,
    MUX_ADDRESSES = MUX_MAY_IGNORE | 34,
    MUX_TROUBLE = MUX_MAY_IGNORE | 35,
    MUX_WITHDRAWN = MUX_MAY_IGNORE | 36,
    MUX_KEEP = MUX_MAY_IGNORE | 37,
    MUX_NAMES = MUX_MAY_IGNORE | 38,
    MUX_LOGIN = MUX_MAY_IGNORE | 39,
};

/* Flags of EXPOSE. */
#define MUX_EXPOSE_MAY_WITHDRAW 0x01 /* the server understands WITHDRAWN */

/* Flags of NAMES. */
#define MUX_NAMES_LAST 0x01 /* with this message the answer to KEEP is whole */

/* In place of an endpoint type in NAMES: a bootstrap broker, by its place among them. */
#define MUX_NAMES_BOOTSTRAP 0

enum mux_target_kind {
    MUX_TARGET_CLUSTER = 1,    /* any bootstrap broker of a named Kafka cluster */
    MUX_TARGET_BROKER = 2,     /* one broker of a named Kafka cluster */
    MUX_TARGET_TCP = 3,        /* a named raw TCP target */
    MUX_TARGET_CONTROLLER = 4, /* one controller of a named Kafka cluster: ids of their own */
    MUX_TARGET_BOOTSTRAP = 5,  /* one bootstrap broker of a named Kafka cluster, by its place among
                                  them; only for a server that tells names */
};

/* Why a stream was refused or reset, or a link rejected. Numbers are on the wire: never reuse one.
 */
enum mux_code {
    MUX_CODE_NONE = 0,
    MUX_CODE_PEER_RESET = 1,           /* the TCP connection behind the stream was reset */
    MUX_CODE_UNKNOWN_TARGET = 2,       /* no cluster or target of that name */
    MUX_CODE_UNKNOWN_NODE = 3,         /* the cluster has not announced that node */
    MUX_CODE_UPSTREAM_UNREACHABLE = 4, /* connecting to the broker or target failed */
    MUX_CODE_UPSTREAM_TIMEOUT = 5,
    MUX_CODE_LIMIT = 6,          /* a configured limit is reached */
    MUX_CODE_KAFKA_PROTOCOL = 7, /* bytes that are not the Kafka protocol, or cannot be rewritten */
    MUX_CODE_LISTENER = 8,       /* the client could not open a listener that the stream needs */
    MUX_CODE_GOING_AWAY = 9,     /* the program stops */
    MUX_CODE_SESSION_LOST = 10,  /* the session ended before the stream did */
    MUX_CODE_VERSION = 11,       /* no protocol version in common */
    MUX_CODE_UNKNOWN_SESSION = 12, /* nothing to resume: start a new session */
    MUX_CODE_INTERNAL = 13,
    MUX_CODE_REVOKED = 14, /* what let the client in is not valid any more */
    MUX_CODE_LOGIN = 15,   /* the server could not log in at the broker for the client */
};
#define MUX_CODES 16

/*
 * The room kafka/ knows the Kafka protocol, as far as addresses in it go. It is sans-I/O: bytes
 * come in and go out by calls; no sockets, no clock, no log. It may use base/ and libc only. Its
 * doors are this file with addresses.h, sniff.h (what is not Kafka) and bootstrap.h (a request of
 * our own).
 *
 * The filter on one Kafka TCP connection: makes every broker address in the responses one that the
 * client can reach through the tunnel.
 *
 * It watches the request bytes, which go to the broker unchanged, to know which API and version the
 * response with a correlation id belongs to. Response bytes go through it. What cannot hold an
 * address is passed as spans of the caller's own memory, without a copy and as long as the input
 * allows; record bytes are never looked at. Seven APIs carry addresses:
 *
 * - Metadata: rewritten. Held up to the end of Brokers, the rest streams.
 * - FindCoordinator, DescribeCluster, Produce v10 and later: rewritten. Held whole.
 * - Fetch v16 and later, ShareFetch, ShareAcknowledge: NodeEndpoints are erased in place, the frame
 *   keeps its size. Only what comes after the records is held.
 *
 * and in ApiVersions responses the highest version of these seven is lowered to the last one known
 * here. An address is never forwarded unparsed: a response that does not parse closes the
 * connection. What is held has a maximum, and memory is taken only for bytes that have arrived.
 *
 * Not safe for use by two threads at once. Peers' bytes never assert.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "kafka/addresses.h"
#include "kafka/guard.h"

/* 0 in a field means its default. */
struct kafka_filter_limits {
    size_t prefix;      /* Metadata up to the end of Brokers: bytes held; 4 MiB, enough
                         * for 10,000 brokers with the longest names */
    size_t frame;       /* a whole response: bytes held; 16 MiB */
    size_t tail;        /* a Fetch or share response after its records: bytes held; 1 MiB */
    uint32_t in_flight; /* requests without a response; 65536 */
    uint32_t turn;      /* responses, addresses and topics that a guard judges in them, from one
                         * kafka_filter_turn() to the next; no bound */
    const struct hash_key *hash_key; /* secret, since clients choose correlation ids; one that
                                      * everybody knows. Must live as long as the filter */
};

struct kafka_filter;

/* limits: NULL for the defaults. NULL if there is no memory. callbacks are copied. */
struct kafka_filter *kafka_filter_new(const struct kafka_filter_callbacks *callbacks, void *context,
                                      const struct kafka_filter_limits *limits);
void kafka_filter_free(struct kafka_filter *f);

/* The next bytes from the client, in any split. They are to be sent to the broker as they are. Call
 * this before they are sent, so that no response can come before its request. 0,
 * KAFKA_FILTER_REFUSED, or negative: close both sides without sending them. Never blocks; also
 * works while responses are blocked. */
int kafka_filter_requests(struct kafka_filter *f, const uint8_t *bytes, size_t size);

/* The same, for a connection that is to end between two requests: takes only what belongs to the
 * request that has begun already. What comes after it must be kept from the broker. */
int kafka_filter_last_request(struct kafka_filter *f, const uint8_t *bytes, size_t size,
                              size_t *taken);

/* From now on a client's own login is not let through, for somebody else has logged in already. At
 * the first request or token of one, the functions above return KAFKA_FILTER_REFUSED: what comes
 * behind the bytes that they have taken must be kept from the broker, and responses go on. */
void kafka_filter_refuse_login(struct kafka_filter *f);
/* After KAFKA_FILTER_REFUSED: how many of kafka_filter_requests()' bytes are still to be sent. */
size_t kafka_filter_passed(const struct kafka_filter *f);
/* The answer to it, with words for the client's people (kafka/login.h), for buffer of
 * KAFKA_LOGIN_REFUSAL_MAX bytes: to be given to the client when all else has been answered. 0: a
 * raw token has none. */
size_t kafka_filter_refusal(const struct kafka_filter *f, const char *words, uint8_t *buffer);

/* From now on requests are looked at, and kafka_filter_guarded_requests() is to be called in place
 * of the two above. Before the first request. false: no memory. guard must live as long. */
bool kafka_filter_use_guard(struct kafka_filter *f, const struct kafka_guard *guard, void *context);

/* A request that is not the client's is sent next, between two of the client's: its answer, of
 * KAFKA_FILTER_OWN_MAX bytes at the most, comes out as KAFKA_FILTER_OWN. The id should be random:
 * of two with the same one the older is answered first. 0, or negative. */
enum { KAFKA_FILTER_OWN_MAX = 16 * 1024 };
int kafka_filter_ask(struct kafka_filter *f, int32_t correlation_id);

struct kafka_span {
    const uint8_t *bytes;
    size_t size;
};

/* One step of the request direction with a guard. Takes *consumed of the client's bytes and yields
 * at most one span for the broker, in bytes or in the filter's memory, valid until the next
 * kafka_filter_ call. last: takes only what belongs to the request that has begun already. 0: call
 * again with the bytes that are left, unless *consumed is size and the span is empty, or last and
 * nothing was consumed or yielded. KAFKA_FILTER_REFUSED: as above; what was consumed
 * is all. Negative: close both sides. */
int kafka_filter_guarded_requests(struct kafka_filter *f, const uint8_t *bytes, size_t size,
                                  bool last, size_t *consumed, struct kafka_span *out);
bool kafka_filter_is_guarded(const struct kafka_filter *f);
/* A denied request is to be answered now: call kafka_filter_responses(), if need be with size 0. */
bool kafka_filter_has_answer(const struct kafka_filter *f);

/* From now on only a login may pass: ApiVersions, SaslHandshake, SaslAuthenticate, and raw tokens.
 * Any other request fails with KAFKA_FILTER_ELOGIN; the client sends it when the login is over.
 * false: too late, another request has come already. */
bool kafka_filter_only_login(struct kafka_filter *f);

/* One step of the response direction. Takes *consumed of the broker's bytes and yields at most one
 * span for the client, in bytes or in the filter's memory, valid until the next kafka_filter_ call
 * and as long as bytes is.
 *   0         call again with the bytes that are left, unless *consumed == size and the span is
 *             empty: then all is done until more bytes come. So as long as spans come, call again,
 *             if need be with size 0.
 *   KAFKA_FILTER_BLOCKED   nothing was yielded, and what was consumed is held:
 * kafka_filter_wanted() lists the nodes that the map did not know. Call again with the bytes that
 * are left, if need be with size 0, after kafka_filter_retry(); until then nothing is consumed and
 *             the answer stays BLOCKED.
 *   KAFKA_FILTER_OWN       the span is the answer to a kafka_filter_ask(), with its length, and not
 *             for the client. Else as 0.
 *   KAFKA_FILTER_TIRED     nothing was consumed or yielded: limits.turn is used up. Call again with
 *             the same bytes after kafka_filter_turn(), when others have had their turn.
 *   negative  nothing was consumed or yielded: close both sides. What was yielded before is good.
 */
int kafka_filter_responses(struct kafka_filter *f, const uint8_t *bytes, size_t size,
                           size_t *consumed, struct kafka_span *out);

/* Another turn of the caller's loop begins. */
void kafka_filter_turn(struct kafka_filter *f);

/* While blocked: the nodes of the held response that the map did not know, in its order; one may
 * be there twice. Valid until the next kafka_filter_ call. 0 when not blocked. */
size_t kafka_filter_wanted(const struct kafka_filter *f, const struct kafka_wanted **nodes);
/* The map may know more now: the next kafka_filter_responses() asks it again. */
void kafka_filter_retry(struct kafka_filter *f);

/* After a negative return: the API that it was about (NULL: none that is known) and its version. */
const char *kafka_filter_failed_api(const struct kafka_filter *f, int16_t *version);
/* After a negative return: a sentence for the log, with the API, the version and the client id
 * where they are known, in printable ASCII. Valid as long as the filter is. "" before. */
const char *kafka_filter_reason(const struct kafka_filter *f);
/* The first client id that a request named, printable ASCII, shortened; "" if there was none. */
const char *kafka_filter_client_id(const struct kafka_filter *f);

/* The user of whom the client has said that it is, when it logged in itself with PLAIN or SCRAM;
 * printable ASCII, shortened; "": not known. Whether the broker agrees is not known here. */
const char *kafka_filter_user(const struct kafka_filter *f);

/* Bytes that it has allocated beside itself: for what it holds, for requests in flight, and for
 * what their answers will say. Clients and brokers choose how many: a caller with many filters
 * counts them together. */
size_t kafka_filter_memory(const struct kafka_filter *f);
/* Requests that must still be answered. */
size_t kafka_filter_in_flight(const struct kafka_filter *f);
/* False while a request is only partly through. */
bool kafka_filter_between_requests(const struct kafka_filter *f);
/* False while a response is only partly through: a broker's end of stream now cuts it short. */
bool kafka_filter_between_responses(const struct kafka_filter *f);

/* What is worth one line in the log; each at most once on a connection. */
enum kafka_filter_event {
    KAFKA_FILTER_EVENT_NONE = 0,
    KAFKA_FILTER_EVENT_NEWER_METADATA, /* rewritten by its prefix, which has not changed since v9 */
    KAFKA_FILTER_EVENT_OUT_OF_ORDER,   /* the broker answered a later request first */
    KAFKA_FILTER_EVENT_RAW_SASL,       /* SaslHandshake v0: raw tokens without Kafka framing */
};
/* Whether there is one to take. Costs nothing: to be asked after every call. */
bool kafka_filter_has_event(const struct kafka_filter *f);
/* Takes the next event. *api and *version say what it was about. */
enum kafka_filter_event kafka_filter_event(struct kafka_filter *f, const char **api,
                                           int16_t *version);

/*
 * A relay whose bytes are Kafka's: requests are watched on their way to the broker, responses are
 * rewritten on their way to the stream (kafka/filter.h). When the filter needs listeners that do
 * not exist yet, the owner is told, and nothing is read until relay_kafka_listeners_ready().
 */
#pragma once

#include "kafka/filter.h"
#include "tunnel/relay.h"

struct relay_kafka_owner {
    /* The filter waits for listeners of these nodes. */
    void (*wanted)(void *context, const struct kafka_wanted *nodes, size_t count);
    /* The broker has ended the connection, the client has not, and a request is unanswered or only
     * partly sent. For the log: a broker's way to say no. */
    void (*unanswered)(void *context);
    /* The filter has events (kafka_filter_event()). */
    void (*noticed)(void *context);
    /* The client has begun to log in itself, which kafka_filter_refuse_login() forbids: it gets
     * words, and the connection ends when all before has been answered. NULL where it is not
     * forbidden. At most KAFKA_LOGIN_WORDS_MAX bytes, which must live as long as the owner. */
    const char *(*refused_login)(void *context);
    /* After relay_kafka_pause(): the client's requests are held, and relay_kafka_ask() may be
     * called. Never from inside that call. NULL: nobody pauses. */
    void (*paused)(void *context);
    /* The answer to a relay_kafka_ask(), with its length; good until the next call of the relay. */
    void (*answered)(void *context, const uint8_t *bytes, size_t size);
    /* A client that was only let log in (kafka_filter_only_login()) wants more: the owner may take
     * the connection with relay_take_transport(), and must, now or later, cut the relay. */
    void (*logged_in)(void *context);
};

/* As relay_new(); context is for both owners. Owns filter, which lives as long as the relay: until
 * ended() has returned, or the call that ends it without that. */
struct relay *relay_kafka_new(struct worker *worker, const struct relay_owner *owner,
                              const struct relay_kafka_owner *kafka_owner, void *context,
                              struct kafka_filter *filter);
/*
 * Requests of the owner's, between two of the client's, on a relay that is connected: what the
 * client sends behind the request that is under way waits, in order and within the stream's window;
 * what it has asked before is answered as ever. Then paused() comes.
 */
void relay_kafka_pause(struct relay *relay);
/* While paused: sends a request; answered() comes. false: the relay has ended, and its owner knows.
 */
bool relay_kafka_ask(struct relay *relay, const uint8_t *request, size_t size,
                     int32_t correlation_id);
/* What has waited goes on. The relay may have ended afterwards. */
void relay_kafka_resume(struct relay *relay);
/* The listeners that wanted() asked for are there. */
void relay_kafka_listeners_ready(struct relay *relay);

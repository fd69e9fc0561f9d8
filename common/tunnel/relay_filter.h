/*
 * What stands between the socket and the stream of a relay, and looks at the bytes of both ways or
 * changes them (relay_kafka.h). A relay without one moves raw bytes.
 *
 * The relay reads, writes, counts and ends; a filter is asked through this table, and may call the
 * functions below. Any call of either may end the relay: then its owner has been told, and nothing
 * of the two may be used but relay_has_ended(), until the worker's next turn.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mux/protocol.h"

struct relay;
struct relay_filter;
struct relay_owner;
struct worker;

/* What a filter holds, and what it has let go of for the socket, is memory of the stream's only
 * above so many bytes each: an idle connection has a little, and must not be charged for it. */
enum { RELAY_UNCHARGED = 16 * 1024 };

struct relay_filter_operations {
    /* From the stream, for the socket, which gets the bytes themselves. Returns how many of them it
     * gets: what comes behind them is dropped, but for what relay_keep() has been told. Negative:
     * none, and the relay has ended, or its socket is elsewhere. */
    long (*from_stream)(struct relay_filter *filter, const uint8_t *bytes, size_t size);
    /* From the socket: the filter takes all of them, and calls relay_put(). */
    void (*from_socket)(struct relay_filter *filter, const uint8_t *bytes, size_t size);
    /* Whether it can take more from the socket. */
    bool (*can_take)(struct relay_filter *filter);
    /* Whether it has taken something from the socket that it may yet put into the stream. */
    bool (*holds)(struct relay_filter *filter);
    /* Whether the socket may yet get something by relay_send(): the stream's end waits for it. */
    bool (*keeps)(struct relay_filter *filter);
    /* The stream takes bytes again. */
    void (*stream_writable)(struct relay_filter *filter);
    /* The socket has ended in good order and holds() is false. Why that cuts something short, or
     * NULL: then the stream ends. stream_ended: it has already, the other way. */
    const char *(*socket_ended)(struct relay_filter *filter, bool stream_ended);
    /* From now on from_stream() lets only pass what belongs to what has begun. */
    void (*drain)(struct relay_filter *filter);
    /* Nothing is left to wait for, seen from here. */
    bool (*is_drained)(struct relay_filter *filter);
    /* Does nothing by itself any more: the relay has ended, or its socket is elsewhere. */
    void (*stop)(struct relay_filter *filter);
    void (*destroy)(struct relay_filter *filter);
};

struct relay_filter {
    const struct relay_filter_operations *operations;
    struct relay *relay;
};

/* A relay with a filter, which it owns from now on. */
struct relay *relay_new_filtered(struct worker *worker, const struct relay_owner *owner,
                                 void *context, struct relay_filter *filter);
/* NULL: the relay has none. */
struct relay_filter *relay_filter(const struct relay *relay);

bool relay_has_ended(const struct relay *relay);
bool relay_is_connected(const struct relay *relay);
/* Puts bytes into the stream, as far as it has credit and memory now; returns how many. Less than
 * size: stream_writable() comes when more can be put. */
size_t relay_put(struct relay *relay, const uint8_t *bytes, size_t size);
/* Within from_stream(): the filter has kept the last bytes, so many of them. The stream's peer gets
 * credit for them when they are sent or dropped, and so can make no more wait than its window. */
void relay_keep(struct relay *relay, size_t size);
/* Writes bytes to the socket behind all that it has got so far. kept: the stream's, that were kept;
 * else the filter's own, which count for nobody. */
void relay_send(struct relay *relay, const uint8_t *bytes, size_t size, bool kept);
/* The same, at the end of the turn; also while there is no socket yet. */
void relay_send_later(struct relay *relay, const uint8_t *bytes, size_t size, bool kept);
/* What was kept will not be sent. */
void relay_drop(struct relay *relay, size_t size);
/* The filter has so many bytes in memory: they count as the stream's, and so do its own that wait
 * for the socket. false: there is no memory for them. */
bool relay_hold(struct relay *relay, uint64_t size);
/* Ends the relay, as relay_fail(), but what was put into the stream before is still delivered. */
void relay_break(struct relay *relay, enum mux_code code, const char *reason);
/* After a call that came from elsewhere than the relay: it looks again at what it waits for. */
void relay_go_on(struct relay *relay);

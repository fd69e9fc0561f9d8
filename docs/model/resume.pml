/*
 * Link loss, resume and window of one direction of one stream (docs/protocol.md), small enough to
 * be checked in every interleaving: docs/model/check.
 *
 * The sender's owner writes N bytes; the receiver's owner consumes them. The client makes up to
 * LINKS links. Each end notices the loss of a link for itself, at any time or never, so the other
 * may still read and write on a link that is gone: a half-open link. What an end has not read of a
 * link when it lets go of it is lost. Only the last link is never lost. The server takes any link
 * that is newer than the newest it had.
 *
 * What must hold, in every state:
 *   - DATA begins where the receiver stands: no byte is lost, doubled or out of order;
 *   - DATA stays within the limit that the receiver has stated: credit is never exceeded;
 *   - the sender keeps no more than a window: written - freed <= WINDOW;
 *   - a position lies between what was freed and what was written;
 * and in the end: everything is consumed, and the sender has freed everything.
 *
 * -DSENDER_IS_CLIENT       who dials; without it the receiver does
 * -DBREAK_RESUME           the sender goes on where it was, not where the receiver stands
 * -DBREAK_WINDOW           the receiver takes credit back without waiting for LIMIT
 * -DBREAK_SHRINK           the sender answers SHRINK with less than its owner has written
 * -DBREAK_NEWEST           the server takes old links as well
 * -DBREAK_FREE             the sender frees what it has sent, not what was consumed
 */
#ifndef N
#define N 4
#endif
#ifndef WINDOW
#define WINDOW 2
#endif
#ifndef LINKS
#define LINKS 3
#endif
#define SHRINKS 1
#define ROOM 2

mtype = { POSITION, DATA, GRANT, SHRINK, LIMIT };

/* What is on its way on each link, index 0 unused. */
chan down[LINKS + 1] = [ROOM] of { mtype, byte };             /* sender to receiver */
chan up[LINKS + 1] = [ROOM] of { mtype, byte, byte, byte };   /* receiver to sender */

byte made;      /* links that the client has made */
byte accepted;  /* the newest that the server has taken */

/* The sender. */
byte s_link;    /* 0: none */
bool s_ready;   /* the receiver's POSITION has come on this link */
byte written, freed, next;
byte s_limit = WINDOW;

/* The receiver. */
byte r_link;
bool r_ready;
byte received, consumed;
byte limit = WINDOW;           /* what DATA must stay within */
byte told_consumed, told_limit = WINDOW;
byte asked;                    /* SHRINK to this + 1 is not answered yet; 0: none */
byte shrinks;

#define MAX(a, b) ((a) > (b) -> (a) : (b))

inline dial(link, ready) {
    made++; link = made; ready = false
}

/* Any link that is newer than the newest it had: they are all somewhere on their way. */
#ifdef BREAK_NEWEST
#define FIRST 1
#define CAN_ACCEPT (made > 0 && accepted < LINKS)
#else
#define FIRST (accepted + 1)
#define CAN_ACCEPT (accepted < made)
#endif

inline accept(link, ready) {
    if
    :: FIRST <= made -> link = FIRST
    :: FIRST + 1 <= made -> link = FIRST + 1
    :: FIRST + 2 <= made -> link = FIRST + 2
    fi;
    ready = false; accepted = MAX(accepted, link)
}

#define SENDER_CONNECTED   down[s_link]!POSITION(0)
#define RECEIVER_CONNECTED up[r_link]!POSITION(received, consumed, limit); \
                           asked = 0; told_consumed = consumed; told_limit = limit

inline sender_free(to, new_limit) {
    assert(to <= written);
#ifdef BREAK_FREE
    freed = MAX(freed, next);
#else
    freed = MAX(freed, to);
#endif
    s_limit = MAX(s_limit, new_limit)
}

proctype Sender() {
    byte a, b, c;
end:
    do
    :: atomic { written < N && written < s_limit -> written++; assert(written - freed <= WINDOW) }

#ifdef SENDER_IS_CLIENT
    :: atomic { s_link == 0 && made < LINKS -> dial(s_link, s_ready); SENDER_CONNECTED }
#else
    :: atomic { CAN_ACCEPT -> accept(s_link, s_ready); SENDER_CONNECTED }
#endif
    :: atomic { s_link > 0 && s_link < LINKS -> s_link = 0; s_ready = false }

    :: atomic { s_link > 0 && s_ready && next < written && nfull(down[s_link]) ->
                down[s_link]!DATA(next); next++ }

    :: atomic { s_link > 0 && !s_ready && up[s_link]?[POSITION, a, b, c] ->
                up[s_link]?POSITION(a, b, c);
                assert(freed <= a && a <= written);
#ifndef BREAK_RESUME
                next = a;
#endif
                sender_free(b, c);
                s_ready = true }
    :: atomic { s_link > 0 && s_ready && up[s_link]?[GRANT, a, b, c] ->
                up[s_link]?GRANT(a, b, c);
                sender_free(a, b) }
    :: atomic { s_link > 0 && s_ready && up[s_link]?[SHRINK, a, b, c] && nfull(down[s_link]) ->
                up[s_link]?SHRINK(a, b, c);
#ifdef BREAK_SHRINK
                s_limit = a;
#else
                s_limit = MAX(a, written);
#endif
                down[s_link]!LIMIT(s_limit) }
    od
}

proctype Receiver() {
    byte a;
end:
    do
    :: atomic { consumed < received -> consumed++ }

#ifdef SENDER_IS_CLIENT
    :: atomic { CAN_ACCEPT -> accept(r_link, r_ready); RECEIVER_CONNECTED }
#else
    :: atomic { r_link == 0 && made < LINKS -> dial(r_link, r_ready); RECEIVER_CONNECTED }
#endif
    :: atomic { r_link > 0 && r_link < LINKS -> r_link = 0; r_ready = false }

    :: atomic { r_link > 0 && !r_ready && down[r_link]?[POSITION, a] ->
                down[r_link]?POSITION(a); r_ready = true }
    :: atomic { r_link > 0 && r_ready && down[r_link]?[DATA, a] ->
                down[r_link]?DATA(a);
                assert(a == received);
                assert(a < limit);
                received++ }
    :: atomic { r_link > 0 && r_ready && down[r_link]?[LIMIT, a] ->
                down[r_link]?LIMIT(a);
                assert(asked > 0 && received <= a && a <= limit);
                limit = a; told_limit = a; asked = 0 }

    /* More credit, unless some was asked back. */
    :: atomic { asked == 0 && limit < consumed + WINDOW -> limit = consumed + WINDOW }
    :: atomic { r_link > 0 && r_ready && nfull(up[r_link]) && asked == 0 &&
                (told_consumed != consumed || told_limit != limit) ->
                up[r_link]!GRANT(consumed, limit, 0); told_consumed = consumed; told_limit = limit }
    :: atomic { r_link > 0 && r_ready && nfull(up[r_link]) && asked > 0 && told_consumed != consumed ->
                up[r_link]!GRANT(consumed, MAX(asked - 1, consumed), 0); told_consumed = consumed }
    :: atomic { r_link > 0 && r_ready && nfull(up[r_link]) && asked == 0 && shrinks < SHRINKS &&
                limit > received && told_limit == limit ->
                shrinks++;
                asked = received + 1;
                up[r_link]!SHRINK(received, 0, 0);
#ifdef BREAK_WINDOW
                limit = received; told_limit = limit; asked = 0
#endif
                }
    od
}

/* Nothing can happen any more: then all must have happened. */
active proctype End() {
    atomic { run Sender(); run Receiver() }
    timeout -> assert(consumed == N && freed == N && written == N)
}

/*
 * Two links that carry one direction of one stream (docs/protocol.md, version 2), small enough to be
 * checked in every interleaving: docs/model/check.
 *
 * The sender's owner writes N bytes, each of which goes over either link; the receiver's owner
 * consumes them. Each link keeps its order, but nothing is in order between them. One link is lost
 * at any time, with what is on its way; each end notices for itself, whenever it likes. The
 * sender sends a byte a second time when it likes (a link that does not answer), and each end has
 * a lead, which carries its WINDOWs, SHRINKs and LIMITs, and which may change without a loss.
 * Resume, when both links are gone, is resume.pml's.
 *
 * What must hold, in every state:
 *   - DATA stays within the limit that the receiver has stated, as far as it knows;
 *   - what is consumed has come;
 *   - the sender frees what was consumed and forgets to send again what was received, no more;
 *   - the sender believes in no more credit than was given, and keeps no more than a window;
 *   - LIMIT lies between what has come and the limit so far;
 * and in the end: everything is consumed and freed, and no SHRINK is unanswered.
 *
 * -DDOUBLES         bytes are also sent over both links; without it, that is left out
 * -DBREAK_LOST      what a lost link had is not sent again
 * -DBREAK_AGAIN     what the lost lead was told to carry is not said again
 * -DBREAK_LEAD      a new lead carries WINDOW, and what the old one had else is forgotten
 * -DBREAK_NUMBER    a WINDOW from before a SHRINK counts
 * -DBREAK_SHRINK    a SHRINK that comes again takes more back
 * -DBREAK_LIMIT     LIMIT for an earlier SHRINK counts
 * -DBREAK_GAP       bytes behind a gap count as received
 * -DBREAK_FREE      the sender frees what was received, not what was consumed
 */
#ifndef N
#define N 3
#endif
#ifndef WINDOW
#define WINDOW 2
#endif
#ifndef SHRINKS
#define SHRINKS 2
#endif
#ifndef ROOM
#define ROOM 2
#endif
#define LOST 3

mtype = { DATA, LIMIT, GRANT, SHRINK };

/* What is on its way on each link; index 0 unused. */
chan down[3] = [ROOM] of { mtype, byte, byte };             /* sender to receiver */
chan up[3] = [ROOM] of { mtype, byte, byte, byte, byte };   /* receiver to sender */

byte dead;              /* the link that is lost; 0: none */

/* The sender. */
bool s_up[3];
byte s_lead = 1;
bit s_moves = 1;        /* times that the lead may change without a loss */
byte written, next, freed, acked;
byte at[N];             /* the link that has the byte; LOST */
byte twice[N];          /* the second one; 0: none */
byte s_limit = WINDOW;
byte answers;           /* the last SHRINK that was answered */
bool limit_due;
byte limit_on;          /* the link that has carried LIMIT; 0: none */

/* The receiver. */
bool r_up[3];
byte r_lead = 1;
bit r_moves = 1;
bool got[N];
byte received, consumed, highest;
byte limit = WINDOW;
byte told_received, told_consumed, told_limit = WINDOW;
bool grant_due;
byte told_on;           /* the link that has carried the latest WINDOW or SHRINK; 0: none */
byte asked;             /* SHRINK to this + 1 is not answered yet; 0: none */
byte shrinks;
bool shrink_due;

#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define OTHER(l) (3 - (l))

/* What is sent on a link that is lost is lost. */
#define HAS_ROOM(c, l) (dead == l || nfull(c[l]))
#define SEND3(c, l, t, a, b) if :: dead != l -> c[l]!t(a, b) :: else fi
#define SEND5(c, l, t, a, b, x, y) if :: dead != l -> c[l]!t(a, b, x, y) :: else fi

proctype Loss() {
    byte l;
    atomic {
        if :: l = 1 :: l = 2 fi;
        dead = l;
        do :: nempty(down[l]) -> down[l]?_,_,_ :: empty(down[l]) -> break od;
        do :: nempty(up[l]) -> up[l]?_,_,_,_,_ :: empty(up[l]) -> break od
    }
}

inline sender_say_again() { limit_due = (answers > 0) }

inline sender_loses(l) {
    s_up[l] = false;
    i = acked;
    do
    :: i < next ->
        if
        :: at[i] == l -> at[i] = (twice[i] != 0 -> twice[i] : LOST); twice[i] = 0
        :: twice[i] == l -> twice[i] = 0
        :: else
        fi;
        i++
    :: else -> break
    od;
#ifndef BREAK_AGAIN
    if :: limit_on == l -> sender_say_again() :: else fi;
#endif
    if :: s_lead == l -> s_lead = OTHER(l) :: else fi;
    i = 0
}

#define CAN_SEND(l) (s_up[l] && HAS_ROOM(down, l))

inline send_new(l) {
    SEND3(down, l, DATA, next, 0);
    at[next] = l; next++
}

/* The first lost byte. */
inline send_lost(l) {
    i = acked;
    do
    :: i < next && at[i] == LOST -> SEND3(down, l, DATA, i, 0); at[i] = l; break
    :: i < next && at[i] != LOST -> i++
    :: i >= next -> break
    od;
    i = 0
}
#define FIRST_LOST ((acked < next && at[acked] == LOST) || (acked + 1 < next && at[acked + 1] == LOST) || \
                    (acked + 2 < next && at[acked + 2] == LOST))

inline receive_up(l) {
    if
    :: up[l]?GRANT(a, b, c, n) ->
        assert(b <= a && a <= next && b <= c);
        acked = MAX(acked, a);
#ifdef BREAK_FREE
        freed = MAX(freed, a);
#else
        freed = MAX(freed, b);
#endif
        assert(freed <= consumed && acked <= received);
#ifndef BREAK_NUMBER
        if :: n < answers -> c = b :: else fi;
#endif
        s_limit = MAX(s_limit, c)
    :: up[l]?SHRINK(a, b, c, n) ->
        if
        :: n < answers
#ifndef BREAK_SHRINK
        :: n == answers -> limit_due = true
#else
        :: n == answers -> limit_due = true;
            if :: MAX(a, written) < s_limit -> s_limit = MAX(a, written) :: else fi
#endif
        :: n > answers ->
            if :: MAX(a, written) < s_limit -> s_limit = MAX(a, written) :: else fi;
            answers = n; limit_due = true
        fi
    fi;
    assert(s_limit <= limit);
    a = 0; b = 0; c = 0; n = 0
}

proctype Sender() {
    byte a, b, c, n, i;
end:
    do
    :: atomic { written < N && written < s_limit -> written++; assert(written - freed <= WINDOW) }
    :: atomic { next < written && CAN_SEND(1) -> send_new(1) }
    :: atomic { next < written && CAN_SEND(2) -> send_new(2) }
#ifndef BREAK_LOST
    :: atomic { FIRST_LOST && CAN_SEND(1) -> send_lost(1) }
    :: atomic { FIRST_LOST && CAN_SEND(2) -> send_lost(2) }
#endif
#ifdef DOUBLES
    /* The byte that the receiver waits for, once more. */
    :: atomic { acked < next && at[acked] == 1 && twice[acked] == 0 && CAN_SEND(2) ->
                SEND3(down, 2, DATA, acked, 0); twice[acked] = 2 }
    :: atomic { acked < next && at[acked] == 2 && twice[acked] == 0 && CAN_SEND(1) ->
                SEND3(down, 1, DATA, acked, 0); twice[acked] = 1 }
#endif
    :: atomic { limit_due && CAN_SEND(s_lead) ->
                SEND3(down, s_lead, LIMIT, s_limit, answers); limit_due = false; limit_on = s_lead }
    :: atomic { s_up[1] && nempty(up[1]) -> receive_up(1) }
    :: atomic { s_up[2] && nempty(up[2]) -> receive_up(2) }
    :: atomic { s_moves > 0 && s_up[1] && s_up[2] -> s_moves = 0; s_lead = OTHER(s_lead);
                if :: limit_on != 0 -> sender_say_again() :: else fi }
    :: atomic { dead != 0 && s_up[dead] -> sender_loses(dead) }
    od
}

#define TOLD_ALL (told_received == received && told_consumed == consumed && told_limit == limit && !grant_due)
#define CAN_TELL (r_up[r_lead] && HAS_ROOM(up, r_lead))

inline receiver_say_again() { grant_due = true; shrink_due = (asked > 0) }

inline receive_down(l) {
    if
    :: down[l]?DATA(a, n) ->
        if
        :: a < received || got[a]
        :: else ->
            assert(a < limit);
            got[a] = true; highest = MAX(highest, a + 1)
        fi;
#ifdef BREAK_GAP
        received = highest
#else
        do :: received < N && got[received] -> received++ :: else -> break od
#endif
    :: down[l]?LIMIT(a, n) ->
        if
#ifdef BREAK_LIMIT
        :: asked == 0
#else
        :: n < shrinks || asked == 0
#endif
        :: else ->
            assert(highest <= a && a <= limit);
            limit = a; asked = 0; shrink_due = false; grant_due = true
        fi
    fi;
    a = 0; n = 0
}

proctype Receiver() {
    byte a, n;
end:
    do
    :: atomic { consumed < received -> assert(got[consumed]); consumed++ }
    :: atomic { r_up[1] && nempty(down[1]) -> receive_down(1) }
    :: atomic { r_up[2] && nempty(down[2]) -> receive_down(2) }

    /* More credit, unless some was asked back. */
    :: atomic { !TOLD_ALL && asked == 0 && CAN_TELL ->
                limit = MAX(limit, consumed + WINDOW);
                SEND5(up, r_lead, GRANT, received, consumed, limit, shrinks);
                told_received = received; told_consumed = consumed; told_limit = limit;
                grant_due = false; told_on = r_lead }
    :: atomic { !TOLD_ALL && asked > 0 && CAN_TELL ->
                SEND5(up, r_lead, GRANT, received, consumed, MAX(asked - 1, consumed), shrinks);
                told_received = received; told_consumed = consumed; told_limit = limit;
                grant_due = false; told_on = r_lead }
    :: atomic { asked == 0 && shrinks < SHRINKS && limit > highest ->
                shrinks++; asked = received + 1; shrink_due = true }
    :: atomic { shrink_due && asked > 0 && CAN_TELL ->
                SEND5(up, r_lead, SHRINK, asked - 1, 0, 0, shrinks);
                shrink_due = false; told_on = r_lead }
    :: atomic { r_moves > 0 && r_up[1] && r_up[2] -> r_moves = 0; r_lead = OTHER(r_lead);
#ifdef BREAK_LEAD
                if :: told_on != 0 -> grant_due = true; told_on = r_lead :: else fi
#else
                if :: told_on != 0 -> receiver_say_again() :: else fi
#endif
                }
    :: atomic { dead != 0 && r_up[dead] ->
                r_up[dead] = false;
#ifndef BREAK_AGAIN
                if :: told_on == dead -> receiver_say_again() :: else fi;
#endif
                if :: r_lead == dead -> r_lead = OTHER(dead) :: else fi }
    od
}

/* Nothing can happen any more: then all must have happened. */
active proctype End() {
    atomic {
        s_up[1] = true; s_up[2] = true; r_up[1] = true; r_up[2] = true;
        run Sender(); run Receiver(); run Loss()
    }
    timeout -> assert(consumed == N && freed == N && acked == N && asked == 0)
}

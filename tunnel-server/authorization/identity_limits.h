/* How much one identity may have. The options say it for everybody, rules of --access for some. */
#pragma once

#include <stdint.h>

enum limit {
    LIMIT_SESSIONS,   /* at a time */
    LIMIT_STREAMS,    /* connections, at a time */
    LIMIT_LINKS,      /* at a time */
    LIMIT_DIALS,      /* connections in a minute */
    LIMIT_NEW_LINKS,  /* in a minute */
    LIMIT_BYTES_UP,   /* a second, to brokers and targets */
    LIMIT_BYTES_DOWN, /* a second, from them */
    LIMITS
};

/* 0: none. */
struct identity_limits {
    uint64_t most[LIMITS];
};

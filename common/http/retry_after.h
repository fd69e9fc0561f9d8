/* The header Retry-After (RFC 9110, 10.2.3): seconds, or a date in one of the three forms of 5.6.7.
 */
#pragma once

#include <stdint.h>

/* Seconds from now_s (since the epoch) on, 0 for a date that is over; -1: there is no sense in it.
 */
int64_t http_retry_after(const char *value, int64_t now_s);

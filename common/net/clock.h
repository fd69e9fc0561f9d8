/* Monotonic time in microseconds, the `now` of every sans-I/O room. */
#pragma once

#include <stdint.h>

uint64_t clock_now_us(void);

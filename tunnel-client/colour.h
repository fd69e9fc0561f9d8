/*
 * Colour on a terminal, for states and verdicts: never the only way to tell them apart.
 *
 * None into anything else than a terminal, if NO_COLOR is set and not empty (no-color.org), or for
 * a terminal that has none (TERM=dumb, or no TERM).
 */
#pragma once

#include <stdbool.h>

enum colour { COLOUR_NONE, COLOUR_GOOD, COLOUR_WARNING, COLOUR_BAD, COLOUR_SOFT };

bool colour_is_wanted(int fd);
/* What to write before and behind a text; "" if it is not wanted, or COLOUR_NONE. */
const char *colour_begin(bool wanted, enum colour colour);
const char *colour_end(bool wanted, enum colour colour);

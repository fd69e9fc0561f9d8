#include "colour.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool colour_is_wanted(int fd)
{
    const char *refused = getenv("NO_COLOR");
    const char *kind = getenv("TERM");

    return isatty(fd) && !(refused && *refused) && kind && *kind && strcmp(kind, "dumb") != 0;
}

/* Of the eight that each terminal has and its owner has chosen: they are legible on any ground. */
const char *colour_begin(bool wanted, enum colour colour)
{
    static const char *const codes[] = {[COLOUR_NONE] = "",
                                        [COLOUR_GOOD] = "\x1b[32m",
                                        [COLOUR_WARNING] = "\x1b[33m",
                                        [COLOUR_BAD] = "\x1b[31m",
                                        [COLOUR_SOFT] = "\x1b[2m"};

    return wanted ? codes[colour] : "";
}

const char *colour_end(bool wanted, enum colour colour)
{
    return wanted && colour != COLOUR_NONE ? "\x1b[0m" : "";
}

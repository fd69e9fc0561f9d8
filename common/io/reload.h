/* What came of it when everything in files was read again, for the log. */
#pragma once

struct reload {
    unsigned renewed; /* what is another one now */
    unsigned failed;  /* what could not be used: the old one stays */
};

/* The command `listener-ca`: prints the local CA of the listeners, and how clients trust it. */
#pragma once

#include "options.h"

/* Returns the exit code; a failure has been printed. */
int listener_ca_print(const struct options *options);

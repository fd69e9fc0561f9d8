/*
 * The local CA of `--listener-tls auto`: made once, and kept in files, so that clients must be told
 * to trust it only once. Clients that do would believe whoever has its key; so the key is for its
 * owner only, and what is wrong with the files is said, and never mended by a new CA.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "tls/authority.h"

struct local_ca {
    struct tls_authority authority;
    char key_file[PATH_MAX]; /* key and certificate, for nobody else */
    char file[PATH_MAX];     /* the certificate, for clients */
    bool made;               /* just now, by this program */
};

/* Whether there is one, or a part of one, in the directory; file: where its certificate is, or
 * would be. directory is as below; also true if there is none, which local_ca_open() then says. */
bool local_ca_is_there(const char *directory, char file[PATH_MAX]);
/*
 * Reads it from the directory, or makes it there for loopback and names. directory NULL: where
 * programs keep such things for the user (systemd's $STATE_DIRECTORY, $XDG_STATE_HOME, or
 * ~/.local/state). false: error has a sentence, and nothing is to be freed. Ends with
 * tls_authority_clear(&ca->authority).
 */
bool local_ca_open(struct local_ca *ca, const char *directory,
                   const struct tls_authority_names *names, time_t now, char *error, size_t size);

/* Which users of this machine may use the local listeners (--allow-users). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"
#include "config/config.h"

struct allowed_users;

/* Reads "me", "any", user names and numbers. true: *out is there, or NULL for any. false: error has
 * a sentence. */
bool allowed_users_new(const struct config_list *list, struct allowed_users **out, char *error,
                       size_t size);
/* NULL is fine. */
void allowed_users_free(struct allowed_users *users);
/* Whether whoever has the other end of an accepted connection may use it; else that is logged. NULL
 * allows all. */
bool allowed_users_admit(const struct allowed_users *users, int fd, struct log *log,
                         const char *label, const char *peer);

/*
 * A password or token that threads share: its one copy in memory between two logins, overwritten
 * when the last one who has it lets go.
 */
#pragma once

#include <stdbool.h>

struct login_secret;

/* Takes text over, which free() frees; with one reference. */
struct login_secret *login_secret_new(char *text);
/* NULL stays NULL. */
struct login_secret *login_secret_reference(struct login_secret *secret);
/* NULL is fine. */
void login_secret_release(struct login_secret *secret);

const char *login_secret_text(const struct login_secret *secret);

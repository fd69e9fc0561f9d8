#include "broker_login/login_secret.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/memory.h"
#include "config/secret.h"

struct login_secret {
    atomic_size_t references;
    char *text;
};

struct login_secret *login_secret_new(char *text)
{
    struct login_secret *secret = memory_new(sizeof *secret);

    atomic_init(&secret->references, 1);
    secret->text = text;
    return secret;
}

struct login_secret *login_secret_reference(struct login_secret *secret)
{
    if (secret)
        atomic_fetch_add(&secret->references, 1);
    return secret;
}

void login_secret_release(struct login_secret *secret)
{
    if (!secret || atomic_fetch_sub(&secret->references, 1) > 1)
        return;
    secret_free(secret->text);
    free(secret);
}

const char *login_secret_text(const struct login_secret *secret)
{
    return secret->text;
}

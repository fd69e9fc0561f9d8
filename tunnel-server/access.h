/*
 * Who may open a tunnel: bearer tokens from a file, client certificates (TLS has verified them), or
 * an ingress in front that has authenticated.
 */
#pragma once

#include "base/log.h"
#include "net/http_server.h"
#include "net/reload.h"
#include "options.h"

struct access;

/* NULL: error holds a sentence. options must live as long. */
struct access *access_new(const struct options *options, struct log *log, char *error, size_t size);
void access_free(struct access *access);

/* Reads the token file again, whether it has changed or not. */
void access_reload(struct access *access, struct reload *reload);

/* As struct http_server_owner's authorize(). */
int access_authorize(struct access *access, const struct http_upgrade *upgrade, char *identity,
                     const char **body);

/*
 * TLS on the local listeners for Kafka: which of them have it, and by which certificate. That comes
 * from files, which are read again when they change, or from the local CA (local_ca.h), which
 * issues a new one in time.
 *
 * Raw targets have no part in it: what they carry may be TLS already, and often the server speaks
 * first.
 */
#pragma once

#include "io/reload.h"
#include "io/worker.h"
#include "listeners/listener_mode.h"
#include "tls/authority.h"

struct listener_tls_settings {
    enum listener_tls_mode mode;      /* neither unset nor off */
    struct tls_files files;           /* cert_file NULL: the local CA; ca_file: whose clients */
    const char *state_directory;      /* NULL: see local_ca.h */
    struct tls_authority_names names; /* of the listeners, beside loopback */
    time_t (*now)(void);              /* NULL: the system's clock */
};

struct listener_tls;

/* NULL: error says why. The settings' texts must live as long. */
struct listener_tls *listener_tls_new(struct worker *worker,
                                      const struct listener_tls_settings *settings, char *error,
                                      size_t size);
/* NULL is fine. */
void listener_tls_free(struct listener_tls *tls);
/* For a new connection; ends with the next call of the loop. One that must be secure must also show
 * a certificate, if there are authorities for those. */
SSL_CTX *listener_tls_context(const struct listener_tls *tls, enum listener_security security);
/* The one that new connections are shown; ends with the next call of the loop. */
const X509 *listener_tls_certificate(const struct listener_tls *tls);
/* Whether the local CA has issued it. */
bool listener_tls_is_issued(const struct listener_tls *tls);
/*
 * Clients reach the listeners by that name or address, too, from the next listener_tls_renew() on,
 * which has the local CA issue another certificate. false: they will refuse it: the certificate
 * from files does not name it, the local CA may not vouch for it, or there are too many names.
 */
#define LISTENER_TLS_MORE_NAMES_MAX 256
bool listener_tls_add_name(struct listener_tls *tls, const char *name);
void listener_tls_renew(struct listener_tls *tls);
/* Reads the files again. NULL is fine. */
void listener_tls_reload(struct listener_tls *tls, struct reload *reload);

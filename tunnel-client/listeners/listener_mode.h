/* What --listener-tls says, and what it comes to for a listener. */
#pragma once

/* --listener-tls */
enum listener_tls_mode {
    LISTENER_TLS_UNSET, /* LISTENER_TLS_AUTO if there is a certificate, else LISTENER_TLS_OFF */
    LISTENER_TLS_OFF,
    LISTENER_TLS_AUTO, /* LISTENER_TLS_OPTIONAL on loopback, else LISTENER_TLS_REQUIRED */
    LISTENER_TLS_OPTIONAL,
    LISTENER_TLS_REQUIRED,
};
/* The words for them, NULL behind the last. */
extern const char *const listener_tls_modes[];

/* What a listener takes. */
enum listener_security {
    LISTENER_PLAIN,  /* bytes as they are */
    LISTENER_EITHER, /* TLS or not: the first byte says */
    LISTENER_SECURE, /* TLS only */
};
/* Of one that listens at host, a numeric address. */
enum listener_security listener_security_at(enum listener_tls_mode mode, const char *host);

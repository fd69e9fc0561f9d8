/*
 * What the doctor says of --listener-tls: the certificate that Kafka clients are shown, until when
 * it is valid and for which hosts, and what each listener takes. Nothing is made: the local CA only
 * read, if it is there.
 */
#pragma once

#include "doctor/diagnosis.h"
#include "listeners/local_ca.h"
#include "options.h"
#include "tls/tls_files.h"

struct listener_check {
    struct diagnosis *diagnosis;
    const struct options *options;
    struct tls_material *files; /* NULL: they cannot be used */
    struct local_ca ca;         /* without a certificate: there is none, or files have it */
};

/* Says what is to be said of certificates. names: of brokers that keep theirs. */
void listener_check_begin(struct listener_check *check, struct diagnosis *diagnosis,
                          const struct options *options, const struct tls_authority_names *names);
void listener_check_clear(struct listener_check *check);

/* What a cluster's listener at host takes, a part of a sentence; "" if TLS is off. */
const char *listener_check_takes(const struct listener_check *check, const char *host);

enum listener_shown {
    LISTENER_SHOWN_NOTHING, /* no TLS is spoken there */
    LISTENER_SHOWN_OURS,
    LISTENER_SHOWN_OTHER, /* a certificate that this configuration does not have */
};
/* What is shown by the program that listens at host:port, where TLS is on. text: the certificate,
 * for people. */
enum listener_shown listener_check_look(const struct listener_check *check, const char *host,
                                        uint16_t port, char *text, size_t size);

/*
 * Raw SASL tokens: after a successful SaslHandshake v0 both sides send tokens as an INT32 length
 * and that many bytes, zero allowed, without Kafka headers (SaslHandshake v1 wraps them in
 * requests, KIP-152). Brokers before 4.0 also took a GSSAPI token as a connection's first bytes.
 *
 * Nothing on the wire says when the tokens end. For PLAIN, SCRAM and OAUTHBEARER the number of
 * rounds is known; for others a client's frame that looks like a request header ends them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum kafka_sasl_phase {
    KAFKA_SASL_NONE,
    KAFKA_SASL_ASKED, /* SaslHandshake v0 was sent, its response is not there yet */
    KAFKA_SASL_TOKENS,
};

enum { KAFKA_SASL_LOOK = 10 }; /* bytes of a client's frame that kafka_sasl_is_token looks at */

struct kafka_sasl {
    enum kafka_sasl_phase phase;
    char mechanism[32]; /* NUL terminated; shortened */
    unsigned client_tokens;
    unsigned server_tokens;
};

/* SaslHandshake v0 was sent. Its response goes through kafka_sasl_handshake_handler (api.h). */
void kafka_sasl_asked(struct kafka_sasl *s, const char *mechanism);

/* Is this client's frame a token? length: of the frame; look: its first bytes, KAFKA_SASL_LOOK of
 * them or all it has. first: it is the connection's first. Counts it if so; if it is a Kafka
 * request, the tokens are over. *guessed: nothing but the looks of the frame ended them. */
bool kafka_sasl_is_token(struct kafka_sasl *s, const uint8_t *look, int32_t length, bool first,
                         bool *guessed);

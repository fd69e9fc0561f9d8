/*
 * The client's side of the SASL mechanisms that Kafka brokers offer: what a client says in each
 * round, and whether the broker's answer is right.
 *
 * The room sasl/ gets and gives the bytes of SASL messages alone. How they travel in Kafka's
 * requests is in kafka/login.h. It has no sockets and no clock; OpenSSL does the arithmetic.
 *
 * PLAIN: RFC 4616. SCRAM-SHA-256 and -512: RFC 5802, RFC 7677, without channel binding.
 * OAUTHBEARER: RFC 7628. Names and passwords are taken as they are, in UTF-8: Kafka does not
 * prepare them (RFC 4013) either.
 */
#pragma once

#include "sasl/types.h"

/* As IANA and Kafka spell it. */
const char *sasl_mechanism_name(enum sasl_mechanism mechanism);
/* SASL_MECHANISMS: none that is known. */
enum sasl_mechanism sasl_mechanism_find(const char *name);

/* The text of a nonce; random: bytes that nobody can guess, new ones for each exchange. */
void sasl_nonce_encode(const uint8_t random[SASL_NONCE_RANDOM], char nonce[SASL_NONCE_SIZE]);
/* Begins: SASL_SEND, or SASL_EFAILED for credentials that do not fit. nonce: printable ASCII,
 * shorter than SASL_NONCE_SIZE, without commas; only SCRAM uses it. */
enum sasl_step sasl_exchange_begin(struct sasl_exchange *exchange,
                                   const struct sasl_credentials *credentials, const char *nonce);
/* The server's answer to the message, any bytes at all. */
enum sasl_step sasl_exchange_answer(struct sasl_exchange *exchange, const uint8_t *answer,
                                    size_t size);
/* Overwrites what is secret in it. To be called at the end, whatever that was. */
void sasl_exchange_wipe(struct sasl_exchange *exchange);

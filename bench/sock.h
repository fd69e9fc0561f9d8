#pragma once
/*
 * Socket and clock helpers of the measuring tools. IPv4 and numeric addresses only: everything here
 * runs on loopback. Functions that fail say so on stderr, with the reason, and return -1.
 */
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t sock_now_ns(void);

/* "127.0.0.1:9092" to an address. 0 or -1. */
int sock_parse(const char *text, struct sockaddr_in *address);

/* A listening, non-blocking socket; *port gets the port it has (also when 0 was asked for). */
int sock_listen(const struct sockaddr_in *address, uint16_t *port);

/* A connected, blocking socket with TCP_NODELAY; reads and writes on it give up after 30 s. */
int sock_connect(const struct sockaddr_in *address);

int sock_set_nonblocking(int fd);

/* All of length bytes, or -1 (said). The socket must be blocking. */
int sock_write_all(int fd, const void *bytes, size_t length);
int sock_read_all(int fd, void *bytes, size_t length);

/* Raises the soft limit of open descriptors to the hard one, and ignores SIGPIPE. */
void sock_prepare_process(void);

/* Blocks SIGTERM and SIGINT and returns a descriptor that becomes readable when one is sent. */
int sock_signal_fd(void);

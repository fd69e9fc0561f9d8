/* Sockets and addresses: small portable helpers. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define SOCKET_TEXT_MAX 80

/* An address with its port. */
struct socket_address {
    struct sockaddr_storage storage;
    socklen_t size;
};

/* "127.0.0.1:9092", "[::1]:9092". */
void socket_format(const struct socket_address *address, char text[SOCKET_TEXT_MAX]);
/* "127.0.0.1", "::1" */
void socket_format_host(const struct socket_address *address, char text[SOCKET_TEXT_MAX]);
uint16_t socket_port(const struct socket_address *address);
void socket_set_port(struct socket_address *address, uint16_t port);
bool socket_is_loopback(const struct socket_address *address);
/* A numeric address; false: it is not one. */
bool socket_parse(const char *host, uint16_t port, struct socket_address *address);
/* As IPv6 has it: IPv4 mapped (::ffff:192.0.2.1). */
void socket_ip(const struct socket_address *address, uint8_t ip[16]);
/* Leaves of the address what is one subscriber's: all of IPv4, the first 64 bits of IPv6, whose
 * rest whoever has it may choose. */
void socket_keep_subscriber(struct socket_address *address);
/* Whether an errno means that descriptors or memory are used up, which may pass. */
bool socket_is_shortage(int error);

/*
 * Whether somebody accepts connections at an address of loopback, who has a tenth of a second to
 * answer; false for other addresses, and without a port. errno stays.
 *
 * To be asked before one listens there. On macOS and BSDs, a socket of ours at 127.0.0.1:9092 does
 * not mind that the same user has one at *:9092 (a Kafka in a container), and takes loopback over
 * from it without a word. Linux says that the address is in use, when it binds.
 */
bool socket_is_answered(const struct socket_address *address);

/* Non-blocking, close-on-exec. Returns the descriptor or -1 with errno set. */
int socket_new(int family);
int socket_accept(int listener, struct socket_address *peer);
/* What every connection of the data path wants: no Nagle, keepalive, no SIGPIPE. */
void socket_tune(int fd);
/* The same for one that socket_accept() has returned of a listener that is tuned: on Linux it has
 * inherited all of that. */
void socket_tune_accepted(int fd);
/* Bounds what waits unsent in the kernel, so that what is urgent can still overtake (Linux, macOS).
 */
void socket_bound_unsent(int fd, int bytes);
/* A pipe for a program that is started: close-on-exec, and neither end is a standard descriptor,
 * whatever was closed when this program was started. false: errno says why. */
bool socket_pipe(int ends[2]);
/* Whether the connection was reset, or failed otherwise, since that was asked last. */
bool socket_has_failed(int fd);
/* How the peer has ended a connection, whatever it has sent that is still unread. Where a system
 * does not tell a reset from an end of file without reading, both are SOCKET_FINISHED. */
enum socket_end {
    SOCKET_OPEN,
    SOCKET_FINISHED, /* it sends nothing more; it may still read */
    SOCKET_BROKEN,
};
enum socket_end socket_peer_end(int fd);
/* Closes so that the peer sees a reset, never a clean end. */
void socket_reset(int fd);

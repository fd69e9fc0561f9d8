#include "io/socket_owner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#ifdef __linux__

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/socket.h"

enum { ANSWERS_MAX = 8 };

struct socket_owners {
    int fd;            /* netlink, to the kernel */
    uint32_t sequence; /* of the last question */
};

struct diag_request {
    struct nlmsghdr head;
    struct inet_diag_req_v2 what;
};

/* ---- asking */

/* IPv4 that a socket for IPv6 has accepted is asked for as IPv4: so are sockets of the other kind
 * that have connected to it. */
static bool write_end(const struct socket_address *address, __be32 ip[4], __be16 *port, int family)
{
    uint8_t bytes[16];

    socket_ip(address, bytes);
    memset(ip, 0, 4 * sizeof *ip);
    if (family == AF_INET)
        memcpy(ip, bytes + 12, 4);
    else
        memcpy(ip, bytes, 16);
    *port = htons(socket_port(address));
    return *port != 0;
}

static bool is_ipv4(const struct socket_address *address)
{
    /* A copy: musl's macro casts const away. */
    struct sockaddr_storage copy = address->storage;
    struct in6_addr *v6 = &((struct sockaddr_in6 *)(void *)&copy)->sin6_addr;

    return copy.ss_family == AF_INET || IN6_IS_ADDR_V4MAPPED(v6);
}

/* The kernel fills in no more of another kind's address than there is. */
static bool is_of_ip(const struct socket_address *address)
{
    return address->storage.ss_family == AF_INET || address->storage.ss_family == AF_INET6;
}

static bool read_ends(int fd, struct socket_address *own, struct socket_address *other)
{
    own->size = sizeof own->storage;
    other->size = sizeof other->storage;
    return getsockname(fd, (struct sockaddr *)&own->storage, &own->size) == 0 &&
           getpeername(fd, (struct sockaddr *)&other->storage, &other->size) == 0 &&
           is_of_ip(own) && is_of_ip(other);
}

/* The socket whose own end is the connection's other one. */
static bool write_question(int fd, struct diag_request *request)
{
    struct socket_address own, other;

    if (!read_ends(fd, &own, &other))
        return false;
    int family = is_ipv4(&other) ? AF_INET : AF_INET6;
    *request = (struct diag_request){
        .head = {.nlmsg_len = sizeof *request,
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST},
        .what = {.sdiag_family = (uint8_t)family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = UINT32_MAX,
                 .id = {.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}}};
    struct inet_diag_sockid *id = &request->what.id;
    /* Link-local addresses are nothing without their interface. */
    if (family == AF_INET6)
        id->idiag_if = ((const struct sockaddr_in6 *)(const void *)&other.storage)->sin6_scope_id;
    return write_end(&other, id->idiag_src, &id->idiag_sport, family) &&
           write_end(&own, id->idiag_dst, &id->idiag_dport, family);
}

/* ---- the answer */

/* What is being opened has the same addresses as what was closed before it, but is not yet
 * connected to us. A socket that nobody holds any more has no inode, and says that it is root's. */
static enum socket_owner_answer judge(const struct inet_diag_msg *message, uid_t *uid)
{
    static const unsigned connected = 1u << TCP_ESTABLISHED | 1u << TCP_FIN_WAIT1 |
                                      1u << TCP_FIN_WAIT2 | 1u << TCP_CLOSE_WAIT |
                                      1u << TCP_LAST_ACK | 1u << TCP_CLOSING;

    if (message->idiag_state > 31 || !(connected >> message->idiag_state & 1) ||
        message->idiag_inode == 0)
        return SOCKET_OWNER_GONE;
    *uid = message->idiag_uid;
    return SOCKET_OWNER_FOUND;
}

static enum socket_owner_answer read_answer(struct nlmsghdr *head, uid_t *uid)
{
    if (head->nlmsg_type == SOCK_DIAG_BY_FAMILY &&
        head->nlmsg_len >= NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
        return judge(NLMSG_DATA(head), uid);
    if (head->nlmsg_type == NLMSG_ERROR &&
        head->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr))) {
        const struct nlmsgerr *failed = NLMSG_DATA(head);
        return failed->error == -ENOENT ? SOCKET_OWNER_ELSEWHERE : SOCKET_OWNER_UNKNOWN;
    }
    return SOCKET_OWNER_UNKNOWN;
}

enum socket_owner_answer socket_owners_find(struct socket_owners *owners, int fd, uid_t *uid)
{
    union {
        struct nlmsghdr head;
        char bytes[8192];
    } answer;
    struct diag_request request;

    if (!write_question(fd, &request))
        return errno == ENOTCONN ? SOCKET_OWNER_GONE : SOCKET_OWNER_UNKNOWN;
    request.head.nlmsg_seq = ++owners->sequence;
    if (send(owners->fd, &request, sizeof request, 0) != (ssize_t)sizeof request)
        return SOCKET_OWNER_UNKNOWN;
    /* An answer to an earlier question, should one be left, must not be taken for this one's. */
    for (int i = 0; i < ANSWERS_MAX; i++) {
        ssize_t got = recv(owners->fd, &answer, sizeof answer, MSG_DONTWAIT);
        if (got < (ssize_t)sizeof answer.head || !NLMSG_OK(&answer.head, (size_t)got))
            return SOCKET_OWNER_UNKNOWN;
        if (answer.head.nlmsg_seq == owners->sequence)
            return read_answer(&answer.head, uid);
    }
    return SOCKET_OWNER_UNKNOWN;
}

/* ---- life */

/* Both ends of a connection on loopback, ours; the accepted one is returned. -1: errno. */
static int connect_to_self(int *other)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int accepted = -1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener >= 0 && *other >= 0 &&
        bind(listener, (const struct sockaddr *)&address, sizeof address) == 0 &&
        listen(listener, 1) == 0 &&
        getsockname(listener, (struct sockaddr *)&address, &size) == 0 &&
        connect(*other, (const struct sockaddr *)&address, sizeof address) == 0)
        accepted = accept(listener, NULL, NULL);
    int reason = errno;
    if (listener >= 0)
        close(listener);
    errno = reason;
    return accepted;
}

/* Kernels are built without it, and sandboxes keep it from programs. */
static bool tells_truth(struct socket_owners *owners)
{
    uid_t uid = (uid_t)-1;
    int other;
    int accepted = connect_to_self(&other);
    bool truth = accepted >= 0 &&
                 socket_owners_find(owners, accepted, &uid) == SOCKET_OWNER_FOUND &&
                 uid == geteuid();

    if (accepted >= 0)
        close(accepted);
    if (other >= 0)
        close(other);
    return truth;
}

struct socket_owners *socket_owners_new(char *error, size_t size)
{
    static const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct socket_owners *owners = memory_new(sizeof *owners);

    owners->fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    /* Connected, it takes messages of the kernel only. */
    if (owners->fd >= 0 &&
        connect(owners->fd, (const struct sockaddr *)&kernel, sizeof kernel) == 0 &&
        tells_truth(owners))
        return owners;
    snprintf(error, size,
             "the system does not tell who owns a connection (sock_diag): the kernel lacks "
             "CONFIG_INET_DIAG, or a sandbox keeps it from this program");
    socket_owners_free(owners);
    return NULL;
}

void socket_owners_free(struct socket_owners *owners)
{
    if (!owners)
        return;
    if (owners->fd >= 0)
        close(owners->fd);
    free(owners);
}

#else

struct socket_owners *socket_owners_new(char *error, size_t size)
{
    snprintf(error, size, "this system does not tell who owns a connection");
    return NULL;
}

void socket_owners_free(struct socket_owners *owners)
{
    (void)owners;
}

enum socket_owner_answer socket_owners_find(struct socket_owners *owners, int fd, uid_t *uid)
{
    (void)owners;
    (void)fd;
    (void)uid;
    return SOCKET_OWNER_UNKNOWN;
}

#endif

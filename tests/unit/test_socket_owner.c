/* Whose the other end of a connection is, as the kernel says: for IPv4, IPv6 and IPv4 over a socket
 * for IPv6, and for who has closed it. */
#include "net_support.h"

#include <netinet/in.h>
#include <unistd.h>

#include "io/socket_owner.h"

enum { STRANGER = 12345 };

static struct socket_owners *ask(void)
{
    char why[300];
    struct socket_owners *owners = socket_owners_new(why, sizeof why);

    if (!owners)
        skip();
    return owners;
}

/* listens at own, and connects to it by another address perhaps. */
static void connect_pair(const char *own, const char *dialled, int *client, int *accepted)
{
    struct socket_address address;
    int off = 0;

    assert_true(socket_parse(own, 0, &address));
    int listener = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (address.storage.ss_family == AF_INET6)
        setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(listener, (const struct sockaddr *)&address.storage, address.size) != 0) {
        close(listener); /* a machine without IPv6 */
        skip();
    }
    assert_int_equal(listen(listener, 1), 0);
    address.size = sizeof address.storage;
    getsockname(listener, (struct sockaddr *)&address.storage, &address.size);
    uint16_t port = socket_port(&address);
    assert_true(socket_parse(dialled, port, &address));
    *client = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(*client, (const struct sockaddr *)&address.storage, address.size), 0);
    *accepted = accept(listener, NULL, NULL);
    assert_true(*accepted >= 0);
    close(listener);
}

static void is_found(const char *own, const char *dialled)
{
    struct socket_owners *owners = ask();
    uid_t uid = (uid_t)-1;
    int client, accepted;

    connect_pair(own, dialled, &client, &accepted);
    assert_int_equal(socket_owners_find(owners, accepted, &uid), SOCKET_OWNER_FOUND);
    assert_int_equal(uid, geteuid());
    /* Half closed it is still somebody's. */
    shutdown(client, SHUT_WR);
    assert_int_equal(socket_owners_find(owners, accepted, &uid), SOCKET_OWNER_FOUND);
    close(client);
    uid = (uid_t)-1;
    assert_int_not_equal(socket_owners_find(owners, accepted, &uid), SOCKET_OWNER_FOUND);
    assert_int_equal(uid, (uid_t)-1);
    close(accepted);
    socket_owners_free(owners);
}

static void over_ipv4(void **state)
{
    (void)state;
    is_found("127.0.0.1", "127.0.0.1");
}

static void over_ipv6(void **state)
{
    (void)state;
    is_found("::1", "::1");
}

/* A client for both, as Java's sockets are; and a listener for both. */
static void over_mapped_addresses(void **state)
{
    (void)state;
    is_found("127.0.0.1", "::ffff:127.0.0.1");
    is_found("::", "127.0.0.1");
    is_found("::", "::ffff:127.0.0.1");
}

static void who_was_reset_has_gone(void **state)
{
    struct socket_owners *owners = ask();
    uid_t uid = (uid_t)-1;
    int client, accepted;

    (void)state;
    connect_pair("127.0.0.1", "127.0.0.1", &client, &accepted);
    socket_reset(client);
    assert_int_not_equal(socket_owners_find(owners, accepted, &uid), SOCKET_OWNER_FOUND);
    close(accepted);
    socket_owners_free(owners);
}

/* Root's program has the descriptor, too, but another user has made the socket. */
static void another_user_is_another(void **state)
{
    struct socket_owners *owners = ask();
    uid_t uid = (uid_t)-1;
    int client = -1, accepted = -1;

    (void)state;
    if (geteuid() != 0) {
        socket_owners_free(owners);
        skip();
    }
    assert_int_equal(seteuid(STRANGER), 0);
    connect_pair("127.0.0.1", "127.0.0.1", &client, &accepted);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(socket_owners_find(owners, accepted, &uid), SOCKET_OWNER_FOUND);
    assert_int_equal(uid, STRANGER);
    close(client);
    close(accepted);
    socket_owners_free(owners);
}

static void what_is_no_tcp_is_not_known(void **state)
{
    struct socket_owners *owners = ask();
    uid_t uid;
    int ends[2];

    (void)state;
    net_pair(ends);
    assert_int_not_equal(socket_owners_find(owners, ends[0], &uid), SOCKET_OWNER_FOUND);
    net_close_all(ends, 2);
    socket_owners_free(owners);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(over_ipv4),
        NET_TEST(over_ipv6),
        NET_TEST(over_mapped_addresses),
        NET_TEST(who_was_reset_has_gone),
        NET_TEST(another_user_is_another),
        NET_TEST(what_is_no_tcp_is_not_known),
    };

    return NET_RUN(tests);
}

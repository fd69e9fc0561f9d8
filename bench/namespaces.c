#include "namespaces.h"

#include "carrier.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Packets that the device holds until they are read: what is dropped is to be dropped by the
 * carrier alone. */
enum { DEVICE_QUEUE = 20000 };

const char *const namespaces_address[FLOW_ENDS] = {"198.18.0.1", "198.18.0.2"};

static int failed(const char *what)
{
    fprintf(stderr, "packet-path: %s: %s\n", what, strerror(errno));
    return -1;
}

/* `ip netns VERB NAME`; with quiet, what it says is dropped. 0 or -1. */
static int run_ip_netns(const char *verb, const char *name, bool quiet)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(nothing, STDIN_FILENO);
        /* What is printed on the standard output is for whoever reads the answers. */
        dup2(quiet ? nothing : STDERR_FILENO, STDOUT_FILENO);
        if (quiet)
            dup2(nothing, STDERR_FILENO);
        execlp("ip", "ip", "netns", verb, name, (char *)NULL);
        perror("packet-path: cannot run ip (iproute2)");
        _exit(127);
    }
    if (child < 0)
        return failed("fork");
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (status != 0 && !quiet)
        fprintf(stderr, "packet-path: ip netns %s %s failed\n", verb, name);
    return status == 0 ? 0 : -1;
}

/* The keeper: waits until the pipe's other end is closed, by will or by death, and deletes. It is
 * in a session of its own, so that signals for the group do not reach it. */
static _Noreturn void keep(const struct namespaces *namespaces, int pipe_end)
{
    sigset_t all;
    char byte;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    setsid();
    close(STDIN_FILENO);
    close(STDOUT_FILENO);
    while (read(pipe_end, &byte, 1) < 0 && errno == EINTR) {
    }
    for (int end = 0; end < FLOW_ENDS; end++)
        run_ip_netns("delete", namespaces->names[end], true);
    _exit(0);
}

static int start_keeper(struct namespaces *namespaces)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return failed("pipe");
    namespaces->keeper = fork();
    if (namespaces->keeper < 0)
        return failed("fork");
    if (namespaces->keeper == 0) {
        close(ends[1]);
        keep(namespaces, ends[0]);
    }
    close(ends[0]);
    namespaces->keeper_pipe = ends[1];
    return 0;
}

static int set_flags_up(int control, const char *device)
{
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
    if (ioctl(control, SIOCGIFFLAGS, &request) != 0)
        return -1;
    request.ifr_flags |= IFF_UP;
    return ioctl(control, SIOCSIFFLAGS, &request);
}

static int set_address(int control, struct ifreq *request, unsigned long what, const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    inet_pton(AF_INET, text, &address.sin_addr);
    memcpy(&request->ifr_addr, &address, sizeof(address));
    return ioctl(control, what, request);
}

/* Addresses and all, in the namespace that this thread is in. */
static int configure_device(const char *device, const char *address)
{
    struct ifreq request = {0};
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int result = -1;

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
    if (control >= 0 && set_address(control, &request, SIOCSIFADDR, address) == 0 &&
        set_address(control, &request, SIOCSIFNETMASK, "255.255.255.0") == 0) {
        request.ifr_mtu = CARRIER_MTU;
        result = ioctl(control, SIOCSIFMTU, &request);
        request.ifr_qlen = DEVICE_QUEUE;
        result = result != 0 ? result : ioctl(control, SIOCSIFTXQLEN, &request);
        result = result != 0 ? result : set_flags_up(control, device);
        result = result != 0 ? result : set_flags_up(control, "lo");
    }
    if (result != 0)
        failed("cannot configure the tun device");
    if (control >= 0)
        close(control);
    return result;
}

static int write_setting(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t length = (ssize_t)strlen(value);
    bool done = fd >= 0 && write(fd, value, (size_t)length) == length;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return done ? 0 : -1;
}

/* Its own device, in the namespace that this thread is in; the descriptor or -1. */
static int make_tun(const char *address)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    snprintf(request.ifr_name, sizeof(request.ifr_name), "path0");
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) != 0) {
        failed("cannot make a tun device by /dev/net/tun");
    } else {
        /* No router is asked for on this path: what is counted on it is then the programs' own.
         * Kernels without IPv6 have no such file. */
        write_setting("/proc/sys/net/ipv6/conf/path0/disable_ipv6", "1");
        /* Connections begin alike: what the kernel learned from one is not for the next. */
        write_setting("/proc/sys/net/ipv4/tcp_no_metrics_save", "1");
        if (configure_device("path0", address) == 0)
            return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Calls what(argument) in the namespace and comes back. Its result, or -1. */
static int call_inside(const char *name, int (*what)(const char *argument), const char *argument)
{
    char path[NAMESPACES_NAME + 32];
    int result = -1, back = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

    snprintf(path, sizeof(path), "/run/netns/%s", name);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    if (back < 0 || there < 0 || setns(there, CLONE_NEWNET) != 0) {
        failed(path);
    } else {
        result = what(argument);
        if (setns(back, CLONE_NEWNET) != 0) {
            failed("cannot come back from a namespace");
            abort();
        }
    }
    if (back >= 0)
        close(back);
    if (there >= 0)
        close(there);
    return result;
}

int namespaces_make(struct namespaces *namespaces, const char *prefix)
{
    *namespaces = (struct namespaces){.tun = {-1, -1}, .keeper_pipe = -1, .keeper = -1};
    for (int end = 0; end < FLOW_ENDS; end++)
        snprintf(namespaces->names[end], NAMESPACES_NAME, "%s-%s", prefix,
                 end == FLOW_NEAR ? "near" : "far");
    if (start_keeper(namespaces) != 0)
        return -1;
    for (int end = 0; end < FLOW_ENDS; end++) {
        if (run_ip_netns("add", namespaces->names[end], false) != 0)
            return -1;
        namespaces->tun[end] =
            call_inside(namespaces->names[end], make_tun, namespaces_address[end]);
        if (namespaces->tun[end] < 0)
            return -1;
    }
    return 0;
}

void namespaces_delete(struct namespaces *namespaces)
{
    for (int end = 0; end < FLOW_ENDS; end++)
        if (namespaces->tun[end] >= 0)
            close(namespaces->tun[end]);
    if (namespaces->keeper_pipe >= 0)
        close(namespaces->keeper_pipe);
    while (namespaces->keeper > 0 && waitpid(namespaces->keeper, NULL, 0) < 0 && errno == EINTR) {
    }
}

static int set_congestion_control(const char *name)
{
    if (write_setting("/proc/sys/net/ipv4/tcp_congestion_control", name) == 0)
        return 0;
    fprintf(stderr,
            "packet-path: cannot use the congestion control %s: %s (see"
            " net.ipv4.tcp_available_congestion_control and tcp_allowed_congestion_control)\n",
            name, strerror(errno));
    return -1;
}

int namespaces_use_congestion_control(const struct namespaces *namespaces, const char *name)
{
    for (int end = 0; end < FLOW_ENDS; end++)
        if (call_inside(namespaces->names[end], set_congestion_control, name) != 0)
            return -1;
    return 0;
}

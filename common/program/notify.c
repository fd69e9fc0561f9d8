#include "program/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/printable.h"
#include "io/clock.h"
#include "io/timer.h"

enum { STATUS_MAX = 300 };

struct notify {
    struct worker *worker;
    int fd;
    struct sockaddr_un address;
    socklen_t address_size;
    struct timer *watchdog; /* NULL: nobody waits for it */
    bool ready;
    bool stopping;
    bool complained;
};

static bool set_address(struct notify *notify, const char *name)
{
    size_t size = strlen(name);
    char *path = notify->address.sun_path;

    /* Anything else (vsock:...) is none of ours. */
    if ((name[0] != '/' && name[0] != '@') || size < 2 || size >= sizeof notify->address.sun_path)
        return false;
    notify->address.sun_family = AF_UNIX;
    memcpy(path, name, size + 1);
    notify->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + 1);
    if (name[0] == '@') {
        /* An abstract name begins with NUL and has its size instead of an end. */
        path[0] = '\0';
        notify->address_size--;
    }
    return true;
}

static void complain(struct notify *notify, const char *reason)
{
    if (!notify->complained)
        log_warning(notify->worker->log, "notify_failed",
                    "The service manager could not be notified (NOTIFY_SOCKET)",
                    log_str("reason", reason));
    notify->complained = true;
}

static void tell(struct notify *notify, const char *text)
{
    /* A manager that does not read must not stop the program. */
    if (sendto(notify->fd, text, strlen(text), MSG_DONTWAIT,
               (const struct sockaddr *)&notify->address, notify->address_size) < 0 &&
        errno != EAGAIN && errno != EWOULDBLOCK)
        complain(notify, strerror(errno));
}

static void on_watchdog(void *argument)
{
    tell(argument, "WATCHDOG=1");
}

/* usec, and the process that it is for, as the manager has set them; NULL where it has not. */
static void start_watchdog(struct notify *notify, const char *usec, const char *pid)
{
    char *end;
    unsigned long long interval;

    if (!usec || (pid && strtoll(pid, NULL, 10) != (long long)getpid()))
        return;
    errno = 0;
    interval = strtoull(usec, &end, 10);
    if (errno != 0 || *end || end == usec || interval < 2 || interval > UINT32_MAX * 1000ULL)
        return;
    interval /= 2;
    notify->watchdog = timer_new(notify->worker, on_watchdog, notify);
    timer_repeat_us(notify->watchdog, interval);
}

static struct notify *start_notifying(struct worker *worker, const char *name)
{
    struct notify *notify = memory_new(sizeof *notify);

    notify->worker = worker;
    if (!set_address(notify, name)) {
        complain(notify, "it is neither a path nor an abstract name that fits");
        free(notify);
        return NULL;
    }
    notify->fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (notify->fd < 0) {
        complain(notify, strerror(errno));
        free(notify);
        return NULL;
    }
    fcntl(notify->fd, F_SETFD, FD_CLOEXEC);
    return notify;
}

struct notify *notify_new(struct worker *worker)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct notify *notify = name && name[0] ? start_notifying(worker, name) : NULL;

    if (notify)
        start_watchdog(notify, getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"));
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return notify;
}

void notify_free(struct notify *notify)
{
    if (!notify)
        return;
    timer_free(notify->watchdog);
    close(notify->fd);
    free(notify);
}

void notify_ready(struct notify *notify)
{
    if (!notify || notify->ready)
        return;
    notify->ready = true;
    tell(notify, "READY=1");
}

void notify_stopping(struct notify *notify)
{
    if (!notify)
        return;
    notify->stopping = true;
    tell(notify, "STOPPING=1");
}

static bool is_serving(const struct notify *notify)
{
    return notify && notify->ready && !notify->stopping;
}

void notify_reloading(struct notify *notify)
{
    char text[80];

    if (!is_serving(notify))
        return;
    /* By this clock the manager tells this reload from an earlier one. */
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_now_us());
    tell(notify, text);
}

void notify_reloaded(struct notify *notify)
{
    if (is_serving(notify))
        tell(notify, "READY=1");
}

void notify_status(struct notify *notify, const char *format, ...)
{
    char text[STATUS_MAX] = "STATUS=";
    char shown[2 * STATUS_MAX];
    va_list arguments;

    if (!notify)
        return;
    size_t used = strlen(text);
    va_start(arguments, format);
    vsnprintf(text + used, sizeof text - used, format, arguments);
    va_end(arguments);
    printable(text, strlen(text), shown, sizeof shown);
    tell(notify, shown);
}

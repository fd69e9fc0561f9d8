#include "io/outgoing_ports.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* "40000-40100" or "8080" at *text, which moves behind it and a comma. */
static bool take_reserved(const char **text, unsigned long *first, unsigned long *last)
{
    char *end;

    *first = *last = strtoul(*text, &end, 10);
    if (end == *text)
        return false;
    if (*end == '-')
        *last = strtoul(end + 1, &end, 10);
    *text = *end == ',' ? end + 1 : end;
    return true;
}

static bool is_reserved(const char *reserved, unsigned port)
{
    unsigned long first;
    unsigned long last;

    while (take_reserved(&reserved, &first, &last)) {
        if (port >= first && port <= last)
            return true;
    }
    return false;
}

bool outgoing_ports_meet_settings(const char *local_range, const char *reserved, uint16_t first,
                                  uint16_t last, char range[OUTGOING_PORTS_TEXT])
{
    char *end;
    unsigned long low = strtoul(local_range, &end, 10);
    unsigned long high = strtoul(end, NULL, 10);

    if (low == 0 || high < low || high > UINT16_MAX)
        return false;
    snprintf(range, OUTGOING_PORTS_TEXT, "%u-%u", (unsigned)(uint16_t)low,
             (unsigned)(uint16_t)high);
    for (unsigned port = first > low ? first : (unsigned)low; port <= last && port <= high;
         port++) {
        if (!is_reserved(reserved, port))
            return true;
    }
    return false;
}

#ifdef __linux__

/* All of a setting. false: it is not there, or is longer than that. */
static bool read_setting(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, text, size - 1) : -1;

    if (fd >= 0)
        close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got >= 0 && (size_t)got < size - 1;
}

bool outgoing_ports_meet(uint16_t first, uint16_t last, char range[OUTGOING_PORTS_TEXT])
{
    char local_range[64];
    char reserved[4096];

    return read_setting("/proc/sys/net/ipv4/ip_local_port_range", local_range,
                        sizeof local_range) &&
           read_setting("/proc/sys/net/ipv4/ip_local_reserved_ports", reserved, sizeof reserved) &&
           outgoing_ports_meet_settings(local_range, reserved, first, last, range);
}

#else

bool outgoing_ports_meet(uint16_t first, uint16_t last, char range[OUTGOING_PORTS_TEXT])
{
    return outgoing_ports_meet_settings("49152 65535", "", first, last, range);
}

#endif
